// A caller that waits for something others do: for an effect that is being computed, or for the end of a job.

internal import HoldfastLog

/// One waiting caller; it is told that something happened, and looks for itself what that is.
final class WaitingCaller: @unchecked Sendable {
    // SENDABLE: every `var` is read and written only under the store's lock; the continuation is taken out under it
    // and resumed once, outside.
    /// Whether it does not wait any more. The caller holds the lock.
    private(set) var isDone = false
    private var continuation: CheckedContinuation<Void, Never>?
    private let signal = Signal()
    private let lock: CallerLock

    init(lock: CallerLock) { self.lock = lock }

    /// Ends the wait; a second call does nothing. The caller does not hold the lock.
    func wake() {
        let continuation = lock.withLock {
            isDone = true
            signal.notifyAll()
            defer { self.continuation = nil }
            return self.continuation
        }
        continuation?.resume()
    }

    /// Waits on the calling thread.
    func waitBlocking() {
        lock.withLock { while !isDone { signal.wait(lock) } }
    }

    /// Waits; ends early when the task is cancelled.
    func wait() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isDone = lock.withLock {
                    if !self.isDone { self.continuation = continuation }
                    return self.isDone
                }
                if isDone { continuation.resume() }
            }
        } onCancel: {
            wake()
        }
    }
}
