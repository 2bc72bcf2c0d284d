// Enqueues that wait for room. Nobody polls: whoever makes room, by ending a job or by changing a limit, carries out
// the first that waits for it under the same hold of the lock. A line for each full queue, and one for the store; who
// comes while others wait joins the line, so nobody is overtaken by a later waiter. An enqueue that does not wait takes
// what room it finds.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// What is full.
struct FullPlace: Hashable, Sendable {
    private let name: Name?

    /// Creates the place of a queue, or of the store.
    init(queue: String?) { name = queue.map { Name($0) } }

    /// `nil` for the store.
    var queue: String? { name?.string }
}

/// An operation that adds jobs, and so may have to wait for room.
protocol JobAddingOperation: StoreOperation {
    /// The queues that it adds jobs to.
    var targets: [String] { get }
    /// Whether it surely adds no job, as far as the state says: then it need not wait for those who do.
    func addsNothing(to core: StoreCore) -> Bool
}

extension JobAddingOperation {
    func addsNothing(to core: StoreCore) -> Bool { false }
}

/// One waiting enqueue or batch.
class RoomWaiter: @unchecked Sendable {
    // SENDABLE: before it is registered, and after its wait ended, it is its caller's; in between every `var` is read
    // and written only under the store's lock.
    let targets: [String]
    /// In the clock's monotonic time.
    let timesOutAt: Duration
    /// With whom the wait ends.
    let client: WaitingClient?
    fileprivate(set) var caller: WaitingCaller
    fileprivate(set) var order: UInt64?
    fileprivate(set) var place: FullPlace?
    fileprivate(set) var refusal: JobStoreError?
    /// Its caller reads records, and tries again; it stays in its line, so that nobody overtakes it.
    fileprivate(set) var isTrying = false
    var bytes: Int { 0 }

    /// What came of another try.
    enum Try {
        case done
        case full(FullPlace, JobStoreError)
        /// It needs records that are read outside the lock, or more room than it said: its caller tries again.
        case again
    }

    fileprivate init(targets: [String], timesOutAt: Duration, for client: WaitingClient?, lock: CallerLock) {
        self.targets = targets
        self.timesOutAt = timesOutAt
        self.client = client
        caller = WaitingCaller(lock: lock)
    }

    /// Carries the operation out if there is room. The caller holds the lock.
    func attempt(on core: StoreCore, at now: Timestamp) -> Try { preconditionFailure("a waiter has an operation") }
    /// Forgets how an earlier wait ended, as it waits again. The caller holds the lock.
    func forgetOutcome() { preconditionFailure("a waiter has an operation") }
    /// Ends the wait with an error. The caller holds the lock.
    func fail(_ error: JobStoreError, on core: StoreCore) { preconditionFailure("a waiter has an operation") }
}

/// A waiting operation.
final class WaitingOperation<Operation: JobAddingOperation>: RoomWaiter, @unchecked Sendable {
    // SENDABLE: as its superclass says.
    var operation: Operation
    fileprivate(set) var outcome: Pending<Operation.Value>?

    override var bytes: Int { operation.bytes }

    init(_ operation: Operation, timesOutAt: Duration, for client: WaitingClient?, lock: CallerLock) {
        self.operation = operation
        super.init(targets: operation.targets, timesOutAt: timesOutAt, for: client, lock: lock)
    }

    override func attempt(on core: StoreCore, at now: Timestamp) -> Try {
        let outcome: Pending<Operation.Value>.Outcome
        do throws(JobStoreError) {
            switch try operation.run(on: core, at: now) {
            case .value(let value): outcome = .value(value)
            case .deferred(let work, let atHand): outcome = .deferred(work, atHand: atHand)
            case .needsRecords, .needsEndings, .needsRoom: return .again
            }
        } catch {
            if let place = error.fullPlace { return .full(place, error) }
            outcome = .refused(error)
        }
        self.outcome = Pending(core: core, ticket: core.log.ticket, outcome: outcome)
        return .done
    }

    override func forgetOutcome() { outcome = nil }

    override func fail(_ error: JobStoreError, on core: StoreCore) {
        outcome = Pending(
            core: core, ticket: core.failure == nil && !core.isClosed ? core.log.ticket : nil, outcome: .refused(error))
    }
}

/// The waiting enqueues, by what is full, each line first come first served.
struct RoomWaiters: Sendable {
    private var lines: [FullPlace: [RoomWaiter]] = [:]
    private var nextOrder: UInt64 = 0
    /// Those whose wait has ended, to be woken once the lock is released.
    private var ended: [WaitingCaller] = []

    /// Whether nobody is to wait any more, because the store is about to be closed.
    var isOver = false

    /// The most that wait at once.
    static let countMax = 1024

    var isEmpty: Bool { lines.isEmpty }
    var count: Int { lines.values.reduce(0) { $0 + $1.count } }
    var hasEnded: Bool { !ended.isEmpty }

    /// The line that a new one for `targets` has to join, because others came first.
    func line(for targets: [String], order: UInt64?) -> FullPlace? {
        let places = [FullPlace(queue: nil)] + targets.map { FullPlace(queue: $0) }
        return places.first { place in lines[place]?.first.map { $0.order ?? 0 < order ?? .max } ?? false }
    }

    /// The places with a line; the one whose first has waited longest first.
    var places: [FullPlace] {
        lines.sorted { $0.value[0].order ?? 0 < $1.value[0].order ?? 0 }.map(\.key)
    }

    func first(at place: FullPlace) -> RoomWaiter? { lines[place]?.first }

    /// Puts one into a line, behind those that came before it.
    mutating func insert(_ waiter: RoomWaiter, at place: FullPlace, _ refusal: JobStoreError?) {
        if waiter.order == nil {
            waiter.order = nextOrder
            nextOrder += 1
        }
        waiter.place = place
        waiter.refusal = refusal ?? waiter.refusal
        let line = lines[place] ?? []
        let index = line.firstIndex { $0.order ?? 0 > waiter.order ?? 0 } ?? line.count
        lines[place, default: []].insert(waiter, at: index)
    }

    /// Takes one out of its line, if it is in one.
    mutating func remove(_ waiter: RoomWaiter) {
        guard let place = waiter.place else { return }
        waiter.place = nil
        lines[place]?.removeAll { $0 === waiter }
        if lines[place]?.isEmpty == true { lines[place] = nil }
    }

    /// Lets the caller of one try again, which keeps its place meanwhile.
    mutating func letTry(_ waiter: RoomWaiter) {
        waiter.isTrying = true
        ended.append(waiter.caller)
    }

    /// Takes one out of its line, whose caller is to be woken.
    mutating func end(_ waiter: RoomWaiter) {
        remove(waiter)
        ended.append(waiter.caller)
    }

    mutating func takeEnded() -> [WaitingCaller] {
        defer { ended = [] }
        return ended
    }

    func timedOut(at now: Duration) -> [RoomWaiter] { lines.values.joined().filter { $0.timesOutAt <= now } }

    /// When the next one's time is up.
    var nextTimeout: Duration? { lines.values.joined().lazy.map(\.timesOutAt).min() }

    /// Ends every wait, or every one of a client, with an error.
    mutating func failAll(of client: WaitingClient? = nil, _ error: JobStoreError, on core: StoreCore) {
        for waiter in Array(lines.values.joined()) where client == nil || waiter.client === client {
            waiter.fail(error, on: core)
            end(waiter)
        }
    }

    /// Ends every wait with an error, and returns whom to wake.
    mutating func removeAll(_ error: JobStoreError, on core: StoreCore) -> [WaitingCaller] {
        failAll(error, on: core)
        return takeEnded()
    }
}

extension StoreCore {
    /// Carries out what waits for room and has it now, and ends the waits whose time is up. The caller holds the lock,
    /// and wakes who is in `roomWaiters.takeEnded()` once it released it.
    ///
    /// - Returns: Whether the log has no room for one of them now: somebody has to wait for that, without the lock.
    func serveRoomWaiters(at now: Timestamp) -> Bool {
        var lacksLogRoom = admitRoomWaiters(at: now)
        // Who gives up may have been what others stood behind.
        if manualClock != nil, endTimedOutRoomWaiters() { lacksLogRoom = admitRoomWaiters(at: now) }
        if !roomWaiters.isEmpty { pokeTimer(at: now) }
        return lacksLogRoom
    }

    private func admitRoomWaiters(at now: Timestamp) -> Bool {
        for place in roomWaiters.places {
            while let waiter = roomWaiters.first(at: place), !waiter.isTrying, !state.isFull(place.queue) {
                do {
                    guard try hasRoom(isSettling: false, bytes: waiter.bytes) else { return true }
                } catch {
                    waiter.fail(error, on: self)
                    roomWaiters.end(waiter)
                    continue
                }
                switch waiter.attempt(on: self, at: now) {
                case .done: roomWaiters.end(waiter)
                case .again: roomWaiters.letTry(waiter)
                case .full(let other, let refusal):
                    roomWaiters.remove(waiter)
                    roomWaiters.insert(waiter, at: other, refusal)
                }
                if roomWaiters.first(at: place) === waiter { break }
            }
        }
        return false
    }

    /// Ends the waits whose time is up; returns whether there were any. The caller holds the lock.
    func endTimedOutRoomWaiters() -> Bool {
        let timedOut = roomWaiters.timedOut(at: clock.monotonicNow())
        for waiter in timedOut {
            waiter.fail(waiter.refusal ?? Self.stillFull(waiter.place), on: self)
            roomWaiters.end(waiter)
        }
        return !timedOut.isEmpty
    }

    private static func stillFull(_ place: FullPlace?) -> JobStoreError {
        let place = place?.queue.map { "queue \($0)" } ?? "the store"
        return JobStoreError(
            .queueFull, "\(place) is full, and others waited for room first; try again when some jobs have ended")
    }

    /// Ends all waits for room; from now on an enqueue is refused instead. The caller does not hold the lock.
    func endRoomWaits() {
        let ended = lock.withLock {
            roomWaiters.isOver = true
            for place in roomWaiters.places {
                while let waiter = roomWaiters.first(at: place) {
                    waiter.fail(waiter.refusal ?? Self.stillFull(place), on: self)
                    roomWaiters.end(waiter)
                }
            }
            return roomWaiters.takeEnded()
        }
        for caller in ended { caller.wake() }
    }

    /// Puts one into a line. The caller holds the lock.
    func wait(_ waiter: RoomWaiter, at place: FullPlace, _ refusal: JobStoreError?) throws(JobStoreError) {
        if roomWaiters.isOver { throw refusal ?? Self.stillFull(place) }
        if waiter.client?.isGone ?? false { throw WaitingClient.goneError }
        guard roomWaiters.count < RoomWaiters.countMax else {
            throw JobStoreError(
                .queueFull,
                "\(RoomWaiters.countMax) enqueues wait for room already; try again when some jobs have ended")
        }
        waiter.caller = WaitingCaller(lock: lock)
        waiter.isTrying = false
        waiter.forgetOutcome()
        roomWaiters.remove(waiter)
        roomWaiters.insert(waiter, at: place, refusal)
        timer.poke()
    }
}
