// The maintenance thread: the only one that changes the manifest and the set of files. It keeps spares ready, seals
// full journal segments, writes checkpoints, rewrites segments, reserves sequence numbers, and serves what callers ask
// of it.
//
// A full disk is no failure: sealing stops, new work is refused once only the reserve is left, and the thread tries
// again every second. Any other failed write poisons the log.

package import HoldfastBytes

/// What a caller or the committer asks of the maintenance thread.
enum MaintenanceRequest: Sendable {
    /// A journal segment for one commit group that fits nowhere else.
    case oversized(bytes: Int)
    /// With `seals`, of a log that is about to be closed.
    case checkpoint(Answer<SequenceNumber>, seals: Bool)
    case compact(Answer<CompactionResult>, proves: Bool)

    /// Where a result is left for the caller, guarded by the log's lock.
    var isOversized: Bool { if case .oversized = self { true } else { false } }
    var isCompaction: Bool { if case .compact = self { true } else { false } }

    final class Answer<Value: Sendable>: @unchecked Sendable {
        // SENDABLE: guarded by the log's lock.
        var outcome: Result<Value, LogError>?
    }
}

/// What a compaction did.
package struct CompactionResult: Hashable, Sendable {
    package var bytesBefore = 0
    package var bytesAfter = 0
    package var segmentsBefore = 0
    package var segmentsAfter = 0
    package var recordsDropped: UInt64 = 0
    /// What proving it came to, where that was asked for and there was something to do.
    package var proof: RewriteProof?
}

/// What the log counts about itself.
package struct LogStatistics: Hashable, Sendable {
    /// Bytes of the segments, journal and checkpoints that the manifest names.
    package var logBytes = 0
    package var sealedBytes = 0
    package var journalBytes = 0
    package var checkpointBytes = 0
    package var sealedSegments = 0
    package var journalSegments = 0
    package var commits: UInt64 = 0
    package var syncs: UInt64 = 0
    /// How often an append was told to wait for room, or the committer for a spare.
    package var stalls: UInt64 = 0
    /// Bytes of records appended since the log was opened, and what was written of them again since.
    package var recordBytes: UInt64 = 0
    package var sealingBytes: UInt64 = 0
    package var compactionBytes: UInt64 = 0
    package var imageBytes: UInt64 = 0
}

/// What the log asks of whoever knows what records mean. Called on the log's own threads until they have
/// ended, `key` by whoever reads; never under `lock`.
package protocol LogDelegate: AnyObject, Sendable {
    /// Appends the encoded state as of the sequence number returned to `image`, with the ticket that covers it; takes
    /// `lock` itself, briefly.
    func writeCheckpointImage(into image: inout ByteWriter) -> (sequence: SequenceNumber, ticket: CommitTicket)
    /// Returns a test of which records a rewrite may not drop, by the state as it is now. The log asks before it takes
    /// the image that makes up for what is dropped.
    func retention() -> any RetentionPolicy
    /// Whether something came to need records up to `sequence` since `retention` was asked, so that they must not be
    /// dropped by what it said. Called under `lock`.
    func isHeld(through sequence: SequenceNumber) -> Bool
    /// Returns which part of the log is kept for its own sake, `nil` for none.
    func keptHistory() throws(LogError) -> KeptHistory?
    /// The key under which `entries(key:from:)` finds a record (a job's id), or `nil`.
    func key(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> UInt64?
    /// Replays the store as it is and as it would be after a rewrite; `nil` when it can't.
    func prove(_ rewrite: ProposedRewrite) throws(LogError) -> RewriteProof?
    /// The log failed for good; called once.
    func logDidFail(_ error: LogError)
}

extension LogDelegate {
    /// Nothing did.
    package func isHeld(through sequence: SequenceNumber) -> Bool { false }
    /// None.
    package func keptHistory() throws(LogError) -> KeptHistory? { nil }
    /// Can't.
    package func prove(_ rewrite: ProposedRewrite) throws(LogError) -> RewriteProof? { nil }
}

/// Says which records a rewrite must keep.
package protocol RetentionPolicy: Sendable {
    func mustKeep(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> Bool
    /// How many records with numbers in `range` must be kept at most. Cheap: nothing is read for it.
    func keptCountMax(in range: ClosedRange<SequenceNumber>) -> Int
}

extension RetentionPolicy {
    /// All of them.
    package func keptCountMax(in range: ClosedRange<SequenceNumber>) -> Int {
        Int(range.upperBound.rawValue - range.lowerBound.rawValue) + 1
    }
}

extension WriteAheadLog {
    static let retryMilliseconds = 1000
    /// Jobs that ended since the last look at what is garbage are looked at after so long, if nothing else is written.
    static let compactionMilliseconds = 60_000

    func runMaintenance() {
        lock.lock()
        while true {
            if case .failed(let error) = state.phase {
                answerAll(error)
                if isMaintenanceStopping { break }
                maintenanceSignal.wait(lock)
                continue
            }
            if let work = nextWork() {
                lock.unlock()
                perform(work)
                lock.lock()
                continue
            }
            if isMaintenanceStopping { break }
            if isDiskFull {
                // What was put off is tried again; new work stays refused until something of it succeeds.
                if isRetryDue {
                    isDiskFull = false
                    isRetryDue = false
                } else if !maintenanceSignal.wait(lock, milliseconds: Self.retryMilliseconds) {
                    isRetryDue = true
                }
            } else if isReserveSpent {
                if !maintenanceSignal.wait(lock, milliseconds: Self.retryMilliseconds) {
                    isReserveDue = true
                    isCompactionDue = true
                }
            } else if counters.recordBytes != bytesAtCompaction {
                if !maintenanceSignal.wait(lock, milliseconds: Self.compactionMilliseconds) { isCompactionDue = true }
            } else {
                maintenanceSignal.wait(lock)
            }
        }
        lock.unlock()
    }

    enum Work {
        case request(MaintenanceRequest)
        case reserve
        case seal
        case checkpoint(unlessStarving: Bool)
        case compactSome
        case replenish
        case prepareOversized(bytes: Int)
        case holdReserve
    }

    /// The caller holds the lock.
    ///
    /// - Parameter isRewriting: Asked between two frames of a rewrite: nothing that rewrites sealed segments, and only
    ///   what can't wait for its end.
    /// - Parameter holdsSealing: Whether sealing may have to wait for the end of that rewrite.
    func nextWork(isRewriting: Bool = false, holdsSealing: Bool = false) -> Work? {
        let isHeldBack = isDiskFull && !isRetryDue
        let isOthersTurn = !isRewriting || PaceClock.now >= othersTurn
        let isCompactable = isCompactionDue && compactionShare != nil && !isClosing && !isRewriting
        let isSealingHeld = compactionOwed > 0 && (isCompactable || holdsSealing)
        let next = requests.firstIndex { request in
            if request.isOversized { return !isHeldBack }
            return isOthersTurn && !(isRewriting && request.isCompaction)
        }
        if let next {
            // While there is no room everybody waits; whoever asks for something else waits alone, but not for ever.
            let isRoomFirst = (isStarving || isTight) && !isRequestsTurn && !requests[next].isOversized
            if isRoomFirst, !isHeldBack, !isMaintenanceStopping {
                if !full.isEmpty, !isSealingHeld { return .seal }
                if !full.isEmpty, isCompactable { return .compactSome }
                if isRingShort, !isReserveSpent { return .replenish }
            }
            return .request(requests.remove(at: next))
        }
        // Nothing of such a group is applied yet: it can wait, and has to where they would pile up.
        let isPilingUp = isSealingHeld && full.count >= options.journalSegmentCount
        if oversizedWantedBytes > 0, !isPilingUp { return .prepareOversized(bytes: oversizedWantedBytes) }
        if isHeldBack || isMaintenanceStopping { return nil }
        if isReservationShort { return .reserve }
        if isStarving || spares.count <= 1, isRingShort, !idleFiles.isEmpty { return .replenish }
        if isCompactable, isSealingHeld || !isStarving { return .compactSome }
        if pacing.isOverdue, !isReserveSpent, isOthersTurn { return .checkpoint(unlessStarving: false) }
        if !full.isEmpty, isOthersTurn, !isSealingHeld { return .seal }
        // With the reserve given up, what is left of it is for sealing; but with nothing to seal and no spare left,
        // only a refused try tells those who wait that the disk is full.
        if isRingShort, !(isReserveSpent && idleFiles.isEmpty && !spares.isEmpty) { return .replenish }
        if isRewriting { return nil }
        if pacing.isDue, !isReserveSpent { return .checkpoint(unlessStarving: true) }
        if isReserveDue { return .holdReserve }
        return nil
    }

    private var isReservationShort: Bool { reserved.rawValue - next.rawValue <= Self.reservationStride / 2 }

    /// Whether somebody may be waiting for the maintenance thread. The caller holds the lock.
    var hasUrgentWork: Bool {
        oversizedWantedBytes > 0 || isReservationShort || !full.isEmpty || pacing.isOverdue && !isReserveSpent
    }

    func perform(_ work: Work) {
        switch work {
        case .request: isRequestsTurn = false
        case .replenish: isRequestsTurn = true
        default: break
        }
        do {
            switch work {
            case .request(.oversized(let bytes)): try addOversized(bytes)
            case .request(.checkpoint(let answer, let seals)):
                let outcome = Result { () throws(LogError) in
                    if seals { try sealRest() }
                    return try spendingReserve { () throws(LogError) in try installCheckpoint(copies: 1) }
                }
                try reply(outcome) { answer.outcome = $0 }
            case .request(.compact(let answer, let proves)):
                let outcome = Result { () throws(LogError) in
                    try spendingReserve { () throws(LogError) in try compactNow(proves: proves) }
                }
                // What can't be read can't be rewritten, but nothing was written either: only the caller is told.
                if outcome.isUnreadable {
                    lock.withLock { answer.outcome = outcome }
                    return requestSignal.notifyAll()
                }
                try reply(outcome) { answer.outcome = $0 }
            case .reserve: try spendingReserve { () throws(LogError) in try extendReservation() }
            case .seal: try spendingReserve { () throws(LogError) in try sealSome() }
            case .holdReserve: return try holdReserveAgain()
            case .checkpoint(let unlessStarving):
                try spendingReserve { () throws(LogError) in
                    _ = try installCheckpoint(copies: 1, unlessStarving: unlessStarving, isUrgent: !unlessStarving)
                }
            case .compactSome: try compactSome()
            case .replenish: try replenish()
            case .prepareOversized(let bytes): return try prepareOversized(bytes)
            }
            // Compaction gives up where the disk is full, so its end says nothing of that.
            if case .compactSome = work { return }
            lock.withLock {
                isDiskFull = false
                isRetryDue = false
            }
        } catch {
            if error.code == .noSpace {
                let isRelieved: Bool
                do { isRelieved = try spendReserve() } catch { return lock.withLock { failLocked(error.asPoison) } }
                let waiters = lock.withLock {
                    isDiskFull = !isRelieved
                    isRetryDue = false
                    workSignal.notifyAll()
                    return takeRoomWaiters()
                }
                resume(waiters)
            } else if error.code != .closed {
                lock.withLock { failLocked(error.asPoison) }
            }
        }
    }

    /// Answers a caller. A failure that poisons the log does so first: after it the caller must see nothing succeed,
    /// and what it is told must be what every later call gets.
    private func reply<R>(
        _ outcome: Result<R, LogError>, _ answer: (Result<R, LogError>) -> Void
    ) throws(LogError) {
        var outcome = outcome
        lock.withLock {
            if case .failure(let error) = outcome, outcome.isFatal {
                failLocked(error.asPoison)
                if case .failed(let first) = state.phase { outcome = .failure(first) }
            }
            answer(outcome)
        }
        requestSignal.notifyAll()
        _ = try outcome.get()
    }

    private func answerAll(_ error: LogError) {
        for request in requests {
            switch request {
            case .oversized: break
            case .checkpoint(let answer, _): answer.outcome = .failure(error)
            case .compact(let answer, _): answer.outcome = .failure(error)
            }
        }
        requests.removeAll()
        requestSignal.notifyAll()
    }

    // MARK: - The manifest

    /// Replaces the manifest by `changed`; on failure the old one stays in force.
    func install(_ changed: Manifest) throws(LogError) {
        // What was applied and not made durable may be gone: nothing may be built on it.
        if Safeguard.poisonedManifest.isOn, case .failed(let error) = lock.withLock({ state.phase }) { throw error }
        var changed = changed
        changed.durable = max(changed.durable, lock.withLock { syncedOrDurable })
        let manifests = ManifestStore(layout: layout, fileSystem: fileSystem)
        do { try manifests.prepare(changed) } catch {
            throw Self.writeFailure(error, doing: "writing a new manifest")
        }
        // From here on nobody knows which manifest a crash would leave, so there is no way back.
        do { try manifests.switchOver() } catch { throw Self.poison(error, doing: "replacing the manifest") }
        lock.withLock { manifest = changed }
    }

    /// A full disk changes nothing; any other failed write is the end.
    static func writeFailure(_ failure: IOFailure, doing: String) -> LogError {
        failure.kind == .noSpace ? LogError(failure, doing: doing) : poison(failure, doing: doing)
    }

    /// The caller holds the lock.
    private var syncedOrDurable: LogPosition { options.durability == .commit ? durablePosition : syncedPosition }

    private func extendReservation() throws(LogError) {
        var changed = manifest
        changed.reserved = lock.withLock { next }.advanced(by: Self.reservationStride)
        try install(changed)
        let waiters = lock.withLock {
            reserved = changed.reserved
            return takeRoomWaiters()
        }
        resume(waiters)
    }

    /// A time for headers: informative only.
    var latestKnownTime: Timestamp { lock.withLock { headerTime } }
}

extension Result where Failure == LogError {
    /// Whether it poisons the log: a full disk does not, nor does a log that was closed.
    fileprivate var isFatal: Bool {
        guard case .failure(let error) = self else { return false }
        return error.code != .noSpace && error.code != .closed
    }

    /// Whether something could not be read.
    fileprivate var isUnreadable: Bool {
        guard case .failure(let error) = self else { return false }
        return error.code == .corrupt || error.code == .ioFailed
    }
}

extension LogError {
    /// The same failure as one that poisons the log.
    fileprivate var asPoison: LogError {
        code == .poisoned ? self : LogError(.poisoned, message, file: file, offset: offset, sequences: sequences)
    }
}
