// What a durable enqueue takes while the store is not at its limit: as many calls a second as are asked for, made when
// they are due, whether or not the ones before were answered. A call that is made late has waited since it was due.

import ArgumentParser
import Holdfast
import HoldfastLog

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

struct LoadBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load",
        abstract: "Measures durable enqueues at shares of the most that the store takes.",
        discussion: """
            Prints one JSON object a line. First `peak`, callers that each wait for their enqueue, beside a thread \
            that leases and acks all of it, at most a hundred jobs a call; then so many enqueues a second as are a \
            share of that, evenly spaced, beside the same. Times are from when a call was due to its answer. \
            `rewritten_mib` is what sealing, checkpoints and compaction wrote meanwhile. Exits with 1 when a job was \
            lost, damaged or came twice.
            """)

    @Option(name: .shortAndLong, help: "Where the stores are made. (a directory of its own, removed)")
    var directory: String?

    @Option(help: "Percent of the peak; may be repeated (25, 50 and 75).")
    var share: [Int] = []

    @Option(name: .shortAndLong, help: "Seconds to measure each.")
    var seconds = 10.0

    @Option(name: [.customShort("u"), .customLong("warmup")], help: "Seconds to run before.")
    var warmUp = 1.0

    @Option(name: .shortAndLong, help: "Callers at once, for the peak.")
    var callers = 64

    @Option(name: .shortAndLong, help: "Bytes of a payload.")
    var payload = 256

    func validate() throws {
        guard share.allSatisfy((1...100).contains) else { throw ValidationError("--share must be 1 to 100") }
        guard seconds > 0, seconds <= 3600 else { throw ValidationError("--seconds must be between 0 and 3600") }
        guard (0...600).contains(warmUp) else { throw ValidationError("--warmup must be 0 to 600") }
        guard (1...4096).contains(callers) else { throw ValidationError("--callers must be 1 to 4096") }
        let counts = Payloads.byteCounts
        guard counts.contains(payload) else {
            throw ValidationError("--payload must be \(counts.lowerBound) to \(counts.upperBound)")
        }
    }

    func run() async throws {
        let place = try directory ?? ScratchDirectory.make()
        try ScratchDirectory.create(place)
        defer { if directory == nil { try? ScratchDirectory.remove(place) } }
        let payloads = try Payloads(byteCount: payload)
        let peak = try await measure("peak", payloads, in: place) { store in
            let time = MeasuredTime(warmUp: warmUp, seconds: seconds)
            let crew: [Caller<Lease>] = (0..<callers).map {
                Caller(.enqueue, index: $0, of: callers, batch: 1, payloads: payloads, time: time)
            }
            return try await Crew.runInTasks(crew, on: HoldfastFace(store: store))
        }
        guard peak > 0 else {
            throw ValidationError("nothing was answered in the time that was measured: give --seconds more")
        }
        for percent in share.isEmpty ? [25, 50, 75] : share {
            let perSecond = peak * Double(percent) / 100
            _ = try await measure("\(percent) %", payloads, in: place) { store in
                let offer = Offer(
                    store: store, payloads: payloads, perSecond: perSecond,
                    time: MeasuredTime(warmUp: warmUp, seconds: seconds))
                return [try offer.run()]
            }
        }
    }

    /// Measures what `body` enqueues into a fresh store whose jobs a consumer leases and acks meanwhile. Prints it, and
    /// returns how many jobs a second it was.
    private func measure(
        _ name: String, _ payloads: Payloads, in place: String, _ body: (JobStore) async throws -> [CallerLedger]
    ) async throws -> Double {
        let path = place + "/bench-load.holdfast"
        try ScratchDirectory.remove(path)
        defer { try? ScratchDirectory.remove(path) }
        let store = try await JobStore.open(at: path)
        let consumer = try Consumer(store, payloads)
        let ledgers = await Result.catching { try await body(store) }
        let consumed = try consumer.finish()
        var ledger = CallerLedger(isFine: true)
        for part in try ledgers.get() { ledger.add(part) }
        let stats = try await store.stats()
        try await store.close()
        let isWhole =
            consumed.settled == ledger.enqueued && consumed.damaged == 0 && consumed.leasedSum == ledger.enqueuedSum
            && !ledger.hasDuplicateIDs()
        let perSecond = Double(ledger.measured) / seconds
        let (half, most) = (ledger.rounds.microseconds(50), ledger.rounds.microseconds(99))
        print(
            """
            {"workload":"load","share":"\(name)","payload":\(payload),"jobs_per_s":\(Int(perSecond)),\
            "p50_us":\(RunLine.rounded(half, 1)),"p99_us":\(RunLine.rounded(most, 1)),\
            "p999_us":\(RunLine.rounded(ledger.rounds.microseconds(99.9), 1)),\
            "max_us":\(RunLine.rounded(ledger.rounds.microseconds(100), 1)),\
            "p99_to_p50":\(RunLine.rounded(most / max(half, 0.1), 2)),"stalls":\(stats.stalls),\
            "rewritten_mib":\(stats.rewrittenBytes >> 20),"ok":\(isWhole)}
            """)
        fflush(nil)
        if !isWhole { throw ExitCode(1) }
        return perSecond
    }
}

extension Result where Failure == any Error {
    fileprivate static func catching(_ body: () async throws -> Success) async -> Self {
        do { return .success(try await body()) } catch { return .failure(error) }
    }
}

/// Enqueues that are made when they are due. One thread makes them, as `pipelined` does for tasks, and one takes the
/// answers.
private struct Offer {
    let store: JobStore
    let payloads: Payloads
    let perSecond: Double
    let time: MeasuredTime

    func run() throws -> CallerLedger {
        let calls = OutstandingCalls()
        let start = MonotonicTime.now
        let thread = try DedicatedThread(name: "bench-offer") {
            var number: UInt64 = 0
            while true {
                let due = start + UInt64(Double(number) * 1e9 / perSecond)
                if due >= time.to { break }
                Self.sleep(until: due)
                calls.add(
                    .init(
                        due: due, number: number,
                        answer: store.submitEnqueue(HoldfastFace.queue, payload: payloads.make(number))))
                number += 1
            }
            calls.end()
        }
        defer { thread.join() }
        var ledger = CallerLedger(isFine: true)
        var failure: JobStoreError?
        while let answered = calls.takeAll() {
            for call in answered {
                do { ledger.ids.append(try call.answer.valueBlocking().id.rawValue) } catch {
                    failure = failure ?? error
                    continue
                }
                let now = MonotonicTime.now
                ledger.enqueued += 1
                ledger.enqueuedSum &+= Payloads.mix(call.number)
                guard call.due >= time.from else { continue }
                ledger.measured += 1
                CallerLedger.note(now - call.due, in: &ledger.rounds)
            }
        }
        if let failure { throw failure }
        return ledger
    }

    /// Returns at once when the time has come.
    private static func sleep(until due: UInt64) {
        let now = MonotonicTime.now
        guard due > now else { return }
        var rest = timespec(tv_sec: Int((due - now) / 1_000_000_000), tv_nsec: Int((due - now) % 1_000_000_000))
        nanosleep(&rest, nil)
    }
}

// SENDABLE: every `var` is read and written only under `lock`.
/// Calls that were made and whose answers nobody has taken, in order.
private final class OutstandingCalls: @unchecked Sendable {
    struct Call {
        let due: UInt64
        let number: UInt64
        let answer: Pending<EnqueueResult>
    }

    /// Whoever makes more waits for answers to be taken: memory is bounded, and the wait counts as the calls'.
    private static let countMax = 1 << 16

    private let lock = CallerLock()
    private let changed = Signal()
    private var calls: [Call] = []
    private var isEnded = false

    func add(_ call: Call) {
        lock.withLock {
            while calls.count >= Self.countMax { changed.wait(lock) }
            calls.append(call)
            if calls.count == 1 { changed.notifyAll() }
        }
    }

    func end() {
        lock.withLock {
            isEnded = true
            changed.notifyAll()
        }
    }

    /// Waits for calls; `nil` when there will be none.
    func takeAll() -> [Call]? {
        lock.withLock {
            while calls.isEmpty {
                if isEnded { return nil }
                changed.wait(lock)
            }
            defer { calls = [] }
            if calls.count >= Self.countMax { changed.notifyAll() }
            return calls
        }
    }
}

/// A thread that leases and acks up to a hundred jobs at a time, until there are none and there will be none.
private final class Consumer: Sendable {
    private let isLast = Locked(false)
    private let result = Locked<Result<CallerLedger, any Error>?>(nil)
    private let thread: DedicatedThread

    init(_ store: JobStore, _ payloads: Payloads) throws {
        let (isLast, result) = (isLast, result)
        thread = try DedicatedThread(name: "bench-consumer") {
            let outcome = Result { try Self.consume(store, payloads) { isLast.withLock { $0 } } }
            result.withLock { $0 = outcome }
        }
    }

    /// Waits until all that was enqueued is acked, and returns what was done.
    func finish() throws -> CallerLedger {
        isLast.withLock { $0 = true }
        thread.join()
        guard let outcome = result.withLock({ $0 }) else {
            preconditionFailure("a thread that has ended left a result")
        }
        return try outcome.get()
    }

    private static func consume(
        _ store: JobStore, _ payloads: Payloads, until isLast: () -> Bool
    ) throws -> CallerLedger {
        var ledger = CallerLedger(isFine: false)
        while true {
            let wasLast = isLast()
            let leases = try store.blocking.lease(
                from: HoldfastFace.queue, limit: 100, waitingUpTo: .milliseconds(20))
            if leases.isEmpty {
                if wasLast { return ledger }
                continue
            }
            for lease in leases {
                if let number = payloads.number(of: lease.payload) {
                    ledger.leasedSum &+= Payloads.mix(number)
                } else {
                    ledger.damaged += 1
                }
            }
            _ = try store.blocking.batch(leases.map { .ack($0.identity) })
            ledger.settled += leases.count
        }
    }
}
