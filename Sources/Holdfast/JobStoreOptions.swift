// How a store is opened. Every setting has a default that suits a program that wants its jobs to survive power loss.

public import HoldfastBytes
package import HoldfastLog

/// The settings of one open store.
public struct JobStoreOptions: Sendable {
    /// When a call may return.
    public enum Durability: Hashable, Sendable {
        /// Once what it did survives power loss.
        case commit
        /// Once it is written; a sync follows about this many milliseconds later, and then it survives power loss.
        case interval(milliseconds: Int)
        /// Once it is written; the system decides when it survives power loss.
        case none
    }

    /// How much of the log is kept for looking back: at what became of jobs, and at the store as it was.
    public enum History: Hashable, Sendable {
        /// Compaction drops all of it.
        case none
        /// Compaction keeps about the newest `count` bytes of records, what images of earlier states take included.
        case bytes(Int)
        /// Compaction keeps the records of so long.
        case age(Duration)
        /// Compaction keeps everything.
        case unlimited
    }

    /// Who rewrites the log without the records that nobody needs, and when.
    public enum Compaction: Hashable, Sendable {
        /// The store itself, in the background, in at most this share of one thread's time, above 0, at most 1, as long
        /// as that keeps up. Where more is appended, appends wait for it. About half of what is kept may then be
        /// garbage.
        case automatic(share: Double)
        /// `compact` alone. Small segments stay as they are, too.
        case onDemand
    }

    /// When a call may return.
    public var durability = Durability.commit
    /// The size of one journal segment; at least 65,536.
    public var journalSegmentBytes = 8 << 20
    /// The longest payload that is accepted; at most 64 MiB.
    public var payloadBytesMax = 16 << 20
    /// The longest result that is accepted; at most 1 MiB.
    public var resultBytesMax = 1 << 20
    /// How much is kept of finished jobs.
    public var history = History.bytes(256 << 20)
    /// When records that nobody needs are dropped.
    public var compaction = Compaction.automatic(share: 0.25)
    /// How long replaying the log may take when the store is opened after a crash: a checkpoint is written whenever it
    /// would take longer, at 1,500 records a millisecond, but not before as much was recorded as it weighs. What comes
    /// while it is written may double that.
    public var recoveryTarget = Duration.milliseconds(25)
    /// Writes a checkpoint after each so many bytes of records, however large it is.
    public var checkpointEveryBytes: Int?
    /// The secret with which `JobStore.auditHead()` authenticates what is to be published; `nil` for none. It is kept
    /// in memory only.
    public var auditKey: AuditKey?
    /// Encodes payloads before they are stored, and decodes them; `nil` to store them as they are. Payloads that were
    /// stored before keep what they had.
    public var payloadCodec: (any PayloadCodec)?
    /// Where the store reads the time.
    public var clock: any StoreClock = SystemClock()
    /// Whether a missing store is created.
    public var createIfMissing = true
    /// Where the files are; `nil` for the system's own.
    package var fileSystem: (any FileSystem)?
    /// Whether every compaction is proved before it is in force, also in the background.
    package var provesCompaction = false
    /// How much the log keeps in memory of what was written or read lately; `nil` for the log's own default.
    package var cachedBytesMax: Int?
    /// How long after its last commit an idle store vouches for it; `nil` for the log's own default, 0 for never.
    package var idleMarkMilliseconds: Int?

    /// Creates the default settings.
    public init() {}

    /// The smallest `journalSegmentBytes`.
    public static let journalSegmentBytesMin = 65_536
    /// The largest `journalSegmentBytes`.
    public static let journalSegmentBytesMax = 1 << 30
    /// The longest `interval`.
    public static let intervalMillisecondsMax = 3_600_000

    /// The longest `age`.
    private static let historySecondsMax: Int64 = 365_000 * 86_400

    func validate() throws(JobStoreError) {
        let segmentRange = Self.journalSegmentBytesMin...Self.journalSegmentBytesMax
        guard segmentRange.contains(journalSegmentBytes) else {
            throw JobStoreError(
                .badRequest,
                "journalSegmentBytes is \(journalSegmentBytes); give \(segmentRange.lowerBound) to "
                    + "\(segmentRange.upperBound)")
        }
        guard (1...Limits.payloadBytesMax).contains(payloadBytesMax) else {
            throw JobStoreError(
                .badRequest, "payloadBytesMax is \(payloadBytesMax); give 1 to \(Limits.payloadBytesMax)")
        }
        guard (0...Limits.resultBytesMax).contains(resultBytesMax) else {
            throw JobStoreError(.badRequest, "resultBytesMax is \(resultBytesMax); give 0 to \(Limits.resultBytesMax)")
        }
        if case .interval(let milliseconds) = durability, !(1...Self.intervalMillisecondsMax).contains(milliseconds) {
            throw JobStoreError(
                .badRequest, "the durability interval is \(milliseconds) ms; give 1 to \(Self.intervalMillisecondsMax)")
        }
        if case .bytes(let count) = history, count < 0 {
            throw JobStoreError(.badRequest, "history is \(count) bytes; give 0 or more")
        }
        if case .age(let age) = history, !(age >= .zero && age <= .seconds(Self.historySecondsMax)) {
            throw JobStoreError(.badRequest, "history is \(age) long; give 0 to 365,000 days")
        }
        if let count = checkpointEveryBytes, count < 1 {
            throw JobStoreError(.badRequest, "checkpointEveryBytes is \(count); give 1 or more, or leave it out")
        }
        if let count = auditKey?.bytes.count, !AuditKey.byteCounts.contains(count) {
            throw JobStoreError(
                .badRequest,
                "the audit key has \(count) bytes; give \(AuditKey.byteCounts.lowerBound) to "
                    + "\(AuditKey.byteCounts.upperBound)")
        }
        try compaction.validate()
        guard recoveryTarget >= .milliseconds(1), recoveryTarget <= .seconds(3600) else {
            throw JobStoreError(.badRequest, "recoveryTarget is \(recoveryTarget); give 1 ms to an hour")
        }
    }
}

extension JobStoreOptions.Compaction {
    func validate() throws(JobStoreError) {
        guard case .automatic(let share) = self, !(share > 0 && share <= 1) else { return }
        throw JobStoreError(.badRequest, "the share for compaction is \(share); give more than 0 and at most 1")
    }
}
