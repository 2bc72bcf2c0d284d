// Looking back: the state as it was, and the records in order from any place on.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

extension JobStore {
    /// Returns the store as it was. Exact within the kept history (`JobStoreOptions.history`), and refused beyond it.
    ///
    /// - Parameter moment: A sequence number, or a time: then the state after the last record that is not later. What
    ///   fell due by then and had no record yet, such as the end of a lease, is as it was recorded.
    /// - Throws: `.beyondHistory`, with the oldest sequence number that is available; `.badRequest` for a sequence
    ///   number that no record has yet; `.corrupt`; `.closed` or the store's failure.
    /// - Complexity: Reads an image of the state and the records between it and the moment, on a thread of its own.
    public func state(asOf moment: StoreMoment) async throws(JobStoreError) -> StoreSnapshot {
        let now = try await core.submitAsync(PositionOperation()).value
        let core = core
        return try await StoreCore.onThread("holdfast-past") { () throws(JobStoreError) -> StoreSnapshot in
            try core.snapshot(asOf: moment, now: now)
        }
    }

    /// Returns the store's records in order, from `start` on, those to come included. They are read from the log when
    /// they are asked for, so a slow consumer loses none and holds nobody up. Only what is durable is shown (in the
    /// weaker durability modes: what is written).
    ///
    /// It ends when the store is closed or the task is cancelled. Go on from `.sequence(last.sequence.next)`, in the
    /// same process or another: no record is left out or shown twice.
    ///
    /// - Throws: While iterating, `.beyondHistory` where records from the next one on were dropped by compaction, with
    ///   the oldest sequence number from which none is missing; `.corrupt` or the store's failure.
    public func events(from start: StoreEvents.Start = .now) -> StoreEvents {
        let next: SequenceNumber? =
            switch start {
            case .now: core.lock.withLock { core.state.lastSequence.next }
            case .sequence(let sequence): max(sequence, SequenceNumber(1))
            case .oldest: nil
            }
        return StoreEvents(core: core, next: next)
    }
}

extension BlockingJobStore {
    /// Returns the store as it was, like `JobStore.state(asOf:)`.
    ///
    /// - Throws: The same.
    public func state(asOf moment: StoreMoment) throws(JobStoreError) -> StoreSnapshot {
        let now = try store.core.submit(PositionOperation()).valueBlocking()
        return try store.core.snapshot(asOf: moment, now: now)
    }
}

/// Where the store stands.
private struct PositionOperation: StoreOperation {
    var access: OperationAccess { .reads }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<StorePosition> {
        .value(StorePosition(sequence: core.state.lastSequence, time: now))
    }
}

/// A last record and the time after it.
struct StorePosition: Hashable, Sendable {
    let sequence: SequenceNumber
    let time: Timestamp
}

extension StoreCore {
    /// Rebuilds a state. Blocks for as long as reading takes.
    fileprivate func snapshot(asOf moment: StoreMoment, now: StorePosition) throws(JobStoreError) -> StoreSnapshot {
        let records = LogRecords(log: log)
        let past: PastOutcome
        do { past = try PastReplay(records, last: now.sequence).state(asOf: moment) } catch {
            throw failure(from: error)
        }
        let state = try past.found(moment)
        let time = min(moment.time ?? state.latestTime, now.time)
        return StoreSnapshot(state, at: time, from: records, on: readers, codec: options.payloadCodec)
    }
}
