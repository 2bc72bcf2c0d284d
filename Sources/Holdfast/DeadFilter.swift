// Which dead letters are meant: for looking at them, for making them ready again, and for dropping them.

public import HoldfastBytes
package import HoldfastEngine

/// Which of a queue's dead letters are meant: those that meet all that is said.
public struct DeadFilter: Hashable, Sendable {
    /// Dead for one of these reasons; for any when empty.
    public var reasons: Set<JobInfo.DeadReason>
    /// The last error's text has this in it, letter for letter.
    public var errorContains: String?
    /// Of this group.
    public var group: String?
    /// Dead since this time, or since a later one.
    public var diedFrom: Timestamp?
    /// Dead since before this time.
    public var diedBefore: Timestamp?
    /// With at least so many attempts begun.
    public var attemptsMin: Int?
    /// With this id or a greater one.
    public var firstID: JobID?
    /// With this id or a lower one.
    public var lastID: JobID?
    private let isAll: Bool

    /// Those that meet all that is given. A filter that says nothing is refused by what changes jobs.
    public init(
        reasons: Set<JobInfo.DeadReason> = [], errorContains: String? = nil, group: String? = nil,
        diedFrom: Timestamp? = nil, diedBefore: Timestamp? = nil, attemptsMin: Int? = nil, firstID: JobID? = nil,
        lastID: JobID? = nil
    ) {
        self.reasons = reasons
        self.errorContains = errorContains
        self.group = group
        self.diedFrom = diedFrom
        self.diedBefore = diedBefore
        self.attemptsMin = attemptsMin
        self.firstID = firstID
        self.lastID = lastID
        isAll = false
    }

    private init(isAll: Bool) {
        reasons = []
        self.isAll = isAll
    }

    /// Every dead letter of the queue.
    public static let all = DeadFilter(isAll: true)

    /// Whether it says nothing, not even that all are meant.
    var isEmpty: Bool { self == DeadFilter() }

    /// Refuses what is out of bounds.
    ///
    /// - Parameter mayBeEmpty: Whether nothing said stands for all.
    func validate(mayBeEmpty: Bool) throws(JobStoreError) {
        guard mayBeEmpty || !isEmpty else {
            throw JobStoreError(
                .badRequest, "`where` says nothing; say which dead letters are meant, or that all of them are")
        }
        if let errorContains {
            try Limits.checkValue(errorContains, "error_contains")
            if errorContains.isEmpty {
                throw JobStoreError(.badRequest, "`error_contains` is empty; give a part of the text, or leave it out")
            }
        }
        if let group { try Limits.checkName(group, "group") }
        if let attemptsMin, !(0...Int(RecordLimits.maxAttemptsMax)).contains(attemptsMin) {
            throw JobStoreError(
                .badRequest, "`attempts_min` is \(attemptsMin); give 0 to \(RecordLimits.maxAttemptsMax)")
        }
    }

    /// What of it the state can tell.
    package var criteria: DeadCriteria {
        var criteria = DeadCriteria()
        criteria.reasons = Set(DeadReason.allCases.filter { reasons.contains(JobInfo.DeadReason($0)) })
        criteria.group = group
        criteria.diedFrom = diedFrom ?? .zero
        criteria.diedBefore = diedBefore
        criteria.attemptsMin = UInt32(attemptsMin ?? 0)
        criteria.first = firstID ?? JobID(0)
        criteria.last = lastID ?? JobID(UInt64.max)
        return criteria
    }
}

/// What was done with dead letters, or would be.
public struct DeadLetterReport: Hashable, Sendable {
    /// How many were made ready again, or dropped.
    public internal(set) var count = 0
    /// How many were left because another job holds their unique key.
    public internal(set) var skipped = 0
    /// The lowest ids of those that were counted, ten at most.
    public internal(set) var firstIDs: [JobID] = []
    /// How many of those that were counted had been dead for which reason.
    public internal(set) var reasons: [JobInfo.DeadReason: Int] = [:]
    /// When the last of them may run, where they were spread over time.
    public internal(set) var lastRunAt: Timestamp?

    static let firstIDsMax = 10

    mutating func add(_ letter: DeadLetter) {
        count += 1
        if firstIDs.count < Self.firstIDsMax { firstIDs.append(letter.id) }
        reasons[JobInfo.DeadReason(letter.reason), default: 0] += 1
    }
}
