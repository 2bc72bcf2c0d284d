// The state of a store: a pure function of its records. Live operation and recovery both go through `apply`; nothing
// else changes what `digest` and the image show. `promoteDue` changes an index only.
//
// Invariants (see `checkInvariants`): a job without an entry is a bit in exactly one lane; one with an entry is in its
// lane's bitmap exactly while it waits and its time was seen to come; `needed` holds the id of every job in the state
// and the records its entry or an effect refers to; the top of each heap of deadlines is live.

package import HoldfastBytes

/// What falls due.
enum Due: UInt8, Comparable, Sendable {
    case lease, startBy, uniqueKey, run, effect, deadLetter, result

    static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// Who holds a unique key.
struct UniqueHolder: Hashable, Sendable {
    let job: UInt64
    /// Milliseconds: held until then, whatever becomes of the job; `nil` for as long as the job is unfinished and not
    /// dead.
    let until: Int64?
}

/// An effect that is kept for a time.
struct EffectWindow: Hashable, Sendable {
    let key: EffectKey
    /// Milliseconds.
    let until: Int64
}

/// Jobs, unique keys, effects, cursors and settings after some record.
package struct QueueState: Sendable {
    /// That of the last record applied.
    package internal(set) var lastSequence = SequenceNumber.zero
    /// The latest time of a record applied.
    package internal(set) var latestTime = Timestamp.zero
    /// How many jobs were acked since the store was created.
    package internal(set) var completedCount: UInt64 = 0

    var table = LaneTable()
    var entries: [UInt64: JobEntry] = [:]
    /// The keys of `entries`, in order.
    var entryIDs = SequenceBitmap()
    /// The sequence numbers of every record that the state refers to.
    var needed = SequenceBitmap()
    /// Of leased jobs whose worker gave a name.
    var workers: [UInt64: String] = [:]
    /// The unique key of every job in the state that was enqueued with one, held at present or not.
    var keysOfJobs: [UInt64: Name] = [:]
    var uniqueKeys: [UniqueKey: UniqueHolder] = [:]
    /// Of jobs whose payload or headers were changed.
    var edited: [UInt64: EditedContent] = [:]
    /// The keys held for a time, by holder.
    var windows: [UInt64: UniqueKey] = [:]
    /// Of jobs that were enqueued with terms of their own.
    var termsOfJobs: [UInt64: JobTerms] = [:]
    /// Milliseconds: when the attempt under way ends at the latest, of leased jobs whose terms limit that.
    var mustEndBy: [UInt64: Int64] = [:]
    var effects: [EffectKey: UInt64] = [:]
    /// Of effects that are kept for a time, by their record.
    var effectWindows: [UInt64: EffectWindow] = [:]
    /// Of jobs that were acked with a result that is kept for a time.
    var results: [UInt64: KeptResult] = [:]
    /// Of queues that limit their dead letters.
    var deadLetters: [Slot<QueueRecord>: DeadLetterOrder] = [:]
    /// What jobs wait for besides a time.
    var waits = DependencyTable()
    /// Of jobs that were enqueued with labels or an owner.
    var labels = LabelIndex()
    /// What the store holds; `nil` while it takes any number of jobs and bytes.
    var storeTally: StoreTally?
    var cursors: [Name: Cursor] = [:]
    /// The last record that is not about a cursor, as far as a cursor depends on it.
    var lastShown = SequenceNumber.zero

    /// Leases, start-by times and windows; may hold stale elements below its top.
    var expiries = DeadlineHeap<Due>()
    /// Run-at times not seen to have come; may hold stale elements below its top.
    var runs = DeadlineHeap<Due>()
    /// Sizes at which the heaps are next cleared of stale elements.
    var expiriesLimit = Self.heapSlack
    var runsLimit = Self.heapSlack

    static let heapSlack = 1024

    /// Creates the state before the first record.
    package init() {}

    // MARK: - Deadlines

    /// Whether an expire record is due. O(1).
    package func hasOverdue(at now: Timestamp) -> Bool {
        if !waits.doomed.isEmpty { return true }
        guard let first = expiries.first else { return false }
        return first.deadline <= now
    }

    /// The earliest instant at which a run-at time, lease, start-by time or window falls due, or, after `now`, a queue
    /// or a group may lease one more as its rate goes. O(queues with a rate).
    package func nextDeadline(after now: Timestamp) -> Timestamp? {
        if !waits.doomed.isEmpty { return now }
        var first = expiries.first?.deadline
        if let run = runs.first?.deadline { first = min(first ?? run, run) }
        if let token = table.nextToken(after: now) { first = min(first ?? token, token) }
        if let token = table.groupTokens.first?.deadline { first = min(first ?? token, token) }
        return first
    }

    /// Returns the expire mutations due at `now`, at most `limit`, in an order that makes each legal after those
    /// before it.
    ///
    /// - Complexity: O(k log k) in the number of elements due that were looked at.
    package func overdue(at now: Timestamp, limit: Int) -> [Mutation] {
        if !waits.doomed.isEmpty { return endsOfDoomed(limit) }
        // What fell due twice, as a dead letter that was waited for in between, is there twice.
        var previous: DeadlineHeap<Due>.Element?
        func isNext(_ element: DeadlineHeap<Due>.Element) -> Bool {
            guard previous.map({ $0 < element }) ?? true, isLive(element) else { return false }
            previous = element
            return true
        }
        var mutations: [Mutation] = []
        var letters: [JobID] = []
        let countMax = limit.addingReportingOverflow(deadLetters.count)
        let looks = countMax.overflow ? limit : countMax.partialValue
        func isAwaited(_ element: DeadlineHeap<Due>.Element) -> Bool {
            !waits.dependents.isEmpty && element.tag != .deadLetter && waits.dependents[element.job.rawValue] != nil
        }
        // What follows from the end of one that others wait for comes before what falls due later, however many are
        // asked for.
        for element in expiries.due(at: now, limit: looks, where: isNext, upTo: isAwaited) {
            if element.tag == .deadLetter {
                letters.append(element.job)
                continue
            }
            guard mutations.count < limit else { break }
            if let mutation = expiry(element) { mutations.append(mutation) }
            if isAwaited(element) { return mutations }
        }
        // Dead letters go once nothing else is due, whenever they fell due: what else falls due makes more of them.
        guard mutations.isEmpty else { return mutations }
        for job in letters where mutations.count < limit {
            mutations += dueDeadLetters(from: job, at: now, limit: limit - mutations.count)
            if case .expire(.deadLetter(let last)) = mutations.last, freesOthers(last) { break }
        }
        return mutations
    }

    private func expiry(_ element: DeadlineHeap<Due>.Element) -> Mutation? {
        let job = element.job
        switch element.tag {
        case .lease:
            guard let entry = entries[job.rawValue] else { return nil }
            let token = LeaseToken(entry.token)
            if endsByTimeLimit(job.rawValue, entry) {
                return .expire(.timeLimit(job: job, token: token, isDead: hasUsedUpAttempts(entry)))
            }
            let isDead = deathByCrash(job.rawValue, entry) != nil
            return .expire(.lease(job: job, token: token, isDead: isDead))
        case .startBy: return .expire(.startBy(job: job))
        case .uniqueKey:
            guard let unique = windows[job.rawValue] else { return nil }
            let queue = table.queues[unique.queue].name
            return .expire(.uniqueKey(queue: queue, key: unique.key.string, job: job))
        case .effect:
            return effectWindows[job.rawValue].map {
                .expire(.effect(scope: $0.key.scope.string, key: $0.key.key.string))
            }
        case .result: return .expire(.result(job: job))
        case .run, .deadLetter: return nil
        }
    }

    /// Makes jobs leasable whose run-at time has come, or the token of whose group. An index change: digest, image and
    /// queries don't show it.
    package mutating func promoteDue(at now: Timestamp) {
        while let first = runs.first, first.deadline <= now {
            runs.popFirst()
            let job = first.job.rawValue
            guard isLive(first), let lane = entries[job]?.lane else { continue }
            entries[job]?.flags.insert(.isPromoted)
            table.removeScheduled(job, in: lane)
            table.insertReady(job, in: lane)
        }
        pruneRuns()
        table.countGroupTokens(at: now)
    }

    func isLive(_ element: DeadlineHeap<Due>.Element) -> Bool {
        let (job, at) = (element.job.rawValue, element.deadline.milliseconds)
        switch element.tag {
        case .uniqueKey:
            guard let key = windows[job] else { return false }
            return uniqueKeys[key]?.until == at
        case .effect: return effectWindows[job]?.until == at
        case .result: return results[job]?.until == at
        case .deadLetter: return isNextDeadLetter(element)
        case .lease, .startBy, .run: break
        }
        guard let entry = entries[job] else { return false }
        switch element.tag {
        case .lease: return entry.phase == .leased && entry.deadline == at
        case .startBy: return entry.phase == .waiting && entry.flags.contains(.hasStartBy) && entry.deadline == at
        case .run:
            return entry.phase == .waiting && entry.runAt == at
                && entry.flags.isDisjoint(with: [.isPromoted, .isBlocked])
        case .uniqueKey, .effect, .deadLetter, .result: return false
        }
    }

    mutating func pushExpiry(_ deadline: Int64, _ job: UInt64, _ due: Due) {
        expiries.push(Timestamp(milliseconds: deadline), JobID(job), due)
        guard expiries.count > expiriesLimit else { return }
        var heap = expiries
        // A dead letter is next again, and here again, as often as it was waited for in between.
        var letters: Set<JobID> = []
        heap.removeAll { isLive($0) && ($0.tag != .deadLetter || letters.insert($0.job).inserted) }
        expiries = heap
        expiriesLimit = max(2 * expiries.count, Self.heapSlack)
    }

    mutating func pushRun(_ runAt: Int64, _ job: UInt64) {
        runs.push(Timestamp(milliseconds: runAt), JobID(job), .run)
        guard runs.count > runsLimit else { return }
        var heap = runs
        heap.removeAll { isLive($0) }
        runs = heap
        runsLimit = max(2 * runs.count, Self.heapSlack)
    }

    /// Keeps the heaps' tops live after a deadline of `job` went or moved.
    mutating func deadlinesChanged(of job: UInt64) {
        if expiries.first?.job.rawValue == job { pruneExpiries() }
        if runs.first?.job.rawValue == job { pruneRuns() }
    }

    /// Takes the lease of a job that has ended off the top, if it is there: whether it is live needs no look.
    mutating func dropLease(of job: JobID) {
        if let first = expiries.first, first.job == job, first.tag == .lease { expiries.popFirst() }
    }

    /// Keeps the heaps' tops live after deadlines of several jobs went.
    mutating func pruneDeadlines() {
        pruneExpiries()
        pruneRuns()
    }

    private mutating func pruneExpiries() {
        while let first = expiries.first, !isLive(first) { expiries.popFirst() }
    }

    private mutating func pruneRuns() {
        while let first = runs.first, !isLive(first) { runs.popFirst() }
    }
}
