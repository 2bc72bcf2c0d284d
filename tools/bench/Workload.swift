// The workloads: what each caller does over and over until the time is up. Payloads differ from job to job and look
// like the JSON that jobs carry.

import Holdfast

/// How long each call took.
struct Latencies: Sendable {
    var nanoseconds: [Int64]
    let elapsed: Duration

    var perSecond: Int {
        let (seconds, attoseconds) = elapsed.components
        return Int(Double(nanoseconds.count) / (Double(seconds) + Double(attoseconds) * 1e-18))
    }

    /// The latency that a `share` of the calls did not exceed, in microseconds.
    func microseconds(_ share: Double) -> Int64 {
        let sorted = nanoseconds.sorted()
        guard let last = sorted.indices.last else { return 0 }
        return sorted[min(last, Int(Double(sorted.count) * share))] / 1000
    }
}

enum Workload {
    /// Runs one call of caller `caller`; returns how many more jobs the store holds afterwards.
    typealias Body = @Sendable (_ store: JobStore, _ caller: Int, _ payload: [UInt8]) async throws -> Int

    static let enqueue: Body = { store, _, payload in
        _ = try await store.enqueue("bench", payload: payload)
        return 1
    }

    static let enqueueBlocking: Body = { store, _, payload in
        _ = try store.blocking.enqueue("bench", payload: payload)
        return 1
    }

    /// Enqueue, lease, ack, each durable before the next; the job leased need not be the one enqueued.
    static let cycle: Body = { store, _, payload in
        _ = try await store.enqueue("bench", payload: payload)
        guard let lease = try await store.lease(from: "bench").first else { return 1 }
        try await store.ack(lease)
        return 0
    }

    static func run(
        _ store: JobStore, callers: Int, seconds: Double, payloadBytes: Int, _ body: @escaping Body
    ) async throws -> (latencies: Latencies, jobsLeft: Int) {
        let clock = ContinuousClock()
        let start = clock.now
        let end = start + .seconds(seconds)
        let parts = try await withThrowingTaskGroup(of: ([Int64], Int).self) { group in
            for caller in 0..<callers {
                group.addTask {
                    var nanoseconds: [Int64] = []
                    var left = 0
                    var number = caller
                    while true {
                        let payload = payload(number, bytes: payloadBytes)
                        number += callers
                        let before = clock.now
                        if before >= end { return (nanoseconds, left) }
                        left += try await body(store, caller, payload)
                        let (seconds, attoseconds) = (clock.now - before).components
                        nanoseconds.append(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
                    }
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        let latencies = Latencies(nanoseconds: parts.flatMap(\.0), elapsed: clock.now - start)
        return (latencies, parts.reduce(0) { $0 + $1.1 })
    }

    /// JSON-like text of exactly `bytes` bytes, different for each number.
    static func payload(_ number: Int, bytes: Int) -> [UInt8] {
        var mixed = UInt64(truncatingIfNeeded: number) &* 0x9E37_79B9_7F4A_7C15
        var text = #"{"id":\#(number),"kind":"resize","user":"u\#(mixed % 100_000)","trace":""#
        while text.utf8.count < bytes {
            mixed = (mixed ^ (mixed >> 29)) &* 0xBF58_476D_1CE4_E5B9
            text += String(mixed, radix: 16)
        }
        return Array(text.utf8.prefix(bytes))
    }
}
