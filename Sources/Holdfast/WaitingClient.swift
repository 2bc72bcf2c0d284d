// Clients that may go while their enqueues wait for room. Nobody is there to hear of such a job, so none is added.

internal import HoldfastLog

/// One client of a store, such as a connection.
package final class WaitingClient: Hashable, Sendable {
    package init() {}

    package static func == (a: WaitingClient, b: WaitingClient) -> Bool { a === b }
    package func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

extension JobStore {
    /// Ends the waits for room of a client that has gone. One that is about to wait again, having read records, is
    /// missed: call this until all its operations are answered.
    package func endRoomWaits(of client: WaitingClient) {
        let ended = core.lock.withLock {
            for waiter in core.roomWaiters.timedOut(at: .seconds(Int64.max)) where waiter.isOf(client) {
                waiter.fail(JobStoreError(.queueFull, "the client went away while this waited for room"), on: core)
                core.roomWaiters.end(waiter)
            }
            // Others may have stood behind them.
            core.timer.poke()
            return core.roomWaiters.takeEnded()
        }
        for caller in ended { caller.wake() }
    }
}

extension RoomWaiter {
    fileprivate func isOf(_ client: WaitingClient) -> Bool {
        if let waiter = self as? WaitingOperation<EnqueueOperation> { return waiter.operation.options.client == client }
        guard let waiter = self as? WaitingOperation<AtomicBatch> else { return false }
        return waiter.operation.operations.contains { operation in
            if case .enqueue(_, _, let options) = operation { options.client == client } else { false }
        }
    }
}
