// Handing jobs to the leases that wait for them.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

extension StoreCore {
    /// Leases to waiters what can be leased, in the order they came, and ends those whose time is up. The caller holds
    /// the lock and wakes `served` once it released it.
    func serveWaiters(at now: Timestamp, _ served: inout [WaitingCaller]) {
        while let waiter = waiters.first(where: { state.waitingLeasable(queues: $0, at: now) }) {
            if waiter.caller.isDone {
                // Its task was cancelled, and has yet to notice.
                waiters.remove(waiter)
                continue
            }
            do {
                guard try hasRoom(isSettling: false) else {
                    timer.poke()
                    break
                }
            } catch {
                end(waiter, .refused(error), &served)
                continue
            }
            guard let leased = waiter.request.lease(on: self, at: now) else {
                assertionFailure("what is leasable can be leased")
                break
            }
            end(waiter, .deferred(leased.read, atHand: leased.readAtHand), &served)
        }
        if manualClock != nil { endTimedOut(&served) }
        if !waiters.isEmpty { pokeTimer(at: now) }
    }

    /// Lets the timer look when something falls due before it would. The caller holds the lock.
    func pokeTimer(at now: Timestamp) {
        if let deadline = state.nextDeadline(after: now), deadline < timer.wakesAt { timer.poke() }
    }

    /// Ends the waits whose time is up. The caller holds the lock.
    func endTimedOut(_ served: inout [WaitingCaller]) {
        for waiter in waiters.removeTimedOut(at: clock.monotonicNow()) { end(waiter, .value([]), &served) }
    }

    /// Registers a lease that found nothing. The caller holds the lock.
    func register(_ waiter: LeaseWaiter) {
        waiters.append(waiter)
        timer.poke()
    }

    /// How a wait ended; one whose task was cancelled before ends with nothing. The caller does not hold the lock.
    func outcome(of waiter: LeaseWaiter) -> Pending<[Lease]> {
        lock.withLock {
            if let outcome = waiter.outcome { return outcome }
            waiters.remove(waiter)
            return Pending(core: self, ticket: log.ticket, outcome: .value([]))
        }
    }

    /// Ends every wait with an error, or tells those to look for themselves who wait for others. The caller holds the
    /// lock, and wakes whom this returns once it released it.
    func endAllWaits(_ error: JobStoreError) -> [WaitingCaller] {
        let leases = waiters.removeAll()
        for waiter in leases { waiter.settle(refusal(error)) }
        return leases.map(\.caller) + flights.removeAll() + outcomes.removeAll()
            + roomWaiters.removeAll(error, on: self)
    }

    private func end(_ waiter: LeaseWaiter, _ outcome: Pending<[Lease]>.Outcome, _ served: inout [WaitingCaller]) {
        waiters.remove(waiter)
        waiter.settle(Pending(core: self, ticket: log.ticket, outcome: outcome))
        served.append(waiter.caller)
    }
}
