// Leases that wait for a job. Nobody polls: whoever makes a job leasable hands it over under the same hold of the lock,
// to the waiter that came first among those of its queues. So a job is offered to exactly one waiter, and none is
// missed: a waiter registers in the same hold in which it found nothing.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// One waiting lease.
final class LeaseWaiter: @unchecked Sendable {
    // SENDABLE: every `var` is read and written only under the store's lock.
    let request: LeaseRequest
    /// In the clock's monotonic time.
    let timesOutAt: Duration
    let caller: WaitingCaller
    fileprivate let list: [Name]
    fileprivate(set) var order: UInt64 = 0
    fileprivate(set) var isRegistered = false
    private(set) var outcome: Pending<[Lease]>?

    init(request: LeaseRequest, timesOutAt: Duration, lock: CallerLock) {
        self.request = request
        self.timesOutAt = timesOutAt
        caller = WaitingCaller(lock: lock)
        list = request.queues.map { Name($0) }
    }

    /// Decides how the wait ends. The caller holds the lock, and wakes `caller` once it released it.
    func settle(_ outcome: Pending<[Lease]>) {
        assert(self.outcome == nil, "a wait ends once")
        self.outcome = outcome
    }

    /// Waits on the calling thread.
    func waitBlocking(on core: StoreCore) -> Pending<[Lease]> {
        caller.waitBlocking()
        return core.outcome(of: self)
    }

    /// Waits; when the task is cancelled, ends with no lease.
    func wait(on core: StoreCore) async -> Pending<[Lease]> {
        await caller.wait()
        return core.outcome(of: self)
    }
}

/// The waiting leases, by the list of queues they wait for, each list first come first served.
struct LeaseWaiters: Sendable {
    private var lists: [[Name]: [LeaseWaiter]] = [:]
    private var nextOrder: UInt64 = 0

    var isEmpty: Bool { lists.isEmpty }
    var count: Int { lists.values.reduce(0) { $0 + $1.count } }

    mutating func append(_ waiter: LeaseWaiter) {
        waiter.order = nextOrder
        waiter.isRegistered = true
        nextOrder += 1
        lists[waiter.list, default: []].append(waiter)
    }

    /// Returns false when the waiter is not there (any more).
    @discardableResult
    mutating func remove(_ waiter: LeaseWaiter) -> Bool {
        guard let index = lists[waiter.list]?.firstIndex(where: { $0 === waiter }) else { return false }
        lists[waiter.list]?.remove(at: index)
        if lists[waiter.list]?.isEmpty == true { lists[waiter.list] = nil }
        return true
    }

    mutating func removeAll() -> [LeaseWaiter] {
        defer { lists = [:] }
        return lists.values.flatMap { $0 }.sorted { $0.order < $1.order }
    }

    /// Returns the one that came first among those whose queues satisfy `isLeasable`.
    func first(where isLeasable: ([String]) -> Bool) -> LeaseWaiter? {
        var found: LeaseWaiter?
        for list in lists.values {
            guard let candidate = list.first, candidate.order < found?.order ?? .max else { continue }
            if isLeasable(candidate.request.queues) { found = candidate }
        }
        return found
    }

    /// Removes and returns those whose time is up.
    mutating func removeTimedOut(at now: Duration) -> [LeaseWaiter] {
        let timedOut = lists.values.joined().filter { $0.timesOutAt <= now }
        for waiter in timedOut { remove(waiter) }
        return timedOut.sorted { $0.order < $1.order }
    }

    /// When the next one's time is up.
    var nextTimeout: Duration? { lists.values.joined().lazy.map(\.timesOutAt).min() }
}
