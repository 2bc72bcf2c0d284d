// What the state keeps of a job that is more than a bit in its lane: one that was leased, waits for a time, may
// become too late, holds a unique key, or is dead. Plain numbers only; its rare strings are in tables beside it.

package import HoldfastBytes

/// One unusual job.
struct JobEntry: Sendable {
    enum Phase: UInt8, Sendable { case waiting = 0, leased = 1, dead = 2 }

    struct Flags: OptionSet, Sendable {
        let rawValue: UInt8
        static let hasUniqueKey = Flags(rawValue: 1)
        /// The unique key is held for a time, whatever becomes of the job.
        static let keyIsWindowed = Flags(rawValue: 2)
        /// `deadline` says when a waiting job is too late.
        static let hasStartBy = Flags(rawValue: 4)
        /// The job's run-at was seen to have come, and its id is in the lane's bitmap. A matter of the index: two
        /// states that differ in nothing else are equal.
        static let isPromoted = Flags(rawValue: 64)
        /// A lease frees the unique key.
        static let keyIsFreedByLease = Flags(rawValue: 8)
        /// It has terms of its own.
        static let hasTerms = Flags(rawValue: 16)
        /// `crashes` is not 0.
        static let hasCrashed = Flags(rawValue: 32)
        /// It waits for other jobs, or for a word: see `QueueState+Dependencies.swift`, whose table says so as well.
        static let isBlocked = Flags(rawValue: 128)
        static let semantic: Flags = [
            .hasUniqueKey, .keyIsWindowed, .hasStartBy, .keyIsFreedByLease, .hasTerms, .hasCrashed,
        ]
    }

    var lane: Slot<LaneRecord>
    /// Attempts begun, less those given back.
    var attempt: UInt32 = 0
    var phase = Phase.waiting
    var flags: Flags = []
    /// Raw `DeadReason`; 0 unless dead.
    var deadReason: UInt8 = 0
    /// Attempts that ended without a report since it was enqueued or redriven.
    var crashes: UInt32 = 0
    /// Milliseconds; 0 when it may run at once. Only of a waiting job.
    var runAt: Int64 = 0
    /// Milliseconds: the lease's deadline, the instant by which a waiting job must start, or when it died.
    var deadline: Int64 = 0
    /// 0 unless leased.
    var token: UInt64 = 0
    /// Sequence number of the record with the last error; 0 for none.
    var lastError: UInt64 = 0
    /// Sequence number of the record with the last progress; 0 for none.
    var progress: UInt64 = 0

    init(lane: Slot<LaneRecord>) { self.lane = lane }

    /// Whether the id is in its lane's bitmap.
    var isInLane: Bool { phase == .waiting && (runAt == 0 || flags.contains(.isPromoted)) && !isBlocked }

    /// Whether it waits for more than a time.
    var isBlocked: Bool { flags.contains(.isBlocked) }

    /// Whether it waits for a time that has not come.
    func isScheduled(at now: Timestamp) -> Bool { phase == .waiting && (isBlocked || runAt > now.milliseconds) }

    func state(at now: Timestamp) -> JobState {
        switch phase {
        case .waiting: isScheduled(at: now) ? .scheduled : .ready
        case .leased: .leased
        case .dead: .dead
        }
    }
}

/// What a worker is told of a job beside its enqueue record: the records to read, and a time.
package struct LeasedContent: Hashable, Sendable {
    /// The record whose error text applies.
    package var lastError: SequenceNumber?
    /// The edit record whose payload applies; `nil` for that of the enqueue record.
    package var payload: SequenceNumber?
    /// The edit record whose headers apply; `nil` for those of the enqueue record.
    package var headers: SequenceNumber?
    /// When its attempt ends, whatever its heartbeats say.
    package var mustEndBy: Timestamp?

    package init() {}

    /// Whether the enqueue record says all that there is to read.
    package var isAsEnqueued: Bool { lastError == nil && payload == nil && headers == nil }
}

/// What is known of a job that has an entry.
package struct JobStatus: Hashable, Sendable {
    package var lane: Lane
    /// Scheduled, ready, leased or dead.
    package var state: JobState
    /// Attempts begun, less those given back.
    package var attempt: UInt32
    /// Attempts that ended without a report.
    package var crashes: UInt32 = 0
    /// When its attempt ends, whatever its heartbeats say.
    package var mustEndBy: Timestamp?
    /// The time it waits or waited for, until it is leased.
    package var runAt: Timestamp?
    /// The instant by which it must be leased, while it was not.
    package var startBy: Timestamp?
    package var token: LeaseToken?
    package var deadline: Timestamp?
    package var worker: String?
    package var uniqueKey: String?
    /// The record whose error text applies.
    package var lastErrorSequence: SequenceNumber?
    package var deadReason: DeadReason?
    package var diedAt: Timestamp?
    /// The heartbeat record whose progress applies.
    package var progressSequence: SequenceNumber?
    /// The edit record whose payload applies; `nil` for that of the enqueue record.
    package var payloadSequence: SequenceNumber?
    /// The edit record whose headers apply; `nil` for those of the enqueue record.
    package var headersSequence: SequenceNumber?
    /// What it waits or waited for.
    package var dependencies: DependencyStatus?
}
