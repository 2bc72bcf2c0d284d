// The shape of every operation: a part that runs under the store's lock, decides and changes the state, and a result
// that is only shown once what it rests on is durable.

internal import HoldfastBytes
internal import HoldfastEngine

/// What an operation asks of the log.
enum OperationAccess: Hashable, Sendable {
    /// Nothing; on a full disk it still works, as long as what is overdue has room in the journal.
    case reads
    /// Room for new records.
    case changes
    /// Room, from the reserve when the disk is full: it ends something and so can free space.
    case settles
}

/// How the locked part of an operation ended, unless it was refused.
enum OperationOutcome<Value: Sendable>: Sendable {
    case value(Value)
    /// The rest reads the log; it runs once the commit is durable, never under the lock. `atHand` reads no file, and
    /// gives `nil` where that takes one.
    case deferred(@Sendable () throws(JobStoreError) -> Value, atHand: (@Sendable () -> Value?)? = nil)
    /// Nothing was changed: the operation runs again once it was supplied with these jobs' enqueue records.
    case needsRecords([JobID])
    /// Nothing was changed: the operation runs again once it was told how these jobs ended.
    case needsEndings([JobID])
    /// Nothing was changed: its `bytes` say by now how much it brings, and it runs again once there is room for that.
    case needsRoom
}

/// What the log holds under a job's id.
enum EnqueueLookup: Sendable {
    case found(Enqueue, at: Timestamp)
    /// No record, or one that is not an enqueue.
    case missing
    case failed(JobStoreError)

    init(_ record: Record?) {
        if let record, case .enqueue(let enqueue) = record.mutation {
            self = .found(enqueue, at: record.time)
        } else {
            self = .missing
        }
    }
}

/// One operation on a store.
protocol StoreOperation: Sendable {
    associatedtype Value: Sendable
    var access: OperationAccess { get }
    /// About how many bytes of records it appends, as far as it knows: what is accepted must have a place in the
    /// journal, or all that comes later waits behind it. One record and its names don't count.
    var bytes: Int { get }
    /// Checks what can be checked without the state, before anything else is asked.
    mutating func validate(_ options: JobStoreOptions) throws(JobStoreError)
    /// Encodes the payloads that it brings, once.
    mutating func encode(with codec: any PayloadCodec, _ options: JobStoreOptions) throws(JobStoreError)
    /// Runs under the lock once there is room, before the time is read; may run more than once.
    mutating func prepare(_ core: StoreCore)
    /// Runs under the lock, after everything overdue at `now` was recorded.
    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<Value>
    /// Answers `needsRecords`, once for each job.
    mutating func supply(_ lookup: EnqueueLookup, for job: JobID)
    /// Answers `needsEndings`.
    mutating func supply(_ endings: [JobID: JobEnding])
}

extension StoreOperation {
    var bytes: Int { 0 }
    mutating func validate(_ options: JobStoreOptions) throws(JobStoreError) {}
    mutating func encode(with codec: any PayloadCodec, _ options: JobStoreOptions) throws(JobStoreError) {}
    mutating func prepare(_ core: StoreCore) {}
    mutating func supply(_ lookup: EnqueueLookup, for job: JobID) {}
    mutating func supply(_ endings: [JobID: JobEnding]) {}
}

/// An operation that is one command to the engine, whose reply is the result.
struct CommandOperation<Value: Sendable>: StoreOperation {
    let access: OperationAccess
    let bytes: Int
    /// The command, or why there is none.
    let command: Result<Command, JobStoreError>
    let value: @Sendable (Reply) -> Value

    init(
        _ access: OperationAccess, bytes: Int = 0, _ command: () throws(JobStoreError) -> Command,
        value: @escaping @Sendable (Reply) -> Value
    ) {
        self.access = access
        self.bytes = bytes
        self.command = Result(catching: command)
        self.value = value
    }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) { _ = try command.get() }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<Value> {
        .value(value(try core.perform(try command.get(), at: now)))
    }
}
