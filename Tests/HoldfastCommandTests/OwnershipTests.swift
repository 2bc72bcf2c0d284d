// Several processes want one store: one owns it, however they race for it, whoever dies, and also while the owner is
// stopped and does not know that time passes.

import Holdfast
import Testing

@testable import HoldfastCommand

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

@Suite(.serialized, .timeLimit(.minutes(10))) struct OwnershipTests {
    private let directory: TemporaryDirectory

    init() throws {
        signal(SIGPIPE, SIG_IGN)
        directory = try TemporaryDirectory()
    }

    /// In each round the one that owned the store in the round before is killed as the others start.
    @Test(arguments: [2, 8]) func ofAllProcessesThatRaceForAStoreOneGetsIt(_ count: Int) async throws {
        let store = directory.store
        try await onProcessThread {
            var owner: ShellProcess?
            var refusals = 0
            for round in 0..<5 {
                owner?.child.send(SIGKILL)
                let racers = try (0..<count).map { _ in try ShellProcess(store) }
                try owner?.kill()
                for racer in racers { try? racer.send(#"{"op":"enqueue","queue":"q","payload":"\#(round)"}"#) }
                let replies = try racers.map { racer in (racer: racer, reply: try racer.receive()) }
                let owners = replies.filter { $0.reply["ok"]?.bool == true }.map(\.racer)
                try #require(owners.count == 1, "\(replies.map(\.reply.text))")
                for (racer, reply) in replies where racer !== owners[0] {
                    #expect(reply["error"]?["code"]?.string == "locked")
                    let message = reply["error"]?["message"]?.string ?? ""
                    #expect(message.contains("process \(owners[0].child.id)"), "\(message)")
                    #expect(try racer.finish() == .code(2))
                    refusals += 1
                }
                // Each owner's work is there, and nobody else's.
                try owners[0].expect(#"{"op":"stats"}"#, #"{"queues":{"q":{"ready":\#(round + 1)}}}"#)
                owner = owners[0]
            }
            #expect(refusals == 5 * (count - 1))
            #expect(try owner?.finish() == .code(0))
            #expect(try CommandHarness.holdfast("verify", store).exit == .code(0))
        }
    }

    #if os(Linux)
        @Test func aStoppedOwnerStaysTheOwnerAndLearnsOfTheTimeThatPassed() async throws {
            let store = directory.store
            try await onProcessThread {
                let owner = try ShellProcess(store)
                try owner.ask(#"{"op":"enqueue","queue":"q","payload":"a"}"#)
                try owner.ask(#"{"op":"enqueue","queue":"q","payload":"b"}"#)
                let reply = try owner.ask(#"{"op":"lease","queue":"q","lease_ms":300}"#)
                let lease = try #require(reply["leases"]?.elements?.first)
                let token = try #require(lease["token"]?.integer)
                let deadline = try #require(lease["deadline_ms"]?.integer)
                owner.child.send(SIGSTOP)
                try Self.wait { Self.state(of: owner.child.id) == "T" }
                // 1. There is no second owner, and whoever only looks is not disturbed.
                let refused = try CommandHarness.holdfast("shell", store)
                #expect(refused.exit == .code(2))
                #expect(refused.output.contains(#""code":"locked""#))
                #expect(refused.output.contains("process \(owner.child.id)"))
                for arguments in [["stat", store], ["dump", store], ["verify", store]] {
                    let result = try CommandHarness.run(CommandHarness.executable(), arguments)
                    #expect(result.exit == .code(0), "\(arguments): \(result.errors)")
                }
                #expect(try CommandHarness.holdfast("dump", store, "--json").lines.count >= 2)
                // More than wait in the queue of its socket.
                for _ in 0..<Self.waitingMax {
                    let waiting = try? UnixSocket.connect(directory: store, name: StoreSocket.name, isPatient: false)
                    waiting?.close()
                }
                #expect(try CommandHarness.holdfast("stat", store).output.contains("q"))
                // 2. The lease ends meanwhile; its holder's token is void from the owner's first moment on.
                try Self.wait { SystemClock().wallNow().milliseconds >= deadline }
                try owner.send(#"{"op":"ack","id":1,"token":\#(token)}"#)
                owner.child.send(SIGCONT)
                #expect(try owner.receive()["error"]?["code"]?.string == "lease_lost")
                try owner.expect(
                    #"{"op":"lease","queue":"q","limit":2}"#,
                    #"{"leases":[{"id":1,"attempt":2,"last_error":"lease expired"},{"id":2,"attempt":1}]}"#)
                try owner.refuse(#"{"op":"heartbeat","id":1,"token":\#(token)}"#, "lease_lost")
                #expect(try owner.finish() == .code(0))
            }
        }

        /// How many connections may wait to be accepted, and some more.
        private static let waitingMax = 100

        /// The letter for what a process does, as the system sees it.
        private static func state(of process: pid_t) -> String? {
            guard let file = fopen("/proc/\(process)/stat", "r") else { return nil }
            defer { fclose(file) }
            var line = [CChar](repeating: 0, count: 1024)
            guard fgets(&line, Int32(line.count), file) != nil else { return nil }
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            return text.split(separator: ")").last?.split(separator: " ").first.map(String.init)
        }

        private static func wait(for condition: () -> Bool) throws {
            let end = ContinuousClock.now + .seconds(60)
            while !condition() {
                try #require(ContinuousClock.now < end)
                try Poll.wait(for: [], milliseconds: 1)
            }
        }
    #endif
}
