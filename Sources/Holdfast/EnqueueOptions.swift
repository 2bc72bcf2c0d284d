// What may be said about a job besides its queue and payload.

public import HoldfastBytes

/// The optional properties of a new job.
public struct EnqueueOptions: Hashable, Sendable {
    /// Higher runs first; -128 to 127.
    public var priority = 0
    /// How long it waits before it may run. Not together with `runAt`.
    public var delay: Duration?
    /// When it may run; an instant in the past means at once. Not together with `delay`.
    public var runAt: Timestamp?
    /// How often it is tried; 1 to 1,000,000.
    public var maxAttempts = 5
    /// While a live job of the queue holds this key, another enqueue with it returns that job instead.
    public var uniqueKey: String? {
        get { rest?.content.uniqueKey }
        set { said.uniqueKey = newValue }
    }
    /// Holds the unique key for this long from the enqueue on, even past the job's end, instead of until its end.
    public var uniqueFor: Duration? {
        get { rest?.content.uniqueFor }
        set { said.uniqueFor = newValue }
    }
    /// Until when the job holds its unique key. Not `.queued` together with `uniqueFor`.
    public var uniqueScope: UniqueScope {
        get { rest?.content.uniqueScope ?? .unfinished }
        set { said.uniqueScope = newValue }
    }
    /// What this enqueue does when another job holds the unique key.
    public var onCollision: UniqueCollision {
        get { rest?.content.onCollision ?? .returnExisting }
        set { said.onCollision = newValue }
    }
    /// Jobs of several groups in one queue share in turn.
    public var group: String?
    /// How many turns its group has where one of weight 1 has one; 1 to 1000. Needs a group.
    public var weight = 1
    /// Travel with the job; 64 KiB in all.
    public var headers: [JobHeader] = []
    /// The job is dead unless it is leased within this time.
    public var timeToLive: Duration? {
        get { rest?.content.timeToLive }
        set { said.timeToLive = newValue }
    }
    /// How long one attempt may take, whatever its heartbeats say: 1 ms to 366 days. No lease goes beyond that.
    public var timeLimit: Duration? {
        get { rest?.content.timeLimit }
        set { said.timeLimit = newValue }
    }
    /// After so many attempts that ended without a report, such as those of a worker that crashed, the job is dead as
    /// `.poison`: 1 to 1,000,000. `nil` for what its queue says.
    public var crashMax: Int? {
        get { rest?.content.crashMax }
        set { said.crashMax = newValue }
    }
    /// How long it waits after a failed attempt; `nil` for what its queue says.
    public var retry: QueueConfiguration.Retry? {
        get { rest?.content.retry }
        set { said.retry = newValue }
    }
    /// The classes of errors after which it is not tried again, besides those that its queue names; 16 at most.
    public var finalErrors: [String] {
        get { rest?.content.finalErrors ?? [] }
        set { said.finalErrors = newValue }
    }
    /// The job is not leased before each of these has ended; 10,000 at most. One that completed before counts as ended;
    /// so does one of which compaction has left nothing. Not for the holder of a unique key that is returned instead.
    public var after: [JobID] {
        get { rest?.content.after ?? [] }
        set { said.after = newValue }
    }
    /// In a batch: the same of the jobs that earlier operations of it enqueue, by their places from 0 on.
    public var afterIndex: [Int] {
        get { rest?.content.afterIndex ?? [] }
        set { said.afterIndex = newValue }
    }
    /// What becomes of it when one of those dies or is cancelled.
    public var ifOneFails: DependencyFailure {
        get { rest?.content.ifOneFails ?? .wait }
        set { said.ifOneFails = newValue }
    }
    /// A job that waits for others, or is held: it waits for this one, too, from here on.
    public var before: JobID? {
        get { rest?.content.before }
        set { said.before = newValue }
    }
    /// It waits until `JobStore.release(_:)`, too, so that more jobs can be enqueued `before` it.
    public var hold: Bool {
        get { rest?.content.hold ?? false }
        set { said.hold = newValue }
    }
    /// By which it can be found until it ends, as `jobs(_:)` and `cancelJobs(labels:owner:queue:states:)` do: 16 at
    /// most, names and values of 1 to 255 bytes.
    public var labels: [String: String] {
        get { rest?.content.labels ?? [:] }
        set { said.labels = newValue }
    }
    /// Who it belongs to: found like a label; 1 to 255 bytes.
    public var owner: String? {
        get { rest?.content.owner }
        set { said.owner = newValue }
    }
    /// Shows the payload to nobody but who holds a lease of the job, unless secrets are asked for. It is not encoded by
    /// that: see `JobStoreOptions.payloadCodec`. Headers, results and errors are shown. Not together with `.replace`.
    public var isSecret: Bool {
        get { rest?.content.isSecret ?? false }
        set { said.isSecret = newValue }
    }

    /// What a plain job does not say, behind one reference: options are copied on their way, in batches more than once.
    private final class Rest: Hashable, Sendable {
        let content: Content

        init(_ content: Content) { self.content = content }

        static func == (a: Rest, b: Rest) -> Bool { a === b || a.content == b.content }
        func hash(into hasher: inout Hasher) { hasher.combine(content) }
    }

    private struct Content: Hashable, Sendable {
        var uniqueKey: String?
        var uniqueFor: Duration?
        var uniqueScope = UniqueScope.unfinished
        var onCollision = UniqueCollision.returnExisting
        var timeToLive: Duration?
        var timeLimit: Duration?
        var crashMax: Int?
        var retry: QueueConfiguration.Retry?
        var finalErrors: [String] = []
        var after: [JobID] = []
        var afterIndex: [Int] = []
        var ifOneFails = DependencyFailure.wait
        var before: JobID?
        var hold = false
        var labels: [String: String] = [:]
        var owner: String?
        var isSecret = false
    }

    private var rest: Rest?

    private var said: Content {
        get { rest?.content ?? Content() }
        set { rest = newValue == Content() ? nil : Rest(newValue) }
    }

    /// Whether it says only what any job may say at no cost.
    var isPlain: Bool { rest == nil }

    /// About how many bytes its record takes beside payload, queue and the jobs that it names.
    var nameBytes: Int {
        var bytes = Limits.optionBytesMax + (group?.utf8.count ?? 0) + headers.recordBytes
        guard let content = rest?.content else { return bytes }
        bytes += (content.uniqueKey?.utf8.count ?? 0) + (content.owner?.utf8.count ?? 0)
        if case .listed(let delays, _) = content.retry { bytes += delays.count * Limits.listedBytesMax }
        for name in content.finalErrors { bytes += name.utf8.count + Limits.listedBytesMax }
        for (label, value) in content.labels { bytes += label.utf8.count + value.utf8.count + Limits.listedBytesMax }
        return bytes
    }

    /// Creates the defaults.
    public init() {}

    /// Makes the enqueue idempotent: the same key again within `duration` adds nothing and returns the first job's id,
    /// also when that job is done by then. A unique key of the queue that is held for that long.
    public init(idempotencyKey key: String, for duration: Duration) {
        uniqueKey = key
        uniqueFor = duration
    }
}

/// Until when a job holds its unique key.
public enum UniqueScope: String, Hashable, Sendable, CaseIterable {
    /// Until it is acked, cancelled or dead.
    case unfinished
    /// Until it is first leased, cancelled or dead: while it runs, another may wait.
    case queued
}

/// What an enqueue does when another job of the queue holds its unique key. A holder that is leased, or has ended and
/// holds the key for a time, is not changed by any of them: `.replace` and `.postpone` return it as it is then.
public enum UniqueCollision: String, Hashable, Sendable, CaseIterable {
    /// It adds nothing and returns the holder's id.
    case returnExisting = "existing"
    /// It is refused as `.invalidState`; in a batch nothing of that happens.
    case reject
    /// The holder, if it waits, gets payload, headers, priority and run-at of the new one.
    case replace
    /// The holder, if it waits, gets the run-at of the new one.
    case postpone
}

/// What an enqueue did.
public struct EnqueueResult: Hashable, Sendable {
    /// The new job, or the one that holds the unique key.
    public let id: JobID
    /// Whether a live job already held the unique key.
    public let isDuplicate: Bool
    /// Whether that job was changed, by `.replace` or `.postpone`.
    public let isUpdated: Bool

    /// Creates a result, as a store would return it.
    public init(id: JobID, isDuplicate: Bool, isUpdated: Bool = false) {
        self.id = id
        self.isDuplicate = isDuplicate
        self.isUpdated = isUpdated
    }
}
