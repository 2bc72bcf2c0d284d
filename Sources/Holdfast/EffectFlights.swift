// Effects whose value is being computed: of several callers that want one key, one computes and the others wait.

internal import HoldfastLog

/// Names an effect.
package struct EffectName: Hashable, Sendable {
    package let scope: String
    package let key: String
}

/// One waiting caller.
final class EffectWaiter: @unchecked Sendable {
    // SENDABLE: every `var` is read and written only under the store's lock; the continuation is taken out under it
    // and resumed once, outside.
    private var isDone = false
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

/// The effects under way and who waits for them.
struct EffectFlights: Sendable {
    private var waiting: [EffectName: [EffectWaiter]] = [:]

    /// Begins to compute an effect.
    ///
    /// - Returns: False when somebody else does; `waiter`, if any, is woken when that ends.
    mutating func begin(_ name: EffectName, orWait waiter: @autoclosure () -> EffectWaiter) -> EffectWaiter? {
        guard waiting[name] != nil else {
            waiting[name] = []
            return nil
        }
        let waiter = waiter()
        waiting[name]?.append(waiter)
        return waiter
    }

    /// Forgets all and returns whom to wake.
    mutating func removeAll() -> [EffectWaiter] {
        defer { waiting = [:] }
        return waiting.values.flatMap { $0 }
    }

    /// Ends it, whether or not a value was recorded, and returns whom to wake.
    mutating func end(_ name: EffectName) -> [EffectWaiter] { waiting.removeValue(forKey: name) ?? [] }
}
