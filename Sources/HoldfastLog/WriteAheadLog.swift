// The face of the log layer.

package import HoldfastBytes

/// When a call may return.
package enum DurabilityMode: Hashable, Sendable {
    /// Once its records survive power loss.
    case commit
    /// Once they are written; a sync follows at most this many milliseconds later.
    case interval(milliseconds: Int)
    /// Once they are written; the system decides when they reach the disk.
    case none
}

package struct LogOptions: Sendable {
    package var durability = DurabilityMode.commit
    package var journalSegmentBytes = 8 << 20
    package var journalSegmentCount = 4
    /// How long after its last commit an idle log confirms it with a mark frame.
    package var idleMarkMilliseconds = 20
    package init() {}
}

/// Covers everything appended up to a point.
package struct CommitTicket: Sendable {
    package let group: UInt64
}

/// A record copied out of the log.
package struct StoredEntry: Sendable {
    package let sequence: SequenceNumber
    package let kind: UInt8
    package let body: [UInt8]
}

package final class WriteAheadLog: Sendable {
    /// Guards appending, and the caller's state with it.
    package let lock: CallerLock
    package let recovery: RecoveryReport

    /// Opens or creates the store at `directory`, recovers its journal and takes its lock. Nothing can be appended
    /// before `start`.
    package static func open(
        directory: String, fileSystem: any FileSystem, options: LogOptions, createIfMissing: Bool, now: Timestamp
    ) throws(LogError) -> WriteAheadLog { fatalError() }

    private init() { fatalError() }

    // MARK: - Replay, before `start`

    /// Returns the newest checkpoint not yet refused, or `nil` when there is none; call again after one proved bad.
    package func nextCheckpoint() -> (sequence: SequenceNumber, image: [UInt8])? { fatalError() }
    /// Whether records from the first on are still all there, so that a replay without a checkpoint is exact.
    package var isComplete: Bool { fatalError() }
    /// Calls `body` for each record after `sequence`, in order, with the time of its frame. Stops when it returns false.
    package func forEachEntry(
        after sequence: SequenceNumber, _ body: (borrowing EntryView, Timestamp) throws(LogError) -> Bool
    ) throws(LogError) { fatalError() }
    /// Starts the threads. Appending goes on at `nextSequence`.
    package func start(delegate: any LogDelegate) throws(LogError) { fatalError() }

    // MARK: - Appending: the caller holds `lock`

    /// The sequence number of the next record.
    package var nextSequence: SequenceNumber { fatalError() }
    /// Says whether records may be appended now. What is appended in one hold of the lock is atomic.
    package func admission(isSettling: Bool) throws(LogError) -> Admission { fatalError() }
    /// Appends one record, which gets `nextSequence`.
    package func append(kind: UInt8, time: Timestamp, _ encode: (inout ByteWriter) -> Void) { fatalError() }
    /// Covers all that was appended so far.
    package var ticket: CommitTicket { fatalError() }

    // MARK: - Waiting: the caller does not hold `lock`

    package func wait(for ticket: CommitTicket) async throws(LogError) { fatalError() }
    package func waitBlocking(for ticket: CommitTicket) throws(LogError) { fatalError() }
    package func waitForRoom() async { fatalError() }
    package func waitForRoomBlocking() { fatalError() }

    // MARK: - Reading: the caller does not hold `lock`

    /// Returns the record, or `nil` when the log does not hold it (any more).
    ///
    /// - Throws: `.corrupt` when the frame that holds it fails its checksum; other records are not affected.
    package func entry(_ sequence: SequenceNumber) throws(LogError) -> StoredEntry? { fatalError() }
    /// Returns, oldest first, the records after `sequence` whose key (as the delegate says) is `key`.
    package func entries(key: UInt64, from sequence: SequenceNumber) throws(LogError) -> [StoredEntry] { fatalError() }

    // MARK: - Maintenance: the caller does not hold `lock`

    /// Writes and installs an image that the delegate makes. Returns its sequence number.
    package func checkpoint() throws(LogError) -> SequenceNumber { fatalError() }
    /// Seals the journal and rewrites the sealed segments without what is no longer needed.
    package func compact() throws(LogError) -> CompactionResult { fatalError() }
    package var statistics: LogStatistics { fatalError() }
    /// Commits what was appended, writes a checkpoint and the close frame, and releases the store.
    package func close() throws(LogError) { fatalError() }
}

package enum Admission: Sendable {
    case ready
    /// The batch in memory is full, or the journal is: call `waitForRoom` and ask again.
    case wait
}

package struct CompactionResult: Hashable, Sendable {
    package var bytesBefore = 0
    package var bytesAfter = 0
    package var segmentsBefore = 0
    package var segmentsAfter = 0
}

package struct LogStatistics: Hashable, Sendable {
    /// Bytes of all files of the store.
    package var logBytes = 0
    package var sealedSegments = 0
    package var journalSegments = 0
    package var commits: UInt64 = 0
    package var syncs: UInt64 = 0
    /// How often an append had to wait for room.
    package var stalls: UInt64 = 0
}

/// What the log asks of whoever knows what records mean. Called on the log's own threads, never under `lock`.
package protocol LogDelegate: AnyObject, Sendable {
    /// Appends the encoded state as of the sequence number returned to `image`; takes `lock` itself, briefly.
    func writeCheckpointImage(into image: inout ByteWriter) -> SequenceNumber
    /// Returns a test of which records may not be dropped by a rewrite: `(sequence, kind, body) -> Bool`, consistent
    /// with a state at least as new as `sequence`.
    func retention() -> any RetentionPolicy
    /// The key under which `entries(key:from:)` finds a record (a job's id), or `nil`.
    func key(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> UInt64?
    /// The log failed for good; called once.
    func logDidFail(_ error: LogError)
}

package protocol RetentionPolicy: Sendable {
    func mustKeep(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> Bool
}

/// What opening found and did.
package struct RecoveryReport: Hashable, Sendable {
    package var wasCreated = false
    package var wasClosedCleanly = true
    package var tornBytes = 0
    package var replayedRecords: UInt64 = 0
    package var checkpoint: SequenceNumber?
    /// Sentences for an operator: what was found and where it was saved.
    package var findings: [String] = []
    package init() {}
}
