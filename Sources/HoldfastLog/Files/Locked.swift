// A value behind a lock, for state that is not the store's. Over the caller's lock and not Swift's `Mutex`, whose
// futexes the thread sanitizer does not see.

/// Guards a value.
package final class Locked<Value>: @unchecked Sendable {
    // SENDABLE: `value` is touched under `lock` only.
    private let lock = CallerLock()
    private var value: Value

    /// Guards `value`.
    package init(_ value: Value) { self.value = value }

    /// Runs `body` with the value, alone.
    package func withLock<Result, Failure: Error>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        lock.lock()
        defer { lock.unlock() }
        return try body(&value)
    }
}
