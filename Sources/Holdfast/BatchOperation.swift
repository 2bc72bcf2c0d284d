// What can happen together with other operations in one atomic commit.

public import HoldfastBytes

/// One operation of a batch.
public enum BatchOperation: Hashable, Sendable {
    /// Adds a job.
    case enqueue(queue: String, payload: [UInt8], options: EnqueueOptions = EnqueueOptions())
    /// Completes a job; `keepFor` is `nil` for what its queue says.
    case ack(LeaseIdentity, result: [UInt8]? = nil, keepFor: Duration? = nil)
    /// Gives a job back; `after` is `nil` for what the retry policy says.
    case requeue(
        LeaseIdentity, after: Duration? = nil, error: String? = nil, errorClass: String? = nil,
        countsAttempt: Bool = true)
    /// Dead-letters a job.
    case bury(LeaseIdentity, error: String? = nil)
    /// Cancels a job.
    case cancel(JobID)
    /// Changes a job that waits, or moves it.
    case edit(JobID, JobEdit)
    /// Records a side effect's value.
    case effect(scope: String, key: String, fencedBy: LeaseIdentity? = nil, tag: String = "", value: [UInt8])
}

/// What one operation of a batch did.
public enum BatchReply: Hashable, Sendable {
    /// A job was added, or one with its unique key was there.
    case enqueued(EnqueueResult)
    /// A job was given back.
    case requeued(RequeueOutcome)
    /// The effect's value, the first ever recorded.
    case effect(EffectResult)
    /// A job was completed, buried, cancelled or changed.
    case done
}

/// The value recorded under a scope and key.
public struct EffectResult: Hashable, Sendable {
    /// The first value recorded.
    public let value: [UInt8]
    /// Whether it was there before this call.
    public let isReplayed: Bool
    /// What the value is; `nil` when nothing was said.
    public let tag: String?
    /// Whether it says how the computation failed.
    public let isFailure: Bool

    init(_ recorded: RecordedValue) {
        value = recorded.value
        isReplayed = recorded.isReplayed
        tag = recorded.tag.isEmpty ? nil : recorded.tag
        isFailure = recorded.isFailure
    }
}
