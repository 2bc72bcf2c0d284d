// Rewriting: read segments, from memory where they were written lately, keep the records still needed, write one new
// compressed segment, install it by the manifest, then recycle or unlink the old ones. Sealing is a rewrite of full
// journal segments that keeps everything; compaction (Compaction.swift) is one of sealed segments that drops what is no
// longer needed.
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
        let sources = segments.map(\.source)
        let high = segments.count == 1 && isQuiet
        var pace = SealingPace(bytes: sources.reduce(0) { $0 + $1.end })
        // The better compression would be a slow pace for who comes after a quiet time.
        let isPaced = !high && SealingPace.isKept(options)
        if isPaced { withhold(pace.withheldShare) }
        defer { withhold(0) }
        let made = try rewrite(
            sources, policy: KeepAll(), predecessor: manifest.sealed.last?.lineage.chain, audit: manifest.auditEnd,
            high: high, breathe: { bytes in if pace.advance(bytes), isPaced { withhold(pace.withheldShare) } },
            atHand: index.frameAtHand)
        withhold(0)
        lastSealing = PaceClock.now
        var changed = manifest
        changed.sealed += made.segments
        let ids = Set(segments.map(\.journal.id))
        changed.journals.removeAll { ids.contains($0.id) }
        changed.journalLink = segments[segments.count - 1].link
        try installRewritten(changed, made.segments)
        index.setSealed(changed.sealed, removingJournals: ids)
        lock.withLock {
            full.removeFirst(segments.count)
            counters.sealingBytes += made.bytes
        }
        noteSealed(segments)
        for segment in segments { try retire(segment.journal) }
    }

    /// Keeps that share of a segment from callers, and wakes those who wait for it to be less.
    private func withhold(_ share: Double) {
        let waiters = lock.withLock {
            defer { withheldShare = share }
            return share < withheldShare ? takePacedWaiters() : []
        }
        resume(waiters)
    }

    /// Whether the log fills slowly enough for the better compression, which takes 25 times the time of the fast one:
    /// commits wait for it where no other segment is left.
    var isQuiet: Bool {
        PaceClock.now - lastSealing > .seconds(2) && lock.withLock { full.count <= 1 && !isStarving && !isClosing }
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

    // MARK: - Sealing on demand

    /// Ends the active journal segment and seals all that is full. A committer that outruns it keeps what came later.
    func sealEverything() throws(LogError) {
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

    /// An opening reads the journal that was not sealed: a millisecond for about so many bytes.
    static let unsealedBytesMax = 1 << 20

    /// Seals what is in the journal, if reading it would hold up the next opening. What can't be sealed stays in the
    /// journal, where the next opening finds it, damaged or not.
    func sealRest() throws(LogError) {
        let bytes = lock.withLock { full.reduce(activeBytes) { $0 + $1.source.end } }
        guard bytes > Self.unsealedBytesMax else { return }
        do { try sealEverything() } catch {
            switch error.code {
            case .noSpace, .corrupt, .ioFailed: return
            default: throw error
            }
        }
    }

    /// Seals what has been full for longest, or all that is full where nothing makes room for it.
    func sealSome() throws(LogError) {
        let segments = lock.withLock { compactionShare != nil ? Array(full.prefix(1)) : full }
        if !segments.isEmpty { try seal(segments) }
    }

    /// Seals what is full now. A second try must not take what the first one sealed before it failed.
    func sealPending() throws(LogError) {
        let segments = lock.withLock { full }
        if !segments.isEmpty { try seal(segments) }
    }

    /// Seals what is full and gives the files back to the ring.
    func sealFull() throws(LogError) {
        try sealPending()
        try fillRing()
    }

    /// Makes spares until the ring is complete.
    func fillRing() throws(LogError) {
        while isRingShort {
            if idleFiles.isEmpty, lock.withLock({ isReserveSpent }) { return }
            try replenish()
        }
    }

    // MARK: - The rewrite

    /// What a rewrite made.
    struct Rewritten {
        var segments: [Manifest.Sealed] = []
        var dropped: UInt64 = 0
        /// The last record dropped.
        var droppedThrough = SequenceNumber.zero
        /// The audit chain's value there, where it could be computed.
        var anchor: AuditPoint?
        /// What a proof of it came to, if there was one.
        var proof: RewriteProof?
        var bytes: UInt64 { segments.reduce(0) { $0 + UInt64($1.bytes) } }
    }

    /// Copies the records that `policy` keeps into new segments, none of which is in force yet.
    ///
    /// - Parameter predecessor: The chain value behind which they go on.
    /// - Parameter audit: The audit chain's value at or before the first record that it does not cover.
    /// - Parameter passed: Its value behind what is not read, by the segment that is read next.
    /// - Parameter replaced: The last of the segments which they take the place of, if any.
    /// - Parameter breathe: Called between frames, with the bytes of the last one.
    /// - Parameter atHand: Returns the frame at an offset of a segment where it is in memory.
    func rewrite(
        _ sources: [SegmentSource], policy: any RetentionPolicy, predecessor: [UInt8]?, audit: AuditPoint?,
        passing passed: [SegmentID: AuditPoint] = [:], replacing replaced: Manifest.Sealed? = nil, high: Bool,
        breathe: (Int) throws(LogError) -> Void = { _ in }, atHand: (SegmentHeader, Int) -> Frame? = { _, _ in nil }
    ) throws(LogError) -> Rewritten {
        var output = RewriteOutput(
            log: self, chain: predecessor ?? [UInt8](repeating: 0, count: 32), audit: audit, high: high)
        var made = Rewritten()
        var last = SequenceNumber.zero
        do throws(LogError) {
            for source in sources {
                if let point = passed[source.header.id] { output.pass(to: point) }
                try source.forEachFrame(fileSystem, atHand: { atHand(source.header, $0) }) { (frame) throws(LogError) in
                    guard frame.header.recordCount > 0 else { return true }
                    _ = try frame.forEachEntry(file: source.name) { (entry, time) throws(LogError) in
                        guard entry.sequence > last else {
                            throw LogError(
                                .corrupt,
                                "\(source.name) holds record \(entry.sequence) behind record \(last): restore it from "
                                    + "a backup, or run: holdfast salvage STORE NEW",
                                file: source.name, offset: frame.offset)
                        }
                        last = entry.sequence
                        if policy.mustKeep(sequence: entry.sequence, kind: entry.kind, body: entry.body) {
                            made.anchor = output.point(at: made.droppedThrough) ?? made.anchor
                            try output.append(entry, time: time)
                        } else {
                            output.audit?.append(entry)
                            made.dropped += 1
                            made.droppedThrough = entry.sequence
                        }
                        return true
                    }
                    try breathe(frame.header.rawBytes)
                    DedicatedThread.giveWay()
                    return true
                }
            }
            made.anchor = output.point(at: made.droppedThrough) ?? made.anchor
            try output.endSegment(replacing: replaced)
            if !output.segments.isEmpty, Safeguard.sealedNameSync.isOn {
                do { try fileSystem.syncDirectory(layout.segmentsDirectory) } catch {
                    throw Self.writeFailure(error, doing: "sealing")
                }
            }
        } catch {
            output.abandon()
            throw error
        }
        made.segments = output.segments
        return made
    }
}

extension WriteAheadLog {
    /// Installs what a rewrite made; where the disk is full, removes it again.
    func installRewritten(_ changed: Manifest, _ made: [Manifest.Sealed]) throws(LogError) {
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
    /// Asked about every record: the lock that it is read under is the one that callers want.
    private let delegate: (any LogDelegate)?
    let high: Bool
    var chain: [UInt8]
    /// The audit chain's value after the last record that was given.
    var audit: AuditPoint?
    var segments: [Manifest.Sealed] = []
    private var writer: SealedSegmentWriter?
    private var file: (any File)?
    private var paths: [String] = []

    init(log: WriteAheadLog, chain: [UInt8], audit: AuditPoint?, high: Bool) {
        self.log = log
        delegate = log.lock.withLock { log.delegate }
        self.chain = chain
        self.audit = audit
        self.high = high
    }

    /// Goes on behind records that are not given.
    mutating func pass(to point: AuditPoint) {
        if let audit, point.through > audit.through { self.audit = point }
    }

    /// The audit chain's value after `sequence`, if that was the last record given.
    func point(at sequence: SequenceNumber) -> AuditPoint? {
        guard let audit, audit.through == sequence else { return nil }
        return audit
    }

    mutating func append(_ entry: borrowing EntryView, time: Timestamp) throws(LogError) {
        let key = delegate?.key(sequence: entry.sequence, kind: entry.kind, body: entry.body)
        // Before the record, not behind it: the last segment ends when it is known to be the last.
        if let raw = writer?.rawByteCount, raw >= WriteAheadLog.sealedRawBytesTarget { try endSegment(replacing: nil) }
        audit?.append(entry)
        do {
            if writer == nil { try begin(at: entry.sequence, time: time) }
            try writer?.append(entry, time: time, key: key)
        } catch {
            throw WriteAheadLog.writeFailure(error, doing: "writing a sealed segment")
        }
    }

    mutating func endSegment(replacing replaced: Manifest.Sealed?) throws(LogError) {
        guard let writer = writer.take() else { return }
        do {
            var sealed = try writer.finish(lineage: replaced?.lineage)
            sealed.audit = if let replaced { replaced.audit } else { point(at: sealed.lastSequence)?.hash }
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
