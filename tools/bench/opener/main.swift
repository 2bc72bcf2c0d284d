// A program that has a store and nothing else, which holdfast-bench starts: an opening should cost what it costs a
// program that embeds the library, without the start of what only the benchmark links.
//
//   holdfast-bench-opener lease|enqueue|work STORE QUEUE
//
// lease takes a lease, says so, and says how many jobs there are once it is sent a line; enqueue enqueues until it is
// killed; work leases and acks a while, says how many jobs are left, and waits to be killed.

import CBenchPayload
import Holdfast

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

private let workRounds = 5000

private func say(_ line: String) {
    print(line)
    fflush(nil)
}

private func pending(_ store: JobStore) throws -> Int {
    try store.blocking.stats().queues.reduce(0) { $0 + $1.ready + $1.leased + $1.scheduled }
}

private func run(_ task: String, _ path: String, _ queue: String) throws {
    let store = try JobStore.openBlocking(at: path)
    switch task {
    case "lease":
        say(try store.blocking.lease(from: queue).isEmpty ? "no job" : "leased")
        _ = readLine()
        say("\(try pending(store))")
        try store.blocking.close()
    case "enqueue":
        guard let payloads = bench_payloads_make(Int(BENCH_PAYLOAD_MIN)) else { fatalError("there is no memory") }
        say("open")
        for number in 0... {
            _ = try store.blocking.batch(
                (0..<64).map { index in
                    var payload = [UInt8](repeating: 0, count: Int(BENCH_PAYLOAD_MIN))
                    bench_payload_write(payloads, UInt64(number * 64 + index), &payload)
                    return .enqueue(queue: queue, payload: payload)
                })
        }
    default:
        for _ in 0..<min(workRounds, try pending(store) / 2) {
            guard let lease = try store.blocking.lease(from: queue).first else { break }
            try store.blocking.ack(lease)
        }
        say("\(try pending(store))")
        while true { pause() }
    }
}

let arguments = CommandLine.arguments
guard arguments.count == 4, ["lease", "enqueue", "work"].contains(arguments[1]) else {
    fatalError("usage: holdfast-bench-opener lease|enqueue|work STORE QUEUE")
}
try run(arguments[1], arguments[2], arguments[3])
