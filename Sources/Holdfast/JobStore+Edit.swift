// Changing jobs that wait.

public import HoldfastBytes
internal import HoldfastEngine

extension JobStore {
    /// Changes a job that is ready or scheduled. It keeps its id, its group, its unique key, its attempts so far, and
    /// its place among jobs of its priority, which follows from its id.
    ///
    /// - Throws: `.notFound` for an unknown job; `.invalidState` for one that is leased, dead (redrive it first) or
    ///   finished, that has begun as many attempts as it is to have, or whose unique key another job of the new queue
    ///   holds; `.queueFull`; `.badRequest`, `.tooLarge`, `.noSpace`, `.closed` or the store's failure. Nothing is
    ///   changed then.
    /// - Postcondition: The change is durable: whoever leases the job gets what is new.
    public func edit(_ id: JobID, _ edit: JobEdit) async throws(JobStoreError) {
        try await core.submitAsync(EditOperation(id: id, edit: edit)).value
    }

    /// Moves a job that is ready or scheduled into another queue, whatever it waits for.
    ///
    /// - Throws: As `edit(_:_:)`.
    public func move(_ id: JobID, to queue: String) async throws(JobStoreError) {
        try await edit(id, JobEdit(queue: queue))
    }

    /// Decides an edit; blocks only for room in the journal, and to read the job's enqueue record.
    package func submitEdit(_ id: JobID, _ edit: JobEdit) -> Pending<Void> {
        core.submit(EditOperation(id: id, edit: edit))
    }
}

extension BlockingJobStore {
    /// Changes a job that is ready or scheduled.
    public func edit(_ id: JobID, _ edit: JobEdit) throws(JobStoreError) {
        try store.submitEdit(id, edit).valueBlocking()
    }

    /// Moves a job that is ready or scheduled into another queue.
    public func move(_ id: JobID, to queue: String) throws(JobStoreError) {
        try edit(id, JobEdit(queue: queue))
    }
}

/// A job changed. A ready job without an entry is found by its lane, which its enqueue record tells.
struct EditOperation: StoreOperation {
    let id: JobID
    private(set) var edit: JobEdit
    private var lookup: EnqueueLookup?

    init(id: JobID, edit: JobEdit) { (self.id, self.edit) = (id, edit) }

    var access: OperationAccess { .changes }
    var bytes: Int { edit.bytes }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) { try edit.validate(options) }

    mutating func encode(with codec: any PayloadCodec, _ options: JobStoreOptions) throws(JobStoreError) {
        try edit.encode(with: codec, options)
    }

    mutating func supply(_ lookup: EnqueueLookup, for job: JobID) { self.lookup = lookup }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<Void> {
        guard let known = try core.knownJob(id, lookup) else { return .needsRecords([id]) }
        _ = try core.perform(.edit(job: id, lane: known.lane, edit.changes(at: now)), at: now)
        return .value(())
    }
}
