// The face of the log layer, and the state that its parts share.
//
// Three parties: callers append under `lock` and wait outside it; the committer thread writes one group after the
// other (Commit/Committer.swift); the maintenance thread seals, recycles, checkpoints and compacts, and is the only
// one to change the manifest (Rewrite/Maintenance.swift). A caller never does I/O to append.

package import HoldfastBytes
internal import Synchronization

/// When a call may return.
package enum DurabilityMode: Hashable, Sendable {
    /// Once its records survive power loss.
    case commit
    /// Once they are written; a sync follows about this many milliseconds later.
    case interval(milliseconds: Int)
    /// Once they are written; the system decides when they reach the disk.
    case none
}

package struct LogOptions: Sendable {
    package var durability = DurabilityMode.commit
    package var journalSegmentBytes = 8 << 20
    /// Segments of the ring: one active, one in reserve, the rest for sealing to catch up.
    package var journalSegmentCount = 4
    /// What is kept aside for rewrites and manifests while the disk is full.
    package var reserveBytes = 512 << 10
    /// How long after its last commit an idle log confirms it with a mark frame; 0 for never.
    package var idleMarkMilliseconds = 20
    /// A checkpoint is due after so many records, or a journal segment's worth, unless the newest image is larger.
    package var checkpointRecords: UInt64 = 75_000
    /// A checkpoint is due after so many bytes of records, however large the image is.
    package var checkpointEveryBytes: Int?
    /// The share of time that rewriting in the background may take, above 0 and at most 1; `nil` for none at all.
    package var compactionShare: Double? = 1
    /// Whether every rewrite is proved before it is installed.
    package var provesCompaction = false
    /// How much is kept in memory of what was written or read lately. A segment of the usual size that is sealed, and
    /// as much behind it, has room in it; what has not is read back while commits want the disk.
    package var cachedBytesMax = 16 << 20
    package init() {}

    package static let journalSegmentBytesMin = 64 << 10
    package static let journalSegmentBytesMax = 1 << 30
}

/// Covers everything appended up to a point.
package struct CommitTicket: Sendable {
    package let group: UInt64
    package init(group: UInt64) { self.group = group }
}

/// A record as the log holds it.
package struct StoredEntry: Sendable {
    package let sequence: SequenceNumber
    package let kind: UInt8
    /// Keeps the memory of the frame that it is in.
    package let body: ArraySlice<UInt8>
}

@safe
package final class WriteAheadLog: @unchecked Sendable {
    // SENDABLE: everything mutable is guarded by `lock`, except what is marked as one thread's own.

    /// Guards appending, and the caller's state with it. Never held across I/O.
    package let lock = CallerLock()
    /// What opening found, and from `start` on also what it repaired.
    package internal(set) var recovery: RecoveryReport
    /// Where the store is.
    package let layout: StoreLayout
    /// How its files are reached.
    package let fileSystem: any FileSystem
    let options: LogOptions
    let files: JournalFiles
    let index: LogIndex
    let storeLock: any FileLock
    /// With so many bytes a group is taken, and callers wait for that.
    let groupBytesTarget: Int
    /// What a group may have in any segment of the ring. Those of an earlier opening may be smaller than is asked for
    /// now; then it stays so until the next.
    let groupBytesMax: Int

    // MARK: Guarded by `lock`

    // Overlapping accesses are looked for in debug builds only; under the lock, in one method each, there are none.
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    var state = CommitPipelineState()
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    var next: SequenceNumber
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    var filling = CommitGroup()
    var fillingWaiters: [Waiter] = []
    var flyingWaiters: [Waiter] = []
    var roomWaiters: [Waiter] = []
    /// Those who wait for sealing to go on.
    var pacedWaiters: [Waiter] = []
    /// Those who wait for records to come.
    var followers: [Waiter] = []
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    var spares: [JournalSegment] = []
    var full: [FullSegment] = []
    var isDiskFull = false
    /// A second has passed since the disk was found full.
    var isRetryDue = false
    /// The space kept for a full disk was given up, to go on with what frees space.
    var isReserveSpent = true
    /// It is time to try to keep it again.
    var isReserveDue = false
    /// What is in the active segment, what is left, and what the group in flight takes of that or of a spare.
    var activeBytes = 0
    var activeRoom = 0
    var flyingBytes = 0
    /// The share of a segment that is kept from callers while one is sealed; see `SealingPace`.
    var withheldShare = 0.0
    /// Somebody was told to wait until the journal has room.
    var isTight = false
    /// The journal file made ahead for one large group, the one asked for, and whether the disk had no room for it.
    var oversizedReadyBytes = 0
    var oversizedWantedBytes = 0
    var isOversizedRefused = false
    /// Whether that file is kept for the group that fills, or for the one in flight; and whether the committer waits
    /// for one.
    var isFileKeptForFilling = false
    var isFileKeptForFlying = false
    var isFileAwaited = false
    /// Whether the committer is woken behind the lock, and whether there is something to wake it for.
    private var isWakeDeferred = false
    private var isWakeOwed = false
    /// The committer waits for a spare.
    var isStarving = false
    /// The maintenance thread wants the active segment ended, or synced.
    var isRollWanted = false
    var isSyncWanted = false
    var headerTime = Timestamp.zero
    /// `close` was called.
    var isClosing = false
    var isCommitterStopping = false
    var isMaintenanceStopping = false
    var requests: [MaintenanceRequest] = []
    /// Sequence numbers below it are reserved by the manifest.
    var reserved: SequenceNumber
    /// The end of the last group that was released to its callers.
    var durablePosition: LogPosition
    /// Every record up to it was released to its callers; none behind it was.
    package internal(set) var durableSequence: SequenceNumber
    /// Equals `state.durable`. Written under `lock`, read without.
    let durableGroup = Atomic<UInt64>(0)
    /// The end of what was synced; differs from `durablePosition` in the weaker modes only.
    var syncedPosition: LogPosition
    /// The audit chain as far as it was computed last.
    var auditKnown: AuditPoint?
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    var counters = LogStatistics()
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    var pacing: CheckpointPacing
    /// Something changed by which a rewrite may have become worth it.
    var isCompactionDue = true
    /// `counters.recordBytes` when nothing was worth a rewrite, or there was no space for one.
    var bytesAtCompaction: UInt64 = 0
    /// Bytes that the background still has to read or rewrite for what was sealed since nothing was worth it. Until
    /// then it seals no more, and commits wait: otherwise who writes faster than can be rewritten would grow the store
    /// without bound. A rewrite that a caller asked for may take as long as the store is large: nobody waits for that.
    var compactionOwed = 0
    /// The last record that a rewrite drops whose manifest is being installed.
    var droppingThrough = SequenceNumber.zero
    /// See `LogOptions.compactionShare`; may be changed while the log is open.
    var compactionShare: Double?
    var delegate: (any LogDelegate)?

    let workSignal = Signal()
    let maintenanceSignal = Signal()
    let requestSignal = Signal()

    // MARK: The committer's own

    var flying = CommitGroup()
    /// Holds one frame without records at a time.
    var control = CommitGroup()
    /// Empty but while those in it are resumed; keeps its memory for the next.
    var resumed: [Waiter] = []
    var active: JournalSegment?
    var tail: Int
    var link: UInt32
    var latestTime: Timestamp
    var activeLastSequence: SequenceNumber
    var unsyncedBytes = 0
    var lastSync = PaceClock.now
    /// The last frame is a mark or close: everything before it is vouched for.
    var lastFrameVouches = true

    // MARK: The maintenance thread's own (and the opening thread's before it starts)

    var manifest: Manifest
    /// What `start` repairs before anything is written.
    var found: Found?
    /// Files set aside when the disk was full.
    var oversizedFile: IdleJournalFile?
    var idleFiles: [IdleJournalFile] = []
    var checkpointCandidates: [Manifest.Checkpoint]
    var checkpointFindings: [String] = []
    /// The checkpoint that was returned last, and those that could not be used.
    var returnedCheckpoint: SequenceNumber?
    var passedOver: Set<SequenceNumber> = []
    var threads: [DedicatedThread] = []
    var lastSealing = PaceClock.now
    /// What of sealed segments was needed when they were last read for that, and which could not be read.
    var measurements: [SegmentID: CompactionCandidate.Measurement] = [:]
    var unreadable: Set<SegmentID> = []
    /// Room was made since somebody asked for something was answered.
    var isRequestsTurn = false
    /// When a rewrite has had as much time as what it gave way to before, so that it is for others again.
    var othersTurn = PaceClock.now
    /// Since when rewriting in the background went on without a pause.
    var workedSince = PaceClock.now

    /// How many sequence numbers are reserved ahead.
    static let reservationStride: UInt64 = 1 << 20
    /// What one atomic batch may take at most.
    static let batchRecordsMax: UInt64 = 1 << 16

    private init(
        layout: StoreLayout, fileSystem: any FileSystem, options: LogOptions, opened: LogRecovery.Opened,
        files: JournalFiles, index: LogIndex, found: Found
    ) {
        self.layout = layout
        self.fileSystem = fileSystem
        self.options = options
        self.files = files
        self.index = index
        self.found = found
        recovery = found.recovery.report
        storeLock = opened.lock
        manifest = opened.manifest
        checkpointCandidates = opened.manifest.checkpoints
        next = opened.next
        pacing = CheckpointPacing(options, imageBytes: opened.manifest.checkpoints.first?.bytes ?? 0)
        compactionShare = options.compactionShare
        reserved = opened.manifest.reserved
        durableSequence = SequenceNumber(opened.next.rawValue - 1)
        durablePosition = opened.manifest.durable
        syncedPosition = opened.manifest.durable
        tail = opened.scan.tailOffset
        link = opened.scan.link
        latestTime = opened.scan.time
        activeLastSequence = opened.scan.segments.isEmpty ? .zero : opened.scan.segments[opened.scan.tail].lastSequence
        let usual = JournalFiles.inFlightBytesMax(capacity: options.journalSegmentBytes, isOversized: false)
        groupBytesMax = opened.scan.segments.reduce(usual) {
            $1.journal.isOversized || $1.header.inFlightBytesMax == 0 ? $0 : min($0, $1.header.inFlightBytesMax)
        }
        groupBytesTarget = min(1 << 20, max(16 << 10, groupBytesMax / 4))
    }

    // MARK: - Opening

    /// Opens or creates the store at `directory` and takes its lock. Its records can be read; nothing is repaired and
    /// nothing can be appended before `start`, so a store whose records turn out to make no sense is left as it was.
    ///
    /// - Throws: `.notAStore`, `.locked`, `.corrupt`, `.unsupportedFormat`, `.permission`, `.noSpace`, `.ioFailed`;
    ///   no file of a store that was there has changed, its lock file aside.
    package static func open(
        directory: String, fileSystem: any FileSystem, options: LogOptions, createIfMissing: Bool, now: Timestamp
    ) throws(LogError) -> WriteAheadLog {
        precondition(options.journalSegmentBytes >= LogOptions.journalSegmentBytesMin, "a segment has 64 KiB at least")
        precondition(options.journalSegmentCount >= 3, "a ring has three segments at least")
        // The walk steps by whole blocks: a fraction at the end of a segment would stop it there.
        var options = options
        options.journalSegmentBytes = FrameFormat.aligned(
            options.journalSegmentBytes, to: FrameFormat.journalAlignment)
        let layout = StoreLayout(root: directory)
        var recovery = LogRecovery(layout: layout, fileSystem: fileSystem)
        var opened = try recovery.open(createIfMissing: createIfMissing, now: now)
        if Safeguard.nextEpoch.isOn { opened.manifest.epoch = Epoch(opened.manifest.epoch.rawValue + 1) }
        opened.manifest.reserved = max(
            opened.manifest.reserved, opened.next.advanced(by: reservationStride))
        let files = JournalFiles(
            layout: layout, fileSystem: fileSystem, store: opened.manifest.store, epoch: opened.manifest.epoch,
            durability: options.durability)
        let index = LogIndex(
            fileSystem: fileSystem, layout: layout, manifest: opened.manifest, cachedBytesMax: options.cachedBytesMax)
        let found = Found(recovery: recovery, scan: opened.scan, repair: opened.repair, now: now)
        let log = WriteAheadLog(
            layout: layout, fileSystem: fileSystem, options: options, opened: opened, files: files, index: index,
            found: found)
        log.indexFound(opened.scan)
        return log
    }

    // MARK: - Appending: the caller holds `lock`

    /// The sequence number of the next record.
    package var nextSequence: SequenceNumber { next }

    /// The end of all that was answered.
    package var answeredPosition: LogPosition { durablePosition }

    /// Covers all that was appended so far.
    package var ticket: CommitTicket { state.ticket }

    /// Takes `lock`, to append; the committer is woken when `unlockAppended` has released it. Woken by `append` itself,
    /// it would come while the lock is still held, and have to be woken a second time. Until then nobody releases the
    /// lock, not even to wait for a signal: what others append meanwhile would wake nobody.
    package func lockToAppend() {
        lock.lock()
        assert(!isWakeDeferred, "the lock is held from lockToAppend to unlockAppended")
        isWakeDeferred = true
    }

    package func unlockAppended() {
        let wakes = isWakeOwed
        isWakeDeferred = false
        isWakeOwed = false
        lock.unlock()
        if wakes { workSignal.notifyOne() }
    }

    /// Appends one record, which gets `nextSequence`.
    ///
    /// - Precondition: `admission` said `.ready` in this hold of the lock.
    /// - Complexity: O(bytes); no system call unless the committer sleeps.
    package func append(kind: UInt8, time: Timestamp, _ encode: (inout ByteWriter) -> Void) {
        append(kind: kind, time: time, count: 1) { encode(&$1) }
    }

    /// Appends records of one kind and time, which get `nextSequence` and those behind it. As for one.
    ///
    /// - Parameter encode: Appends the body of the record with that index.
    package func append(kind: UInt8, time: Timestamp, count: Int, _ encode: (Int, inout ByteWriter) -> Void) {
        let wasIdle = !state.hasRecords
        state.appended()
        let before = filling.byteCount
        let reservedBefore = reserved.rawValue - next.rawValue
        for index in 0..<count {
            filling.append(next, kind: kind, time: time) { encode(index, &$0) }
            next = next.next
        }
        let bytes = filling.byteCount - before
        counters.recordBytes += UInt64(bytes)
        if pacing.note(records: count, bytes: bytes) { maintenanceSignal.notifyOne() }
        if wasIdle && state.inFlight == nil {
            if isWakeDeferred { isWakeOwed = true } else { workSignal.notifyOne() }
        }
        let half = Self.reservationStride / 2
        if reservedBefore > half, reserved.rawValue - next.rawValue <= half { maintenanceSignal.notifyOne() }
    }

    // MARK: - Waiting: the caller does not hold `lock`

    /// Whether everything that `ticket` covers is durable (in the weaker modes: written). Takes no lock; false may be
    /// too late by now.
    package func isDurable(_ ticket: CommitTicket) -> Bool {
        ticket.group <= durableGroup.load(ordering: .acquiring)
    }

    /// Returns once everything that `ticket` covers is durable (in the weaker modes: written).
    ///
    /// - Throws: `.poisoned` when the log failed before: whether the records survive is unknown until it is reopened.
    package func wait(for ticket: CommitTicket) async throws(LogError) {
        if await Waiter.suspend({ enlist($0, for: ticket) }) { return }
        try lock.withLock { () throws(LogError) in try state.outcome(of: ticket)?.get() }
    }

    /// As `wait(for:)`, blocking the calling thread.
    package func waitBlocking(for ticket: CommitTicket) throws(LogError) {
        if Waiter.block({ enlist($0, for: ticket) }) { return }
        try lock.withLock { () throws(LogError) in try state.outcome(of: ticket)?.get() }
    }

    private func enlist(_ waiter: Waiter, for ticket: CommitTicket) {
        lock.lock()
        if state.outcome(of: ticket) != nil {
            lock.unlock()
            waiter.resume()
        } else {
            if ticket.group == state.inFlight {
                flyingWaiters.append(waiter)
            } else {
                fillingWaiters.append(waiter)
            }
            lock.unlock()
        }
    }

    // MARK: - Reading: the caller does not hold `lock`

    /// Returns the record, or `nil` when the log does not hold it (any more). Records that are not yet written are not
    /// found.
    ///
    /// - Throws: `.corrupt` when the frame that holds it fails its checksum; other records are not affected.
    package func entry(_ sequence: SequenceNumber) throws(LogError) -> StoredEntry? { try index.entry(sequence) }

    /// As `entry(_:)`, where that takes no file; `nil` says nothing.
    package func entryAtHand(_ sequence: SequenceNumber) -> StoredEntry? { index.entryAtHand(sequence) }

    /// Returns, oldest first, the records from `sequence` on whose key, as the delegate says, is `key`.
    package func entries(key: UInt64, from sequence: SequenceNumber) throws(LogError) -> [StoredEntry] {
        guard let delegate = lock.withLock({ delegate }) else { return [] }
        for _ in 0..<8 {
            var reading = SegmentID(0)
            do {
                var found: [StoredEntry] = []
                for source in try index.sources(key: key, from: sequence) {
                    reading = source.header.id
                    try forEachEntry(in: source) { (entry, _) throws(LogError) in
                        if entry.sequence >= sequence,
                            delegate.key(sequence: entry.sequence, kind: entry.kind, body: entry.body) == key
                        {
                            found.append(
                                StoredEntry(
                                    sequence: entry.sequence, kind: entry.kind, body: [UInt8](copying: entry.body)[...])
                            )
                        }
                        return true
                    }
                }
                return found
            } catch {
                // A segment may have been recycled or rewritten while it was read; damage stays, that passes.
                // Recycled files keep their names, so the segment's id tells.
                if index.isCurrent(reading) { throw error }
            }
        }
        throw LogError(.ioFailed, "the log was rewritten on every attempt to read it: try again")
    }

    func forEachEntry(
        in source: SegmentSource, _ body: (borrowing EntryView, Timestamp) throws(LogError) -> Bool
    ) throws(LogError) {
        try source.forEachFrame(fileSystem) { (frame) throws(LogError) in
            let header = frame.header
            guard header.recordCount > 0 else { return true }
            // The journal's frames follow each other by what they count; compaction alone leaves numbers out.
            let isCounted = source.header.role == .journal && Safeguard.entrySequence.isOn
            let end = isCounted ? header.firstSequence.rawValue + UInt64(header.recordCount) : .max
            return try frame.forEachEntry(file: source.name) { (entry, time) throws(LogError) in
                guard entry.sequence.rawValue < end else {
                    throw LogError(
                        .corrupt,
                        "\(source.name) holds record \(entry.sequence) in the frame at offset \(frame.offset), whose "
                            + "records end before \(end); restore the file from a backup, or run: holdfast salvage "
                            + "STORE NEW",
                        file: source.name, offset: frame.offset)
                }
                return try body(entry, time)
            }
        }
    }
}
