// `dump`, `verify` and `stat` again and again beside a writer that rolls, seals, compacts and dies: they never fail,
// and show neither a gap nor anything that was not written.

import HoldfastLog
import HoldfastTestKit
import Synchronization
import Testing

@testable import HoldfastCommand

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// What the writer was told and what it asked for.
private struct WriterKnowledge: Sendable {
    /// The number in the payload of each job, by id.
    var numbers: [Int64: Int] = [:]
    /// Payloads up to this one have been sent.
    var lastNumber = 0
    /// Sequence numbers that a later answered commit vouches for. What was answered last, a reader beside the owner
    /// may not show for a moment.
    var vouched: Set<Int64> = []
    var answeredLast: Set<Int64> = []
    /// Jobs that an ack was sent for: compaction may drop them.
    var ended: Set<Int64> = []
    var kills = 0
    var compactions = 0
    /// What the writer did to the files, as the readers saw it.
    var turnover = StoreTurnover()

    mutating func answered(_ sequences: [Int64]) {
        vouched.formUnion(answeredLast)
        answeredLast = Set(sequences)
    }
}

@Suite(.serialized) struct LiveReaderTests {
    @Test(arguments: ["unlimited", "none"])
    func readersBesideAWriterThatDiesNeverFailAndSeeWhatWasAnswered(_ history: String) async throws {
        signal(SIGPIPE, SIG_IGN)
        let directory = try TemporaryDirectory()
        let store = directory.store
        let knowledge = Locked(WriterKnowledge())
        let isOver = Locked(false)
        let first = try ShellProcess(store, arguments: ["--history", history])
        try first.ask(#"{"op":"now"}"#)
        try first.kill()
        async let writer: Void = onProcessThread {
            var random = SeededRandom(seed: 7)
            while !isOver.withLock({ $0 }) { try Self.write(store, history, knowledge, &random) }
        }
        async let reader: Int = onProcessThread {
            defer { isOver.withLock { $0 = true } }
            let started = ContinuousClock.now
            var rounds = 0
            var turnover = StoreTurnover()
            defer {
                let turnover = turnover
                knowledge.withLock { $0.turnover = turnover }
            }
            let soak = ProcessEffort.soakSeconds.map { Duration.seconds($0 / 2) } ?? .zero
            while rounds < (ProcessEffort.isLong ? 300 : 25) || ContinuousClock.now - started < soak {
                try Self.read(store, keepsAll: history == "unlimited", knowledge)
                try turnover.look(at: store, isDead: false)
                rounds += 1
            }
            return rounds
        }
        let rounds = try await reader
        try await writer
        let known = knowledge.withLock { $0 }
        print("figure | readers: history \(history), rounds | \(rounds)")
        print("figure | readers: history \(history), kills | \(known.kills)")
        print("figure | readers: history \(history), compactions | \(known.compactions)")
        print("figure | readers: history \(history), rounds that found new seals | \(known.turnover.seals)")
        print("figure | readers: history \(history), that found records dropped | \(known.turnover.compactions)")
        // Reading beside a writer that never rolls, seals, compacts or dies shows little.
        #expect(known.turnover.seals > 5 && known.turnover.checkpoints > 2 && known.kills > 2)
        #expect(known.compactions > 2 && (history == "unlimited" || known.turnover.compactions > 2))
        print("figure | readers: history \(history), records | \(known.vouched.count)")
    }

    // MARK: - The writer

    /// Opens the store, works, and dies.
    private static func write(
        _ store: String, _ history: String, _ knowledge: Locked<WriterKnowledge>, _ random: inout SeededRandom
    ) throws {
        let shell = try ShellProcess(store, arguments: ["--history", history])
        for _ in 0..<random.pick(5...60) {
            switch random.pick(0...19) {
            case 0:
                let reply = try shell.ask(#"{"op":"compact"}"#)
                try #require(reply["ok"]?.bool == true, "\(reply.text)")
                knowledge.withLock { $0.compactions += 1 }
            case 1...11:
                let number = knowledge.withLock { known in
                    known.lastNumber += 1
                    return known.lastNumber
                }
                let payload = "\(number):" + String(repeating: "r", count: number % 50 == 0 ? 20_000 : number % 900)
                let reply = try shell.ask(#"{"op":"enqueue","queue":"q","payload":"\#(payload)"}"#)
                let id = try #require(reply["id"]?.integer, "\(reply.text)")
                knowledge.withLock { known in
                    known.numbers[id] = number
                    known.answered([id])
                }
            default:
                let reply = try shell.ask(#"{"op":"lease","queue":"q","limit":2}"#)
                for lease in try #require(reply["leases"]?.elements, "\(reply.text)") {
                    let (id, token) = (lease["id"]?.integer ?? 0, lease["token"]?.integer ?? 0)
                    knowledge.withLock { known in
                        known.answered([token])
                        known.ended.insert(id)
                    }
                    try shell.expect(#"{"op":"ack","id":\#(id),"token":\#(token)}"#, #"{"ok":true}"#)
                    knowledge.withLock { $0.answered([]) }
                }
            }
        }
        try shell.kill()
        knowledge.withLock { $0.kills += 1 }
    }

    // MARK: - The readers

    private static func read(
        _ store: String, keepsAll: Bool, _ knowledge: Locked<WriterKnowledge>
    ) throws {
        let before = knowledge.withLock { $0 }
        let dump = try CommandHarness.holdfast("dump", store, "--json", "--payloads")
        let after = knowledge.withLock { $0 }
        guard dump.exit == .code(0) else { throw KillMismatch("dump: \(dump.exit) \(dump.errors)") }
        var last: Int64 = 0
        var seen: Set<Int64> = []
        for line in dump.lines {
            let record = try JSONDocument([UInt8](line.utf8)).root
            let sequence = try #require(record["seq"]?.integer)
            guard sequence > last else { throw KillMismatch("\(sequence) follows \(last)") }
            last = sequence
            seen.insert(sequence)
            guard record["kind"]?.string == "enqueue" else { continue }
            let number = record["payload"]?.string?.split(separator: ":").first.flatMap { Int($0) } ?? -1
            let isKnown = after.numbers[sequence].map { $0 == number } ?? (1...after.lastNumber).contains(number)
            guard isKnown else { throw KillMismatch("nobody wrote \(line.prefix(200))") }
        }
        var due = before.vouched
        if !keepsAll { due = due.intersection(before.numbers.keys).subtracting(after.ended) }
        let missing = due.subtracting(seen)
        guard missing.isEmpty else { throw KillMismatch("a dump lacks \(missing.sorted().prefix(10)) of \(due.count)") }
        let verify = try CommandHarness.holdfast("verify", store, "--json")
        guard verify.exit == .code(0), verify.output.contains(#""sound":true"#) else {
            throw KillMismatch("verify: \(verify.exit) \(verify.output) \(verify.errors)")
        }
        let stat = try CommandHarness.holdfast("stat", store, "--json")
        guard stat.exit == .code(0) else { throw KillMismatch("stat: \(stat.exit) \(stat.errors)") }
    }
}
