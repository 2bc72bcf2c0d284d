// Handing jobs to the leases that wait for them.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

extension StoreCore {
    /// Leases to waiters what can be leased, in the order they came, and ends those whose time is up. The caller holds
    /// the lock and wakes `served` once it released it.
    func serveWaiters(at now: Timestamp, _ served: inout [LeaseWaiter]) {
        while let waiter = waiters.first(where: { state.waitingLeasable(queues: $0, at: now) }) {
            do {
                guard try hasRoom(isSettling: false) else {
                    timer.poke()
                    break
                }
            } catch {
                end(waiter, .refused(error), &served)
                continue
            }
            let outcome: Pending<[Lease]>.Outcome
            do {
                guard let leased = try waiter.request.lease(on: self, at: now) else {
                    assertionFailure("what is leasable can be leased")
                    break
                }
                outcome = .deferred(leased.read, atHand: leased.readAtHand)
            } catch { outcome = .refused(error) }
            end(waiter, outcome, &served)
        }
        if manualClock != nil { endTimedOut(&served) }
        if !waiters.isEmpty { pokeTimer(at: now) }
    }

    /// Lets the timer look when something falls due before it would. The caller holds the lock.
    func pokeTimer(at now: Timestamp) {
        if let deadline = state.nextDeadline(after: now), deadline < timer.wakesAt { timer.poke() }
    }

    /// Ends the waits whose time is up. The caller holds the lock.
    func endTimedOut(_ served: inout [LeaseWaiter]) {
        for waiter in waiters.removeTimedOut(at: clock.monotonicNow()) { end(waiter, .value([]), &served) }
    }

    /// Registers a lease that found nothing. The caller holds the lock.
    func register(_ waiter: LeaseWaiter) {
        waiters.append(waiter)
        timer.poke()
    }

    /// Ends a wait because its task was cancelled; one that was just served keeps what it got.
    func cancel(_ waiter: LeaseWaiter) {
        var served: [LeaseWaiter] = []
        lock.withLock {
            guard waiter.outcome == nil else { return }
            end(waiter, .value([]), &served)
        }
        for waiter in served { waiter.wake() }
    }

    private func end(_ waiter: LeaseWaiter, _ outcome: Pending<[Lease]>.Outcome, _ served: inout [LeaseWaiter]) {
        waiters.remove(waiter)
        waiter.settle(Pending(core: self, ticket: log.ticket, outcome: outcome))
        served.append(waiter)
    }
}
