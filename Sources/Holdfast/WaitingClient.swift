// Clients that may go while their enqueues wait for room. Nobody is there to hear of such a job, so none is added.

internal import HoldfastLog

/// One client of a store, such as a connection.
package final class WaitingClient: @unchecked Sendable {
    // SENDABLE: read and written only under the store's lock.
    fileprivate(set) var isGone = false

    package init() {}

    static let goneError = JobStoreError(.queueFull, "the client went away while this waited for room")
}

extension JobStore {
    /// Ends the waits for room of a client that has gone; from now on those that it asked for wait no more.
    package func endRoomWaits(of client: WaitingClient) {
        let ended = core.lock.withLock {
            client.isGone = true
            core.roomWaiters.failAll(of: client, WaitingClient.goneError, on: core)
            // Others may have stood behind them.
            core.timer.poke()
            return core.roomWaiters.takeEnded()
        }
        for caller in ended { caller.wake() }
    }
}
