// One measurement over a stretch of time: a fresh store, or the bare log, so many callers, and the check of what they
// did. All that went in must have come out or be there still, and no id may have been given twice.

import ArgumentParser
import Histogram
import Holdfast
import HoldfastLog

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Measures the workloads that run for a while.
struct TimedRun: Sendable {
    let workload: RunWorkload
    let callers: Int
    let payloads: Payloads
    let seconds: Double
    let warmUp: Double
    let directory: String

    /// Measures the bare log.
    func bare(_ style: CallStyle) async throws -> RunLine {
        let log = try BareLog(directory: directory)
        let (ledger, figures) = try await measured { time in
            let crew: [Caller<BareJob>] = self.crew(time)
            switch style {
            case .threads: return try Crew.runOnThreads(crew, on: BareThreads(log, callers: callers))
            case .loop: return try BareLoop.run(crew, on: log)
            case .tasks:
                let tasks = BareTasks(log)
                return try await tasks.serving { try await Crew.runInTasks(crew, on: tasks) }
            }
        }
        return line("bare", style, ledger, figures, left: log.waitingCount, leftSum: nil)
    }

    /// Measures a fresh store.
    func holdfast(_ style: CallStyle) async throws -> RunLine {
        let path = directory + "/bench-run.holdfast"
        try ScratchDirectory.remove(path)
        defer { try? ScratchDirectory.remove(path) }
        let before = ProcFile.residentBytes
        let store = try await JobStore.open(at: path)
        let face = HoldfastFace(store: store)
        let (ledger, figures) = try await measured { time in
            let crew: [Caller<Lease>] = self.crew(time)
            switch style {
            case .threads: return try Crew.runOnThreads(crew, on: face)
            case .tasks: return try await Crew.runInTasks(crew, on: face)
            case .loop: return try await face.runOutstanding(crew)
            }
        }
        let left = try await store.stats().queues.reduce(0) { $0 + $1.ready + $1.leased + $1.scheduled }
        // What a lease of a hundred left behind is still in; it counts as found when it can be leased and is whole.
        let rest = workload.pattern == .enqueue ? nil : try await drain(store)
        var result = line("holdfast", style, ledger, figures, left: left, leftSum: rest)
        result.residentBytes = max(ProcFile.residentBytes - before, 0)
        result.diskBytes = try DiskUse.bytes(below: path)
        result.jobsOnDisk = left
        try await store.close()
        return result
    }

    private func crew<Held: HeldJob>(_ time: MeasuredTime) -> [Caller<Held>] {
        (0..<callers).map {
            Caller(
                workload.pattern, index: $0, of: callers, batch: workload.batch, payloads: payloads, time: time)
        }
    }

    /// Runs callers, and takes the processes' figures at the beginning and at the end of the measured time.
    private func measured(
        _ body: (MeasuredTime) async throws -> [CallerLedger]
    ) async throws -> (ledger: CallerLedger, figures: (from: ProcessFigures, to: ProcessFigures)) {
        let time = MeasuredTime(warmUp: warmUp, seconds: seconds)
        let figures = Locked<[ProcessFigures]>([])
        let sampler = try DedicatedThread(name: "bench-sampler") {
            for moment in [time.from, time.to] {
                usleep(UInt32(max(Int64(moment) - Int64(MonotonicTime.now), 0) / 1000))
                figures.withLock { $0.append(.now) }
            }
        }
        let ledgers = try await body(time)
        sampler.join()
        var ledger = CallerLedger(isFine: callers <= 64)
        for part in ledgers { ledger.add(part) }
        return (ledger, figures.withLock { ($0[0], $0[1]) })
    }

    /// Leases and settles what is left; returns the sum of the scattered numbers.
    private func drain(_ store: JobStore) async throws -> UInt64 {
        var sum: UInt64 = 0
        while true {
            let leases = try await store.lease(from: HoldfastFace.queue, limit: 1000)
            if leases.isEmpty { return sum }
            for lease in leases { sum &+= payloads.number(of: lease.payload).map(Payloads.mix) ?? 0 }
            _ = try await store.batch(leases.map { .ack($0.identity) })
        }
    }

    private func line(
        _ peer: String, _ style: CallStyle, _ ledger: CallerLedger,
        _ figures: (from: ProcessFigures, to: ProcessFigures), left: Int, leftSum: UInt64?
    ) -> RunLine {
        var ledger = ledger
        var line = RunLine(
            peer: peer + style.suffix, workload: workload.rawValue, payload: payloads.byteCount, callers: callers,
            batch: workload.batch)
        line.take(ledger, over: seconds)
        line.cpuMicrosecondsPerJob = figures.to.cpuSeconds(since: figures.from) * 1e6 / Double(max(ledger.measured, 1))
        line.othersPercent = figures.to.othersPercent(since: figures.from, seconds: seconds)
        if workload.pattern != .enqueue {
            line.parts = [
                ("enq", ledger.enqueues.microseconds(50)), ("lease", ledger.leases.microseconds(50)),
                ("ack", ledger.settlements.microseconds(50)),
            ]
            let found = ledger.leasedSum &+ (leftSum ?? 0)
            if left == 0 || leftSum != nil, found != ledger.enqueuedSum {
                line.faults.append("other jobs came out than went in")
            }
        }
        if left != ledger.enqueued - ledger.settled {
            line.faults.append("\(left) jobs are left of \(ledger.enqueued) less \(ledger.settled)")
        }
        if ledger.hasDuplicateIDs() { line.faults.append("an id was given twice") }
        return line
    }
}

extension CallStyle {
    /// What is appended to the name of what is measured.
    var suffix: String {
        switch self {
        case .threads: ""
        case .tasks: "-async"
        case .loop: "-loop"
        }
    }
}

extension RunLine {
    /// Takes the counts and latencies of a ledger.
    mutating func take(_ ledger: CallerLedger, over seconds: Double) {
        jobsPerSecond = Double(ledger.measured) / seconds
        p50 = ledger.rounds.microseconds(50)
        p90 = ledger.rounds.microseconds(90)
        p99 = ledger.rounds.microseconds(99)
        p999 = ledger.rounds.microseconds(99.9)
        (enqueued, settled) = (ledger.enqueued, ledger.settled)
        if ledger.damaged > 0 { faults.append("\(ledger.damaged) payloads were damaged") }
    }
}

extension Histogram {
    /// The latency that `percent` of the calls did not exceed, in microseconds.
    func microseconds(_ percent: Double) -> Double {
        totalCount == 0 ? 0 : Double(valueAtPercentile(percent)) / 1000
    }
}
