// The records: everything that ever happens to a store, as values. `QueueState.apply` turns them into state, and
// nothing else changes state. A record says all that its transition needs; it never refers to a clock or to chance.
//
// Numbers of kinds are stable for ever (see Record+Codec.swift for the bytes). Kinds 12 to 15 are set aside for
// replication positions and schedules.

package import HoldfastBytes

/// One record of the log.
package struct Record: Hashable, Sendable {
    package let sequence: SequenceNumber
    /// When it happened: `max(clock, latest time in the log)`, so it never goes back.
    package let time: Timestamp
    package let mutation: Mutation

    package init(sequence: SequenceNumber, time: Timestamp, mutation: consuming Mutation) {
        self.sequence = sequence
        self.time = time
        self.mutation = mutation
    }
}

/// What a record does.
package enum Mutation: Hashable, Sendable {
    case enqueue(Enqueue)
    case lease(LeaseGrant)
    case heartbeat(Heartbeat)
    case ack(Ack)
    case requeue(Requeue)
    case expire(Expire)
    case bury(Bury)
    case redrive(Redrive)
    case cancel(Cancel)
    /// Rare and large: others stay small.
    indirect case edit(Edit)
    case effect(Effect)
    case effectRemove(EffectRemove)
    /// Rare, and larger than the others: behind a reference, so that these stay small.
    indirect case queueSettings(QueueSettings)
    case clock(ClockAdvance)
    case cursorSet(CursorSet)
    case cursorRemove(CursorRemove)
    case release(Release)
    case storeSettings(StoreSettings)
}

/// The stable number of a record's kind.
package enum RecordKind: UInt8, CaseIterable, Sendable {
    case enqueue = 1
    case lease = 2
    case heartbeat = 3
    case ack = 4
    case requeue = 5
    case expire = 6
    case bury = 7
    case redrive = 8
    case cancel = 9
    case effect = 10
    case effectRemove = 11
    case queueSettings = 16
    case clock = 17
    case cursorSet = 18
    case cursorRemove = 19
    case edit = 20
    case release = 23
    case storeSettings = 29
}

/// Where a job waits: jobs of one lane differ in nothing but their id, so a ready job needs no entry of its own.
package struct Lane: Hashable, Sendable {
    package var queue: String
    package var priority: Int8
    /// Beside the priority, where it takes no room.
    private var storedWeight: UInt16
    package var maxAttempts: UInt32
    /// `""` when the job belongs to no group.
    package var group: String
    /// How many turns its group has where one of weight 1 has one; 1 when the job belongs to no group.
    package var weight: UInt32 {
        get { UInt32(storedWeight) }
        set { storedWeight = UInt16(clamping: newValue) }
    }

    package init(
        queue: String, priority: Int8 = 0, maxAttempts: UInt32 = 5, group: String = "",
        weight: UInt32 = 1
    ) {
        self.queue = queue
        self.priority = priority
        self.maxAttempts = maxAttempts
        self.group = group
        storedWeight = UInt16(clamping: weight)
    }
}

/// A new job. Its id is the record's sequence number.
package struct Enqueue: Hashable, Sendable {
    package var lane: Lane
    /// When it may first be leased; `nil` for at once.
    package var runAt: Timestamp?
    /// What few jobs say.
    var extras: Extras?
    /// Pairs in the order given.
    package var headers: [Header]
    package var payload: [UInt8]

    package struct Header: Hashable, Sendable {
        package var name: String
        package var value: String
        package init(name: String, value: String) { (self.name, self.value) = (name, value) }
    }

    package init(
        lane: Lane, runAt: Timestamp? = nil, uniqueKey: String? = nil, uniqueUntil: Timestamp? = nil,
        isKeyFreedByLease: Bool = false, startBy: Timestamp? = nil, terms: JobTerms? = nil, headers: [Header] = [],
        payload: [UInt8] = []
    ) {
        self.lane = lane
        self.runAt = runAt
        self.headers = headers
        self.payload = payload
        if let uniqueKey { self.uniqueKey = uniqueKey }
        if let uniqueUntil { self.uniqueUntil = uniqueUntil }
        if isKeyFreedByLease { self.isKeyFreedByLease = true }
        if let startBy { self.startBy = startBy }
        if let terms { self.terms = terms }
    }
}

/// One attempt begins. The token is the record's sequence number.
package struct LeaseGrant: Hashable, Sendable {
    package var job: JobID
    /// The job's lane, so that whoever replays the record finds it without reading the enqueue record.
    package var lane: Lane
    /// 1 for the first.
    package var attempt: UInt32
    package var deadline: Timestamp
    package var worker: String

    package init(job: JobID, lane: Lane, attempt: UInt32, deadline: Timestamp, worker: String) {
        self.job = job
        self.lane = lane
        self.attempt = attempt
        self.deadline = deadline
        self.worker = worker
    }
}

/// The holder is alive: the deadline moves.
package struct Heartbeat: Hashable, Sendable {
    package var job: JobID
    package var token: LeaseToken
    package var deadline: Timestamp
    /// Any bytes; the shell puts JSON text here. `nil` leaves the earlier progress.
    package var progress: [UInt8]?

    package init(job: JobID, token: LeaseToken, deadline: Timestamp, progress: [UInt8]? = nil) {
        self.job = job
        self.token = token
        self.deadline = deadline
        self.progress = progress
    }
}

/// The job is done.
package struct Ack: Hashable, Sendable {
    package var job: JobID
    package var token: LeaseToken
    package var result: [UInt8]?
    /// The result is kept until then, whatever is kept of history; only with a result.
    package var until: Timestamp?

    package init(job: JobID, token: LeaseToken, result: [UInt8]? = nil, until: Timestamp? = nil) {
        self.job = job
        self.token = token
        self.result = result
        self.until = until
    }
}

/// The attempt ends without success, reported by its holder.
package struct Requeue: Hashable, Sendable {
    package enum Outcome: Hashable, Sendable {
        case ready
        case scheduled(runAt: Timestamp)
        /// The attempts are used up, or the error is final.
        case dead
    }
    package var job: JobID
    package var token: LeaseToken
    package var outcome: Outcome
    /// False gives the attempt back.
    package var countsAttempt: Bool
    package var error: String?
    /// What kind of error it was, for rules about kinds.
    package var errorClass: String?

    package init(
        job: JobID, token: LeaseToken, outcome: Outcome, countsAttempt: Bool = true, error: String? = nil,
        errorClass: String? = nil
    ) {
        self.job = job
        self.token = token
        self.outcome = outcome
        self.countsAttempt = countsAttempt
        self.error = error
        self.errorClass = errorClass
    }
}

/// A deadline has passed.
package enum Expire: Hashable, Sendable {
    /// A lease ended without a report; the job is ready again, or dead after its last attempt or crash.
    case lease(job: JobID, token: LeaseToken, isDead: Bool)
    /// An attempt took as long as it may; the job is ready again, or dead after its last attempt.
    case timeLimit(job: JobID, token: LeaseToken, isDead: Bool)
    /// A job was not leased in time; it is dead.
    case startBy(job: JobID)
    /// The window of a unique key has passed; the key is free. `job` is the holder it had.
    case uniqueKey(queue: String, key: String, job: JobID)
    /// An effect was kept for as long as it was to be.
    case effect(scope: String, key: String)
    /// Its queue keeps no more dead letters, or none as old; the job is forgotten.
    case deadLetter(job: JobID)
    /// The result of a job was kept for as long as it was to be.
    case result(job: JobID)
    /// A job that the job waited for has failed: it is dead.
    case dependency(job: JobID, failed: JobID)
}

/// The job goes to the dead letters at once.
package struct Bury: Hashable, Sendable {
    package enum Reason: UInt8, Hashable, Sendable {
        /// Its holder said so.
        case buried = 1
        /// Its enqueue record fails its checksum.
        case unreadable = 2
    }
    package var job: JobID
    package var token: LeaseToken
    package var reason: Reason
    package var error: String?

    package init(job: JobID, token: LeaseToken, reason: Reason = .buried, error: String? = nil) {
        self.job = job
        self.token = token
        self.reason = reason
        self.error = error
    }
}

/// A dead job is ready again, its attempts counted from zero.
package struct Redrive: Hashable, Sendable {
    package var job: JobID
    /// When it may first be leased; `nil` for at once.
    package var runAt: Timestamp?

    package init(job: JobID, runAt: Timestamp? = nil) { (self.job, self.runAt) = (job, runAt) }
}

/// The job shall not run (again), wherever it is; a lease on it is void.
package struct Cancel: Hashable, Sendable {
    package var job: JobID
    /// The job's lane: a ready job without an entry can't be found otherwise.
    package var lane: Lane

    package init(job: JobID, lane: Lane) {
        self.job = job
        self.lane = lane
    }
}

/// The first value recorded under (scope, key), since that was last removed.
package struct Effect: Hashable, Sendable {
    package var scope: String
    package var key: String
    package var value: [UInt8]
    /// The lease it was recorded under, when it was fenced by one.
    package var fence: Fence?
    /// What kind of value it is, for who reads it; `""` for nothing said.
    package var tag: String
    /// The value describes how the computation failed.
    package var isFailure: Bool
    /// Kept until then; `nil` for until it is removed.
    package var until: Timestamp?

    package struct Fence: Hashable, Sendable {
        package var job: JobID
        package var token: LeaseToken
        package init(job: JobID, token: LeaseToken) { (self.job, self.token) = (job, token) }
    }

    package init(
        scope: String, key: String, value: [UInt8], fence: Fence? = nil, tag: String = "", isFailure: Bool = false,
        until: Timestamp? = nil
    ) {
        self.scope = scope
        self.key = key
        self.value = value
        self.fence = fence
        self.tag = tag
        self.isFailure = isFailure
        self.until = until
    }
}

/// Nothing is recorded under (scope, key) any more.
package struct EffectRemove: Hashable, Sendable {
    package var scope: String
    package var key: String

    package init(scope: String, key: String) { (self.scope, self.key) = (scope, key) }
}

/// A queue's settings from here on; `nil` leaves a setting as it was, and a limit of 0 takes it away.
package struct QueueSettings: Hashable, Sendable {
    package var queue: String
    package var isPaused: Bool?
    package var capacity: Int?
    package var runningMax: Int?
    package var retry: RetryPolicy?
    package var crashMax: Int?
    /// No name takes them away.
    package var finalErrors: ErrorClasses?
    package var sharing: SharingSettings
    package var retention: RetentionSettings
    package var ageing: Int64?

    package init(
        queue: String, isPaused: Bool? = nil, capacity: Int? = nil, runningMax: Int? = nil, retry: RetryPolicy? = nil,
        crashMax: Int? = nil, finalErrors: ErrorClasses? = nil, sharing: SharingSettings = SharingSettings(),
        retention: RetentionSettings = RetentionSettings(), ageing: Int64? = nil
    ) {
        self.queue = queue
        self.isPaused = isPaused
        self.capacity = capacity
        self.runningMax = runningMax
        self.retry = retry
        self.crashMax = crashMax
        self.finalErrors = finalErrors
        self.sharing = sharing
        self.retention = retention
        self.ageing = ageing
    }

    /// Returns what they make of `terms`.
    package func applied(to terms: QueueTerms) -> QueueTerms {
        var terms = terms
        if let isPaused { terms.isPaused = isPaused }
        if let capacity { terms.capacity = capacity == 0 ? nil : capacity }
        if let runningMax { terms.runningMax = runningMax == 0 ? nil : runningMax }
        if let retry { terms.retry = retry }
        if let crashMax { terms.crashMax = crashMax == 0 ? nil : crashMax }
        if let finalErrors { terms.finalErrors = finalErrors }
        terms.sharing = sharing.applied(to: terms.sharing)
        terms.retention = retention.applied(to: terms.retention)
        if let ageing { terms.ageing = ageing == 0 ? nil : ageing }
        return terms
    }
}

/// A virtual clock was moved: its time survives a restart. The record's own time is the new time.
package struct ClockAdvance: Hashable, Sendable {
    package init() {}
}

/// A consumer of the log goes on at a record from here on: it begins, has come further, or was sent elsewhere.
package struct CursorSet: Hashable, Sendable {
    package var name: String
    package var cursor: Cursor

    package init(name: String, cursor: Cursor) { (self.name, self.cursor) = (name, cursor) }
}

/// A consumer is forgotten.
package struct CursorRemove: Hashable, Sendable {
    package var name: String

    package init(name: String) { self.name = name }
}

/// Limits on what a record may hold; anything beyond is refused before it becomes a record, and `corrupt` in a file.
package enum RecordLimits {
    package static let nameBytesMax = 255
    package static let headersBytesMax = 64 << 10
    package static let headersCountMax = 1024
    /// Results, effect values, progress and errors.
    package static let valueBytesMax = 1 << 20
    /// The most a payload limit can be set to.
    package static let payloadBytesMax = 64 << 20
    package static let maxAttemptsMax: UInt32 = 1_000_000
    package static let weightMax: UInt32 = 1000
    /// Cursors in a store.
    package static let cursorsMax = 1024
    /// Jobs that a new one may name to wait for.
    package static let dependenciesMax = 10_000
    /// Jobs that one waits for at once, those added later included.
    package static let pendingMax = 100_000
    /// Jobs that wait for one.
    package static let dependentsMax = 10_000
}
