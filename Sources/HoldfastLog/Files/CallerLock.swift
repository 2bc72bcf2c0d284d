// The lock that callers contend for. Swift's `Mutex` hands itself from waiter to waiter on Linux, which is slow when
// many want it (https://github.com/swiftlang/swift/issues/88440), so this is a pthread mutex: whoever runs may take it
// first. Where the system offers it, a thread looks a few times whether the lock gets free before it sleeps: it is held
// for a microsecond, and to be put to sleep and woken takes ten. It is not recursive, and is never held across file
// operations.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

// SENDABLE: the only storage is the mutex, at an address that never changes; its calls are thread-safe.
/// A mutual exclusion lock for state that many threads want.
@safe package final class CallerLock: @unchecked Sendable {
    let mutex: UnsafeMutablePointer<pthread_mutex_t>

    /// Creates an unlocked lock.
    package init() {
        // SAFETY: the mutex is initialised here, once, and lives until `deinit`.
        unsafe mutex = .allocate(capacity: 1)
        unsafe mutex.initialize(to: pthread_mutex_t())
        #if canImport(Glibc)
            var attributes = pthread_mutexattr_t()
            unsafe pthread_mutexattr_init(&attributes)
            unsafe pthread_mutexattr_settype(&attributes, Int32(PTHREAD_MUTEX_ADAPTIVE_NP))
            let result = unsafe pthread_mutex_init(mutex, &attributes)
            unsafe pthread_mutexattr_destroy(&attributes)
        #else
            let result = unsafe pthread_mutex_init(mutex, nil)
        #endif
        precondition(result == 0, "a mutex could not be made")
    }

    deinit {
        // SAFETY: nobody refers to the lock any more, so nobody holds it.
        unsafe pthread_mutex_destroy(mutex)
        unsafe mutex.deallocate()
    }

    /// Waits until the lock is free and takes it.
    ///
    /// - Precondition: This thread does not hold it.
    @usableFromInline package func lock() {
        // SAFETY: the mutex is initialised and at its own address.
        let result = unsafe pthread_mutex_lock(mutex)
        assert(result == 0, "locking failed")
    }

    /// Releases the lock.
    ///
    /// - Precondition: This thread holds it.
    @usableFromInline package func unlock() {
        // SAFETY: the mutex is initialised and at its own address.
        let result = unsafe pthread_mutex_unlock(mutex)
        assert(result == 0, "unlocking failed")
    }

    /// Runs `body` with the lock held.
    ///
    /// - Precondition: This thread does not hold it.
    @inlinable package func withLock<R: ~Copyable, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
        lock()
        defer { unlock() }
        return try body()
    }
}
