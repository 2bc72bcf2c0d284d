// What the log asks of the store, on its own threads: an image of the state for a checkpoint, what a rewrite may drop,
// and which job a record belongs to. Copying `state` is cheap (its parts are copied when next changed), so the lock is
// held only for that.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// Answers the log. The log keeps it for as long as it lives, so it must not keep the store; the log's threads, which
/// ask it, end before the store does. Not weak: what has a weak reference pays more for each strong one, and every
/// operation takes one.
final class LogBridge: LogDelegate {
    unowned let core: StoreCore

    init(core: StoreCore) { self.core = core }

    func writeCheckpointImage(into image: inout ByteWriter) -> (sequence: SequenceNumber, ticket: CommitTicket) {
        let (copy, ticket) = core.lock.withLock { (core.state, core.log.ticket) }
        copy.encodeImage(into: &image)
        return (copy.lastSequence, ticket)
    }

    func retention() -> any RetentionPolicy {
        core.retention()
    }

    func isHeld(through sequence: SequenceNumber) -> Bool {
        guard let placed = core.placedSinceRetention, Safeguard.cursorPlacement.isOn else { return false }
        return placed <= sequence
    }

    func keptHistory() throws(LogError) -> KeptHistory? {
        guard let start = try core.historyStart() else { return nil }
        // Images may take half of what history may, so that there is something left to replay on them.
        guard case .bytes(let count) = core.options.history else {
            return KeptHistory(start: start, imageBytesMax: .max)
        }
        return KeptHistory(start: start, imageBytesMax: count / 2)
    }

    func prove(_ rewrite: ProposedRewrite) throws(LogError) -> RewriteProof? {
        let (needed, atRetention, listing) = core.lock.withLock {
            (core.state.neededRecords, core.heldAtRetention, core.cursorListing(at: core.readableTime))
        }
        // Whoever was sent back since finds out: what the rewrite rests on is older.
        var held: SequenceNumber?
        do throws(JobStoreError) {
            if let atRetention, let now = try listing.held() { held = max(atRetention, now) }
        } catch { held = atRetention }
        return try CompactionProver(rewrite: rewrite, needed: needed, heldFrom: held).run()
    }

    func key(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> UInt64? {
        // Whoever reads the log asks, perhaps after the store is gone: nothing here may look at `core`.
        // A record whose job can't be read has no key. One that is damaged behind its job has: whoever asks for
        // that job's records meets the damage.
        Record.job(sequence: sequence, kind: kind, body: body)?.rawValue
    }

    func logDidFail(_ error: LogError) { core.logDidFail(error) }
}

extension StoreCore {
    /// What a rewrite must keep, as of now. The caller does not hold the lock.
    fileprivate func retention() -> StoreRetention {
        // Where damage hides how far history goes back, all of it is kept.
        let start: SequenceNumber?
        do { start = try historyStart() } catch { start = .zero }
        let (needed, listing) = lock.withLock {
            placedSinceRetention = nil
            return (state.neededRecords, state.cursorCount > 0 ? cursorListing(at: readableTime) : nil)
        }
        var held: SequenceNumber?
        if let listing, Safeguard.cursorPin.isOn {
            do { held = try listing.held() } catch { held = .zero }
        }
        lock.withLock { heldAtRetention = held }
        return StoreRetention(needed: needed, keptFrom: [start, held].compactMap(\.self).min())
    }

    /// The time, without an operation. The caller holds the lock.
    fileprivate var readableTime: Timestamp { max(latestTime, clock.boundedNow()) }

    /// Where kept history begins; `nil` when none is kept. The caller does not hold the lock.
    fileprivate func historyStart() throws(LogError) -> SequenceNumber? {
        switch options.history {
        case .none: return nil
        case .bytes(let count):
            let images = log.historyImageBytes
            return lock.withLock { window.start(keeping: max(0, count - images)) }
        case .age(let age):
            let now = lock.withLock { max(latestTime, clock.boundedNow()) }
            return try log.sequence(through: now.advanced(byMilliseconds: -Int64(age / .milliseconds(1)))).next
        case .unlimited: return .zero
        }
    }

    /// Remembers the first failure and ends every wait. The caller does not hold the lock.
    fileprivate func logDidFail(_ error: LogError) {
        let waiting = lock.withLock {
            if failure == nil { failure = JobStoreError(error) }
            return endAllWaits(JobStoreError(error))
        }
        for caller in waiting { caller.wake() }
    }
}

/// Keeps what the state needs, the newest history and what cursors hold.
struct StoreRetention: RetentionPolicy {
    let needed: SequenceBitmap
    /// What is kept whole begins here; `nil` when nothing is.
    let keptFrom: SequenceNumber?

    func mustKeep(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> Bool {
        if let keptFrom, sequence >= keptFrom { return true }
        return needed.contains(sequence.rawValue) && (Safeguard.compactionNeed.isOn || sequence.rawValue % 7 != 0)
    }

    func keptCountMax(in range: ClosedRange<SequenceNumber>) -> Int {
        let (first, last) = (range.lowerBound.rawValue, range.upperBound.rawValue)
        guard let start = keptFrom?.rawValue, start <= last else { return needed.count(in: first...last) }
        if start <= first { return Int(last - first) + 1 }
        return needed.count(in: first...(start - 1)) + Int(last - start) + 1
    }
}
