// A large backlog: what it costs to open the store, and what a checkpoint of it costs those who enqueue meanwhile.
// Jobs are spread over queues and priorities at random, so that no set of them is one run of numbers.

import ArgumentParser
import Holdfast

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

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
        _ = try Opener.run(path)
        for _ in 0..<rounds { try Opener.run(path).report(jobs, after: "close") }
        for round in 0..<rounds {
            // Longer each time, so that the log behind the last checkpoint has another length.
            try Opener.kill(path, afterMilliseconds: 300 + 171 * round)
            try Opener.run(path).report(jobs, after: "SIGKILL")
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
                    payload: Workload.payload(left - number, bytes: 64), options: options)
            }
            _ = try await store.batch(batch)
            left -= count
        }
        try await store.close()
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
        let latencies = try await Workload.run(
            store, callers: 1, seconds: seconds, payloadBytes: 256, Workload.enqueue
        ).latencies
        let rewritten = try await store.stats().rewrittenBytes - before
        print(
            """
            {"workload":"enqueue","backlog":\(jobs),"beside":"\(besideCheckpoints ? "checkpoints" : "none")",\
            "rewritten_mib":\(rewritten >> 20),"jobs_per_s":\(latencies.perSecond),\
            "p50_us":\(latencies.microseconds(0.5)),"p99_us":\(latencies.microseconds(0.99)),\
            "max_us":\(latencies.microseconds(1))}
            """)
        try await store.close()
    }
}

private func sendSignal(_ process: pid_t, _ signal: Int32) -> Int32 { kill(process, signal) }

/// Starts this program once more, to open a store.
private struct Opener {
    let nanoseconds: Int64
    /// What the process had in memory then, in KiB.
    let kibibytes: Int

    /// Opens the store in a new process and takes a lease; the lease is given up with the process.
    static func run(_ path: String) throws -> Opener {
        let began = ContinuousClock.now
        let (line, elapsed) = try start("lease", path) { ($0, ContinuousClock.now - began) }
        let (seconds, attoseconds) = elapsed.components
        guard let kibibytes = Int(line) else { throw ValidationError("a child said: \(line)") }
        return Opener(nanoseconds: seconds * 1_000_000_000 + attoseconds / 1_000_000_000, kibibytes: kibibytes)
    }

    /// Enqueues in a new process for a while, then kills it.
    static func kill(_ path: String, afterMilliseconds milliseconds: Int) throws {
        try start("enqueue", path) { line in
            guard let process = pid_t(line) else { throw ValidationError("a child said: \(line)") }
            usleep(UInt32(milliseconds) * 1000)
            guard sendSignal(process, SIGKILL) == 0 else { throw ValidationError("the child process is gone") }
        }
    }

    private static func start<Value>(
        _ task: String, _ path: String, _ body: (String) throws -> Value
    ) throws -> Value {
        let command = "exec '\(CommandLine.arguments[0])' backlog-child \(task) '\(path)'"
        guard let output = popen(command, "r") else { throw ValidationError("no process could be started") }
        defer { pclose(output) }
        var bytes = [CChar](repeating: 0, count: 256)
        guard fgets(&bytes, 256, output) != nil else { throw ValidationError("the child process ended") }
        let line = String(decoding: bytes.prefix { $0 != 10 && $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return try body(line)
    }

    func report(_ jobs: Int, after what: String) {
        print(
            """
            {"workload":"open","backlog":\(jobs),"after":"\(what)","ms":\(Double(nanoseconds / 10_000) / 100),\
            "rss_kib":\(kibibytes)}
            """)
    }
}

/// What the child processes do.
struct BacklogChild: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "backlog-child", shouldDisplay: false)

    enum Task: String, ExpressibleByArgument { case lease, enqueue }

    @Argument var task: Task
    @Argument var path: String

    /// What this process has in memory, or 0 where the system has no such file.
    private static func residentKibibytes() throws -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var bytes = [CChar](repeating: 0, count: 256)
        guard fgets(&bytes, 256, file) != nil else { return 0 }
        let text = String(decoding: bytes.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        let pages = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        return pages * Int(getpagesize()) / 1024
    }

    func run() async throws {
        let store = try JobStore.openBlocking(at: path)
        switch task {
        case .lease:
            guard try !store.blocking.lease(from: "bench-0").isEmpty else { throw ValidationError("no job") }
            print(try Self.residentKibibytes())
            fflush(nil)
            try store.blocking.close()
        case .enqueue:
            print(getpid())
            fflush(nil)
            for number in 0... {
                _ = try store.blocking.batch(
                    (0..<64).map { .enqueue(queue: "bench-0", payload: Workload.payload(number * 64 + $0, bytes: 64)) })
            }
        }
    }
}
