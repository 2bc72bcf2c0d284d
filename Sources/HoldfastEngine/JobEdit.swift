// Changing a job that waits, and what becomes of an enqueue whose unique key another job holds. A job keeps its id,
// its group, its attempts, its unique key and its errors; what is new is in one record, in absolute terms.
//
// A changed payload or header stays in the record that changed it; the state only remembers which one that is, and
// only of jobs that were changed. An edited job has an entry from then on, because its enqueue record tells its lane
// no more.

package import HoldfastBytes

/// A job that waits is changed; what is `nil` stays.
package struct Edit: Hashable, Sendable {
    package var job: JobID
    /// The lane it was in: a ready job without an entry can't be found otherwise.
    package var from: Lane
    /// The lane it is in from here on, of the same group.
    package var to: Lane
    /// When it may be leased; at once unless that is after the record's time.
    package var runAt: Timestamp?
    package var headers: [Enqueue.Header]?
    package var payload: [UInt8]?

    package init(
        job: JobID, from: Lane, to: Lane, runAt: Timestamp? = nil, headers: [Enqueue.Header]? = nil,
        payload: [UInt8]? = nil
    ) {
        self.job = job
        self.from = from
        self.to = to
        self.runAt = runAt
        self.headers = headers
        self.payload = payload
    }

    /// Whether it leaves the job as it was.
    var changesNothing: Bool { from.isSame(as: to) && runAt == nil && headers == nil && payload == nil }
}

extension Lane {
    /// Whether all of it is the same, names by their bytes.
    fileprivate func isSame(as other: Lane) -> Bool {
        priority == other.priority && terms == other.terms && queue.isSameName(as: other.queue)
            && group.isSameName(as: other.group)
    }
}

/// What is to be changed about a job; what is `nil` stays.
package struct JobChanges: Hashable, Sendable {
    package var queue: String?
    package var priority: Int8?
    package var maxAttempts: UInt32?
    /// In the past for at once.
    package var runAt: Timestamp?
    package var headers: [Enqueue.Header]?
    package var payload: [UInt8]?

    /// Changes nothing.
    package init() {}
}

/// What an enqueue does when another job holds its unique key. Only a job that waits can be changed: where the holder
/// is leased or has ended, and holds the key until a time, it is returned as it is.
package enum KeyCollision: UInt8, Hashable, Sendable, CaseIterable {
    /// Its id is returned.
    case existing
    /// The enqueue is refused.
    case reject
    /// It takes over payload, headers, priority and the time at which it may run.
    case replace
    /// It takes over the time at which it may run.
    case postpone
}

/// Which records hold what was changed about a job; 0 for what its enqueue record still says.
struct EditedContent: Hashable, Sendable {
    var payload: UInt64 = 0
    var headers: UInt64 = 0

    /// Each record once.
    var sequences: [UInt64] {
        if payload == headers || headers == 0 { return payload == 0 ? [] : [payload] }
        return payload == 0 ? [headers] : [payload, headers]
    }
}
