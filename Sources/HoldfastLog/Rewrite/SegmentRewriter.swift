// Rewriting: read segments, keep the records still needed, write one new compressed segment, install it by the
// manifest, then recycle or unlink the old ones. Sealing is a rewrite of full journal segments that keeps everything;
// compaction is one of sealed segments that drops what is no longer needed.
//
// Crash points: before the manifest is replaced, the new file is a leftover and the old ones are in force; after it,
// the old ones are leftovers. A recycled file gets its new header only after the manifest that no longer names it as
// what it was is durable.

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
    func seal(_ segments: [FullSegment]) throws(LogError) {
        // A checkpoint comes with every sealing, so that a replay is at most the journal. It is left out when the
        // committer waits for a spare: it might wait for the very group that can't be written before.
        if !lock.withLock({ isStarving }) { _ = try installCheckpoint(copies: 1, unlessStarving: true) }
        let sources = segments.map(\.source)
        var last = manifest.sealed.last?.chain
        let made = try rewrite(sources, policy: KeepAll(), chain: &last, high: !lock.withLock { isStarving })
        var changed = manifest
        changed.nextSegment = lock.withLock { manifest.nextSegment }
        changed.sealed += made.segments
        let ids = Set(segments.map(\.journal.id))
        changed.journals.removeAll { ids.contains($0.id) }
        changed.journalLink = segments[segments.count - 1].link
        try installRewritten(changed, made.segments)
        index.setSealed(changed.sealed, removingJournals: ids)
        lock.withLock { full.removeFirst(segments.count) }
        for segment in segments { try retire(segment.journal) }
    }

    private func retire(_ journal: Manifest.Journal) throws(LogError) {
        if journal.isOversized || journal.bytes != options.journalSegmentBytes {
            do {
                try fileSystem.unlinkIfPresent(layout.path(journal))
                try fileSystem.syncDirectory(layout.journalDirectory)
            } catch {
                throw Self.writeFailure(error, doing: "removing a journal segment")
            }
        } else {
            try addSpare(slot: journal.slot, bytes: journal.bytes, from: .recycled, now: latestKnownTime)
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
        // What is dropped can't be replayed again: an image at or after it must exist, twice.
        let covered = try installCheckpoint(copies: 2)
        guard covered >= lastSealed.lastSequence else { return result }
        let policy = delegate.retention()
        let old = manifest.sealed
        var chain: [UInt8]?
        let sources = try index.sources(key: nil, from: .zero).filter { $0.header.role == .sealed }
        let made = try rewrite(sources, policy: policy, chain: &chain, high: true)
        var changed = manifest
        changed.sealed = made.segments
        if made.dropped > 0 { changed.compactedThrough = max(changed.compactedThrough, lastSealed.lastSequence) }
        try installRewritten(changed, made.segments)
        index.setSealed(changed.sealed)
        do {
            for segment in old { try fileSystem.unlinkIfPresent(layout.path(segment)) }
            try fileSystem.syncDirectory(layout.segmentsDirectory)
        } catch {
            throw Self.writeFailure(error, doing: "removing rewritten segments")
        }
        result.segmentsAfter = changed.sealed.count
        result.bytesAfter = changed.sealed.reduce(0) { $0 + $1.bytes }
        result.recordsDropped = made.dropped
        return result
    }

    /// Ends the active journal segment and seals all that is full, as far as that goes without waiting for a spare.
    private func sealEverything() throws(LogError) {
        lock.lock()
        let sealedThrough = manifest.sealed.last?.lastSequence ?? .zero
        isRollWanted = next.rawValue > sealedThrough.rawValue + 1
        workSignal.notifyOne()
        while isRollWanted {
            var failure: LogError?
            if case .failed(let error) = state.phase { failure = error }
            if failure != nil || spares.isEmpty || !requests.isEmpty || isCommitterStopping {
                isRollWanted = false
                lock.unlock()
                if let failure { throw failure }
                lock.lock()
                break
            }
            _ = maintenanceSignal.wait(lock, milliseconds: 5)
        }
        let segments = full
        lock.unlock()
        if !segments.isEmpty { try seal(segments) }
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
            if !output.segments.isEmpty {
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
