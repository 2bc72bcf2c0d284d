// A large backlog: what it costs to open the store, and what a checkpoint of it costs those who enqueue meanwhile.
// Jobs are spread over queues and priorities at random, so that no set of them is one run of numbers.

import ArgumentParser
import Holdfast

struct BacklogBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backlog",
        abstract: "Measures opening a store with many ready jobs, and enqueues beside checkpoints of it.",
        discussion: """
            Prints one JSON object a line. `open` is the time from the start of a process to its first lease, the \
            page cache warm: after a clean close, and after SIGKILL in the middle of a stream of enqueues. `enqueue` \
            is one caller alone, and then beside checkpoints, one as soon as the other ends; the two take turns.
            """)

    @Argument(help: "A directory on the disk to measure; a store is made in it and removed.")
    var directory: String

    @Option(help: "Ready jobs in the store.")
    var jobs = 1_000_000

    @Option(help: "Queues that they are spread over.")
    var queues = 4

    @Option(help: "Priorities that they are spread over in each queue; 1 in 1 queue is a plain one.")
    var priorities = 5

    @Option(help: "How often each opening is measured.")
    var rounds = 5

    @Option(help: "Seconds for each measurement of enqueues; four of each are made.")
    var seconds = 3.0

    func validate() throws {
        guard (1000...100_000_000).contains(jobs) else { throw ValidationError("--jobs must be 1000 to 100000000") }
        guard (1...1000).contains(queues) else { throw ValidationError("--queues must be 1 to 1000") }
        guard (1...256).contains(priorities) else { throw ValidationError("--priorities must be 1 to 256") }
        guard (1...1000).contains(rounds) else { throw ValidationError("--rounds must be 1 to 1000") }
        guard seconds > 0, seconds <= 600 else { throw ValidationError("--seconds must be between 0 and 600") }
    }

    func run() async throws {
        let path = directory + "/bench-backlog.holdfast"
        try ScratchDirectory.remove(path)
        defer { try? ScratchDirectory.remove(path) }
        try await fill(path)
        _ = try ChildStore.open(path, queue: "bench-0")
        for _ in 0..<rounds { try report(path, after: "close") }
        for round in 0..<rounds {
            // Longer each time, so that the log behind the last checkpoint has another length.
            try ChildStore.killAmidEnqueues(path, queue: "bench-0", afterMilliseconds: 300 + 171 * round)
            try report(path, after: "SIGKILL")
        }
        try await measureCheckpoints(path)
    }

    /// Makes the store, with durability left to the close.
    private func fill(_ path: String) async throws {
        var options = JobStoreOptions()
        options.durability = .none
        let store = try await JobStore.open(at: path, options: options)
        var random = SystemRandomNumberGenerator()
        var left = jobs
        while left > 0 {
            let count = min(left, 1000)
            let batch = (0..<count).map { number in
                var options = EnqueueOptions()
                options.priority = Int.random(in: 0..<priorities, using: &random) - priorities / 2
                return BatchOperation.enqueue(
                    queue: "bench-\(Int.random(in: 0..<queues, using: &random))",
                    payload: Array("job \(left - number), a few words of what is to be done for it".utf8),
                    options: options)
            }
            _ = try await store.batch(batch)
            left -= count
        }
        try await store.close()
    }

    private func report(_ path: String, after what: String) throws {
        let opened = try ChildStore.open(path, queue: "bench-0")
        print(
            """
            {"workload":"open","backlog":\(jobs),"after":"\(what)",\
            "ms":\(RunLine.rounded(Double(opened.nanoseconds) / 1e6, 2)),"rss_kib":\(opened.residentBytes >> 10)}
            """)
    }

    private func measureCheckpoints(_ path: String) async throws {
        for _ in 0..<4 {
            // Both write the same records; one is never due for a checkpoint, the other always.
            try await measure(path, besideCheckpoints: false)
            try await measure(path, besideCheckpoints: true)
        }
    }

    private func measure(_ path: String, besideCheckpoints: Bool) async throws {
        var options = JobStoreOptions()
        options.checkpointEveryBytes = besideCheckpoints ? 1 << 10 : 1 << 40
        let store = try await JobStore.open(at: path, options: options)
        let before = try await store.stats().rewrittenBytes
        let caller: Caller<Lease> = Caller(
            .enqueue, index: 0, of: 1, batch: 1, payloads: try Payloads(byteCount: 256),
            time: MeasuredTime(warmUp: 0, seconds: seconds))
        let ledger = try await Crew.runInTasks([caller], on: HoldfastFace(store: store))[0]
        let rewritten = try await store.stats().rewrittenBytes - before
        print(
            """
            {"workload":"enqueue","backlog":\(jobs),"beside":"\(besideCheckpoints ? "checkpoints" : "none")",\
            "rewritten_mib":\(rewritten >> 20),"jobs_per_s":\(Int(Double(ledger.measured) / seconds)),\
            "p50_us":\(RunLine.rounded(ledger.rounds.microseconds(50), 1)),\
            "p99_us":\(RunLine.rounded(ledger.rounds.microseconds(99), 1)),\
            "max_us":\(RunLine.rounded(ledger.rounds.microseconds(100), 1))}
            """)
        try await store.close()
    }
}
