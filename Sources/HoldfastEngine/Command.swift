// What callers ask for. A command is checked against the state by `QueueState.decide`, which turns it into the records
// that are its whole effect. All times in it are absolute or measured from the instant of deciding.

package import HoldfastBytes

/// A wish to change the state.
package enum Command: Hashable, Sendable {
    /// A new job; delays and windows are already absolute times, and jobs that it is to wait for and that have finished
    /// are only counted. What becomes of it when another job holds its key is
    /// said by the second part.
    case enqueue(Enqueue, KeyCollision = .existing)
    /// Up to `limit` ready jobs: from earlier queues first, or, with turns, by the weights of the queues, of which none
    /// is named twice.
    case lease(queues: [String], limit: Int, milliseconds: Int64, worker: String, turns: LeaseTurns? = nil)
    /// The lease shall last `milliseconds` from now.
    case heartbeat(job: JobID, token: LeaseToken, milliseconds: Int64, progress: [UInt8]?)
    /// A result is kept for so long, else for as long as its queue says; 0 for no longer than history.
    case ack(job: JobID, token: LeaseToken, result: [UInt8]?, keepMilliseconds: Int64? = nil)
    /// The attempt failed; without a delay the retry policy says when it is tried again. `countsAttempt` false gives
    /// the attempt back, then at once by default.
    /// An error of a final class is the job's end.
    case requeue(
        job: JobID, token: LeaseToken, delayMilliseconds: Int64?, error: String?, countsAttempt: Bool,
        errorClass: String? = nil)
    case bury(job: JobID, token: LeaseToken, reason: Bury.Reason, error: String?)
    /// `lane` is that of the enqueue record, needed for a job of which the state has no entry.
    case cancel(job: JobID, lane: Lane?)
    /// As for `cancel`, `lane` is that of the enqueue record.
    indirect case edit(job: JobID, lane: Lane?, JobChanges)
    case redrive(job: JobID)
    /// Those of the jobs that are dead, each at its time.
    case redriveJobs([Redrive])
    /// A job that was held back goes on.
    case release(job: JobID)
    /// Up to `limit` dead jobs of the queue, lowest id first.
    case redriveQueue(queue: String, limit: Int)
    /// A value under (scope, key), unless there is one.
    case effect(Effect)
    case removeEffect(scope: String, key: String)
    /// What is given becomes the queue's; nothing is recorded when it is already.
    case configure(QueueSettings)
    /// A virtual clock stands at the instant of deciding.
    case advanceClock
    case moveCursor(String, CursorMove)
    /// What is given becomes the store's; nothing is recorded when it is already.
    case configureStore(StoreSettings)
}

extension Command {
    /// Stops leasing from a queue, or goes on.
    package static func setPaused(queue: String, _ isPaused: Bool) -> Command {
        .configure(QueueSettings(queue: queue, isPaused: isPaused))
    }
}

/// What a command is answered with, once what it changed is durable.
package enum Reply: Hashable, Sendable {
    case enqueued(JobID)
    /// The job that holds the unique key.
    case duplicate(JobID)
    /// The job that holds the unique key, and took over what its collision says.
    case updated(JobID)
    /// The i-th grant's token is `next + i`, because the grants are the decision's mutations in order.
    case leased([LeaseGrant])
    case heartbeat(deadline: Timestamp)
    case done
    case requeued(Requeue.Outcome)
    /// `skipped` counts those whose unique key another job holds.
    case redriven(count: Int, skipped: Int)
    /// `sequence` is that of the record that holds the value.
    case effect(recorded: Bool, sequence: SequenceNumber)
    /// Whether there was one.
    case effectRemoved(Bool)
    /// Where the cursor stands, and whether it was made.
    case cursor(next: SequenceNumber, isNew: Bool)
}
