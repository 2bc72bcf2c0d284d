// One caller: it has one call outstanding at a time, and goes through what its workload asks for until the time is up.
// Whoever makes the calls, on a thread, in a task or in a loop, asks it for the next and tells it what came of it. It
// times each call, checks every byte of every job it gets, and keeps what the check at the end needs.

import Histogram

/// A job that a caller has leased.
protocol HeldJob: Sendable {
    var number: UInt64 { get }
    var payload: [UInt8] { get }
}

/// What a caller may ask for.
enum Call<Held: HeldJob>: Sendable {
    case enqueue([UInt8])
    case enqueueAll([[UInt8]])
    case lease(Int)
    case settle([Held])
    case settleThenLease([Held], Int)
}

/// What came of it.
enum Outcome<Held: HeldJob>: Sendable {
    case enqueued(UInt64)
    case enqueuedAll([UInt64])
    case leased([Held])
    case settled
}

/// The order of a caller's calls.
enum CallPattern: Sendable {
    /// Enqueue, over and over.
    case enqueue
    /// Enqueue, lease, settle.
    case cycle
    /// Enqueue, then settle the job before and lease the next in one call.
    case cycleNext
    /// Lease, settle: what is there already.
    case drain
    /// Settle and lease in one call: what is there already.
    case drainNext

    /// Whether a caller adds jobs.
    var enqueues: Bool { self == .enqueue || self == .cycle || self == .cycleNext }
}

/// When a run measures: what ends before or after counts for the checks only.
struct MeasuredTime: Sendable {
    let from: UInt64
    let to: UInt64
    var seconds: Double { Double(to - from) / 1e9 }

    init(warmUp: Double, seconds: Double) {
        from = MonotonicTime.now + UInt64(warmUp * 1e9)
        to = from + UInt64(seconds * 1e9)
    }
}

/// What callers did.
struct CallerLedger: Sendable {
    /// Nanoseconds of each call, and of what the workload counts: an enqueue, a cycle, a pair of lease and settlement.
    var enqueues: Histogram<UInt32>
    var leases: Histogram<UInt32>
    var settlements: Histogram<UInt32>
    var rounds: Histogram<UInt32>
    /// Jobs that went through in the measured time.
    var measured = 0
    var enqueued = 0
    var settled = 0
    var emptyLeases = 0
    /// Payloads with a byte that is not as it was enqueued.
    var damaged = 0
    /// Sums of the scattered numbers of what was enqueued and what was leased.
    var enqueuedSum: UInt64 = 0
    var leasedSum: UInt64 = 0
    /// The ids that enqueues were answered with, to look for one that was given twice.
    var ids: [UInt64] = []

    private static let nanosecondsMax: UInt64 = 60_000_000_000

    /// - Parameter isFine: Three digits of every latency instead of two: eight times the memory.
    init(isFine: Bool) {
        let histogram = Histogram<UInt32>(
            highestTrackableValue: Self.nanosecondsMax, numberOfSignificantValueDigits: isFine ? .three : .two)
        (enqueues, leases, settlements, rounds) = (histogram, histogram, histogram, histogram)
    }

    mutating func add(_ other: CallerLedger) {
        enqueues.add(other.enqueues)
        leases.add(other.leases)
        settlements.add(other.settlements)
        rounds.add(other.rounds)
        measured += other.measured
        enqueued += other.enqueued
        settled += other.settled
        emptyLeases += other.emptyLeases
        damaged += other.damaged
        enqueuedSum &+= other.enqueuedSum
        leasedSum &+= other.leasedSum
        ids += other.ids
    }

    static func note(_ nanoseconds: UInt64, in histogram: inout Histogram<UInt32>) {
        histogram.record(min(max(nanoseconds, 1), nanosecondsMax))
    }

    /// Whether an id was given twice. Sorts the ids.
    mutating func hasDuplicateIDs() -> Bool {
        ids.sort()
        return zip(ids, ids.dropFirst()).contains { $0 == $1 }
    }
}

/// One caller of a workload.
struct Caller<Held: HeldJob>: Sendable {
    private enum Stage: Sendable { case enqueue, lease, settle, settleThenLease, ended }

    private let pattern: CallPattern
    private let batch: Int
    private let payloads: Payloads
    private let time: MeasuredTime
    /// The next job's number, and how far apart those of one caller are.
    private var number: UInt64
    private let stride: UInt64
    /// Rounds that are still allowed.
    private var roundsLeft: Int
    private var stage: Stage
    private var held: [Held] = []
    private var callStart: UInt64 = 0
    private var roundStart: UInt64 = 0
    private(set) var ledger: CallerLedger

    /// How long a caller asks for a job that must be there.
    private static var patience: UInt64 { 5_000_000_000 }

    init(
        _ pattern: CallPattern, index: Int, of callers: Int, batch: Int, payloads: Payloads, time: MeasuredTime,
        roundsMax: Int = .max
    ) {
        self.pattern = pattern
        self.batch = batch
        self.payloads = payloads
        self.time = time
        (number, stride) = (UInt64(index), UInt64(callers))
        roundsLeft = roundsMax
        stage = pattern.enqueues ? .enqueue : .lease
        ledger = CallerLedger(isFine: callers <= 64)
    }

    /// Returns the next call and starts its time; `nil` when the caller is done.
    mutating func begin() -> Call<Held>? {
        let call: Call<Held>
        switch stage {
        case .ended: return nil
        case .enqueue where batch == 1: call = .enqueue(nextPayload())
        case .enqueue: call = .enqueueAll((0..<batch).map { _ in nextPayload() })
        case .lease: call = .lease(batch)
        case .settle: call = .settle(held)
        case .settleThenLease: call = .settleThenLease(held, batch)
        }
        callStart = MonotonicTime.now
        if stage == .enqueue || !pattern.enqueues && !(pattern == .drain && stage == .settle) {
            roundStart = callStart
        }
        return call
    }

    /// Notes what came of the call, and chooses the next.
    mutating func finish(_ outcome: Outcome<Held>) {
        let now = MonotonicTime.now
        let isMeasured = now >= time.from && now < time.to
        let elapsed = now - callStart
        switch outcome {
        case .enqueued(let id):
            ledger.ids.append(id)
            ledger.enqueued += 1
            if isMeasured { CallerLedger.note(elapsed, in: &ledger.enqueues) }
        case .enqueuedAll(let ids):
            ledger.ids += ids
            ledger.enqueued += ids.count
            if isMeasured { CallerLedger.note(elapsed, in: &ledger.enqueues) }
        case .leased(let jobs):
            if stage == .settleThenLease { ledger.settled += held.count }
            take(jobs)
            if isMeasured { CallerLedger.note(elapsed, in: &ledger.leases) }
        case .settled:
            ledger.settled += held.count
            if isMeasured { CallerLedger.note(elapsed, in: &ledger.settlements) }
        }
        if goOn(at: now), isMeasured {
            ledger.measured += batch
            CallerLedger.note(now - roundStart, in: &ledger.rounds)
        }
    }

    /// Chooses the next call; returns whether a round has ended.
    private mutating func goOn(at now: UInt64) -> Bool {
        if stage == .lease || stage == .settleThenLease, held.isEmpty {
            ledger.emptyLeases += 1
            // The job may be another caller's for a moment; one that is lost is lost for good.
            stage = now > time.to + Self.patience ? .ended : .lease
            return false
        }
        switch (pattern, stage) {
        case (.cycle, .enqueue): stage = .lease
        case (.cycleNext, .enqueue): stage = held.isEmpty ? .lease : .settleThenLease
        case (.cycle, .lease), (.drain, .lease): stage = .settle
        case (.drainNext, .lease): stage = .settleThenLease
        case (.cycleNext, .settle), (.drainNext, .settle): stage = .ended
        default:
            roundsLeft -= 1
            let isOver = now >= time.to || roundsLeft <= 0
            switch pattern {
            case .enqueue, .cycle: stage = isOver ? .ended : .enqueue
            case .cycleNext: stage = isOver ? .settle : .enqueue
            case .drain: stage = isOver ? .ended : .lease
            case .drainNext: stage = isOver ? .settle : .settleThenLease
            }
            return true
        }
        return false
    }

    private mutating func nextPayload() -> [UInt8] {
        ledger.enqueuedSum &+= Payloads.mix(number)
        defer { number += stride }
        return payloads.make(number)
    }

    private mutating func take(_ jobs: [Held]) {
        held = jobs
        for job in jobs {
            if let number = payloads.number(of: job.payload) {
                ledger.leasedSum &+= Payloads.mix(number)
            } else {
                ledger.damaged += 1
            }
        }
    }
}
