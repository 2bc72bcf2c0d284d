// One consumer beside more and more jobs that wait, and the start of a process on what it left: whether anything grows
// with the backlog. Jobs are leased in the order of their enqueues, so the check knows the next one's number.

import ArgumentParser
import Holdfast

/// Measures leases and restarts with a backlog.
struct BacklogRun: Sendable {
    let workload: RunWorkload
    let payloads: Payloads
    let seconds: Double
    /// The most jobs that wait.
    let jobsMax: Int
    let directory: String

    static let storeName = "bench-backlog.holdfast"
    private static let roundsMax = 5000
    private static let fillBatch = 1000

    private var path: String { directory + "/" + Self.storeName }

    /// The backlogs that are measured, rising.
    var sizes: [Int] {
        let sizes = [1000, 100_000, 1_000_000, 10_000_000].filter { $0 < jobsMax }
        return sizes + [jobsMax]
    }

    /// Measures leases at each size; the store stays for `restart`.
    func run(_ report: (RunLine) throws -> Void) async throws {
        try ScratchDirectory.remove(path)
        let bare = try BareLog(directory: directory)
        // The numbers of the oldest job and of the next to be added.
        var (first, next) = (UInt64(0), UInt64(0))
        var (bareFirst, bareNext) = (UInt64(0), UInt64(0))
        for size in sizes {
            next = try await fill(to: size, from: first, next: next)
            bareNext = fill(bare, to: size, from: bareFirst, next: bareNext)
            for style in workload.styles {
                let (bareLine, bareCount) = try await measure(bare, style, size, first: bareFirst)
                bareFirst += bareCount
                try report(bareLine)
                let (line, count) = try await measure(style, size, first: first, left: Int(next - first))
                first += count
                try report(line)
            }
        }
    }

    /// Measures the start of a process on the store, filling it if there is none.
    func restart(_ report: (RunLine) throws -> Void) async throws {
        if ScratchDirectory.isEmpty(path) { _ = try await fill(to: jobsMax, from: 0, next: 0) }
        let left = try ChildStore.killAfterWork(path, queue: HoldfastFace.queue)
        for mode in ["crash", "clean"] {
            let opened = try ChildStore.open(path, queue: HoldfastFace.queue)
            var line = RunLine(peer: "holdfast", workload: workload.rawValue, payload: payloads.byteCount)
            line.mode = mode
            line.startMilliseconds = Double(opened.nanoseconds) / 1e6
            line.residentBytes = opened.residentBytes
            line.jobsOnDisk = opened.pending
            line.diskBytes = try DiskUse.bytes(below: path)
            if opened.pending != left { line.faults.append("\(opened.pending) jobs are there, not \(left)") }
            try report(line)
        }
    }

    /// Removes the store.
    func remove() throws { try ScratchDirectory.remove(path) }

    // MARK: - Filling

    /// Adds jobs, with durability left to the close; returns the next number.
    private func fill(to size: Int, from first: UInt64, next: UInt64) async throws -> UInt64 {
        var options = JobStoreOptions()
        options.durability = .none
        let store = try await JobStore.open(at: path, options: options)
        var next = next
        while next - first < size {
            let end = min(next + UInt64(Self.fillBatch), first + UInt64(size))
            _ = try await store.batch(
                (next..<end).map { .enqueue(queue: HoldfastFace.queue, payload: payloads.make($0)) })
            next = end
        }
        try await store.close()
        return next
    }

    private func fill(_ bare: BareLog, to size: Int, from first: UInt64, next: UInt64) -> UInt64 {
        for number in next..<max(first + UInt64(size), next) {
            _ = bare.perform(.enqueue(payloads.make(number)))
            if number.isMultiple(of: 1000) { bare.swapBuffers() }
        }
        bare.swapBuffers()
        return max(first + UInt64(size), next)
    }

    // MARK: - Measuring

    private func measure(
        _ style: CallStyle, _ size: Int, first: UInt64, left: Int
    ) async throws -> (RunLine, UInt64) {
        let before = ProcFile.residentBytes
        let store = try await JobStore.open(at: path)
        let face = HoldfastFace(store: store)
        let (caller, time): (Caller<Lease>, MeasuredTime) = caller(size)
        let figures = ProcessFigures.now
        let ledger =
            style == .threads
            ? try Crew.runOnThreads([caller], on: face)[0] : try await Crew.runInTasks([caller], on: face)[0]
        var line = line("holdfast", style, size, ledger, time, figures, first: first)
        let there = try await store.stats().queues.reduce(0) { $0 + $1.ready + $1.leased + $1.scheduled }
        if there != left - ledger.settled {
            line.faults.append("\(there) jobs are left of \(left) less \(ledger.settled)")
        }
        line.residentBytes = max(ProcFile.residentBytes - before, 0)
        line.diskBytes = try DiskUse.bytes(below: path)
        line.jobsOnDisk = there
        try await store.close()
        return (line, UInt64(ledger.settled))
    }

    private func measure(
        _ bare: BareLog, _ style: CallStyle, _ size: Int, first: UInt64
    ) async throws -> (RunLine, UInt64) {
        let (caller, time): (Caller<BareJob>, MeasuredTime) = caller(size)
        let figures = ProcessFigures.now
        let ledger: CallerLedger
        if style == .threads {
            ledger = try Crew.runOnThreads([caller], on: BareThreads(bare, callers: 1))[0]
        } else {
            let tasks = BareTasks(bare)
            ledger = try await tasks.serving { try await Crew.runInTasks([caller], on: tasks)[0] }
        }
        return (line("bare", style, size, ledger, time, figures, first: first), UInt64(ledger.settled))
    }

    private func caller<Held: HeldJob>(_ size: Int) -> (Caller<Held>, MeasuredTime) {
        let time = MeasuredTime(warmUp: 0, seconds: seconds)
        // A quarter of what is there at most: two ways of calling are measured in turn.
        let rounds = min(Self.roundsMax, max(size / 4, 1))
        return (
            Caller(workload.pattern, index: 0, of: 1, batch: 1, payloads: payloads, time: time, roundsMax: rounds), time
        )
    }

    private func line(
        _ peer: String, _ style: CallStyle, _ size: Int, _ ledger: CallerLedger, _ time: MeasuredTime,
        _ figures: ProcessFigures, first: UInt64
    ) -> RunLine {
        let seconds = Double(MonotonicTime.now - time.from) / 1e9
        var line = RunLine(peer: peer + style.suffix, workload: workload.rawValue, payload: payloads.byteCount)
        line.backlog = size
        line.take(ledger, over: seconds)
        let now = ProcessFigures.now
        line.cpuMicrosecondsPerJob = now.cpuSeconds(since: figures) * 1e6 / Double(max(ledger.measured, 1))
        line.othersPercent = now.othersPercent(since: figures, seconds: seconds)
        let expected = (first..<first + UInt64(ledger.settled)).reduce(0) { $0 &+ Payloads.mix($1) }
        if ledger.leasedSum != expected { line.faults.append("other jobs were leased than the oldest") }
        return line
    }
}
