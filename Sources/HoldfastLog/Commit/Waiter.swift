// A caller that waits: a suspended task or a blocked thread. The unsafe continuation saves an allocation and a lock per
// wait over the checked one; the pipeline resumes each exactly once, because a waiter sits in exactly one list and
// leaves it to be resumed. Each thread is woken by itself: threads that wait for one signal are woken together, and
// then wait once more, for the lock that all of them need.

internal import CHoldfast

/// Resumes one suspended task or blocked thread.
@safe
struct Waiter: Sendable {
    @safe
    private enum Caller {
        case task(UnsafeContinuation<Bool, Never>)
        case thread(ThreadParking)
    }

    private let caller: Caller

    /// Suspends the calling task until the waiter that `body` gets is resumed; `body` runs at once.
    ///
    /// - Returns: Whether it was resumed because what it waited for is committed.
    @discardableResult
    static func suspend(_ body: (Waiter) -> Void) async -> Bool {
        // SAFETY: `body` puts the waiter into one list or resumes it itself.
        await unsafe withUnsafeContinuation { unsafe body(Waiter(caller: .task($0))) }
    }

    /// As `suspend`, blocking the calling thread.
    @discardableResult
    static func block(_ body: (Waiter) -> Void) -> Bool {
        let parking = ThreadParking.current
        body(Waiter(caller: .thread(parking)))
        return parking.wait()
    }

    /// - Parameter isCommitted: False tells only that it has to look for itself.
    func resume(isCommitted: Bool = false) {
        switch caller {
        // SAFETY: each waiter is taken out of its list before it is resumed, so it is resumed once.
        case .task(let continuation): unsafe continuation.resume(returning: isCommitted)
        case .thread(let parking): parking.resume(isCommitted: isCommitted)
        }
    }
}

// SENDABLE: `outcome` is guarded by `lock`; `schedule` never changes.
/// Where one thread waits, time after time.
private final class ThreadParking: @unchecked Sendable {
    private let lock = CallerLock()
    private let signal = Signal()
    private let schedule = ThreadSeat.schedule
    /// What the thread was resumed with and has not seen yet.
    private var outcome: Bool?

    /// That of the calling thread, which keeps it.
    static var current: ThreadParking {
        // SAFETY: a thread that has kept one keeps it, retained, until it keeps another or ends.
        if let kept = unsafe holdfast_thread_kept() {
            let parking = unsafe Unmanaged<ThreadParking>.fromOpaque(kept).takeUnretainedValue()
            if parking.schedule === ThreadSeat.schedule { return parking }
            unsafe Unmanaged<ThreadParking>.fromOpaque(kept).release()
        }
        let parking = ThreadParking()
        // SAFETY: retained here; released above, or when the thread ends.
        unsafe holdfast_thread_keep(Unmanaged.passRetained(parking).toOpaque()) { kept in
            if let kept = unsafe kept { unsafe Unmanaged<ThreadParking>.fromOpaque(kept).release() }
        }
        return parking
    }

    func wait() -> Bool {
        lock.lock()
        defer { lock.unlock() }
        while true {
            if let outcome = outcome.take() { return outcome }
            signal.wait(lock)
        }
    }

    func resume(isCommitted: Bool) {
        lock.withLock { outcome = isCommitted }
        signal.notifyOne()
    }
}
