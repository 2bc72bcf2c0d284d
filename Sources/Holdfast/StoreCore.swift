// The heart of the store. Everything that changes goes through `attempt`, under one lock:
//
//  1. refuse when the store failed or was closed; ask the log for room;
//  2. read the clock once: time = max(clock, latest time), so it never goes back;
//  3. record everything that is overdue at that time, so that nothing below rests on a passed deadline;
//  4. decide, append, apply: the same `apply` that replays the log;
//  5. hand jobs that became ready to leases that wait for them;
//  6. take a ticket that covers all of it.
//
// No answer leaves before its ticket is durable, not even a refusal: it may rest on a change that a crash undoes.
// What is appended in one hold of the lock is one atomic group, so a crash keeps all of an operation or nothing.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// The state of an open store and the lock's discipline.
final class StoreCore: @unchecked Sendable {
    // SENDABLE: every `var` is read and written only under `lock`, which is the log's own; the rest never changes.
    let log: WriteAheadLog
    let lock: CallerLock
    let options: JobStoreOptions
    let clock: any StoreClock
    let manualClock: ManualClock?
    let readers = ReaderThread()
    let timer = DeadlineTimer()
    /// Ends the manual clock's notices; set while the store is opened, before anybody else has it.
    var clockObservation: ManualClock.Observation?

    // Whether two accesses overlap is checked at run time for each, in debug builds only: it was a
    // twentieth of a batch's instructions.
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    var state: QueueState
    /// The latest time in any record or answer.
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    private(set) var latestTime: Timestamp
    var isClosed = false
    var failure: JobStoreError?
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    var waiters = LeaseWaiters()
    /// Where those stand that lease from several queues by weight.
    var turns = SharedTurns()
    /// Where what plain jobs of a batch have in common is encoded.
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    private var plainHead = ByteWriter(capacity: 512)
    /// Those that were served in the middle of the operation that has the lock.
    private var servedEarly: [WaitingCaller] = []
    var flights = EffectFlights()
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    var outcomes = OutcomeWaiters()
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    var roomWaiters = RoomWaiters()
    /// Jobs that were found unreadable when they were leased.
    var unreadable = 0
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    var window: HistoryWindow
    /// The first record where a cursor was made, or sent, since compaction last asked what to keep.
    var placedSinceRetention: SequenceNumber?
    /// The first record that a cursor held when compaction last asked what to keep.
    var heldAtRetention: SequenceNumber?

    /// How many overdue records are decided at once.
    static let overdueChunk = 1_000

    init(log: WriteAheadLog, options: JobStoreOptions, replay: StoreReplay) {
        self.log = log
        lock = log.lock
        self.options = options
        clock = options.clock
        manualClock = options.clock as? ManualClock
        state = replay.state
        latestTime = replay.latestTime
        window = HistoryWindow(
            last: replay.state.lastSequence, sealed: log.currentManifest.sealed, bytes: replay.bytes)
        manualClock?.raise(to: self.latestTime)
    }

    // MARK: - Submitting

    /// Runs the locked part of an operation; blocks only for room in the log, and to read.
    func submit<Operation: StoreOperation>(_ operation: Operation) -> Pending<Operation.Value> {
        var operation = operation
        do { try prepare(&operation) } catch { return refusal(error) }
        while true {
            switch attempt(&operation) {
            case .done(let pending): return pending
            case .needsRoom: log.waitForRoomBlocking(isSettling: operation.access == .settles)
            case .needsRecords(let jobs): for job in jobs { operation.supply(lookUp(job), for: job) }
            case .needsEndings(let jobs):
                do { operation.supply(try endings(of: jobs)) } catch { return refusal(error) }
            }
        }
    }

    /// Runs the locked part of an operation; suspends only for room in the log, and to read.
    func submitAsync<Operation: StoreOperation>(_ operation: consuming Operation) async -> Pending<Operation.Value> {
        switch begin(operation) {
        case .done(let pending): return pending
        case .unfinished(let operation, let attempt): return await finish(operation, after: attempt)
        }
    }

    private enum Begun<Operation: StoreOperation> {
        case done(Pending<Operation.Value>)
        indirect case unfinished(Operation, Attempt<Operation.Value>)
    }

    /// Makes the first attempt, which is nearly always the last. Not async: each value that an async function has takes
    /// memory of its task, by a call.
    private func begin<Operation: StoreOperation>(_ operation: consuming Operation) -> Begun<Operation> {
        do { try prepare(&operation) } catch { return .done(refusal(error)) }
        switch attempt(&operation) {
        case .done(let pending): return .done(pending)
        case let unfinished: return .unfinished(operation, unfinished)
        }
    }

    private func finish<Operation: StoreOperation>(
        _ operation: Operation, after first: Attempt<Operation.Value>
    ) async -> Pending<Operation.Value> {
        var (operation, last) = (operation, first)
        while true {
            switch last {
            case .done(let pending): return pending
            case .needsRoom: await log.waitForRoom(isSettling: operation.access == .settles)
            case .needsRecords(let jobs):
                let lookups = await readers.run { jobs.map(self.lookUp) }
                for (job, lookup) in zip(jobs, lookups) { operation.supply(lookup, for: job) }
            case .needsEndings(let jobs):
                do throws(JobStoreError) {
                    operation.supply(
                        try await readers.run { () throws(JobStoreError) in try self.endings(of: jobs) })
                } catch { return refusal(error) }
            }
            last = attempt(&operation)
        }
    }

    /// Does what needs neither the state nor the lock.
    private func prepare<Operation: StoreOperation>(_ operation: inout Operation) throws(JobStoreError) {
        try operation.validate(options)
        if let codec = options.payloadCodec { try operation.encode(with: codec, options) }
    }

    private enum Attempt<Value: Sendable> {
        case done(Pending<Value>)
        case needsRoom
        case needsRecords([JobID])
        case needsEndings([JobID])
    }

    private func attempt<Operation: StoreOperation>(_ operation: inout Operation) -> Attempt<Operation.Value> {
        var served: [WaitingCaller] = []
        log.lockToAppend()
        let result = attemptLocked(&operation, &served)
        served += takeEnded()
        log.unlockAppended()
        for caller in served { caller.wake() }
        return result
    }

    private func attemptLocked<Operation: StoreOperation>(
        _ operation: inout Operation, _ served: inout [WaitingCaller]
    ) -> Attempt<Operation.Value> {
        do {
            try checkOpen()
            guard try hasRoom(for: operation) else { return .needsRoom }
        } catch { return .done(refusal(error)) }
        operation.prepare(self)
        let now = readTime()
        do {
            let next = log.nextSequence
            guard try recordOverdue(at: now) else { return .needsRoom }
            // That may have taken the room.
            if log.nextSequence != next { guard try hasRoom(for: operation) else { return .needsRoom } }
        } catch { return .done(refusal(error)) }
        let outcome: Pending<Operation.Value>.Outcome
        do {
            switch try operation.run(on: self, at: now) {
            case .value(let value): outcome = .value(value)
            case .deferred(let work, let atHand): outcome = .deferred(work, atHand: atHand)
            case .needsRecords(let jobs): return .needsRecords(jobs)
            case .needsEndings(let jobs): return .needsEndings(jobs)
            case .needsRoom: return .needsRoom
            }
        } catch { outcome = refused(error) }
        // What was added for them may be leased at once.
        if !roomWaiters.isEmpty, serveRoomWaiters(at: now) { timer.poke() }
        if !waiters.isEmpty { serveWaiters(at: now, &served) }
        if !outcomes.isEmpty { pokeTimer(at: now) }
        if !servedEarly.isEmpty {
            served += servedEarly
            servedEarly = []
        }
        return .done(Pending(core: self, ticket: log.ticket, outcome: outcome))
    }

    /// Whom to wake once the lock is released, besides leases. The caller holds the lock.
    func takeEnded() -> [WaitingCaller] {
        guard outcomes.hasEnded || roomWaiters.hasEnded else { return [] }
        return outcomes.takeEnded() + roomWaiters.takeEnded()
    }

    /// Hands over what is leasable before the operation that has the lock goes on. The caller holds the lock.
    func serveWaitersEarly(at now: Timestamp) {
        if !waiters.isEmpty { serveWaiters(at: now, &servedEarly) }
    }

    func refusal<Value>(_ error: JobStoreError) -> Pending<Value> {
        Pending(core: self, ticket: nil, outcome: .refused(error))
    }

    // MARK: - Under the lock

    /// Throws when the store takes no more operations.
    func checkOpen() throws(JobStoreError) {
        if let failure, Safeguard.poisonedStore.isOn { throw failure }
        if isClosed { throw Self.closedError }
    }

    static let closedError = JobStoreError(.closed, "the store is closed; open it again")

    private func hasRoom(for operation: some StoreOperation) throws(JobStoreError) -> Bool {
        if operation.access == .reads { return true }
        return try hasRoom(isSettling: operation.access == .settles, bytes: operation.bytes)
    }

    /// Whether a record more than the first has a place, of an operation that ends where it has none and goes on once
    /// there is one.
    func hasRoomForMore(isSettling: Bool) -> Bool {
        log.roomBytes(isSettling: isSettling) >= Limits.namedRecordBytesMax
    }

    /// Whether `bytes` of records have a place, of an operation that was admitted with fewer.
    func hasRoom(for bytes: Int, of operation: some StoreOperation) -> Bool {
        bytes <= operation.bytes || bytes <= log.roomBytes(isSettling: operation.access == .settles)
    }

    /// Whether records may be appended now.
    func hasRoom(isSettling: Bool, bytes: Int = 0) throws(JobStoreError) -> Bool {
        let admission: Admission
        do { admission = try log.admission(isSettling: isSettling, bytes: bytes) } catch { throw JobStoreError(error) }
        if case .wait = admission { return false }
        return true
    }

    /// Reads the clock once; the time it returns never goes back.
    func readTime() -> Timestamp {
        latestTime = Safeguard.steadyClock.isOn ? max(latestTime, clock.boundedNow()) : clock.boundedNow()
        return latestTime
    }

    /// Records all that is overdue at `now` and lets due jobs be leased.
    ///
    /// - Returns: False when the log has no room for all of it yet; call again at a later time.
    func recordOverdue(at now: Timestamp) throws(JobStoreError) -> Bool {
        while Self.hasOverdue(&state, at: now), Safeguard.passedDeadlines.isOn {
            guard try hasRoom(isSettling: true) else { return false }
            let mutations = state.overdue(at: now, limit: Self.overdueChunk)
            assert(!mutations.isEmpty, "what is overdue can be recorded")
            if mutations.isEmpty { break }
            for (index, mutation) in mutations.enumerated() {
                // What is left is overdue at any later time, too.
                if index > 0, !hasRoomForMore(isSettling: true) { break }
                append(mutation, at: now)
            }
        }
        state.promoteDue(at: now)
        return true
    }

    /// Decides one command and carries it out.
    func perform(_ command: Command, at now: Timestamp) throws(JobStoreError) -> Reply {
        var scope = BatchScope()
        let decision = try decide(command, at: now, next: log.nextSequence, in: &scope)
        append(decision, at: now)
        return decision.reply
    }

    /// Carries out what was decided.
    func append(_ decision: Decision, at now: Timestamp) {
        switch decision.mutations {
        case .none: break
        case .one(let mutation): append(mutation, at: now)
        case .many(let mutations): for mutation in mutations { append(mutation, at: now) }
        }
    }

    /// Decides one command.
    func decide(
        _ command: consuming Command, at now: Timestamp, next: SequenceNumber, in scope: inout BatchScope
    ) throws(JobStoreError) -> Decision {
        do { return try Self.decide(command, on: &state, at: now, next: next, in: &scope) } catch {
            throw JobStoreError(error)
        }
    }

    // What only reads the state is copied it when the state is a class's property: every collection in it is retained
    // and released. These run for each operation, so they get it in place.

    private static func decide(
        _ command: consuming Command, on state: inout QueueState, at now: Timestamp, next: SequenceNumber,
        in scope: inout BatchScope
    ) throws(EngineError) -> Decision { try state.decide(command, at: now, next: next, in: &scope) }

    private static func grant(
        _ request: LeaseRequest, _ turns: LeaseTurns?, on state: inout QueueState, at now: Timestamp,
        first: SequenceNumber
    ) -> GrantedLeases {
        state.grant(
            from: request.queues, turns, limit: request.limit,
            until: now.advanced(byMilliseconds: request.milliseconds), worker: request.worker, at: now, first: first)
    }

    private static func holds(_ leases: PlainAcks, in state: inout QueueState) -> Bool { state.holds(leases) }

    private static func hasOverdue(_ state: inout QueueState, at now: Timestamp) -> Bool { state.hasOverdue(at: now) }

    /// Appends what is to happen as the next record, and applies it.
    func append(_ mutation: consuming Mutation, at now: Timestamp) {
        var record = Record(sequence: log.nextSequence, time: now, mutation: mutation)
        append(&record)
    }

    /// Appends the next record, and applies it.
    ///
    /// - Parameter record: Not changed, but in place: an element of an array is copied otherwise.
    func append(_ record: inout Record) {
        assert(record.sequence == log.nextSequence, "records are appended in order")
        #if DEBUG || INTERNAL_CHECKS
            do { try state.validate(record) } catch { preconditionFailure("an illegal record was decided: \(error)") }
        #endif
        let bytes = write(record)
        state.apply(record)
        if !outcomes.isEmpty { outcomes.note(record.mutation) }
        #if INTERNAL_CHECKS
            state.checkInvariants()
        #endif
        window.note(record.sequence, bytes: bytes)
    }

    /// Grants leases, and appends and applies them.
    ///
    /// - Parameter bytes: For which there surely is a place. Where all need more than there is, this says how much, and
    ///   nothing is done; or, where it is `nil`, as many are granted as have a place.
    /// - Returns: `nil` where nothing was done.
    func lease(
        _ request: LeaseRequest, _ turns: LeaseTurns?, at now: Timestamp, admittedWith bytes: inout Int?
    ) -> GrantedLeases? {
        var leases = Self.grant(request, turns, on: &state, at: now, first: log.nextSequence)
        if leases.grants.isEmpty { return leases }
        let room = leases.grants.count == 1 ? .max : max(bytes ?? 0, log.roomBytes(isSettling: false))
        if leases.grants.count * Limits.leaseRecordBytesMax > room {
            let needed = leases.bytes(overhead: Limits.optionBytesMax)
            if needed > room {
                guard bytes == nil else {
                    bytes = needed
                    return nil
                }
                leases.shorten(toFit: room, overhead: Limits.optionBytesMax)
            }
        }
        validate(leases.grants.count) { leases.record($0) }
        write(.lease, leases.grants.count, at: now) { leases.encodeBody($0, into: &$1) }
        state.apply(leases)
        return leases
    }

    /// Appends acks and applies them; returns false, and does nothing, unless all of the leases are held.
    func ack(_ leases: PlainAcks, at now: Timestamp) -> Bool {
        guard Self.holds(leases, in: &state) else { return false }
        let first = log.nextSequence
        validate(leases.count) { leases.record($0, from: first, at: now) }
        write(.ack, leases.count, at: now) { leases.encodeBody($0, from: first, at: now, into: &$1) }
        state.apply(leases, from: first, at: now)
        if !outcomes.isEmpty {
            for index in 0..<leases.count { outcomes.note(leases.record(index, from: first, at: now).mutation) }
        }
        return true
    }

    /// Checks records of different jobs that are about to be applied.
    private func validate(_ count: Int, _ record: (Int) -> Record) {
        #if DEBUG || INTERNAL_CHECKS
            for index in 0..<count {
                do { try state.validate(record(index)) } catch {
                    preconditionFailure("an illegal record was decided: \(error)")
                }
            }
        #endif
    }

    /// Appends plain jobs, and applies them.
    ///
    /// - Parameter payload: Appends that of the job with an index.
    func append(_ jobs: PlainJobs, _ payload: (Int, inout ByteWriter) -> Void) {
        assert(jobs.first == log.nextSequence, "records are appended in order")
        // They differ in nothing that is checked but their numbers, of which the last is the largest.
        validate(1) { _ in jobs.record(jobs.count - 1, payload: []) }
        write(jobs, head: &plainHead, payload)
        state.apply(jobs)
    }

    /// Appends plain jobs to the log. The head is given in place: see `decide`.
    private func write(_ jobs: PlainJobs, head: inout ByteWriter, _ payload: (Int, inout ByteWriter) -> Void) {
        head.removeAll()
        jobs.encodeHead(into: &head)
        write(.enqueue, jobs.count, at: jobs.time) { index, writer in
            writer.append(head)
            payload(index, &writer)
        }
    }

    /// Appends records of one kind to the log.
    ///
    /// - Parameter body: Appends the body of that with an index.
    private func write(_ kind: RecordKind, _ count: Int, at time: Timestamp, _ body: (Int, inout ByteWriter) -> Void) {
        let first = log.nextSequence
        log.append(kind: kind.rawValue, time: time, count: count) { index, writer in
            let start = writer.count
            body(index, &writer)
            window.note(first.advanced(by: UInt64(index)), bytes: writer.count - start)
        }
    }

    /// Appends one plain job, and applies it; returns its id.
    func append(plain lane: Lane, _ payload: [UInt8], at now: Timestamp) -> JobID {
        let jobs = PlainJobs(lane: lane, first: log.nextSequence, count: 1, time: now)
        append(jobs) { $1.append(payload) }
        return JobID(jobs.first)
    }

    /// Whether plain jobs need no decision.
    var takesPlainJobs: Bool { Self.takesPlainJobs(&state) }

    private static func takesPlainJobs(_ state: inout QueueState) -> Bool { state.takesPlainJobs }

    /// Appends a record to the log and returns the size of its body. By itself, because a closure copies what it takes
    /// from an `inout` parameter.
    private func write(_ record: Record) -> Int {
        var bytes = 0
        log.append(kind: record.mutation.kind.rawValue, time: record.time) { writer in
            let start = writer.count
            record.encodeBody(into: &writer)
            bytes = writer.count - start
        }
        return bytes
    }

    // MARK: - Reading the log; the caller does not hold the lock

    /// Returns the enqueue record of a job. Blocks until it is durable when it is not yet.
    func lookUp(_ job: JobID) -> EnqueueLookup {
        do {
            let records = LogRecords(log: log)
            if let record = try records.record(job.sequence) { return EnqueueLookup(record) }
            // It may have been appended but not committed.
            let ticket = lock.withLock { log.ticket }
            try log.waitBlocking(for: ticket)
            return EnqueueLookup(try records.record(job.sequence))
        } catch {
            return .failed(JobStoreError(error))
        }
    }

    /// Returns the enqueue record of a job if it is in memory, whole and sound.
    func lookUpAtHand(_ job: JobID) -> (enqueue: Enqueue, at: Timestamp)? {
        guard let record = try? LogRecords(log: log).recordAtHand(job.sequence),
            case .enqueue(let enqueue) = record.mutation
        else { return nil }
        return (enqueue, record.time)
    }

    /// Returns the record at `sequence`, or `nil` when the log does not hold it any more.
    func record(_ sequence: SequenceNumber) throws(JobStoreError) -> Record? {
        do { return try LogRecords(log: log).record(sequence) } catch { throw JobStoreError(error) }
    }

    /// Returns the records of a job up to and including `last`, oldest first.
    func records(of job: JobID, through last: SequenceNumber) throws(JobStoreError) -> [Record] {
        do { return try LogRecords(log: log).records(of: job, through: last) } catch { throw JobStoreError(error) }
    }

    // MARK: - Failing

    /// Returns the failure to report for `error`: the first one wins.
    func failure(from error: LogError) -> JobStoreError {
        let mapped = JobStoreError(error)
        return lock.withLock { failure ?? mapped }
    }
}

extension Record {
    /// Decodes a record from the log, naming its sequence number when it can't be; `nil` for one that may be skipped.
    init?(checking sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) throws(LogError) {
        do {
            guard let record = try Record(sequence: sequence, kind: kind, body: body) else { return nil }
            self = record
        } catch { throw LogError(error, at: sequence) }
    }
}

extension LogError {
    /// Says that the record at `sequence` is not one the state can take.
    init(_ error: EngineError, at sequence: SequenceNumber) {
        let isNewer = error.code == .unsupportedFormat
        let remedy = isNewer ? "open the store with a newer version" : "restore the store from a backup"
        self.init(
            isNewer ? .unsupportedFormat : .corrupt, "record \(sequence): \(error.message); \(remedy)",
            sequences: sequence...sequence)
    }
}

extension JobStoreError {
    /// Translates a refusal of the engine.
    init(_ error: EngineError) {
        let code: Code =
            switch error.code {
            case .notFound: .notFound
            case .leaseLost: .leaseLost
            case .invalidState: .invalidState
            case .queueFull: .queueFull
            case .unsupportedFormat: .unsupportedFormat
            default: .corrupt
            }
        let lost = code == .leaseLost ? LostLease(error) : nil
        let place = error.code == .queueFull ? FullPlace(queue: error.queue) : nil
        self.init(code, error.message, job: error.job, lostLease: lost, fullPlace: place)
    }
}
