// Rewriting: read segments, keep the records still needed, write one new compressed segment, install it by the
// manifest, then recycle or unlink the old ones. Sealing is a rewrite of full journal segments that keeps everything;
// compaction is one of sealed segments that drops what is no longer needed.
//
// Crash points: before the manifest is replaced, the new file is a leftover and the old ones are in force; after it,
// the old ones are leftovers. A recycled file gets its new header only after the manifest that no longer names it as
// what it was is durable. That a file is gone need not be: what the manifest does not name is removed when the store is
// opened, and whoever makes a file of that name removes the old one first.

internal import HoldfastBytes

/// Keeps everything.
struct KeepAll: RetentionPolicy {
    func mustKeep(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> Bool { true }
}

extension WriteAheadLog {
    /// A rewritten segment is ended once it holds this many raw bytes.
    static let sealedRawBytesTarget = 64 << 20

    // MARK: - Sealing

    /// Turns full journal segments into sealed ones and recycles their files.
    private func seal(_ segments: [FullSegment]) throws(LogError) {
        // A checkpoint comes with a sealing, so that a replay is little more than the journal; but not before as much
        // was sealed as the image weighs, so that images never cost more than the log. It is left out, too, when the
        // committer waits for a spare: it might wait for the very group that can't be written before;
        // and on a full disk.
        sealedSinceImage += segments.reduce(0) { $0 + $1.journal.bytes }
        if sealedSinceImage >= imageBytes, !lock.withLock({ isStarving || isReserveSpent }) {
            _ = try installCheckpoint(copies: 1, unlessStarving: true)
        }
        let sources = segments.map(\.source)
        var last = manifest.sealed.last?.chain
        let made = try rewrite(sources, policy: KeepAll(), chain: &last, high: isQuiet())
        var changed = manifest
        changed.sealed += made.segments
        let ids = Set(segments.map(\.journal.id))
        changed.journals.removeAll { ids.contains($0.id) }
        changed.journalLink = segments[segments.count - 1].link
        try installRewritten(changed, made.segments)
        index.setSealed(changed.sealed, removingJournals: ids)
        lock.withLock { full.removeFirst(segments.count) }
        for segment in segments { try retire(segment.journal) }
    }

    /// Whether the log fills slowly enough for the better compression, which takes 25 times the time of the fast one.
    private func isQuiet() -> Bool {
        let now = ContinuousClock.now
        defer { lastSealing = now }
        return now - lastSealing > .seconds(2)
    }

    /// Sets a used file aside for the ring, or removes it when it does not fit there.
    private func retire(_ journal: Manifest.Journal) throws(LogError) {
        guard journal.isOversized || journal.bytes != options.journalSegmentBytes else {
            return idleFiles.append(IdleJournalFile(slot: journal.slot, bytes: journal.bytes))
        }
        do {
            try fileSystem.unlinkIfPresent(layout.path(journal))
        } catch {
            throw Self.writeFailure(error, doing: "removing a journal segment")
        }
    }

    // MARK: - Merging

    /// The newest sealed segments when they are enough and small enough to be one, else none.
    ///
    /// A journal segment that served single commits seals into a few kilobytes, so their number, and with it the
    /// manifest and the time to open, would grow with time. Eight neighbours of one size class become one of the next:
    /// at most eight per class stay, and a record is rewritten at most three times.
    static func mergeableTail(_ sealed: [Manifest.Sealed]) -> ArraySlice<Manifest.Sealed> {
        let tail = sealed.suffix(mergeCount)
        guard tail.count == mergeCount, let largest = tail.map(\.bytes).max(), let newest = tail.last else { return [] }
        guard let limit = mergeClasses.first(where: { newest.bytes <= $0 }), largest <= limit else { return [] }
        return tail
    }

    static let mergeCount = 8
    static let mergeClasses = [256 << 10, 2 << 20, 16 << 20]

    /// Rewrites neighbours into one segment and keeps every record.
    func merge(_ run: ArraySlice<Manifest.Sealed>) throws(LogError) {
        let ids = Set(run.map(\.id))
        guard let first = run.first, let last = run.last else { return }
        let sources = try index.sources(key: nil, from: first.firstSequence).filter { ids.contains($0.header.id) }
        var chain = manifest.sealed.dropLast(run.count).last?.chain
        let made = try rewrite(sources, policy: KeepAll(), chain: &chain, high: isQuiet())
        assert(made.segments.last?.lastSequence == last.lastSequence, "a merge keeps every record")
        try replaceSealed(manifest.sealed.dropLast(run.count) + made.segments, removing: Array(run))
    }

    /// Installs a new list of sealed segments and unlinks those it no longer holds.
    private func replaceSealed(
        _ segments: [Manifest.Sealed], removing old: [Manifest.Sealed], compactedThrough: SequenceNumber? = nil
    ) throws(LogError) {
        var changed = manifest
        changed.sealed = segments
        if let compactedThrough { changed.compactedThrough = max(changed.compactedThrough, compactedThrough) }
        let known = Set(manifest.sealed.map(\.id))
        try installRewritten(changed, segments.filter { !known.contains($0.id) })
        index.setSealed(changed.sealed)
        do {
            for segment in old { try fileSystem.unlinkIfPresent(layout.path(segment)) }
        } catch {
            throw Self.writeFailure(error, doing: "removing rewritten segments")
        }
    }

    // MARK: - Compaction

    /// Seals nothing more, rewrites all sealed segments without what is no longer needed.
    func compactNow() throws(LogError) -> CompactionResult {
        try sealEverything()
        var result = CompactionResult()
        result.segmentsBefore = manifest.sealed.count
        result.bytesBefore = manifest.sealed.reduce(0) { $0 + $1.bytes }
        guard let delegate = lock.withLock({ delegate }), let lastSealed = manifest.sealed.last else { return result }
        // What is dropped can't be replayed again: an image at or after it must exist, twice. What may be dropped is
        // decided before the image is taken, and the image waits until all that it rests on is durable: a change that
        // a crash could still undo never costs a record.
        let policy = delegate.retention()
        let covered = Safeguard.compactionImage.isOn ? try installCheckpoint(copies: 2) : lastSealed.lastSequence
        guard covered >= lastSealed.lastSequence else {
            throw LogError(.ioFailed, "the checkpoint that compaction needs was not written: try again")
        }
        let old = manifest.sealed
        var chain: [UInt8]?
        let sources = try index.sources(key: nil, from: .zero).filter { $0.header.role == .sealed }
        let made = try rewrite(sources, policy: policy, chain: &chain, high: true)
        try replaceSealed(
            made.segments, removing: old,
            compactedThrough: made.dropped > 0 && Safeguard.compactionBound.isOn ? lastSealed.lastSequence : nil)
        result.segmentsAfter = made.segments.count
        result.bytesAfter = made.segments.reduce(0) { $0 + $1.bytes }
        result.recordsDropped = made.dropped
        return result
    }

    /// Ends the active journal segment and seals all that is full. A committer that outruns it keeps what came later.
    private func sealEverything() throws(LogError) {
        try sealFull()
        lock.lock()
        let sealedThrough = manifest.sealed.last?.lastSequence ?? .zero
        isRollWanted = next.rawValue > sealedThrough.rawValue + 1
        workSignal.notifyOne()
        while isRollWanted {
            if case .failed(let error) = state.phase {
                isRollWanted = false
                lock.unlock()
                throw error
            }
            if isCommitterStopping {
                isRollWanted = false
                break
            }
            if isStarving {
                lock.unlock()
                do { try serveCommitter() } catch {
                    lock.withLock { isRollWanted = false }
                    throw error
                }
                lock.lock()
            }
            _ = maintenanceSignal.wait(lock, milliseconds: 5)
        }
        // The committer takes the wish back when it fails, too.
        let failure: LogError? = if case .failed(let error) = state.phase { error } else { nil }
        lock.unlock()
        if let failure { throw failure }
        try sealFull()
    }

    /// Seals what is full now. A second try must not take what the first one sealed before it failed.
    func sealPending() throws(LogError) {
        let segments = lock.withLock { full }
        if !segments.isEmpty { try seal(segments) }
    }

    /// Seals what is full and gives the files back to the ring.
    func sealFull() throws(LogError) {
        try sealPending()
        while isRingShort {
            if idleFiles.isEmpty, lock.withLock({ isReserveSpent }) { return }
            try replenish()
        }
    }

    // MARK: - The rewrite

    private func rewrite(
        _ sources: [SegmentSource], policy: any RetentionPolicy, chain: inout [UInt8]?, high: Bool
    ) throws(LogError) -> (segments: [Manifest.Sealed], dropped: UInt64) {
        var output = RewriteOutput(log: self, chain: chain ?? [UInt8](repeating: 0, count: 32), high: high)
        var dropped: UInt64 = 0
        do throws(LogError) {
            for source in sources {
                try forEachEntry(in: source) { (entry, time) throws(LogError) in
                    if policy.mustKeep(sequence: entry.sequence, kind: entry.kind, body: entry.body) {
                        try output.append(entry, time: time)
                    } else {
                        dropped += 1
                    }
                    return true
                }
            }
            try output.endSegment()
            if !output.segments.isEmpty, Safeguard.sealedNameSync.isOn {
                do { try fileSystem.syncDirectory(layout.segmentsDirectory) } catch {
                    throw Self.writeFailure(error, doing: "sealing")
                }
            }
        } catch {
            output.abandon()
            throw error
        }
        chain = output.chain
        return (output.segments, dropped)
    }
}

extension WriteAheadLog {
    /// Installs what a rewrite made; where the disk is full, removes it again.
    private func installRewritten(_ changed: Manifest, _ made: [Manifest.Sealed]) throws(LogError) {
        do { try install(changed) } catch {
            if error.code == .noSpace {
                for segment in made { try? fileSystem.unlinkIfPresent(layout.path(segment)) }
            }
            throw error
        }
    }
}

/// Spreads records over as many sealed segments as they need.
private struct RewriteOutput: ~Copyable {
    let log: WriteAheadLog
    let high: Bool
    var chain: [UInt8]
    var segments: [Manifest.Sealed] = []
    private var writer: SealedSegmentWriter?
    private var file: (any File)?
    private var paths: [String] = []

    init(log: WriteAheadLog, chain: [UInt8], high: Bool) {
        self.log = log
        self.chain = chain
        self.high = high
    }

    mutating func append(_ entry: borrowing EntryView, time: Timestamp) throws(LogError) {
        let key = log.lock.withLock { log.delegate }?.key(
            sequence: entry.sequence, kind: entry.kind, body: entry.body)
        do {
            if writer == nil { try begin(at: entry.sequence, time: time) }
            try writer?.append(entry, time: time, key: key)
        } catch {
            throw WriteAheadLog.writeFailure(error, doing: "writing a sealed segment")
        }
        if let raw = writer?.rawByteCount, raw >= WriteAheadLog.sealedRawBytesTarget { try endSegment() }
    }

    mutating func endSegment() throws(LogError) {
        guard let writer = writer.take() else { return }
        do {
            let sealed = try writer.finish()
            segments.append(sealed)
            chain = sealed.chain
        } catch {
            throw WriteAheadLog.writeFailure(error, doing: "writing a sealed segment")
        }
        file?.close()
        file = nil
    }

    /// Removes what was written: it would only hold blocks of a full disk until the next opening.
    mutating func abandon() {
        file?.close()
        file = nil
        for path in paths { try? log.fileSystem.unlinkIfPresent(path) }
    }

    private mutating func begin(at first: SequenceNumber, time: Timestamp) throws(IOFailure) {
        let id = log.lock.withLock {
            let id = log.manifest.nextSegment
            log.manifest.nextSegment = id.next
            return id
        }
        var header = SegmentHeader(
            role: .sealed, store: log.files.store, id: id, salt: Randomness.word(), epoch: log.files.epoch,
            created: time)
        header.firstSequence = first
        header.predecessorChain = chain
        let path = log.layout.segmentsDirectory + "/" + StoreLayout.sealedName(first: first, id: id)
        try log.fileSystem.unlinkIfPresent(path)
        let created = try log.fileSystem.open(path, .create)
        paths.append(path)
        file = created
        writer = SealedSegmentWriter(file: created, header: header, usesHighCompression: high)
    }
}
