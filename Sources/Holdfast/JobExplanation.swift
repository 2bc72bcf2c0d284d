// Why a job is not running, at one instant.

public import HoldfastBytes
package import HoldfastEngine

/// Why a job is not running, or that it is. True at the instant and after the record that it names.
public struct JobExplanation: Hashable, Sendable, CustomStringConvertible {
    /// What it waits for.
    public enum Reason: Hashable, Sendable {
        /// It is running: leased by this worker (`""` for one without a name) until then.
        case leased(worker: String, until: Timestamp)
        /// It may not run before then.
        case delayed(until: Timestamp)
        /// It waits for other jobs, or to be released; those among the first that are dead wait for a redrive.
        case waitsFor(JobInfo.Dependencies, dead: [JobID])
        /// Its queue is paused.
        case paused
        /// So many jobs of its queue are leased, and no more may be at once.
        case limited(runningMax: Int)
        /// So many jobs of its group are leased, and no more may be at once.
        case groupLimited(runningMax: Int)
        /// Its queue leases no job before then, as its rate goes.
        case rateLimited(until: Timestamp)
        /// Its group leases no job before then, as its rate goes.
        case groupRateLimited(until: Timestamp)
        /// All slots that its queue shares with others are taken.
        case slotsTaken(limiter: String, size: Int)
        /// Jobs of its group run one at a time, and this one comes first.
        case ordered(behind: JobID)
        /// Other jobs of its queue are leased first.
        case behind(Ahead)
        /// Nothing but a lease: it is the next one of its queue.
        case next
        /// It is dead: out of attempts, buried, or past its time to live.
        case dead(String, at: Timestamp)
        /// It was acked.
        case completed
        /// It was cancelled.
        case cancelled
        /// It was dead, and its queue keeps no more dead letters, or none as old.
        case dropped
    }

    /// The jobs of its queue that are leased before it, if nothing is added meanwhile.
    public struct Ahead: Hashable, Sendable {
        /// How many jobs of one priority.
        public struct Level: Hashable, Sendable {
            /// The priority.
            public let priority: Int
            /// How many.
            public let count: Int
        }
        /// Those of higher priorities, the highest first.
        public let higher: [Level]
        /// Older ones of its own priority and group.
        public let older: Int
        /// Those of its own priority in other groups, whose turns come first.
        public let otherGroups: Int
        /// All of them.
        public var count: Int { higher.reduce(older + otherGroups) { $0 + $1.count } }
    }

    /// The job.
    public let id: JobID
    /// Its queue.
    public let queue: String
    /// Its priority.
    public let priority: Int
    /// Its group, `""` for none.
    public let group: String
    /// What it waits for.
    public let reason: Reason
    /// What is leased before it, of a job that is ready, also in a paused queue.
    public let ahead: Ahead?
    /// Whether its queue is paused, which also keeps a delayed job once its time has come.
    public let isPaused: Bool
    /// When a dead one is dropped because of its age, unless it is redriven before; `nil` while jobs wait for it.
    public let keptUntil: Timestamp?
    /// The instant for which this is true.
    public let at: Timestamp
    /// The last record that it takes into account.
    public let sequence: SequenceNumber

    /// Explains a job of a state in which everything overdue is recorded; `nil` for one that the state does not hold.
    package init?(_ id: JobID, in state: QueueState, at now: Timestamp) {
        guard let standing = state.standing(of: id, at: now) else { return nil }
        let ahead = standing.ahead.map { ahead in
            Ahead(
                higher: ahead.higher.map { Ahead.Level(priority: Int($0.priority), count: $0.count) },
                older: ahead.older, otherGroups: ahead.otherGroups)
        }
        let reason: Reason
        switch standing.state {
        case .leased: reason = .leased(worker: standing.worker, until: standing.until ?? now)
        case .scheduled:
            if let waitsFor = standing.waitsFor {
                reason = .waitsFor(JobInfo.Dependencies(waitsFor), dead: waitsFor.deadPending)
            } else {
                reason = .delayed(until: standing.until ?? now)
            }
        case .dead: reason = .dead(Self.words(standing.deadReason), at: standing.diedAt ?? now)
        case .ready, .completed, .cancelled:
            if standing.isPaused {
                reason = .paused
            } else if let runningMax = standing.runningMax {
                reason = .limited(runningMax: runningMax)
            } else if let hold = standing.heldBy {
                reason = Self.reason(hold)
            } else if let ahead, ahead.count > 0 {
                reason = .behind(ahead)
            } else {
                reason = .next
            }
        }
        self.init(
            id: id, lane: standing.lane, reason: reason, ahead: ahead, isPaused: standing.isPaused,
            keptUntil: state.deadLetterEnd(of: id), at: now, sequence: state.lastSequence)
    }

    /// Explains a job that has finished.
    package init(_ id: JobID, _ lane: Lane, finishedBy reason: Reason, in state: QueueState, at now: Timestamp) {
        let isPaused = state.queueCounts(at: now).contains { $0.queue == lane.queue && $0.terms.isPaused }
        self.init(
            id: id, lane: lane, reason: reason, ahead: nil, isPaused: isPaused, keptUntil: nil, at: now,
            sequence: state.lastSequence)
    }

    private init(
        id: JobID, lane: Lane, reason: Reason, ahead: Ahead?, isPaused: Bool, keptUntil: Timestamp?,
        at now: Timestamp, sequence: SequenceNumber
    ) {
        self.id = id
        queue = lane.queue
        priority = Int(lane.priority)
        group = lane.group
        self.reason = reason
        self.ahead = ahead
        self.isPaused = isPaused
        self.keptUntil = keptUntil
        at = now
        self.sequence = sequence
    }

    private static func reason(_ hold: JobHold) -> Reason {
        switch hold {
        case .rate(let until): .rateLimited(until: until)
        case .groupRate(let until): .groupRateLimited(until: until)
        case .slots(let limiter): .slotsTaken(limiter: limiter.name, size: limiter.size)
        case .running(let most): .groupLimited(runningMax: most)
        case .order(let first): .ordered(behind: first)
        }
    }

    private static func words(_ reason: DeadReason?) -> String {
        switch reason {
        case .startByPassed: "its time to live passed"
        case .buried: "it was buried"
        case .unreadable: "its record is damaged"
        case .poison: "too many of its attempts ended without a report"
        case .dependency: "a job that it waited for failed"
        case .finalError: "it failed with an error after which it is not tried again"
        case .attemptsUsedUp, nil: "its attempts are used up"
        }
    }

    /// A sentence for people.
    public var description: String { "job \(id.rawValue) \(sentence)" }

    private var sentence: String {
        switch reason {
        case .leased(let worker, let until):
            return "is running: leased by \(worker.isEmpty ? "a worker without a name" : worker) for "
                + "\(words(until: until)) more"
        case .delayed(let until):
            let also = isPaused ? ", and queue \(queue) is paused" : ""
            return "is delayed for \(words(until: until)) more\(also)"
        case .waitsFor(let dependencies, let dead): return Self.words(dependencies, dead)
        case .paused: return "waits because queue \(queue) is paused\(place)"
        case .limited(let runningMax):
            return "waits because queue \(queue) lets \(Self.jobs(runningMax)) run at once, and so many do\(place)"
        case .groupLimited(let runningMax):
            return "waits because queue \(queue) lets \(Self.jobs(runningMax)) of a group run at once, and so many of "
                + "group \(group) do"
        case .rateLimited(let until):
            return
                "waits for \(words(until: until)) more, as the rate of queue \(queue) goes\(place)"
        case .groupRateLimited(let until):
            return
                "waits for \(words(until: until)) more, as the rate of group \(group) in queue "
                + "\(queue) goes"
        case .slotsTaken(let limiter, let size):
            return
                "waits because \(limiter), which queue \(queue) shares, lets \(Self.jobs(size)) run at once, and "
                + "so many do"
        case .ordered(let first):
            return
                "waits for job \(first.rawValue): queue \(queue) runs the jobs of group \(group) one at a time, "
                + "in order"
        case .behind(let ahead): return "waits behind \(Self.words(ahead)) of queue \(queue)"
        case .next: return "is the next of queue \(queue): it waits for a worker to lease it"
        case .dead(let reason, _):
            let end = keptUntil.map { ", and is dropped in \(words(until: $0))" } ?? ""
            return "is dead: \(reason)\(end)"
        case .completed: return "was acked"
        case .cancelled: return "was cancelled"
        case .dropped: return "was dead, and was dropped as queue \(queue) limits its dead letters"
        }
    }

    private func words(until end: Timestamp) -> String {
        Duration.milliseconds(end.milliseconds - at.milliseconds).words
    }

    private static func words(_ dependencies: JobInfo.Dependencies, _ dead: [JobID]) -> String {
        let shown = dependencies.waitingFor.prefix(10).map { "\($0.rawValue)" }
        let more = dependencies.pending - shown.count
        var sentence = "is held: it waits to be released"
        if !shown.isEmpty {
            let list = shown.joined(separator: ", ") + (more > 0 ? " and \(more) more" : "")
            let own = "\(dependencies.pending == 1 ? "job" : "jobs") \(list)"
            sentence = "waits for \(own)" + (dependencies.isHeld ? ", and is held: it waits to be released" : "")
        }
        guard let first = dead.first else { return sentence }
        return sentence + "; job \(first.rawValue) is dead: redrive it, or cancel one of the two"
    }

    /// What comes before it in a queue from which nothing is leased now.
    private var place: String {
        let count = ahead?.count ?? 0
        return count > 0 ? ", and \(Self.jobs(count)) of it would come first" : ""
    }

    private static func words(_ ahead: Ahead) -> String {
        var parts = ahead.higher.map { "\(jobs($0.count)) of priority \($0.priority)" }
        if ahead.older > 0 {
            parts.append("\(ahead.older) older \(ahead.older == 1 ? "one" : "ones") of its own priority and group")
        }
        if ahead.otherGroups > 0 { parts.append("\(jobs(ahead.otherGroups)) of other groups whose turn comes first") }
        guard let last = parts.popLast() else { return "nothing" }
        return parts.isEmpty ? last : parts.joined(separator: ", ") + " and " + last
    }

    private static func jobs(_ count: Int) -> String { "\(count) \(count == 1 ? "job" : "jobs")" }
}
