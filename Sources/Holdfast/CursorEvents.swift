// Following a store by a cursor. What was handled is noted when the consumer says so: a crash in between shows those
// records again, and never leaves one out.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// The records of a store from where a consumer left off, as they were and as they come.
///
/// ```swift
/// let events = try await store.events(cursor: "mailer")
/// for try await event in events {
///     send(event)
///     try await events.commit()
/// }
/// ```
public final class CursorEvents: AsyncSequence, Sendable {
    /// A record.
    public typealias Element = StoreEvent
    /// Why there are no more.
    public typealias Failure = JobStoreError

    private let core: StoreCore
    /// The cursor.
    public let name: String
    /// Behind the last record that was shown; before the first, where to begin.
    private let place: Locked<Place>

    private struct Place {
        var next: SequenceNumber
        var isShown = false
    }

    init(core: StoreCore, name: String, next: SequenceNumber) {
        self.core = core
        self.name = name
        place = Locked(Place(next: next))
    }

    /// Notes that every record shown so far was handled. Nothing is noted by itself.
    ///
    /// - Throws: `.notFound` when the cursor was removed; `.invalidState` when another consumer moved it further;
    ///   `.noSpace`, `.closed` or the store's failure.
    /// - Postcondition: They are never shown again for this cursor, also after a loss of power.
    public func commit() async throws(JobStoreError) {
        let place = place.withLock { $0 }
        guard place.isShown else { return }
        _ = try await core.submitAsync(CursorOperation(name, .advance(place.next))).value
    }

    /// Goes on behind the last record shown.
    public func makeAsyncIterator() -> Iterator {
        Iterator(
            events: self, base: StoreEvents.Iterator(core: core, position: place.withLock { $0.next }, cursor: name))
    }

    private func note(_ event: StoreEvent) {
        place.withLock { $0 = Place(next: event.sequence.next, isShown: true) }
    }

    /// One walk over the records.
    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let events: CursorEvents
        fileprivate var base: StoreEvents.Iterator

        /// Returns the next record, once there is one.
        public mutating func next() async throws(JobStoreError) -> StoreEvent? {
            try await next(isolation: nil)
        }

        /// Returns the next record, once there is one.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(JobStoreError) -> StoreEvent? {
            guard let event = try await base.next(isolation: actor) else { return nil }
            events.note(event)
            return event
        }
    }
}
