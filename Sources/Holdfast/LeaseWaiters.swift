// Leases that wait for a job. Nobody polls: whoever makes a job leasable hands it over under the same hold of the lock,
// to the waiter that came first among those of its queues. So a job is offered to exactly one waiter, and none is
// missed: a waiter registers in the same hold in which it found nothing.

internal import HoldfastBytes
internal import HoldfastLog

/// One waiting lease.
final class LeaseWaiter: @unchecked Sendable {
    // SENDABLE: every `var` is read and written only under the store's lock; `wake` runs after the outcome was set
    // and takes the continuation, which is resumed once.
    let request: LeaseRequest
    /// In the clock's monotonic time.
    let timesOutAt: Duration
    fileprivate(set) var order: UInt64 = 0
    fileprivate(set) var isRegistered = false
    private(set) var outcome: Pending<[Lease]>?
    private var continuation: CheckedContinuation<Pending<[Lease]>, Never>?
    private let signal = Signal()

    init(request: LeaseRequest, timesOutAt: Duration) {
        self.request = request
        self.timesOutAt = timesOutAt
    }

    /// Decides how the wait ends. The caller holds the lock, and calls `wake` once it released it.
    func settle(_ outcome: Pending<[Lease]>) {
        assert(self.outcome == nil, "a wait ends once")
        self.outcome = outcome
    }

    /// Resumes whoever waits. The caller does not hold the lock.
    func wake() {
        guard let lock = outcome?.core.lock else { return }
        let (continuation, outcome) = lock.withLock {
            signal.notifyAll()
            defer { self.continuation = nil }
            return (self.continuation, self.outcome)
        }
        if let continuation, let outcome { continuation.resume(returning: outcome) }
    }

    /// Ends the wait with an error. The caller does not hold the lock.
    func fail(_ error: JobStoreError, on core: StoreCore) {
        core.lock.withLock {
            if outcome == nil { settle(Pending(core: core, ticket: nil, outcome: .refused(error))) }
        }
        wake()
    }

    /// Waits on the calling thread.
    func waitBlocking(on core: StoreCore) -> Pending<[Lease]> {
        core.lock.withLock {
            while true {
                if let outcome { return outcome }
                signal.wait(core.lock)
            }
        }
    }

    /// Waits; when the task is cancelled, ends with no lease.
    func wait(on core: StoreCore) async -> Pending<[Lease]> {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let outcome = core.lock.withLock {
                    if self.outcome == nil { self.continuation = continuation }
                    return self.outcome
                }
                if let outcome { continuation.resume(returning: outcome) }
            }
        } onCancel: {
            core.cancel(self)
        }
    }
}

/// The waiting leases, by the list of queues they wait for, each list first come first served.
struct LeaseWaiters: Sendable {
    private var lists: [[String]: [LeaseWaiter]] = [:]
    private var nextOrder: UInt64 = 0

    var isEmpty: Bool { lists.isEmpty }
    var count: Int { lists.values.reduce(0) { $0 + $1.count } }

    mutating func append(_ waiter: LeaseWaiter) {
        waiter.order = nextOrder
        waiter.isRegistered = true
        nextOrder += 1
        lists[waiter.request.queues, default: []].append(waiter)
    }

    /// Returns false when the waiter is not there (any more).
    @discardableResult
    mutating func remove(_ waiter: LeaseWaiter) -> Bool {
        let queues = waiter.request.queues
        guard let index = lists[queues]?.firstIndex(where: { $0 === waiter }) else { return false }
        lists[queues]?.remove(at: index)
        if lists[queues]?.isEmpty == true { lists[queues] = nil }
        return true
    }

    mutating func removeAll() -> [LeaseWaiter] {
        defer { lists = [:] }
        return lists.values.flatMap { $0 }.sorted { $0.order < $1.order }
    }

    /// Returns the one that came first among those whose queues satisfy `isLeasable`.
    func first(where isLeasable: ([String]) -> Bool) -> LeaseWaiter? {
        var found: LeaseWaiter?
        for (queues, list) in lists {
            guard let candidate = list.first, candidate.order < found?.order ?? .max else { continue }
            if isLeasable(queues) { found = candidate }
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
