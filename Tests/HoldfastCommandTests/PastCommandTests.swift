// `--as-of` and `tail`, beside a process that owns the store and after it has gone.

import Testing

@testable import HoldfastCommand

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

@Suite(.serialized, .timeLimit(.minutes(10)))
struct PastCommandTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// What the owner said of its store.
    private struct Testimony {
        let sequence: Int64
        let queues: String
        let completed: Int64

        init(_ shell: ShellProcess) throws {
            let stats = try shell.ask(#"{"op":"stats"}"#)
            sequence = try #require(stats["seq"]?.integer)
            queues = String(decoding: try #require(stats["queues"]).raw, as: UTF8.self)
            completed = try #require(stats["completed"]?.integer)
        }
    }

    private func expect(_ testimony: Testimony) throws {
        let stat = try CommandHarness.holdfast("stat", directory.store, "--json", "--as-of", "\(testimony.sequence)")
        try #require(stat.exit == .code(0), "\(stat.errors)")
        let report = try JSONDocument([UInt8](stat.output.utf8)).root
        #expect(report["seq"]?.integer == testimony.sequence)
        #expect(report["completed"]?.integer == testimony.completed)
        #expect(report["queues"].map { String(decoding: $0.raw, as: UTF8.self) } == testimony.queues)
    }

    @Test func anotherProcessSeesWhatTheOwnerSaidThenOnALiveStoreAndAClosedOne() throws {
        let shell = try ShellProcess(
            directory.store, arguments: ["--clock", "manual", "--checkpoint-every", "8192", "--segment-bytes", "65536"])
        var testimonies: [Testimony] = []
        for number in 0..<120 {
            let payload = String(repeating: "x", count: 700)
            try shell.ask(#"{"op":"enqueue","queue":"q\#(number % 3)","payload":"\#(payload)"}"#)
            if number % 2 == 0 {
                let lease = try shell.ask(#"{"op":"lease","queue":"q0"}"#)["leases"]?.elements?.first
                if let id = lease?["id"]?.integer, let token = lease?["token"]?.integer {
                    try shell.ask(#"{"op":"ack","id":\#(id),"token":\#(token)}"#)
                }
            }
            if number == 60 { try shell.ask(#"{"op":"compact"}"#) }
            if number % 10 == 0 {
                testimonies.append(try Testimony(shell))
                // What a reader may show beside an owner, a later record vouches for.
                try shell.ask(#"{"op":"enqueue","queue":"r","payload":""}"#)
                if testimonies.count > 1 { try expect(testimonies[testimonies.count - 2]) }
            }
        }
        #expect(try shell.finish() == .code(0))
        for testimony in testimonies { try expect(testimony) }
    }

    @Test func aJobIsShownAsItWas() throws {
        let shell = try ShellProcess(directory.store, arguments: ["--clock", "manual"])
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"hello"}"#)
        try shell.ask(#"{"op":"advance","ms":1000}"#)
        let token = try shell.ask(#"{"op":"lease","queue":"q"}"#)["leases"]?.elements?.first?["token"]?.integer ?? 0
        try shell.ask(#"{"op":"ack","id":1,"token":\#(token)}"#)
        #expect(try shell.finish() == .code(0))
        func state(_ moment: String) throws -> String? {
            let job = try CommandHarness.holdfast("job", directory.store, "1", "--json", "--as-of", moment)
            let root = try JSONDocument([UInt8](job.output.utf8)).root
            #expect(root["job"]?["payload"]?.string == "hello", "\(job.errors)")
            return root["job"]?["state"]?.string
        }
        #expect(try state("1") == "ready")
        #expect(try state("\(token)") == "leased")
        #expect(try state("\(token + 1)") == "completed")
        #expect(try state("2023-11-14T22:13:20.999Z") == "ready")
        #expect(try state("2023-11-14T22:13:21Z") == "completed")
        let jobs = try CommandHarness.holdfast("jobs", directory.store, "--as-of", "\(token)")
        #expect(jobs.lines.count == 2 && jobs.lines[1].contains("leased"), "\(jobs.output)")
        let dump = try CommandHarness.holdfast("dump", directory.store, "--as-of", "1")
        #expect(dump.lines.count == 1)
        let reversed = try CommandHarness.holdfast("dump", directory.store, "--from-seq", "3", "--to-seq", "2")
        #expect(reversed.exit == .code(0) && reversed.output.isEmpty, "a range that is none is no trap")
    }

    @Test func whatIsBeyondHistoryIsRefusedWithWhatIsLeft() throws {
        let shell = try ShellProcess(directory.store, arguments: ["--history", "none"])
        for _ in 0..<10 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":""}"#) }
        for lease in try shell.ask(#"{"op":"lease","queue":"q","limit":10}"#)["leases"]?.elements ?? [] {
            let (id, token) = (lease["id"]?.integer ?? 0, lease["token"]?.integer ?? 0)
            try shell.ask(#"{"op":"ack","id":\#(id),"token":\#(token)}"#)
        }
        try shell.ask(#"{"op":"compact"}"#)
        #expect(try shell.finish() == .code(0))
        for command in ["stat", "jobs", "dump"] {
            let refused = try CommandHarness.holdfast(command, directory.store, "--as-of", "3")
            #expect(refused.exit == .code(1))
            #expect(refused.errors.contains("the oldest that is available is sequence number 30"), "\(refused.errors)")
        }
        let future = try CommandHarness.holdfast("stat", directory.store, "--as-of", "99")
        #expect(future.exit == .code(1) && future.errors.contains("the last record is 30"), "\(future.errors)")
        let unread = try CommandHarness.holdfast("stat", directory.store, "--as-of", "yesterday")
        #expect(unread.exit == .code(64))
    }

    @Test func tailGoesOnWhereAnEarlierOneLeftOff() throws {
        let shell = try ShellProcess(directory.store, arguments: ["--history", "none"])
        let never = try Descriptor.pipe()
        defer { for end in [never.read, never.write] { end.close() } }
        func tail(from start: String, until last: Int64) throws -> [Int64] {
            let words = [try CommandHarness.executable(), "tail", directory.store, "--from", start, "--json"]
            let process = try ChildProcess.start(words.map { [UInt8]($0.utf8) }, environment: [], hasInput: false)
            var reader = LineReader(process.output, lineBytesMax: 1 << 20, interruptions: [never.read])
            var sequences: [Int64] = []
            while sequences.last.map({ $0 < last }) ?? true, case .line(let line) = try reader.next() {
                sequences.append(try #require(try JSONDocument(line).root["seq"]?.integer))
            }
            _ = kill(process.id, SIGTERM)
            _ = try CommandHarness.finish(process)
            return sequences
        }
        for _ in 0..<20 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":""}"#) }
        #expect(try tail(from: "oldest", until: 7) == Array(1...7))
        for _ in 0..<20 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":""}"#) }
        #expect(try tail(from: "8", until: 33) == Array(8...33))
        #expect(try shell.finish() == .code(0))
        #expect(try tail(from: "34", until: 40) == Array(34...40))
    }
}
