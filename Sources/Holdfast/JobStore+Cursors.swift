// Named cursors: how far each consumer of the log has come, in the log.

public import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

extension JobStore {
    /// Follows the store where the consumer `cursor` left off: at the first record that it has not committed. Records
    /// about cursors are not shown. One consumer goes by one cursor.
    ///
    /// - Parameters:
    ///   - cursor: 1 to 255 bytes. The store keeps up to 1,024 cursors.
    ///   - start: Where a new cursor begins.
    ///   - limits: How much a new cursor may hold back from compaction.
    /// - Throws: `.beyondHistory` when compaction has dropped records that the consumer has not seen, because it lagged
    ///   by more than its limits: with the oldest sequence number from which none is missing; `reset` the cursor to go
    ///   on. `.invalidState` when there are too many cursors, or `start` is yet to come. `.badRequest`, `.noSpace`,
    ///   `.closed` or the store's failure.
    /// - Postcondition: The cursor is durable.
    public func events(
        cursor: String, from start: StoreEvents.Start = .oldest, limits: CursorLimits = CursorLimits()
    ) async throws(JobStoreError) -> CursorEvents {
        let place = try await core.submitAsync(CursorOperation(cursor, .open(start, limits))).value
        return CursorEvents(core: core, name: cursor, next: place.next)
    }

    /// Notes that the consumer has come to `next`: it has seen every record before.
    ///
    /// - Throws: `.notFound` without such a cursor; `.invalidState` when it is further on already, or `next` is yet to
    ///   come; `.noSpace`, `.closed` or the store's failure.
    /// - Postcondition: It survives power loss, and holds nothing before `next` any more.
    public func advance(cursor: String, to next: SequenceNumber) async throws(JobStoreError) {
        _ = try await core.submitAsync(CursorOperation(cursor, .advance(next))).value
    }

    /// Sends a consumer elsewhere, forward or back.
    ///
    /// - Returns: Where it goes on.
    /// - Throws: `.notFound` without such a cursor; `.beyondHistory` for a record from which on some were dropped;
    ///   `.invalidState` for one that is yet to come; `.noSpace`, `.closed` or the store's failure.
    @discardableResult
    public func reset(
        cursor: String, to start: StoreEvents.Start
    ) async throws(JobStoreError) -> SequenceNumber {
        try await core.submitAsync(CursorOperation(cursor, .reset(start))).value.next
    }

    /// Forgets a cursor. It holds nothing any more.
    ///
    /// - Throws: `.notFound` without such a cursor; `.noSpace`, `.closed` or the store's failure.
    public func removeCursor(_ cursor: String) async throws(JobStoreError) {
        _ = try await core.submitAsync(CursorOperation(cursor, .remove)).value
    }

    /// Returns all cursors, by name, with how far each lags.
    ///
    /// - Throws: `.corrupt`, `.closed` or the store's failure.
    public func cursors() async throws(JobStoreError) -> [StoreCursor] {
        try await core.submitAsync(CursorsOperation()).value
    }
}

extension BlockingJobStore {
    /// Notes that the consumer has come to `next`.
    public func advance(cursor: String, to next: SequenceNumber) throws(JobStoreError) {
        _ = try store.core.submit(CursorOperation(cursor, .advance(next))).valueBlocking()
    }

    /// Sends a consumer elsewhere; returns where it goes on.
    @discardableResult
    public func reset(cursor: String, to start: StoreEvents.Start) throws(JobStoreError) -> SequenceNumber {
        try store.core.submit(CursorOperation(cursor, .reset(start))).valueBlocking().next
    }

    /// Forgets a cursor.
    public func removeCursor(_ cursor: String) throws(JobStoreError) {
        _ = try store.core.submit(CursorOperation(cursor, .remove)).valueBlocking()
    }

    /// Returns all cursors, by name.
    public func cursors() throws(JobStoreError) -> [StoreCursor] {
        try store.core.submit(CursorsOperation()).valueBlocking()
    }
}

extension JobStore {
    /// Decides where a consumer goes on; makes its cursor if it has none.
    package func submitOpenCursor(
        _ name: String, from start: StoreEvents.Start, limits: CursorLimits
    ) -> Pending<CursorPlace> {
        core.submit(CursorOperation(name, .open(start, limits)))
    }

    /// Decides how far a consumer has come.
    package func submitAdvance(cursor: String, to next: SequenceNumber) -> Pending<CursorPlace> {
        core.submit(CursorOperation(cursor, .advance(next)))
    }

    /// Decides where a consumer goes on anew.
    package func submitReset(cursor: String, to start: StoreEvents.Start) -> Pending<CursorPlace> {
        core.submit(CursorOperation(cursor, .reset(start)))
    }

    /// Decides to forget a cursor.
    package func submitRemoveCursor(_ cursor: String) -> Pending<CursorPlace> {
        core.submit(CursorOperation(cursor, .remove))
    }

    /// Lists the cursors.
    package func submitCursors() -> Pending<[StoreCursor]> { core.submit(CursorsOperation()) }
}

/// Where a consumer stands.
package struct CursorPlace: Hashable, Sendable {
    /// The first record that it has not seen.
    package let next: SequenceNumber
    /// Whether its cursor was just made.
    package let isNew: Bool
}

/// Makes, moves or removes a cursor.
struct CursorOperation: StoreOperation {
    enum Wish: Sendable {
        case open(StoreEvents.Start, CursorLimits)
        case advance(SequenceNumber)
        case reset(StoreEvents.Start)
        case remove
    }
    let name: String
    let wish: Wish

    init(_ name: String, _ wish: Wish) { (self.name, self.wish) = (name, wish) }

    var access: OperationAccess {
        switch wish {
        case .reset: .changes
        // They let go of records, or lead to that.
        case .open, .advance, .remove: .settles
        }
    }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        try Limits.checkName(name, "cursor")
        if case .open(_, let limits) = wish { _ = try limits.caps() }
    }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<CursorPlace> {
        let dropped = core.log.droppedThrough
        let move: CursorMove
        switch wish {
        case .open(let start, let limits):
            if let known = core.state.cursor(name) {
                guard known.next > dropped else {
                    throw JobStoreError(lost: known.next, of: name, oldest: dropped.next)
                }
                return .value(CursorPlace(next: known.next, isNew: false))
            }
            move = .create(at: try place(start, on: core), try limits.caps())
        case .advance(let next): move = .advance(to: next)
        case .reset(let start): move = .reset(to: try place(start, on: core))
        case .remove: move = .remove
        }
        guard case .cursor(let next, let isNew) = try core.perform(.moveCursor(name, move), at: now) else {
            return .value(CursorPlace(next: .zero, isNew: false))
        }
        switch wish {
        case .open, .reset: core.placedSinceRetention = min(core.placedSinceRetention ?? next, next)
        case .advance, .remove: break
        }
        return .value(CursorPlace(next: next, isNew: isNew))
    }

    private func place(_ start: StoreEvents.Start, on core: StoreCore) throws(JobStoreError) -> SequenceNumber {
        let oldest = core.log.droppedThrough.next
        switch start {
        case .now: return core.state.lastSequence.next
        case .oldest: return oldest
        case .sequence(let wanted):
            let next = max(wanted, SequenceNumber(1))
            guard next >= oldest else { throw JobStoreError(beyondHistory: "record \(next)", oldest: oldest) }
            return next
        }
    }
}

/// Lists the cursors.
struct CursorsOperation: StoreOperation {
    var access: OperationAccess { .reads }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<[StoreCursor]> {
        let listing = core.cursorListing(at: now)
        return .deferred { () throws(JobStoreError) -> [StoreCursor] in try listing.read() }
    }
}

extension StoreCore {
    /// What is known of the cursors now. The caller holds the lock.
    func cursorListing(at now: Timestamp) -> CursorListing {
        CursorListing(
            state: state, now: now, window: window, compactedThrough: log.compactedThrough,
            records: LogRecords(log: log))
    }
}

extension JobStoreError {
    /// Says that a consumer stayed away for too long.
    init(lost next: SequenceNumber, of cursor: String, oldest: SequenceNumber) {
        self.init(
            .beyondHistory,
            "cursor \(cursor) stands at record \(next), and compaction has dropped records from there on, as it was "
                + "further behind than its limits: the oldest that is available is sequence number \(oldest); reset "
                + "the cursor to it to go on",
            oldest: oldest)
    }
}
