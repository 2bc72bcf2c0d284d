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
    func keptCountMax(in range: ClosedRange<SequenceNumber>) -> Int {
        let (first, last) = (range.lowerBound, range.upperBound)
        if last <= covered { return policy.keptCountMax(in: range) }
        if first > covered { return Int(last.rawValue - first.rawValue) + 1 }
        return policy.keptCountMax(in: first...covered) + Int(last.rawValue - covered.rawValue)
    }
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

    /// Rewrites all that is worth it. Nothing is due then until something changes. On a full disk what it wrote goes,
    /// and so does the wish, until something else made room.
    func compactSome() throws(LogError) {
        do {
            try coverForCompaction()
            try rewriteWasteful()
        } catch {
            guard error.code == .noSpace else { throw error }
            noteCompacted(logBytes: lock.withLock { counters.recordBytes })
        }
    }

    private func noteCompacted(logBytes: UInt64) {
        lock.withLock {
            isCompactionDue = false
            bytesAtCompaction = logBytes
            compactionOwed = 0
        }
    }

    /// Counts what a sealing adds.
    func noteSealed(_ segments: [FullSegment]) {
        let bytes = segments.reduce(0) { $0 + $1.source.end }
        lock.withLock {
            isCompactionDue = true
            if compactionShare != nil { compactionOwed += Self.compactionEffort * bytes }
        }
    }

    /// For each byte sealed, so many are read or rewritten before more are, unless nothing is worth it. Two passes over
    /// a store, one to see what is needed and one to rewrite it, let it grow by a quarter.
    private static let compactionEffort = 8

    /// Where images lag so far behind the log that little may be dropped, writes one, twice. They are due more often
    /// than this, but give way to sealing.
    private func coverForCompaction() throws(LogError) {
        let covered = coveredThrough
        let uncovered = manifest.sealed.reversed().prefix { $0.lastSequence > covered }.reduce(0) { $0 + $1.bytes }
        let isLagging = lock.withLock {
            !isReserveSpent && uncovered >= 2 * max(options.journalSegmentBytes, pacing.imageBytes)
        }
        guard isLagging else { return }
        do { _ = try installCheckpoint(copies: 2, isUrgent: false) } catch {
            // What is covered already goes all the same.
            guard error.code == .noSpace else { throw error }
        }
    }

    private func rewriteWasteful() throws(LogError) {
        guard let delegate = lock.withLock({ delegate }) else { return }
        let policy = CoveredRetention(policy: retention(of: delegate), covered: coveredThrough)
        let (ticket, logBytes, isOwed) = lock.withLock { (state.ticket, counters.recordBytes, compactionOwed > 0) }
        var isDurable = Safeguard.compactionCommitWait.isOff
        while let run = try nextRun(policy, logBytes: logBytes) {
            if !isDurable {
                guard try awaitDurability(of: ticket, unlessStarving: !isOwed) else { return }
                isDurable = true
            }
            let old = Array(manifest.sealed[run])
            var isStale = false
            try reading(old) { () throws(LogError) in
                isStale =
                    try replace(old, policy: policy, covered: policy.covered, high: isQuiet, isBackground: true) == nil
            }
            // Then it is decided anew what to keep.
            if isStale { return }
            // A caller's compaction does all of this anyway.
            if lock.withLock({ requests.contains(where: \.isCompaction) }) { return }
        }
        noteCompacted(logBytes: logBytes)
    }

    /// Returns which sealed segments to rewrite next; reads those of which that has to be known.
    private func nextRun(_ policy: CoveredRetention, logBytes: UInt64) throws(LogError) -> Range<Int>? {
        var candidates = candidates(policy)
        if lock.withLock({ isReserveSpent }) {
            // With the reserve given up, only what needs no space.
            for index in candidates.indices where candidates[index].needed > 0 { candidates[index].staysAsItIs = true }
        }
        func next() -> CompactionStep? {
            CompactionPolicy.next(candidates, logBytes: logBytes, roomBytes: options.journalSegmentBytes)
        }
        // Sealing may go on between two frames; it only adds behind what is looked at here.
        while case .measure(let index)? = next() {
            let segment = manifest.sealed[index]
            try reading([segment]) { () throws(LogError) in
                measurements[segment.id] = CompactionCandidate.Measurement(
                    needed: candidates[index].needed, bytes: try neededBytes(of: segment, policy), logBytes: logBytes)
            }
            candidates[index].measurement = measurements[segment.id]
            candidates[index].staysAsItIs = unreadable.contains(segment.id)
        }
        guard case .rewrite(let run)? = next() else { return nil }
        return run
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
        for source in try index.sources(of: [segment]) {
            try source.forEachFrame(fileSystem) { (frame) throws(LogError) in
                _ = try frame.forEachEntry(file: source.name) { (entry, _) throws(LogError) in
                    if policy.mustKeep(sequence: entry.sequence, kind: entry.kind, body: entry.body) {
                        bytes += entry.body.count + Self.entryHeadBytes
                    }
                    return true
                }
                try breathe(after: frame.header.rawBytes, isBackground: true)
                return true
            }
        }
        return bytes
    }

    /// Runs `body`, which reads `segments`. What can't be read is for whoever reads or verifies it to report; it stops
    /// rewriting those segments, not the store.
    private func reading(_ segments: [Manifest.Sealed], _ body: () throws(LogError) -> Void) throws(LogError) {
        do { try body() } catch {
            switch error.code {
            case .noSpace, .poisoned, .closed: throw error
            default: unreadable.formUnion(segments.map(\.id))
            }
        }
    }

    /// What is dropped rests on records up to `ticket`.
    private func awaitDurability(of ticket: CommitTicket, unlessStarving: Bool) throws(LogError) -> Bool {
        guard try awaitDurable(ticket, unlessStarving: unlessStarving) else { return false }
        return options.durability == .commit ? true : try syncForCheckpoint(unlessStarving: unlessStarving)
    }

    // MARK: - On demand

    /// Ends the journal's segment and rewrites all sealed ones without what is no longer needed.
    ///
    /// - Parameter proves: Whether it is proved first.
    func compactNow(proves: Bool) throws(LogError) -> CompactionResult {
        try sealEverything()
        var result = CompactionResult()
        let old = manifest.sealed
        result.segmentsBefore = old.count
        result.bytesBefore = old.reduce(0) { $0 + $1.bytes }
        guard let delegate = lock.withLock({ delegate }), let lastSealed = old.last else { return result }
        for _ in 0..<Self.compactionAttemptsMax {
            let policy = retention(of: delegate)
            let covered = Safeguard.compactionImage.isOn ? try installCheckpoint(copies: 2) : lastSealed.lastSequence
            guard covered >= lastSealed.lastSequence else {
                throw LogError(.ioFailed, "the checkpoint that compaction needs was not written: try again")
            }
            let made = try replace(
                old, policy: policy, covered: covered, high: true, isBackground: false, proves: proves)
            // A cursor was sent to records that were to be dropped: it is decided anew what to keep.
            guard let made else { continue }
            result.segmentsAfter = made.segments.count
            result.bytesAfter = made.segments.reduce(0) { $0 + $1.bytes }
            result.recordsDropped = made.dropped
            result.proof = made.proof
            return result
        }
        throw LogError(
            .ioFailed,
            "cursors were sent to records that were to be dropped, \(Self.compactionAttemptsMax) times in a row; "
                + "nothing was dropped: compact again when they stay")
    }

    /// How often cursors may come in between.
    private static var compactionAttemptsMax: Int { 5 }

    // MARK: - Both

    /// What may not be dropped: what the state needs, and what the kept history needs to be replayed.
    private func retention(of delegate: any LogDelegate) -> any RetentionPolicy {
        let policy = delegate.retention()
        return ReplayableRetention(policy, history: history(from: delegate), in: manifest) ?? policy
    }

    /// Puts what `policy` keeps of neighbours in their place; `nil` when meanwhile more came to be needed. Images cover
    /// the records up to `covered`.
    private func replace(
        _ old: [Manifest.Sealed], policy: any RetentionPolicy, covered: SequenceNumber, high: Bool, isBackground: Bool,
        proves: Bool = false
    ) throws(LogError) -> Rewritten? {
        guard let first = old.first, let last = old.last,
            let start = manifest.sealed.firstIndex(where: { $0.id == first.id })
        else { return Rewritten() }
        // Of what nothing is needed, nothing has to be read.
        let read = old.filter { policy.keptCountMax(in: $0.firstSequence...$0.lastSequence) > 0 }
        var made = try rewrite(
            try index.sources(of: read), policy: policy,
            predecessor: start > 0 ? manifest.sealed[start - 1].lineage.chain : nil,
            audit: manifest.auditPoint(before: start), passing: Self.auditPoints(of: old, read: read), replacing: last,
            high: high
        ) { (bytes) throws(LogError) in try breathe(after: bytes, isBackground: isBackground) }
        for segment in old where !read.contains(segment) {
            made.dropped += segment.records
            if segment.lastSequence > made.droppedThrough {
                made.droppedThrough = segment.lastSequence
                made.anchor = segment.auditPoint
            }
        }
        precondition(
            made.droppedThrough <= covered || Safeguard.compactionImage.isOff || Safeguard.compactionCover.isOff,
            "a record that no image covers is never dropped")
        if proves || options.provesCompaction {
            made.proof = try prove(
                made.segments, inPlaceOf: start..<(start + old.count), droppedThrough: made.droppedThrough,
                isBackground: isBackground)
        }
        guard begin(dropping: made) else { return nil }
        defer { lock.withLock { droppingThrough = .zero } }
        // Sealing went on meanwhile, behind what is replaced.
        var changed = manifest
        changed.sealed.replaceSubrange(start..<(start + old.count), with: made.segments)
        if made.segments.isEmpty, start > 0 {
            changed.sealed[start - 1].lineage = last.lineage
            changed.sealed[start - 1].audit = last.audit
        }
        changed.audit = try moved(changed.audit, behind: made)
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

    /// Checks, and sees to it, that nobody needs what `made` dropped; removes it otherwise.
    private func begin(dropping made: Rewritten) -> Bool {
        let isWanted = lock.withLock {
            if made.dropped > 0, delegate?.isHeld(through: made.droppedThrough) == true { return false }
            droppingThrough = made.droppedThrough
            return true
        }
        if !isWanted { remove(made) }
        return isWanted
    }

    private func remove(_ made: Rewritten) {
        for segment in made.segments { try? fileSystem.unlinkIfPresent(layout.path(segment)) }
    }

    /// The audit chain with its anchor where `made` dropped the last record.
    private func moved(_ audit: Manifest.Audit?, behind made: Rewritten) throws(LogError) -> Manifest.Audit? {
        guard var audit, made.droppedThrough > audit.anchor.through, Safeguard.auditAnchor.isOn else { return audit }
        guard let anchor = made.anchor, anchor.through >= made.droppedThrough else {
            // Only a manifest that contradicts itself leads here.
            remove(made)
            throw LogError(
                .corrupt,
                "MANIFEST names audit values that do not follow each other: restore it from a backup, or run: holdfast "
                    + "salvage STORE NEW",
                file: "MANIFEST", offset: 0)
        }
        audit.anchor = anchor
        return audit
    }

    /// The audit chain's value behind each run of segments that are not read, by the segment behind that.
    private static func auditPoints(
        of segments: [Manifest.Sealed], read: [Manifest.Sealed]
    ) -> [SegmentID: AuditPoint] {
        var points: [SegmentID: AuditPoint] = [:]
        var passed: AuditPoint?
        for segment in segments {
            if !read.contains(segment) {
                passed = segment.auditPoint ?? passed
            } else if let point = passed {
                points[segment.id] = point
                passed = nil
            }
        }
        return points
    }

    // MARK: - Giving way

    /// What usually stands before a body.
    private static let entryHeadBytes = 3
    private static let paceMilliseconds: Int64 = 5

    /// Between two frames: does whatever else is to be done, and in the background pauses so long that the share of
    /// time is kept, unless somebody waits.
    ///
    /// - Parameter bytes: What was read since.
    /// - Throws: `.closed` when the log is being closed or the background turned off, `.noSpace` when the disk got
    ///   full: nothing was rewritten then.
    func breathe(after bytes: Int, isBackground: Bool) throws(LogError) {
        let began = PaceClock.now
        if isBackground { lock.withLock { compactionOwed = max(0, compactionOwed - bytes) } }
        try serveOthers(isBackground: isBackground)
        if isBackground { try pause(servedFor: PaceClock.now - began) }
        try lock.withLock { () throws(LogError) in
            if case .failed(let error) = state.phase { throw error }
            if isClosing { throw LogError(.closed, "the store is being closed: nothing was rewritten") }
        }
    }

    /// Does what is more urgent than a rewrite, unless the log fails. On a disk that it finds full the rewrite makes
    /// room first.
    private func serveOthers(isBackground: Bool) throws(LogError) {
        func next() throws(LogError) -> Work? {
            try lock.withLock { () throws(LogError) in
                if case .failed(let error) = state.phase { throw error }
                return nextWork(isRewriting: true, holdsSealing: isBackground)
            }
        }
        while let work = try next() {
            let began = PaceClock.now
            perform(work)
            othersTurn = PaceClock.now + (PaceClock.now - began)
        }
        guard lock.withLock({ isDiskFull }) else { return }
        throw LogError(.noSpace, "the disk that holds the store is full: nothing was rewritten")
    }

    private func pause(servedFor served: Duration) throws(LogError) {
        workedSince = workedSince.advanced(by: served)
        lock.lock()
        defer { lock.unlock() }
        guard let share = compactionShare else {
            throw LogError(.closed, "compaction in the background was turned off: nothing was rewritten")
        }
        let worked = PaceClock.now - workedSince
        guard share < 1, worked >= .milliseconds(Self.paceMilliseconds) else { return }
        let end = PaceClock.now + worked * ((1 - share) / share)
        while compactionShare != nil, !isClosing, requests.isEmpty, !isStarving, !hasUrgentWork {
            let left = (end - PaceClock.now) / .milliseconds(1)
            guard left > 0 else { break }
            _ = maintenanceSignal.wait(lock, milliseconds: max(1, Int(left)))
        }
        workedSince = PaceClock.now
    }
}
