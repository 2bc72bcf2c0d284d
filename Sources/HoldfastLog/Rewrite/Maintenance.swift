// The maintenance thread: the only one that changes the manifest and the set of files. It keeps spares ready, seals
// full journal segments, writes checkpoints, reserves sequence numbers, and serves what callers ask of it.
//
// A full disk is no failure: sealing stops, new work is refused once only the reserve is left, and the thread tries
// again every second. Any other failed write poisons the log.

package import HoldfastBytes

/// What a caller or the committer asks of the maintenance thread.
enum MaintenanceRequest: Sendable {
    /// A journal segment for one commit group that fits nowhere else.
    case oversized(bytes: Int)
    case checkpoint(Answer<SequenceNumber>)
    case compact(Answer<CompactionResult>)

    /// Where a result is left for the caller, guarded by the log's lock.
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
}

/// What the log asks of whoever knows what records mean. Called on the log's own threads, never under `lock`.
package protocol LogDelegate: AnyObject, Sendable {
    /// Appends the encoded state as of the sequence number returned to `image`, with the ticket that covers it; takes
    /// `lock` itself, briefly.
    func writeCheckpointImage(into image: inout ByteWriter) -> (sequence: SequenceNumber, ticket: CommitTicket)
    /// Returns a test of which records a rewrite may not drop, consistent with a state at least as new as the newest
    /// checkpoint.
    func retention() -> any RetentionPolicy
    /// The key under which `entries(key:from:)` finds a record (a job's id), or `nil`.
    func key(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> UInt64?
    /// The log failed for good; called once.
    func logDidFail(_ error: LogError)
}

/// Says which records a rewrite must keep.
package protocol RetentionPolicy: Sendable {
    func mustKeep(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> Bool
}

extension WriteAheadLog {
    static let retryMilliseconds = 1000

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
                _ = maintenanceSignal.wait(lock, milliseconds: Self.retryMilliseconds)
                isDiskFull = false
            } else {
                maintenanceSignal.wait(lock)
            }
        }
        lock.unlock()
    }

    private enum Work {
        case request(MaintenanceRequest)
        case reserve
        case seal([FullSegment])
        case merge(ArraySlice<Manifest.Sealed>)
        case replenish
    }

    /// The caller holds the lock.
    private func nextWork() -> Work? {
        if !requests.isEmpty { return .request(requests.removeFirst()) }
        if isDiskFull || isMaintenanceStopping { return nil }
        if reserved.rawValue - next.rawValue <= Self.reservationStride / 2 { return .reserve }
        if !full.isEmpty { return .seal(full) }
        if manifest.journals.lazy.filter({ !$0.isOversized }).count < options.journalSegmentCount { return .replenish }
        let mergeable = Self.mergeableTail(manifest.sealed)
        return mergeable.isEmpty ? nil : .merge(mergeable)
    }

    private func perform(_ work: Work) {
        do {
            switch work {
            case .request(.oversized(let bytes)): try addOversized(bytes)
            case .request(.checkpoint(let answer)):
                let outcome = Result { () throws(LogError) in try installCheckpoint(copies: 1) }
                lock.withLock { answer.outcome = outcome }
                requestSignal.notifyAll()
                _ = try outcome.get()
            case .request(.compact(let answer)):
                let outcome = Result { () throws(LogError) in try compactNow() }
                lock.withLock { answer.outcome = outcome }
                requestSignal.notifyAll()
                _ = try outcome.get()
            case .reserve: try extendReservation()
            case .seal(let segments): try seal(segments)
            case .merge(let segments): try merge(segments)
            case .replenish: try replenish()
            }
        } catch {
            if error.code == .noSpace {
                lock.withLock { isDiskFull = true }
            } else if error.code != .closed {
                lock.withLock { failLocked(error) }
            }
        }
    }

    private func answerAll(_ error: LogError) {
        for request in requests {
            switch request {
            case .oversized: break
            case .checkpoint(let answer): answer.outcome = .failure(error)
            case .compact(let answer): answer.outcome = .failure(error)
            }
        }
        requests.removeAll()
        requestSignal.notifyAll()
    }

    // MARK: - The manifest

    /// Replaces the manifest by `changed`; on failure the old one stays in force.
    func install(_ changed: Manifest) throws(LogError) {
        var changed = changed
        changed.durable = max(changed.durable, lock.withLock { syncedOrDurable })
        do {
            try ManifestStore(layout: layout, fileSystem: fileSystem).replace(with: changed)
        } catch {
            throw error.kind == .noSpace
                ? LogError(error, doing: "replacing the manifest") : Self.poison(error, doing: "replacing the manifest")
        }
        lock.withLock { manifest = changed }
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

    // MARK: - Spares

    /// Registers a journal segment of `slot`'s file and makes it a spare. `isNew` files are written first.
    func addSpare(slot: UInt64, bytes: Int, isNew: Bool, isOversized: Bool = false, now: Timestamp) throws(LogError) {
        var changed = manifest
        let journal = Manifest.Journal(
            id: changed.nextSegment, slot: slot, base: changed.nextBase, bytes: bytes, isOversized: isOversized)
        changed.nextSegment = changed.nextSegment.next
        changed.nextBase = changed.nextBase.advanced(by: bytes)
        changed.nextSlot = max(changed.nextSlot, slot + 1)
        changed.journals.append(journal)
        let segment: JournalSegment
        do {
            if isNew { try files.create(journal) }
            let header = try files.writeHeader(journal, wasRecycled: !isNew, now: now)
            try install(changed)
            segment = try files.openForWriting(journal, header: header)
        } catch let failure as IOFailure {
            throw LogError(failure, doing: "preparing a journal segment")
        } catch let error as LogError {
            throw error
        } catch {
            preconditionFailure("only typed errors are thrown above: \(error)")
        }
        let waiters = lock.withLock {
            spares.append(segment)
            workSignal.notifyOne()
            return takeRoomWaiters()
        }
        resume(waiters)
    }

    private func replenish() throws(LogError) {
        let slot = manifest.nextSlot
        try addSpare(slot: slot, bytes: options.journalSegmentBytes, isNew: true, now: latestKnownTime)
    }

    /// Puts a segment of its own size first in the ring. Spares already have positions behind which it can't go, so
    /// they are taken out of the manifest and given new ones after it.
    func addOversized(_ bytes: Int) throws(LogError) {
        let size = FrameFormat.aligned(bytes, to: FrameFormat.journalAlignment)
        let withdrawn = lock.withLock {
            let all = spares
            spares.removeAll()
            return all
        }
        var changed = manifest
        let ids = Set(withdrawn.map(\.journal.id))
        changed.journals.removeAll { ids.contains($0.id) }
        try install(changed)
        for segment in withdrawn { segment.file.close() }
        try addSpare(slot: manifest.nextSlot, bytes: size, isNew: true, isOversized: true, now: latestKnownTime)
        for segment in withdrawn {
            try addSpare(slot: segment.journal.slot, bytes: segment.capacity, isNew: false, now: latestKnownTime)
        }
    }

    /// A time for headers: informative only.
    var latestKnownTime: Timestamp { lock.withLock { headerTime } }
}
