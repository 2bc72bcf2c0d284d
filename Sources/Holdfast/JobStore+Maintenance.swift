// The store as a whole: counts, its fingerprint, checkpoints, compaction.

public import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

extension JobStore {
    /// Returns counts of what the store holds.
    ///
    /// - Throws: `.closed` or the store's failure.
    public func stats() async throws(JobStoreError) -> StoreStats {
        try await core.submitAsync(StatsOperation()).value
    }

    /// Returns a fingerprint of the queue and effect state, equal for equal states however they came about.
    ///
    /// - Throws: `.closed` or the store's failure.
    /// - Complexity: O(state).
    public func digest() async throws(JobStoreError) -> StoreDigest {
        try await core.submitAsync(DigestOperation()).value
    }

    /// Writes the state to disk, so that the next open replays less.
    ///
    /// - Returns: The last sequence number it covers.
    /// - Throws: `.noSpace`, `.closed` or the store's failure; an earlier checkpoint stays in place then.
    @discardableResult
    public func checkpoint() async throws(JobStoreError) -> SequenceNumber {
        let core = core
        return try await StoreCore.onThread("holdfast-ckpt") { () throws(JobStoreError) -> SequenceNumber in
            try core.checkpoint()
        }
    }

    /// Rewrites the log without the records that neither the state nor the kept history needs.
    ///
    /// - Parameter proving: Whether the store is replayed before and after, with the new segments in place of the old.
    ///   They take that place only if the state is the same, and no record is missing that it, history or a cursor
    ///   needs.
    /// - Throws: `.noSpace`, `.corrupt`, also when the proof fails, `.closed` or the store's failure; the log is as it
    ///   was then.
    @discardableResult
    public func compact(proving: Bool = false) async throws(JobStoreError) -> CompactionSummary {
        let core = core
        return try await StoreCore.onThread("holdfast-comp") { () throws(JobStoreError) -> CompactionSummary in
            try core.compact(proving: proving)
        }
    }

    /// Says from now on when records that nobody needs are dropped: `.onDemand` pauses that, `.automatic` goes on. The
    /// next open goes by its options again.
    ///
    /// - Throws: `.badRequest` for a share that is none.
    public func setCompaction(_ compaction: JobStoreOptions.Compaction) throws(JobStoreError) {
        try compaction.validate()
        core.log.setCompactionShare(compaction.share)
    }

    /// Counts as of now.
    package func submitStats() -> Pending<StoreStats> { core.submit(StatsOperation()) }

    /// What is left in `queues` of what does not move by itself, and of `excepted`; `nil` while anything else is left.
    package func submitLeftovers(
        in queues: [String], excepting excepted: Set<JobID>
    ) -> Pending<(stuck: Int, excepted: Int)?> {
        core.submit(LeftoversOperation(queues: queues, excepted: excepted))
    }

    /// The fingerprint as of now.
    package func submitDigest() -> Pending<StoreDigest> { core.submit(DigestOperation()) }
}

/// Counts what the store holds.
struct StatsOperation: StoreOperation {
    var access: OperationAccess { .reads }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<StoreStats> {
        let queues = core.state.queueCounts(at: now).map {
            StoreStats.Queue($0.queue, $0.counts, $0.terms, held: core.state.heldCount(of: $0.queue))
        }
        let (sequence, completed, unreadable) = (
            core.state.lastSequence, core.state.completedCount, core.unreadable
        )
        return .deferred { () throws(JobStoreError) -> StoreStats in
            let log = core.log.statistics
            return StoreStats(
                sequence: sequence, queues: queues, completed: completed, unreadable: unreadable,
                logBytes: log.logBytes,
                checkpointBytes: log.checkpointBytes, sealedSegments: log.sealedSegments,
                journalSegments: log.journalSegments, commits: log.commits,
                syncs: log.syncs, stalls: log.stalls, recordBytes: log.recordBytes,
                rewrittenBytes: log.sealingBytes + log.compactionBytes + log.imageBytes)
        }
    }
}

/// Counts jobs that wait for what does not happen by itself.
private struct LeftoversOperation: StoreOperation {
    let queues: [String]
    let excepted: Set<JobID>

    var access: OperationAccess { .reads }

    mutating func run(
        on core: StoreCore, at now: Timestamp
    ) throws(JobStoreError) -> OperationOutcome<(stuck: Int, excepted: Int)?> {
        .value(core.state.leftovers(in: queues, excepting: excepted))
    }
}

/// Takes the state's fingerprint, of a copy, so that nobody waits for it.
struct DigestOperation: StoreOperation {
    var access: OperationAccess { .reads }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<StoreDigest> {
        let copy = core.state
        return .deferred { () throws(JobStoreError) -> StoreDigest in
            StoreDigest(sequence: copy.lastSequence, hex: copy.digest().description)
        }
    }
}
