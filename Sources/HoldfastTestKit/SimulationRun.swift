// One run: the steps, and each operation's way from being drawn to being checked. Crashes and openings are in
// SimulationRun+Sessions.swift.

internal import Holdfast
internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// The state of one run, on one thread.
final class SimulationRun {
    let seed: UInt64
    let schedule: SeededSchedule
    let hasForgetfulDisk: Bool
    var report = SimulationReport()
    var step = 0
    private(set) var trace: [String] = []

    var disk = SimulatedFileSystem()
    /// What the store uses of it.
    lazy var drive = SimulationDisk(disk, schedule: schedule, forgets: hasForgetfulDisk, syncMilliseconds: 0)
    var store: JobStore?
    var clock: any SimulatedClock = ManualClock()
    var ledger = SimulationLedger()
    var clients = SimulationClients()
    /// Of each effect, by the number of its record.
    var effectValues: [UInt64: [UInt8]] = [:]
    /// The latest time that the store has read.
    var latest = Timestamp.zero
    var options = JobStoreOptions()
    var syncMilliseconds = 0
    /// The disk holds no more than it does.
    var isDiskLimited = false
    /// The store met a full disk since it was opened, or will; it forgets that in its own time.
    var mayBeFull = false
    /// Nothing goes wrong any more.
    private(set) var isEnding = false

    private static let traceMax = 40

    init(seed: UInt64, schedule: SeededSchedule, hasForgetfulDisk: Bool) {
        self.seed = seed
        self.schedule = schedule
        self.hasForgetfulDisk = hasForgetfulDisk
        report.seeds = 1
    }

    /// An operation that was decided and not answered yet.
    private struct Flight {
        var operation: SimulationOperation
        let client: Int
        let time: Timestamp
        let next: SequenceNumber
        let count: Int
        let finish: () throws(JobStoreError) -> SimulationAnswer
    }

    func note(_ line: String) {
        trace.append("\(step): \(line)")
        schedule.note("step \(step): \(line)")
        // The first says how the store is used.
        if trace.count > Self.traceMax { trace.remove(at: 1) }
    }

    /// Draws for one step: whatever happened in earlier steps, its numbers are the same.
    func random(for step: Int) -> SeededRandom {
        var mixer = SeededRandom(seed: seed)
        return SeededRandom(seed: mixer.next() ^ (UInt64(bitPattern: Int64(step)) &* 0x9E37_79B9_7F4A_7C15))
    }

    func run(steps: Int) throws(SimulationMismatch) {
        var setup = random(for: -1)
        drawOptions(&setup)
        try open(&setup)
        while step < steps {
            var random = random(for: step)
            try takeStep(&random)
            step += 1
        }
        isEnding = true
        var last = random(for: -2)
        try reopen(&last)
        try closeStore(isLast: true)
    }

    private func takeStep(_ random: inout SeededRandom) throws(SimulationMismatch) {
        moveClock(&random)
        if random.chance(1, in: 20) { schedule.delay(milliseconds: random.pick(1...3_000)) }
        try drawTrouble(&random)
        guard let store else { preconditionFailure("between steps the store is open") }
        switch random.pick(0...59) {
        case 0:
            return try maintain("checkpoint", isDurable: true, &random) { () throws(JobStoreError) in
                _ = try store.blocking.checkpoint()
            }
        case 1:
            return try maintain("compact", isDurable: false, &random) { () throws(JobStoreError) in
                _ = try store.blocking.compact()
            }
        case 2: return try powerCut(&random)
        case 3: return try reopen(&random)
        case 4: return try inspect(&random)
        default: break
        }
        let count = random.chance(1, in: 5) ? random.pick(2...5) : 1
        var flights: [Flight] = []
        for _ in 0..<count {
            let client = clients.client(&random)
            clients.look(at: ledger.state.model)
            let operation = clients.operation(
                of: client, unfinished: ledger.state.model.unfinishedCount, &random)
            flights.append(submit(operation, client, to: store))
            // Which jobs an unanswered lease got can be told only when nothing came after it.
            if operation.isLease { break }
        }
        for flight in flights { try settle(flight) }
        if isFailed { try recover(&random) }
    }

    // MARK: - Operations

    /// Whether the store has failed.
    private(set) var isFailed = false

    func noteFailure() { isFailed = true }
    func noteOpened() { isFailed = false }

    private func submit(_ operation: SimulationOperation, _ client: Int, to store: JobStore) -> Flight {
        report.operations += 1
        if case .advance(let milliseconds) = operation { report.milliseconds += milliseconds }
        let next = store.nextSequence
        let finish = operation.submit(to: store)
        let count = Int(store.nextSequence.rawValue - next.rawValue)
        schedule.pass("submitted")
        latest = max(latest, clock.wallNow())
        return Flight(
            operation: operation, client: client, time: latest, next: next, count: count, finish: finish)
    }

    private func settle(_ flight: Flight) throws(SimulationMismatch) {
        let returns = drive.returnCount
        let result = Result { () throws(JobStoreError) in try flight.finish() }
        if drive.returnCount > returns {
            report.waits.append(seed)
            note("it had been accepted, and waited until space came back")
        }
        note("client \(flight.client) \(flight.operation.summary) at \(flight.time): \(result.summary)")
        let before = ledger.state
        var state = before
        let expired = state.expire(at: flight.time, next: flight.next)
        let afterExpiry = state
        var flight = flight
        // Where the disk is full work ends and none begins.
        if mayBeFull, flight.count == expired + 1 { flight.operation = flight.operation.settlingOnly }
        let place = flight.next.advanced(by: UInt64(expired))
        let next = flight.next.advanced(by: UInt64(flight.count))
        if case .failure(let error) = result, !error.code.isAnswer {
            return try settleUnanswered(flight, error, afterExpiry, expired: expired)
        }
        let observed = (try? result.get())?.grants ?? []
        if case .settle = flight.operation, observed.isEmpty, flight.count > expired + 1 {
            // The next job could not be read: who got it only the store can tell.
            let unread = JobStoreError(.ioError, "a payload could not be read")
            return try settleUnanswered(flight, unread, afterExpiry, expired: expired)
        }
        let (outcome, records) = state.apply(flight.operation, at: flight.time, next: place, observed: observed)
        guard flight.count == expired + records else {
            throw SimulationMismatch(
                message: "\(flight.operation.summary) took \(flight.count) records; the model says \(expired) fell due "
                    + "and \(records) more, \(outcome)")
        }
        keepEffects(of: flight.operation, outcome)
        switch result {
        case .success(let answer):
            try state.check(
                answer, to: flight.operation, outcome, from: afterExpiry, at: flight.time, next: place,
                effectValues: effectValues)
            clients.take(answer, client: flight.client)
        case .failure(let error):
            report.refusals += 1
            guard case .refused(let codes, let index) = outcome, codes.contains(error.code), error.index == index
            else {
                throw SimulationMismatch(
                    message: "\(flight.operation.summary) was refused with \(error), index \(error.index ?? -1); the "
                        + "model says \(outcome)")
            }
        }
        if flight.operation.isInTwoSteps && expired > 0 { ledger.add(afterExpiry, next: next) }
        ledger.add(state, next: next)
        if options.durability == .commit { ledger.settle() }
    }

    /// Takes note of what an operation may have done that got no answer, or of what fell due before it was refused for
    /// want of space.
    private func settleUnanswered(
        _ flight: Flight, _ error: JobStoreError, _ afterExpiry: SimulationState, expired: Int
    ) throws(SimulationMismatch) {
        let isRefused = error.code == .noSpace
        if isRefused {
            guard mayBeFull else {
                throw SimulationMismatch(message: "there is space, and \(flight.operation.summary) met \(error)")
            }
            report.refusals += 1
        } else {
            report.unanswered += 1
            isFailed = true
        }
        if flight.count == 0 { return }
        let next = flight.next.advanced(by: UInt64(flight.count))
        if flight.count == expired {
            ledger.add(afterExpiry, next: next)
            if isRefused && options.durability == .commit { ledger.settle() }
            return
        }
        let place = flight.next.advanced(by: UInt64(expired))
        if flight.operation.isLease {
            let lease = SimulationLedger.UnknownLease(
                operation: flight.operation, time: flight.time, next: place, count: flight.count - expired)
            return ledger.add(afterExpiry, lease: lease, next: next)
        }
        var state = afterExpiry
        let (outcome, records) = state.apply(flight.operation, at: flight.time, next: place, observed: [])
        keepEffects(of: flight.operation, outcome)
        guard !isRefused, flight.count == expired + records else {
            throw SimulationMismatch(
                message: "\(flight.operation.summary) took \(flight.count) records and met \(error); the model says "
                    + "\(expired) fell due and \(records) more")
        }
        if flight.operation.isInTwoSteps && expired > 0 { ledger.add(afterExpiry, next: next) }
        ledger.add(state, next: next)
    }

    /// Remembers the values of effects, by where they are recorded if they are.
    private func keepEffects(of operation: SimulationOperation, _ outcome: SimulationState.Outcome) {
        guard case .replies(let replies) = outcome else { return }
        switch operation {
        case .effect(_, _, _, let value), .keptEffect(_, _, _, let value):
            if case .effect(true, let sequence) = replies.first { effectValues[sequence.rawValue] = value }
        case .batch(let operations):
            for (part, reply) in zip(operations, replies) {
                guard case .effect(_, _, _, _, let value) = part, case .effect(true, let sequence) = reply else {
                    continue
                }
                effectValues[sequence.rawValue] = value
            }
        default: break
        }
    }

    /// Runs a checkpoint or a compaction, which change nothing that can be seen.
    ///
    /// - Parameter isDurable: Whether all that was done before it survives a crash then.
    private func maintain(
        _ name: String, isDurable: Bool, _ random: inout SeededRandom, _ body: () throws(JobStoreError) -> Void
    ) throws(SimulationMismatch) {
        report.operations += 1
        do throws(JobStoreError) {
            try body()
            note(name)
            if isDurable { ledger.settle() }
        } catch {
            note("\(name): \(error)")
            guard error.code == .noSpace else {
                isFailed = true
                return try recover(&random)
            }
        }
    }
}

extension JobStoreError.Code {
    /// Whether the store knew what it did: anything else may or may not have happened.
    fileprivate var isAnswer: Bool { ![.ioError, .noSpace, .closed].contains(self) }
}

extension SimulationOperation {
    /// What it is, without payloads.
    var summary: String {
        switch self {
        case .enqueue(let queue, let payload, let options):
            "enqueue \(queue), \(payload.count) bytes, \(options)"
        case .edit(let id, let edit): "edit \(id): \(edit.summary)"
        // A set has no order of its own, and each run is to say the same.
        case .redriveWhere(let queue, let filter, let speed):
            "redrive \(queue) where \(filter.summary), \(speed ?? 0) a second"
        case .purgeWhere(let queue, let filter): "purge \(queue) where \(filter.summary)"
        case .batch(let operations): "batch of \(operations.count): \(operations.map(Self.name))"
        default: String("\(self)".prefix(160))
        }
    }

    private static func name(_ operation: BatchOperation) -> String {
        switch operation {
        case .enqueue(let queue, let payload, _): "enqueue \(queue), \(payload.count) bytes"
        case .edit(let id, let edit): "edit \(id): \(edit.summary)"
        default: "\(operation)"
        }
    }
}

extension DeadFilter {
    fileprivate var summary: String {
        let parts: [String?] = [
            reasons.map(\.rawValue).sorted().joined(separator: " "), errorContains, group,
            attemptsMin.map { "attempts \($0)" }, firstID.map { "from \($0)" },
        ]
        return "[\(parts.compactMap(\.self).joined(separator: ", "))]"
    }
}

extension JobEdit {
    /// What it is, without its payload.
    fileprivate var summary: String {
        var edit = self
        edit.payload = nil
        return "\(edit), payload \(payload.map { "\($0.count) bytes" } ?? "stays")"
    }
}

extension Result where Success == SimulationAnswer, Failure == JobStoreError {
    fileprivate var summary: String {
        switch self {
        case .success(.leased(let leases)): "leased \(leases.map { "\($0.id) by \($0.token)" })"
        case .success(.deadLetters(let report)): "\(report.count) dead letters, \(report.skipped) skipped"
        case .success(let answer): String("\(answer)".prefix(160))
        case .failure(let error): "\(error.code)"
        }
    }
}
