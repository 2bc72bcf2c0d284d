// What the store does over its public API, and beside it, in the same run, the bare system calls that bound it: so the
// figures to read are ratios, not absolute times.

import ArgumentParser
import Holdfast

struct SpeedBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "speed",
        abstract: "Measures durable enqueues and full cycles, beside the bare write they rest on.",
        discussion: """
            Prints one JSON object a line: workload, callers, jobs_per_s, p50_us, p99_us. `bare` is a 4 KiB pwrite and \
            fdatasync into a file that was filled with zeros before: nothing durable on this disk can be faster with \
            one write at a time.
            """)

    @Argument(help: "A directory on the disk to measure; stores are made in it and removed.")
    var directory: String

    @Option(help: "Seconds to measure each workload for.")
    var seconds = 3.0

    @Option(help: "Bytes of payload.")
    var payload = 256

    @Option(help: "Callers at once, for the workloads that have several.")
    var callers = 64

    func validate() throws {
        guard seconds > 0, seconds <= 600 else { throw ValidationError("--seconds must be between 0 and 600") }
        guard (0...(1 << 20)).contains(payload) else { throw ValidationError("--payload must be at most 1048576") }
        guard (1...10_000).contains(callers) else { throw ValidationError("--callers must be 1 to 10000") }
    }

    func run() async throws {
        // Twice, in turn: the machine's speed drifts, and a ratio holds only between neighbours.
        for _ in 0..<2 {
            try report("bare", callers: 1, BareWrites.measure(directory: directory, seconds: seconds))
            try await measure("enqueue-blocking", callers: 1, Workload.enqueueBlocking)
            try await measure("enqueue", callers: 1, Workload.enqueue)
            try await measure("enqueue", callers: callers, Workload.enqueue)
            try await measure("cycle", callers: callers, Workload.cycle)
        }
    }

    private func measure(
        _ name: String, callers: Int, _ workload: @escaping Workload.Body
    ) async throws {
        let path = directory + "/bench-\(name)-\(callers).holdfast"
        try ScratchDirectory.remove(path)
        defer { try? ScratchDirectory.remove(path) }
        let store = try await JobStore.open(at: path)
        let result = try await Workload.run(
            store, callers: callers, seconds: seconds, payloadBytes: payload, workload)
        let left = try await store.stats().queues.reduce(0) { $0 + $1.ready }
        guard left == result.jobsLeft else {
            throw ValidationError("\(name): the store holds \(left) jobs, the workload left \(result.jobsLeft)")
        }
        try await store.close()
        report(name, callers: callers, result.latencies)
    }

    private func report(_ name: String, callers: Int, _ latencies: Latencies) {
        print(
            """
            {"workload":"\(name)","callers":\(callers),"jobs_per_s":\(latencies.perSecond),\
            "p50_us":\(latencies.microseconds(0.5)),"p99_us":\(latencies.microseconds(0.99))}
            """)
    }
}
