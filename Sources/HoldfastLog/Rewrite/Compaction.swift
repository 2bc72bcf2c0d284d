// Rewriting sealed segments: in the background, a few neighbours at a time as `CompactionPolicy` says, or all of them
// when a caller asks.
//
// What is dropped can't be replayed again. So in the background a record is dropped only where two checkpoints cover
// it: one of them may be damaged. A caller's compaction writes one image, twice. What may be dropped is decided by the
// state at some record, and dropped only once the log is durable that far: a change that a crash could still undo
// never costs a record.
//
// Crash points are those of every rewrite. Damage costs nothing: a segment that can't be read stays as it is, for
// whoever reads or verifies it to report.

internal import HoldfastBytes

/// Drops only what checkpoints cover.
private struct CoveredRetention: RetentionPolicy {
    let policy: any RetentionPolicy
    let covered: SequenceNumber

    func mustKeep(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> Bool {
        sequence > covered || policy.mustKeep(sequence: sequence, kind: kind, body: body)
    }
    func keptCountMax(in range: ClosedRange<SequenceNumber>) -> Int { policy.keptCountMax(in: range) }
}

extension WriteAheadLog {
    // MARK: - In the background

    /// Sets the share of time that rewriting in the background may take; `nil` for none.
    package func setCompactionShare(_ share: Double?) {
        lock.withLock {
            compactionShare = share
            isCompactionDue = true
            maintenanceSignal.notifyOne()
        }
    }

    /// Records up to it may be dropped: two images cover them.
    private var coveredThrough: SequenceNumber {
        guard let newest = manifest.checkpoints.first else { return .zero }
        if newest.copies > 1 || Safeguard.compactionCover.isOff { return newest.sequence }
        return manifest.checkpoints.count > 1 ? manifest.checkpoints[1].sequence : .zero
    }

    /// Rewrites what is most worth it; where nothing is, nothing is due until something changes.
    func compactSome() throws(LogError) {
        guard let delegate = lock.withLock({ delegate }) else { return }
        let policy = CoveredRetention(policy: retention(of: delegate), covered: coveredThrough)
        let (ticket, logBytes, isShort) = lock.withLock { (state.ticket, counters.recordBytes, isReserveSpent) }
        var candidates = candidates(policy)
        if isShort {
            // With the reserve given up, only what needs no space.
            for index in candidates.indices where candidates[index].needed > 0 { candidates[index].staysAsItIs = true }
        }
        while case .measure(let index)? = CompactionPolicy.next(candidates, logBytes: logBytes) {
            let segment = manifest.sealed[index]
            if !(try reads([segment]) { () throws(LogError) in
                candidates[index].measurement = CompactionCandidate.Measurement(
                    needed: candidates[index].needed, bytes: try neededBytes(of: segment, policy), logBytes: logBytes)
            }) {
                candidates[index].staysAsItIs = true
            }
            measurements[segment.id] = candidates[index].measurement
        }
        guard case .rewrite(let run)? = CompactionPolicy.next(candidates, logBytes: logBytes) else {
            return lock.withLock { isCompactionDue = false }
        }
        if Safeguard.compactionCommitWait.isOn {
            guard try awaitDurability(of: ticket) else { return }
        }
        let old = Array(manifest.sealed[run])
        _ = try reads(old) { () throws(LogError) in _ = try replace(old, policy: policy, high: isQuiet()) }
    }

    private func candidates(_ policy: CoveredRetention) -> [CompactionCandidate] {
        let known = Set(manifest.sealed.map(\.id))
        measurements = measurements.filter { known.contains($0.key) }
        return manifest.sealed.map { segment in
            let records = Int(segment.records)
            var candidate = CompactionCandidate(
                bytes: segment.bytes, rawBytes: segment.rawBytes, records: records,
                needed: min(records, policy.keptCountMax(in: segment.firstSequence...segment.lastSequence)),
                isCovered: segment.lastSequence <= policy.covered, measurement: measurements[segment.id])
            candidate.staysAsItIs = unreadable.contains(segment.id)
            return candidate
        }
    }

    /// Raw bytes of the records of `segment` that `policy` keeps.
    private func neededBytes(of segment: Manifest.Sealed, _ policy: CoveredRetention) throws(LogError) -> Int {
        var bytes = 0
        var pace = Pace()
        for source in try sources(of: [segment]) {
            try source.forEachFrame(fileSystem) { (frame) throws(LogError) in
                _ = try frame.forEachEntry(file: source.name) { (entry, _) throws(LogError) in
                    if policy.mustKeep(sequence: entry.sequence, kind: entry.kind, body: entry.body) {
                        bytes += entry.body.count + Self.entryHeadBytes
                    }
                    return true
                }
                try breathe(&pace)
                return true
            }
        }
        return bytes
    }

    /// Whether `body` could read `segments`. Damage in an old segment is for whoever reads or verifies it to report; it
    /// stops rewriting it, not the store.
    private func reads(_ segments: [Manifest.Sealed], _ body: () throws(LogError) -> Void) throws(LogError) -> Bool {
        do { try body() } catch {
            guard error.code == .corrupt || error.code == .ioFailed else { throw error }
            unreadable.formUnion(segments.map(\.id))
            return false
        }
        return true
    }

    /// What is dropped rests on records up to `ticket`.
    private func awaitDurability(of ticket: CommitTicket) throws(LogError) -> Bool {
        guard try awaitDurable(ticket, unlessStarving: true) else { return false }
        return options.durability == .commit ? true : try syncForCheckpoint(unlessStarving: true)
    }

    // MARK: - On demand

    /// Ends the journal's segment and rewrites all sealed ones without what is no longer needed.
    func compactNow() throws(LogError) -> CompactionResult {
        try sealEverything()
        var result = CompactionResult()
        let old = manifest.sealed
        result.segmentsBefore = old.count
        result.bytesBefore = old.reduce(0) { $0 + $1.bytes }
        guard let delegate = lock.withLock({ delegate }), let lastSealed = old.last else { return result }
        let policy = retention(of: delegate)
        let covered = Safeguard.compactionImage.isOn ? try installCheckpoint(copies: 2) : lastSealed.lastSequence
        guard covered >= lastSealed.lastSequence else {
            throw LogError(.ioFailed, "the checkpoint that compaction needs was not written: try again")
        }
        let made = try replace(old, policy: policy, high: true)
        result.segmentsAfter = made.segments.count
        result.bytesAfter = made.segments.reduce(0) { $0 + $1.bytes }
        result.recordsDropped = made.dropped
        return result
    }

    // MARK: - Both

    /// What may not be dropped: what the state needs, and what the kept history needs to be replayed.
    private func retention(of delegate: any LogDelegate) -> any RetentionPolicy {
        let policy = delegate.retention()
        return ReplayableRetention(policy, history: history(from: delegate), in: manifest) ?? policy
    }

    private func sources(of segments: [Manifest.Sealed]) throws(LogError) -> [SegmentSource] {
        guard let first = segments.first else { return [] }
        let ids = Set(segments.map(\.id))
        return try index.sources(key: nil, from: first.firstSequence).filter { ids.contains($0.header.id) }
    }

    /// Puts what `policy` keeps of neighbours in their place.
    private func replace(
        _ old: [Manifest.Sealed], policy: any RetentionPolicy, high: Bool
    ) throws(LogError) -> Rewritten {
        guard let first = old.first, let last = old.last,
            let start = manifest.sealed.firstIndex(where: { $0.id == first.id })
        else { return Rewritten() }
        // Of what nothing is needed, nothing has to be read.
        let read = old.filter { policy.keptCountMax(in: $0.firstSequence...$0.lastSequence) > 0 }
        var pace = Pace()
        var made = try rewrite(
            try sources(of: read), policy: policy,
            predecessor: start > 0 ? manifest.sealed[start - 1].lineage.chain : nil, lineage: last.lineage, high: high
        ) { () throws(LogError) in try breathe(&pace) }
        for segment in old where !read.contains(segment) {
            made.dropped += segment.records
            made.droppedThrough = max(made.droppedThrough, segment.lastSequence)
        }
        // Sealing went on meanwhile, behind what is replaced.
        var changed = manifest
        changed.sealed.replaceSubrange(start..<(start + old.count), with: made.segments)
        if made.segments.isEmpty, start > 0 { changed.sealed[start - 1].lineage = last.lineage }
        if made.dropped > 0, Safeguard.compactionBound.isOn {
            changed.compactedThrough = max(changed.compactedThrough, made.droppedThrough)
        }
        try installRewritten(changed, made.segments)
        index.setSealed(changed.sealed)
        lock.withLock { counters.compactionBytes += made.bytes }
        do {
            for segment in old { try fileSystem.unlinkIfPresent(layout.path(segment)) }
        } catch {
            throw Self.writeFailure(error, doing: "removing rewritten segments")
        }
        return made
    }

    // MARK: - Giving way

    /// Since when work went on without a pause.
    private struct Pace {
        var started = ContinuousClock.now
    }

    /// What usually stands before a body.
    private static let entryHeadBytes = 3
    private static let paceMilliseconds: Int64 = 5
    private static let pauseMillisecondsMax: Int64 = 100

    /// Between two frames: does what the committer waits for, and pauses so long that the share of time is kept.
    ///
    /// - Throws: `.closed` when the log is being closed; what was rewritten so far is left.
    private func breathe(_ pace: inout Pace) throws(LogError) {
        if lock.withLock({ !full.isEmpty || isStarving }) {
            try spendingReserve { () throws(LogError) in try sealFull() }
            try serveCommitter()
        }
        lock.lock()
        defer { lock.unlock() }
        let worked = ContinuousClock.now - pace.started
        if let share = compactionShare, share < 1, worked >= .milliseconds(Self.paceMilliseconds) {
            let end =
                ContinuousClock.now + min(worked * ((1 - share) / share), .milliseconds(Self.pauseMillisecondsMax))
            // Whoever asks for something, or closes, does not wait for pauses.
            while full.isEmpty, !isStarving, requests.isEmpty, !isClosing {
                let left = (end - .now) / .milliseconds(1)
                guard left > 0 else { break }
                _ = maintenanceSignal.wait(lock, milliseconds: max(1, Int(left)))
            }
            pace.started = .now
        }
        if case .failed(let error) = state.phase { throw error }
        if isClosing { throw LogError(.closed, "the store is being closed: nothing was rewritten") }
    }
}
