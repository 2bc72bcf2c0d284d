// The thread that makes records durable: take the filled group, fill its headers in, write it in one call, let its
// waiters go. While it writes, the next group fills. In `.commit` mode the write itself is durable when it returns.
//
// Order, and the crash it is for:
//  1. A group goes wholly into one segment; where it does not fit, a roll frame ends the segment first. Recovery never
//     has to join two files to judge one group.
//  2. Nothing is released before the write returned. A crash in between loses a group nobody was told of.
//  3. A failed write or sync ends it: no retry, and every waiter learns that the outcome is unknown.

internal import HoldfastBytes
internal import Synchronization

extension WriteAheadLog {
    /// Runs until the log is closed or fails.
    func runCommitter() {
        lock.lock()
        while true {
            if case .failed = state.phase { break }
            // First, or a log that is never idle would never be compacted.
            if isRollWanted || isSyncWanted {
                serveMaintenance()
                continue
            }
            if let number = state.take() {
                swap(&filling, &flying)
                swap(&fillingWaiters, &flyingWaiters)
                flyingBytes = flying.byteCount
                (isFileKeptForFlying, isFileKeptForFilling) = (isFileKeptForFilling, false)
                let room = takeCommitWaiters()
                lock.unlock()
                resume(room)
                let outcome = Result { () throws(LogError) in try writeFlying() }
                lock.lock()
                finish(number, outcome)
                continue
            }
            if isCommitterStopping { break }
            waitForWork()
        }
        lock.unlock()
    }

    /// Ends group `number`; the lock is held on entry and on return, but not while waiters are resumed.
    private func finish(_ number: UInt64, _ outcome: Result<LogPosition, LogError>) {
        flyingBytes = 0
        isFileKeptForFlying = false
        noteActiveRoom()
        // The maintenance thread may have poisoned the log meanwhile: its waiters have been told already.
        if case .failed = state.phase { return }
        switch outcome {
        case .success(let position):
            counters.commits += 1
            state.completed(number)
            durableGroup.store(state.durable, ordering: .releasing)
            durablePosition = position
            durableSequence = activeLastSequence
            swap(&flyingWaiters, &resumed)
            // The segment may be another one now.
            if isTight { resumed += takeCommitWaiters() }
            if !pacedWaiters.isEmpty, !isAheadOfSealing(false) { resumed += takePacedWaiters() }
            if !followers.isEmpty { resumed += takeFollowers() }
            guard !resumed.isEmpty else { return }
            lock.unlock()
            resume(resumed, areCommitted: true)
            resumed.removeAll(keepingCapacity: true)
            lock.lock()
        case .failure(let error):
            failLocked(error)
        }
    }

    /// Ends or syncs the active segment for the maintenance thread. The lock is held on entry and on return.
    private func serveMaintenance() {
        let (rolls, sequence) = (isRollWanted, firstUnwritten)
        isSyncWanted = false
        lock.unlock()
        let outcome = Result { () throws(LogError) in
            try syncActive()
            if rolls, tail > SegmentHeader.byteCount { try roll(for: 0, next: sequence) }
        }
        lock.lock()
        noteActiveRoom()
        isRollWanted = false
        maintenanceSignal.notifyAll()
        if case .failure(let error) = outcome { failLocked(error) }
    }

    /// Sleeps until there is work; writes a mark when the log stays idle, and syncs when the interval has passed.
    private func waitForWork() {
        let isUnmarked = tail > SegmentHeader.byteCount && !lastFrameVouches && options.idleMarkMilliseconds > 0
        var timeout: Int? =
            isUnmarked && (mayMark || unsyncedBytes > 0) ? options.idleMarkMilliseconds : nil
        if case .interval(let milliseconds) = options.durability, unsyncedBytes > 0 {
            timeout = min(timeout ?? milliseconds, milliseconds)
        }
        guard let timeout else { return workSignal.wait(lock) }
        if workSignal.wait(lock, milliseconds: timeout) { return }
        guard !state.hasRecords, !isCommitterStopping else { return }
        let marks = isUnmarked && mayMark
        lock.unlock()
        let outcome = Result { () throws(LogError) in
            if Safeguard.idleSync.isOn { try syncActive() } else { unsyncedBytes = 0 }
            if marks { try writeControl(.mark, next: lock.withLock { firstUnwritten }) }
        }
        lock.lock()
        noteActiveRoom()
        if case .failure(let error) = outcome { failLocked(error) }
    }

    /// On a full disk a mark would take the room of work that is yet to end. The lock is held.
    private var mayMark: Bool { !isReserveSpent }

    /// Tells the others how much is in the active segment, and what is left. The caller holds the lock and is the
    /// committer, or there is none yet.
    func noteActiveRoom() {
        activeBytes = tail
        activeRoom = (active?.capacity ?? 0) - tail
    }

    // MARK: - Writing: the committer only, without the lock

    /// Writes the flying group and returns the position behind it.
    private func writeFlying() throws(LogError) -> LogPosition {
        let bytes = FrameFormat.aligned(flying.byteCount, to: FrameFormat.journalAlignment)
        try makeRoom(for: bytes, next: flying.frames[0].firstSequence)
        guard let segment = active else { preconditionFailure("a started log has an active segment") }
        latestTime = max(latestTime, flying.latest)
        let durable = lock.withLock { vouchedPosition }
        link = flying.seal(
            at: tail, in: segment.header, durable: durable, epoch: files.epoch, time: latestTime, link: link)
        try limitUnsynced(adding: flying.byteCount)
        try write(flying, to: segment)
        index.committed(flying, at: tail)
        if let frame = flying.frames.last, frame.recordCount > 0 {
            activeLastSequence = SequenceNumber(frame.firstSequence.rawValue + UInt64(frame.recordCount) - 1)
        }
        lastFrameVouches = false
        tail += flying.byteCount
        flying.removeAll()
        if case .none = options.durability {} else if unsyncedBytes > 0 { try syncIfIntervalPassed() }
        return segment.header.base.advanced(by: tail)
    }

    private func write(_ group: borrowing CommitGroup, to segment: JournalSegment) throws(LogError) {
        do {
            try segment.file.write(group.bytes.bytes, at: tail)
        } catch {
            throw Self.poison(error, doing: "writing \(segment.name) at \(tail)")
        }
        if options.durability == .commit { countSync() } else { unsyncedBytes += group.byteCount }
    }

    /// Writes a frame without records at the tail; `sequence` is that of the next record behind it.
    func writeControl(_ kind: FrameKind, next sequence: SequenceNumber) throws(LogError) {
        guard let segment = active else { return }
        if tail + FrameFormat.journalAlignment > segment.capacity {
            // A segment that is exactly full ends without a roll frame, and a mark is not worth a new segment.
            guard kind == .close else {
                lastFrameVouches = true
                return
            }
            try makeRoom(for: FrameFormat.journalAlignment, next: sequence)
            return try writeControl(kind, next: sequence)
        }
        control.removeAll()
        control.appendControl(kind, next: sequence, time: latestTime)
        let durable = lock.withLock { vouchedPosition }
        link = control.seal(
            at: tail, in: segment.header, durable: durable, epoch: files.epoch, time: latestTime, link: link)
        try limitUnsynced(adding: control.byteCount)
        try write(control, to: segment)
        index.committed(control, at: tail)
        tail += control.byteCount
        if kind == .close, Safeguard.closeFrameSync.isOn { try syncActive() }
        lastFrameVouches = kind != .roll
    }

    /// Switches to the next segment when `bytes` do not fit in this one.
    private func makeRoom(for bytes: Int, next sequence: SequenceNumber) throws(LogError) {
        guard let segment = active else { preconditionFailure("a started log has an active segment") }
        // A header written by an earlier version may allow less than the file's size would.
        if bytes <= segment.header.inFlightBytesMax, tail + bytes <= segment.capacity { return }
        try roll(for: bytes, next: sequence)
    }

    /// Ends the active segment and goes on in one that holds `bytes`.
    private func roll(for bytes: Int, next sequence: SequenceNumber) throws(LogError) {
        guard let segment = active else { preconditionFailure("a started log has an active segment") }
        // The successor comes first: a roll frame with no segment behind it in the manifest would end the chain for
        // good, and a crash while the ring is exhausted would leave it so.
        let nextSegment = try takeSpare(for: bytes)
        try writeControl(.roll, next: sequence)
        // What follows in another file must not become durable before this one's end is.
        if Safeguard.endedSegmentSync.isOn { try syncActive() } else { unsyncedBytes = 0 }
        active = nextSegment
        segment.file.close()
        let ended = FullSegment(
            journal: segment.journal,
            source: SegmentSource(header: segment.header, path: segment.path, name: segment.name, end: tail),
            link: link)
        lock.withLock {
            full.append(ended)
            maintenanceSignal.notifyOne()
        }
        tail = SegmentHeader.byteCount
        index.addJournal(.init(header: nextSegment.header, path: nextSegment.path, name: nextSegment.name))
    }

    /// Waits for a spare that holds `bytes`; asks for one of its own size when no ring segment does.
    private func takeSpare(for bytes: Int) throws(LogError) -> JournalSegment {
        lock.lock()
        defer {
            if isFileAwaited {
                // A spare may have come first.
                isFileAwaited = false
                requests.removeAll(where: \.isOversized)
            }
            lock.unlock()
        }
        let needed = SegmentHeader.byteCount + bytes
        var hasAsked = false
        while true {
            if case .failed(let error) = state.phase { throw error }
            if let first = spares.first, first.header.inFlightBytesMax >= bytes, first.capacity >= needed {
                spares.removeFirst()
                isStarving = false
                return first
            }
            if isCommitterStopping && isDiskFull {
                throw LogError(.noSpace, "the disk is full: what was not answered yet is not in the journal")
            }
            // Segments of an earlier opening may be smaller than those that the options now ask for.
            let bytesMax = JournalFiles.inFlightBytesMax(capacity: options.journalSegmentBytes, isOversized: false)
            // One may have been made ready, for what could have needed it.
            if !hasAsked, bytes > bytesMax || !spares.isEmpty || oversizedReadyBytes > needed {
                requests.append(.oversized(bytes: needed + FrameFormat.journalAlignment))
                hasAsked = true
                isFileAwaited = true
            }
            isStarving = true
            counters.stalls += 1
            maintenanceSignal.notifyOne()
            workSignal.wait(lock)
        }
    }

    /// In the weaker modes: what is written but not synced stays within the bound that recovery allows for.
    private func limitUnsynced(adding bytes: Int) throws(LogError) {
        guard let segment = active, unsyncedBytes > 0 else { return }
        if unsyncedBytes + bytes > segment.header.inFlightBytesMax, Safeguard.unsyncedBytesBound.isOn {
            try syncActive()
        }
    }

    private func syncIfIntervalPassed() throws(LogError) {
        guard case .interval(let milliseconds) = options.durability else { return }
        let now = PaceClock.now
        if now - lastSync >= .milliseconds(milliseconds), Safeguard.intervalSync.isOn { try syncActive() }
    }

    func syncActive() throws(LogError) {
        guard let segment = active, unsyncedBytes > 0 else { return }
        do {
            try segment.file.sync()
        } catch {
            throw Self.poison(error, doing: "syncing \(segment.name)")
        }
        unsyncedBytes = 0
        lastSync = PaceClock.now
        let position = segment.header.base.advanced(by: tail)
        countSync()
        lock.withLock { syncedPosition = position }
    }

    private func countSync() { lock.withLock { counters.syncs += 1 } }

    /// The sequence number of the first record not yet given to the committer.
    var firstUnwritten: SequenceNumber { filling.isEmpty ? next : filling.frames[0].firstSequence }

    /// What a frame may vouch for: in `.commit` mode all that was released, in the others what was synced.
    private var vouchedPosition: LogPosition { options.durability == .commit ? durablePosition : syncedPosition }

    static func poison(_ failure: IOFailure, doing: String) -> LogError {
        LogError(
            .poisoned,
            "\(doing) failed: \(failure); what was not answered yet may or may not survive: close the store, check the "
                + "disk and open it again",
            file: failure.path)
    }
}
