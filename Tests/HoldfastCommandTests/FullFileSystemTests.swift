// The command on a file system that is really full, and under a limit on the size of files, which is alike: new work is
// refused, what ends work goes on, and when there is room again so does everything. Mounting takes rights that not
// everybody has, and what could not be mounted is said; the limit is tried everywhere.

import Testing

@testable import HoldfastCommand

#if os(Linux)
    #if canImport(Glibc)
        import Glibc
    #else
        import Musl
    #endif

    /// A client that knows which jobs it has and where they are.
    private final class FullDiskClient {
        enum Place: Hashable { case ready, leased, completed, cancelled, dead }
        private(set) var shell: ShellProcess
        private(set) var jobs: [Int64: (number: Int, place: Place)] = [:]
        private var tokens: [Int64: Int64] = [:]
        private var nextNumber = 0

        init(_ shell: ShellProcess) { self.shell = shell }

        func ids(_ place: Place) -> [Int64] { jobs.filter { $0.value.place == place }.keys.sorted() }

        private static func payload(_ number: Int) -> String { "\(number):" + String(repeating: "y", count: 600) }

        /// Says why it was refused, if it was.
        func enqueue() throws -> String? {
            let number = nextNumber
            nextNumber += 1
            let reply = try shell.ask(#"{"op":"enqueue","queue":"q","payload":"\#(Self.payload(number))"}"#)
            guard let id = reply["id"]?.integer else { return reply["error"]?["code"]?.string ?? reply.text }
            try #require(jobs.updateValue((number, .ready), forKey: id) == nil)
            return nil
        }

        func lease(_ count: Int) throws {
            let reply = try shell.ask(#"{"op":"lease","queue":"q","limit":\#(count),"lease_ms":3600000}"#)
            let leases = try #require(reply["leases"]?.elements, "\(reply.text)")
            #expect(leases.count == min(count, ids(.ready).count))
            for lease in leases {
                let id = try #require(lease["id"]?.integer)
                #expect(lease["payload"]?.string == jobs[id].map { Self.payload($0.number) })
                jobs[id]?.place = .leased
                tokens[id] = lease["token"]?.integer
            }
        }

        func settle(_ id: Int64, _ operation: String, _ place: Place) throws {
            let fence = operation == "cancel" ? "" : #","token":\#(tokens[id] ?? 0)"#
            try shell.expect(#"{"op":"\#(operation)","id":\#(id)\#(fence)}"#, #"{"ok":true}"#)
            jobs[id]?.place = place
        }

        func checkCounts() throws {
            let (ready, leased, dead) = (ids(.ready).count, ids(.leased).count, ids(.dead).count)
            try shell.expect(
                #"{"op":"stats"}"#,
                """
                {"queues":{"q":{"ready":\(ready),"leased":\(leased),"dead":\(dead),"scheduled":0}},\
                "completed":\(ids(.completed).count)}
                """)
        }

        /// Enqueues until one is taken, which must be soon.
        func enqueueOnceThereIsRoom() throws {
            let end = ContinuousClock.now + .seconds(60)
            while let code = try enqueue() {
                try #require(code == "no_space" && ContinuousClock.now < end, "\(code)")
                try Poll.wait(for: [], milliseconds: 20)
            }
        }

        /// Opens the store again after a kill.
        func reopen(_ store: String) throws {
            shell = try ShellProcess(store)
            try checkCounts()
        }
    }

    @Suite(.serialized, .timeLimit(.minutes(10))) struct FullFileSystemTests {
        @Test(arguments: SmallFileSystem.Kind.allCases)
        func onAFullDiskWorkEndsAndNoneBeginsUntilThereIsRoom(_ kind: SmallFileSystem.Kind) async throws {
            signal(SIGPIPE, SIG_IGN)
            try await onProcessThread {
                guard let disk = try SmallFileSystem(kind, mebibytes: 8) else {
                    print("figure | full file system: \(kind) | NOT TESTED: it can't be mounted here")
                    Issue.record("a full \(kind) was not tested: it can't be mounted here", severity: .warning)
                    return
                }
                try Self.run(on: disk, kind)
            }
        }

        private static func run(on disk: SmallFileSystem, _ kind: SmallFileSystem.Kind) throws {
            let store = disk.path + "/store"
            let client = FullDiskClient(try ShellProcess(store))
            for _ in 0..<400 { #expect(try client.enqueue() == nil) }
            try client.lease(300)
            try disk.fill()
            let taken = try enqueueUntilRefused(client)
            // 1. What ends work goes on, and what begins some goes on being refused.
            let leased = client.ids(.leased)
            var settled = 0
            for (operation, place, range) in [
                ("ack", FullDiskClient.Place.completed, 0..<200), ("requeue", .ready, 200..<230),
                ("bury", .dead, 230..<250), ("cancel", .cancelled, 250..<280),
            ] {
                for id in leased[range] {
                    // A requeued job waits a second by the default policy: it is cancelled instead of counted.
                    try client.settle(id, operation, place)
                    if operation == "requeue" { try client.settle(id, "cancel", .cancelled) }
                    settled += 1
                    if settled % 20 == 0 { #expect([nil, "no_space"].contains(try client.enqueue())) }
                }
            }
            for id in client.ids(.ready).prefix(30) { try client.settle(id, "cancel", .cancelled) }
            try client.checkCounts()
            #expect(try CommandHarness.holdfast("verify", store).exit == .code(0))
            // 2. With room it goes on by itself.
            try disk.free()
            try client.enqueueOnceThereIsRoom()
            try client.lease(5)
            for _ in 0..<50 { #expect(try client.enqueue() == nil) }
            // 3. Killed on a full disk, it loses nothing.
            try disk.fill()
            let more = try enqueueUntilRefused(client)
            try client.shell.kill()
            let verified = try CommandHarness.holdfast("verify", store)
            #expect(verified.exit == .code(0), "\(verified.output)\(verified.errors)")
            let refused = try CommandHarness.holdfast("shell", store)
            #expect(refused.exit == .code(0) || refused.output.contains(#""code":"no_space""#), "\(refused.output)")
            try disk.free()
            try client.reopen(store)
            while !client.ids(.ready).isEmpty { try client.lease(100) }
            for id in client.ids(.leased) { try client.settle(id, "cancel", .cancelled) }
            try client.checkCounts()
            #expect(try client.shell.finish() == .code(0))
            #expect(try CommandHarness.holdfast("verify", store).exit == .code(0))
            let opened = refused.exit == .code(0) ? "opens" : "is refused"
            print("figure | full file system: \(kind), enqueued before a refusal | \(taken), then \(more)")
            print("figure | full file system: \(kind), settled while full | \(settled + 30), and an opening \(opened)")
        }

        private static func enqueueUntilRefused(_ client: FullDiskClient) throws -> Int {
            for taken in 0..<5_000 {
                if let code = try client.enqueue() {
                    #expect(code == "no_space")
                    return taken
                }
            }
            throw KillMismatch("a full disk takes everything")
        }

        // MARK: - A limit on the size of files

        private static let limitedShell = ["/bin/sh", "-c", #"ulimit -S -f 256; exec "$0" "$@""#]

        /// A write beyond the limit brings a signal that kills whoever is not prepared.
        @Test func aLimitOnTheSizeOfFilesIsAFullDisk() throws {
            signal(SIGPIPE, SIG_IGN)
            let directory = try TemporaryDirectory()
            let before = FullDiskClient(try ShellProcess(directory.store))
            for _ in 0..<20 { #expect(try before.enqueue() == nil) }
            try before.lease(10)
            try before.shell.kill()
            // The reserve is larger than a file may be; without it no new work is taken.
            unlink(directory.store + "/RESERVE")
            let shell = try ShellProcess(directory.store, startedBy: Self.limitedShell)
            let refused = try shell.ask(#"{"op":"enqueue","queue":"q","payload":"x"}"#)
            #expect(refused["error"]?["code"]?.string == "no_space", "\(refused.text)")
            let jobs = try #require(try shell.ask(#"{"op":"jobs","state":"leased"}"#)["jobs"]?.elements)
            #expect(jobs.count == 10)
            for (job, operation) in zip(jobs, ["ack", "requeue", "bury", "cancel", "ack"]) {
                let (id, token) = (job["id"]?.integer ?? 0, job["token"]?.integer ?? 0)
                try shell.expect(#"{"op":"\#(operation)","id":\#(id),"token":\#(token)}"#, #"{"ok":true}"#)
            }
            try Self.limit(shell, to: nil)
            let end = ContinuousClock.now + .seconds(60)
            while try shell.ask(#"{"op":"enqueue","queue":"q","payload":"x"}"#)["ok"]?.bool != true {
                try #require(ContinuousClock.now < end)
                try Poll.wait(for: [], milliseconds: 20)
            }
            #expect(try shell.finish() == .code(0))
            #expect(try CommandHarness.holdfast("verify", directory.store).exit == .code(0))
            print("figure | full file system: a limit on the size of files | tested")
        }

        /// The first part of such a write is taken, and only the next call says why not the rest.
        @Test func aLimitThatComesLaterRefusesWhatIsTooLargeAlone() throws {
            signal(SIGPIPE, SIG_IGN)
            let directory = try TemporaryDirectory()
            let shell = try ShellProcess(directory.store)
            try shell.ask(#"{"op":"enqueue","queue":"q","payload":"x"}"#)
            try Self.limit(shell, to: 131_072)
            let large = #"{"op":"enqueue","queue":"q","payload":"\#(String(repeating: "z", count: 300_000))"}"#
            try shell.refuse(large, "no_space")
            try shell.expect(#"{"op":"enqueue","queue":"q","payload":"x"}"#, #"{"ok":true}"#)
            try Self.limit(shell, to: nil)
            let end = ContinuousClock.now + .seconds(60)
            while try shell.ask(large)["ok"]?.bool != true {
                try #require(ContinuousClock.now < end)
                try Poll.wait(for: [], milliseconds: 20)
            }
            try shell.expect(#"{"op":"stats"}"#, #"{"queues":{"q":{"ready":3}}}"#)
            #expect(try shell.finish() == .code(0))
            #expect(try CommandHarness.holdfast("verify", directory.store).exit == .code(0))
            print("figure | full file system: a limit that comes later | tested")
        }

        /// The C library's `prlimit`, which its Swift module leaves out.
        private typealias ChangeLimit =
            @convention(c) (pid_t, Int32, UnsafePointer<rlimit>?, UnsafeMutablePointer<rlimit>?) -> Int32
        /// Linux's number of the limit on the size of files.
        private static let fileSize: Int32 = 1

        /// Changes the limit of a running process; `nil` for none.
        private static func limit(_ shell: ShellProcess, to bytes: Int?) throws {
            let change = unsafeBitCast(try #require(dlsym(nil, "prlimit")), to: ChangeLimit.self)
            var limits = rlimit()
            try #require(change(shell.child.id, fileSize, nil, &limits) == 0, "error \(errno)")
            limits.rlim_cur = bytes.map { rlim_t($0) } ?? limits.rlim_max
            try #require(change(shell.child.id, fileSize, &limits, nil) == 0, "error \(errno)")
        }
    }
#endif
