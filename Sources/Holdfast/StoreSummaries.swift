// What the store says about itself: counts, digests, and what opening, draining and compacting did.

public import HoldfastBytes
package import HoldfastEngine

/// Counts of what a store holds.
public struct StoreStats: Hashable, Sendable {
    /// Counts of one queue.
    public struct Queue: Hashable, Sendable {
        /// The queue.
        public var name: String
        /// Jobs that may be leased.
        public var ready: Int
        /// Jobs that wait for their time.
        public var scheduled: Int
        /// Jobs that workers have.
        public var leased: Int
        /// Dead letters.
        public var dead: Int
        /// Ready jobs that are not leased now because of what the queue says of their groups.
        public var held: Int
        package let terms: QueueTerms

        /// Whether the queue leases nothing.
        public var isPaused: Bool { terms.isPaused }
        /// What `configure` gave it.
        public var configuration: QueueConfiguration { QueueConfiguration(terms) }
    }

    /// The last sequence number.
    public var sequence: SequenceNumber
    /// Sorted by name.
    public var queues: [Queue]
    /// Acks since the store was created.
    public var completed: UInt64
    /// Jobs that were leased since the store was opened and could not be read: dead, and whoever leased got fewer.
    public var unreadable: Int
    /// Bytes of all files.
    public var logBytes: Int
    /// Bytes of checkpoints among them.
    public var checkpointBytes: Int
    /// Sealed segments.
    public var sealedSegments: Int
    /// Journal segments.
    public var journalSegments: Int
    /// Commit groups written since the store was opened.
    public var commits: UInt64
    /// Syncs since the store was opened.
    public var syncs: UInt64
    /// How often a call had to wait for room in the journal.
    public var stalls: UInt64
    /// Bytes of the records committed since the store was opened.
    public var recordBytes: UInt64
    /// Bytes that sealing, compaction and checkpoints wrote of them since: over `recordBytes`, what space costs.
    public var rewrittenBytes: UInt64

    /// All segments.
    public var segments: Int { sealedSegments + journalSegments }
}

/// A fingerprint of the queue and effect state.
public struct StoreDigest: Hashable, Sendable {
    /// The last sequence number it covers.
    public let sequence: SequenceNumber
    /// 32 hexadecimal digits; equal for equal states, however they came about.
    public let hex: String
}

/// What opening a store found.
public struct RecoverySummary: Hashable, Sendable {
    /// Whether the store did not exist before.
    public let wasCreated: Bool
    /// Whether the last owner closed it.
    public let wasClosedCleanly: Bool
    /// Bytes of an unfinished commit that were cut off and saved to `lost/`.
    public let tornBytes: Int
    /// Records that were applied after the checkpoint.
    public let replayedRecords: UInt64
    /// The checkpoint that was loaded.
    public let checkpoint: SequenceNumber?
    /// Sentences for an operator.
    public let findings: [String]
}

/// What compaction did.
public struct CompactionSummary: Hashable, Sendable {
    /// Bytes of segments before.
    public let bytesBefore: Int
    /// Bytes of segments after.
    public let bytesAfter: Int
    /// Segments before.
    public let segmentsBefore: Int
    /// Segments after.
    public let segmentsAfter: Int
    /// What proving it showed, where that was asked for and there were segments to rewrite.
    public let proof: CompactionProof?
}

/// What replaying a store before and after a compaction showed. Where the two differ, nothing is installed.
public struct CompactionProof: Hashable, Sendable {
    /// The states are those after this record.
    public let sequence: SequenceNumber
    /// The digest by the segments as they were.
    public let before: String
    /// The digest by the segments that took their place.
    public let after: String
}

/// What a redrive did.
public struct RedriveResult: Hashable, Sendable {
    /// Dead jobs made ready again.
    public let count: Int
    /// Dead jobs left because another job holds their unique key.
    public let skipped: Int
}

/// What a paused queue still holds.
public struct DrainStatus: Hashable, Sendable {
    /// Jobs that are ready or scheduled.
    public let pending: Int
    /// Jobs that workers have.
    public let leased: Int
}
