// The ring's supply: files made, recycled and registered as segments that the committer may switch to.
//
// A file becomes a segment in this order: zeros, header, manifest, each synced. A crash before the manifest leaves a
// leftover; a full disk leaves a new file unlinked and a used one set aside, to be taken first when there is space.

internal import HoldfastBytes

/// A journal file that exists and that the manifest does not name.
struct IdleJournalFile {
    let slot: UInt64
    let bytes: Int
}

/// What a spare is made from.
enum SpareOrigin {
    /// A file to be written first.
    case new
    /// A file of zeros.
    case zeros
    /// A file that held another segment.
    case recycled
}

extension WriteAheadLog {
    /// Registers a journal segment of `slot`'s file and makes it a spare.
    func addSpare(
        slot: UInt64, bytes: Int, from origin: SpareOrigin, isOversized: Bool = false, now: Timestamp
    ) throws(LogError) {
        var changed = manifest
        let journal = Manifest.Journal(
            id: changed.nextSegment, slot: slot, base: changed.nextBase, bytes: bytes, isOversized: isOversized)
        changed.nextSegment = changed.nextSegment.next
        changed.nextBase = changed.nextBase.advanced(by: bytes)
        changed.nextSlot = max(changed.nextSlot, slot + 1)
        changed.journals.append(journal)
        let header: SegmentHeader
        do {
            header = try prepareFile(journal, from: origin, now: now)
            try install(changed)
        } catch {
            if error.code == .noSpace { setAside(journal, from: origin) }
            throw error
        }
        let segment: JournalSegment
        do { segment = try files.openForWriting(journal, header: header) } catch {
            throw Self.poison(error, doing: "opening a journal segment")
        }
        let waiters = lock.withLock {
            spares.append(segment)
            // The committer says so again if this one is too small. Until it has looked, whoever gives way to it would
            // try again and again.
            isStarving = false
            // The manifest could be replaced, so there is space again.
            isDiskFull = false
            isRetryDue = false
            // One that is used again says nothing of room for a file.
            if origin != .recycled { isOversizedRefused = false }
            workSignal.notifyOne()
            return takeRoomWaiters()
        }
        resume(waiters)
    }

    private func prepareFile(
        _ journal: Manifest.Journal, from origin: SpareOrigin, now: Timestamp
    ) throws(LogError) -> SegmentHeader {
        do {
            if case .new = origin { try files.create(journal) }
            let wasRecycled = if case .recycled = origin { true } else { false }
            return try files.writeHeader(journal, wasRecycled: wasRecycled, now: now)
        } catch {
            throw Self.writeFailure(error, doing: "preparing a journal segment")
        }
    }

    private func setAside(_ journal: Manifest.Journal, from origin: SpareOrigin) {
        if case .recycled = origin, journal.bytes == options.journalSegmentBytes {
            idleFiles.append(IdleJournalFile(slot: journal.slot, bytes: journal.bytes))
        } else {
            // Its blocks are what the disk is short of. If even this fails, the next opening removes it.
            try? fileSystem.unlinkIfPresent(layout.path(journal))
        }
    }

    /// Whether the ring has fewer segments than it should.
    var isRingShort: Bool {
        manifest.journals.lazy.filter({ !$0.isOversized }).count < options.journalSegmentCount
    }

    /// Adds one segment of the usual size to the ring.
    func replenish() throws(LogError) {
        if let idle = idleFiles.popLast() {
            return try addSpare(slot: idle.slot, bytes: idle.bytes, from: .recycled, now: latestKnownTime)
        }
        let slot = manifest.nextSlot
        try addSpare(slot: slot, bytes: options.journalSegmentBytes, from: .new, now: latestKnownTime)
    }

    /// Makes a file ahead for one large group, before anything of it is applied: here a full disk costs nothing.
    func prepareOversized(_ bytes: Int) throws(LogError) {
        let size = FrameFormat.aligned(bytes, to: FrameFormat.journalAlignment)
        var outcome: Result<Void, LogError> = .success(())
        if (oversizedFile?.bytes ?? 0) < size {
            outcome = Result { () throws(LogError) in try makeOversizedFile(size) }
        }
        let waiters = lock.withLock {
            oversizedReadyBytes = oversizedFile?.bytes ?? 0
            oversizedWantedBytes = 0
            if case .failure(let error) = outcome, error.code == .noSpace { isOversizedRefused = true }
            return takeRoomWaiters()
        }
        resume(waiters)
        if case .failure(let error) = outcome, error.code != .noSpace { throw error }
    }

    private func makeOversizedFile(_ size: Int) throws(LogError) {
        if let smaller = oversizedFile {
            oversizedFile = nil
            do { try fileSystem.unlinkIfPresent(layout.journalPath(slot: smaller.slot)) } catch {
                throw Self.writeFailure(error, doing: "removing a journal file")
            }
        }
        let slot: UInt64 = lock.withLock {
            defer { manifest.nextSlot += 1 }
            return manifest.nextSlot
        }
        let file = Manifest.Journal(
            id: manifest.nextSegment, slot: slot, base: manifest.nextBase, bytes: size, isOversized: true)
        do { try files.create(file) } catch {
            setAside(file, from: .zeros)
            throw Self.writeFailure(error, doing: "preparing a journal segment")
        }
        oversizedFile = IdleJournalFile(slot: slot, bytes: size)
    }

    /// Puts a segment of its own size first in the ring; asks for it again when the disk is full.
    func addOversized(_ bytes: Int) throws(LogError) {
        do { try spendingReserve { () throws(LogError) in try makeOversized(bytes) } } catch {
            if error.code == .noSpace {
                lock.withLock { if isFileAwaited { requests.append(.oversized(bytes: bytes)) } }
            }
            throw error
        }
    }

    // Spares already have positions behind which it can't go, so they are taken out of the manifest and given new ones
    // after it. The zeros are what a full disk refuses: they come first, while nothing has changed.
    private func makeOversized(_ bytes: Int) throws(LogError) {
        let wanted = FrameFormat.aligned(bytes, to: FrameFormat.journalAlignment)
        if (oversizedFile?.bytes ?? 0) < wanted { try makeOversizedFile(wanted) }
        guard let file = oversizedFile else { preconditionFailure("the file was just made") }
        let (slot, size) = (file.slot, file.bytes)
        let withdrawn = lock.withLock {
            let all = spares
            spares.removeAll()
            return all
        }
        var changed = manifest
        let ids = Set(withdrawn.map(\.journal.id))
        changed.journals.removeAll { ids.contains($0.id) }
        do { try install(changed) } catch {
            lock.withLock { spares = withdrawn + spares }
            throw error
        }
        for segment in withdrawn {
            segment.file.close()
            idleFiles.append(IdleJournalFile(slot: segment.journal.slot, bytes: segment.capacity))
        }
        oversizedFile = nil
        lock.withLock { oversizedReadyBytes = 0 }
        try addSpare(slot: slot, bytes: size, from: .zeros, isOversized: true, now: latestKnownTime)
        for _ in withdrawn {
            let idle = idleFiles.removeFirst()
            do { try addSpare(slot: idle.slot, bytes: idle.bytes, from: .recycled, now: latestKnownTime) } catch {
                // It was set aside; the ring is filled up when there is space.
                guard error.code == .noSpace else { throw error }
                return
            }
        }
    }
}
