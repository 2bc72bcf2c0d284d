// The rest of opening, once the journal's end is known: replay, and when that went well the repair of the journal's
// end, the ring, the leftovers of interrupted work, and the threads; and closing, which undoes it.

package import HoldfastBytes

/// What opening found and left alone.
struct Found {
    var recovery: LogRecovery
    let scan: JournalScan
    let repair: LogRecovery.Repair
    let now: Timestamp
}

extension WriteAheadLog {
    /// Sets up the index from the walk, so that records can be read.
    func indexFound(_ scan: JournalScan) {
        index.setSealed(manifest.sealed)
        for segment in scan.segments.prefix(scan.tail + 1) {
            let path = layout.path(segment.journal)
            index.addJournal(
                .init(
                    header: segment.header, path: path, name: layout.relative(path), frames: segment.frames,
                    lastSequence: segment.lastSequence, end: segment.end))
        }
    }

    /// Repairs the journal's end, installs the manifest of the new epoch, and sets up the ring. `start` does it where
    /// it was not done before.
    ///
    /// - Throws: `.noSpace`, `.ioFailed`, `.poisoned`; nothing that was acknowledged has changed.
    package func takeOver() throws(LogError) {
        guard var found = self.found else { return }
        self.found = nil
        let (scan, now) = (found.scan, found.now)
        try found.recovery.repair(scan, found.repair, now: now)
        recovery = found.recovery.report
        for (number, segment) in scan.segments.enumerated() {
            let path = layout.path(segment.journal)
            let name = layout.relative(path)
            if number < scan.tail {
                full.append(
                    FullSegment(
                        journal: segment.journal,
                        source: SegmentSource(header: segment.header, path: path, name: name, end: segment.end),
                        link: scan.links[number]))
            }
        }
        headerTime = max(now, scan.time)
        // What could not be used covers nothing; with the other leftovers it goes.
        manifest.checkpoints.removeAll { passedOver.contains($0.sequence) }
        if manifest.audit == nil {
            // A new store, or one of an earlier version: nothing is read again for what that has sealed.
            let sealed = max(manifest.compactedThrough, manifest.sealed.last?.lineage.through ?? .zero)
            manifest.audit = Manifest.Audit(store: manifest.store, origin: sealed)
        }
        try install(manifest)
        do {
            for (number, segment) in scan.segments.enumerated() where number >= scan.tail {
                let opened = try files.openForWriting(segment.journal, header: segment.header)
                if number == scan.tail { active = opened } else { spares.append(opened) }
            }
        } catch {
            throw LogError(error, doing: "opening the journal")
        }
        try removeLeftovers()
        while isRingShort {
            let slot = manifest.nextSlot
            do {
                try addSpare(slot: slot, bytes: options.journalSegmentBytes, from: .new, now: now)
            } catch {
                // With a segment to write to, a full disk only means less room; sealing makes more.
                if error.code == .noSpace && active != nil { break }
                throw error
            }
        }
        if active == nil {
            let first = spares.removeFirst()
            active = first
            tail = SegmentHeader.byteCount
            index.addJournal(.init(header: first.header, path: first.path, name: first.name))
        }
        noteActiveRoom()
        do { try holdReserve() } catch {
            // Work that frees space goes on without it; new work waits for it.
            guard error.code == .noSpace else { throw error }
        }
    }

    /// Unlinks what interrupted work left behind: files with names of ours that the manifest does not name.
    private func removeLeftovers() throws(LogError) {
        let journals = Set(manifest.journals.map { StoreLayout.journalName(slot: $0.slot) })
        let sealed = Set(manifest.sealed.map { StoreLayout.sealedName(first: $0.firstSequence, id: $0.id) })
        let checkpoints = Set(
            manifest.checkpoints.flatMap { checkpoint in
                (0..<checkpoint.copies).map { StoreLayout.checkpointName(checkpoint.sequence, copy: $0) }
            })
        do {
            try fileSystem.unlinkIfPresent(layout.manifestTemporary)
            for (directory, suffix, known) in [
                (layout.journalDirectory, ".jnl", journals), (layout.segmentsDirectory, ".seg", sealed),
                (layout.checkpointsDirectory, ".ckpt", checkpoints),
            ] {
                for name in try fileSystem.list(directory) where name.hasSuffix(suffix) && !known.contains(name) {
                    try fileSystem.unlink(directory + "/" + name)
                }
            }
        } catch {
            throw LogError(error, doing: "removing leftovers of interrupted work")
        }
    }

    // MARK: - Replay, before `start`

    /// Returns the newest checkpoint not yet returned, whole and checked, or `nil` when there is none left. Call it
    /// again after the image proved unusable.
    package func nextCheckpoint() -> (sequence: SequenceNumber, image: ArraySlice<UInt8>)? {
        // Whoever asks again could not use what was returned before.
        if let returnedCheckpoint { passedOver.insert(returnedCheckpoint) }
        returnedCheckpoint = nil
        while !checkpointCandidates.isEmpty {
            let candidate = checkpointCandidates.removeFirst()
            for copy in 0..<candidate.copies {
                let path = layout.path(candidate, copy: copy)
                do {
                    let file = try CheckpointFile(
                        fileSystem, path: path, name: layout.relative(path), store: files.store,
                        sequence: candidate.sequence)
                    returnedCheckpoint = file.sequence
                    return (file.sequence, file.image)
                } catch {
                    checkpointFindings.append("\(error.message); an older one is used")
                }
            }
            passedOver.insert(candidate.sequence)
        }
        return nil
    }

    /// What was wrong with checkpoints that were passed over.
    package var passedOverCheckpoints: [String] { checkpointFindings }

    /// Says what was replayed, so that the next checkpoint comes no later than if it had been recorded now. Before
    /// `start` only.
    package func noteReplayed(records: UInt64, bytes: Int) { pacing.giveBack((records, bytes)) }

    /// Whether the log holds every record that any checkpoint covered, so that a replay without one is exact.
    package var isComplete: Bool { manifest.compactedThrough == .zero }
    /// A checkpoint below it does not suffice for a replay: records behind it were dropped.
    package var compactedThrough: SequenceNumber { manifest.compactedThrough }

    /// The last record that may be gone soon. The caller holds the lock.
    package var droppedThrough: SequenceNumber { max(manifest.compactedThrough, droppingThrough) }

    /// Calls `body` for each record after `sequence`, in order, with the time of its frame, until it returns false.
    ///
    /// - Throws: `.corrupt` when a frame is damaged, or what `body` throws.
    package func forEachEntry(
        after sequence: SequenceNumber, _ body: (borrowing EntryView, Timestamp) throws(LogError) -> Bool
    ) throws(LogError) {
        guard sequence < .max else { return }
        var goesOn = true
        for source in try index.sources(key: nil, from: sequence.next) where goesOn {
            try forEachEntry(in: source) { (entry, time) throws(LogError) in
                if entry.sequence > sequence { goesOn = try body(entry, time) }
                return goesOn
            }
        }
    }

    /// Repairs what a crash left, takes the store over and starts the threads; appending goes on at `nextSequence`.
    ///
    /// - Throws: `.noSpace`, `.ioFailed`, `.poisoned`; nothing that was acknowledged has changed.
    package func start(delegate: any LogDelegate) throws(LogError) {
        lock.withLock { self.delegate = delegate }
        try takeOver()
        do {
            threads.append(try DedicatedThread(name: "holdfast-commit") { [self] in runCommitter() })
            threads.append(try DedicatedThread(name: "holdfast-maint") { [self] in runMaintenance() })
        } catch {
            throw LogError(error, doing: "starting the log's threads")
        }
    }

    // MARK: - Closing

    /// Commits what was appended, seals it if it is much, writes a checkpoint and the close frame, and releases the
    /// store. Later calls throw `.closed`; a second `close` does nothing.
    ///
    /// - Throws: The failure that poisoned the log, or the first that happens now; the store is released all the same.
    package func close() throws(LogError) {
        let (isFirst, waiting) = lock.withLock {
            defer { isClosing = true }
            return (!isClosing, takeFollowers())
        }
        resume(waiting)
        guard isFirst else { return }
        var failure: LogError?
        // A log that was never started (its replay failed, or one of its two threads) is left as it was found: without
        // the maintenance thread nobody answers a checkpoint.
        let wasStarted = threads.count == 2
        if wasStarted {
            do { _ = try checkpoint(seals: true) } catch { failure = error }
        }
        // The committer goes first: until its last frame is written it may need a spare from the maintenance thread.
        let waiters = lock.withLock {
            state.beginClose()
            isCommitterStopping = true
            workSignal.notifyAll()
            return takeRoomWaiters()
        }
        resume(waiters)
        threads.first?.join()
        do {
            if wasStarted { try writeCloseFrame() }
        } catch {
            failure = failure ?? error
        }
        lock.withLock {
            isMaintenanceStopping = true
            maintenanceSignal.notifyAll()
        }
        for thread in threads.dropFirst() { thread.join() }
        threads = []
        active?.file.close()
        active = nil
        for spare in spares { spare.file.close() }
        spares = []
        storeLock.release()
        if let failure { throw failure }
    }

    private func writeCloseFrame() throws(LogError) {
        if Safeguard.poisonedClose.isOn, case .failed(let error) = lock.withLock({ state.phase }) { throw error }
        if Safeguard.closingSync.isOn { try syncActive() }
        lock.withLock { syncedPosition = max(syncedPosition, durablePosition) }
        try writeControl(.close, next: lock.withLock { next })
        lock.withLock { state.closed() }
    }

    // MARK: - Failing and waking

    /// Poisons the log. The lock is held on entry and on return, but not while waiters are resumed.
    func failLocked(_ error: LogError) {
        switch state.phase {
        case .failed, .closed: return
        case .open, .closing: break
        }
        state.fail(error)
        var waiters = takeRoomWaiters() + takeFollowers()
        waiters.append(contentsOf: flyingWaiters)
        waiters.append(contentsOf: fillingWaiters)
        flyingWaiters = []
        fillingWaiters = []
        for signal in [workSignal, maintenanceSignal, requestSignal] { signal.notifyAll() }
        let delegate = delegate
        lock.unlock()
        delegate?.logDidFail(error)
        resume(waiters)
        lock.lock()
    }

    /// Resumes those who wait; the caller does not hold the lock.
    func resume(_ waiters: [Waiter], areCommitted: Bool = false) {
        for waiter in waiters { waiter.resume(isCommitted: areCommitted) }
    }
}
