// The store: what a program opens. Operations are in extensions, one file a subject; what they have in common is in
// StoreCore. Each comes in three forms: async here, blocking in BlockingJobStore, and `submit...` inside the package,
// which returns before the commit so that many can share one. PipelinedJobStore has that for everybody, async.

public import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// A durable job store in a directory. What it has told a caller survives power loss, unless a weaker
/// `JobStoreOptions.Durability` was asked for.
public final class JobStore: Sendable {
    let core: StoreCore
    /// What opening found.
    public let recovery: RecoverySummary

    init(core: StoreCore, recovery: RecoverySummary) {
        self.core = core
        self.recovery = recovery
    }

    /// A store that was dropped without `close` is closed in the background, where nothing waits for it.
    deinit { core.closeInBackground() }

    /// Opens the store at `path`, creating it if need be, and recovers it.
    ///
    /// - Throws: `.locked` when another process has it; `.notAStore`, `.corrupt`, `.unsupportedFormat`,
    ///   `.permissionDenied`, `.noSpace` or `.ioError` when it can't be opened; no acknowledged record is
    ///   changed then.
    public static func open(
        at path: String, options: JobStoreOptions = JobStoreOptions()
    ) async throws(JobStoreError) -> JobStore {
        try await StoreCore.onThread("holdfast-open") { () throws(JobStoreError) -> JobStore in
            try openBlocking(at: path, options: options)
        }
    }

    /// Opens the store at `path` like `open(at:options:)`, blocking this thread.
    ///
    /// - Throws: The same as `open(at:options:)`.
    public static func openBlocking(
        at path: String, options: JobStoreOptions = JobStoreOptions()
    ) throws(JobStoreError) -> JobStore {
        try options.validate()
        let log: WriteAheadLog
        do {
            log = try WriteAheadLog.open(
                directory: path, fileSystem: options.fileSystem ?? POSIXFileSystem(), options: LogOptions(options),
                createIfMissing: options.createIfMissing, now: options.clock.boundedNow())
        } catch { throw JobStoreError(error) }
        let replay: StoreReplay
        do { replay = try StoreReplay.run(log) } catch {
            // The reason it can't be opened matters; what closing says does not.
            try? log.close()
            throw JobStoreError(error)
        }
        log.noteReplayed(records: replay.recordCount, bytes: replay.bytes)
        let core = StoreCore(log: log, options: options, replay: replay)
        do { try log.start(delegate: LogBridge(core: core)) } catch {
            // The log's threads ask the store until they have ended.
            withExtendedLifetime(core) { try? log.close() }
            throw JobStoreError(error)
        }
        // Weak: the clock calls whom it knew when it began. Tests alone have such a clock, and pay for that.
        core.clockObservation = core.manualClock?.observe { [weak core] in core?.clockMoved() }
        return JobStore(core: core, recovery: RecoverySummary(log, replay))
    }

    /// The same operations for programs without async.
    public var blocking: BlockingJobStore { BlockingJobStore(store: self) }

    /// Refuses new operations, ends waiting leases, commits what was decided, and releases the store. A second call
    /// does nothing.
    ///
    /// - Throws: `.ioError` or `.noSpace` when the end of the log could not be written; what was answered is durable
    ///   all the same, and the store is released. `.ioError`, too, when there is no thread to close it on: then it is
    ///   open as before.
    public func close() async throws(JobStoreError) {
        let core = core
        try await StoreCore.onThread("holdfast-close") { () throws(JobStoreError) -> Void in try core.close() }
    }

    /// The sequence number that the next record will have.
    package var nextSequence: SequenceNumber { core.lock.withLock { core.log.nextSequence } }

    /// The sequence number of the last record; 0 when there is none.
    package var lastSequence: SequenceNumber { core.lock.withLock { core.state.lastSequence } }

    /// Returns the store's time: the clock's, but never earlier than that of any record or answer.
    ///
    /// - Throws: `.closed` or the store's failure.
    public func now() async throws(JobStoreError) -> Timestamp { try await core.submitAsync(NowOperation()).value }
}

extension JobStoreOptions.Compaction {
    /// For the log: `nil` for none.
    var share: Double? { if case .automatic(let share) = self { share } else { nil } }
}

extension LogOptions {
    /// What replay does at least on the machine that it was measured on.
    private static let replayedRecordsPerMillisecond = 1_500.0

    fileprivate init(_ options: JobStoreOptions) {
        self.init()
        durability =
            switch options.durability {
            case .commit: .commit
            case .interval(let milliseconds): .interval(milliseconds: milliseconds)
            case .none: .none
            }
        journalSegmentBytes = options.journalSegmentBytes
        checkpointRecords = UInt64(
            max(1, options.recoveryTarget / .milliseconds(1) * Self.replayedRecordsPerMillisecond))
        checkpointEveryBytes = options.checkpointEveryBytes
        compactionShare = options.compaction.share
        provesCompaction = options.provesCompaction
        if let bytes = options.cachedBytesMax { cachedBytesMax = bytes }
        if let milliseconds = options.idleMarkMilliseconds { idleMarkMilliseconds = milliseconds }
    }
}

extension RecoverySummary {
    fileprivate init(_ log: WriteAheadLog, _ replay: StoreReplay) {
        wasCreated = log.recovery.wasCreated
        wasClosedCleanly = log.recovery.wasClosedCleanly
        tornBytes = log.recovery.tornBytes
        replayedRecords = replay.recordCount
        checkpoint = replay.checkpoint
        findings = log.recovery.findings + log.passedOverCheckpoints + replay.passedOver
    }
}
