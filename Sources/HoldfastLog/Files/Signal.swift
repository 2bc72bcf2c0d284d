// A condition variable for use with a CallerLock. Timeouts run on the monotonic clock, so that setting the wall clock
// neither wakes nor delays anybody. As always with condition variables a wait may end for no reason: callers check
// what they wait for in a loop. Signals made by a thread under a schedule leave waiting to that.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

// SENDABLE: the condition is at an address that never changes, and its calls are thread-safe; the schedule stays the
// same.
/// Lets threads that hold a lock wait for a change made under that lock.
@safe package final class Signal: @unchecked Sendable {
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private let schedule: (any ThreadSchedule)?

    /// Creates a signal that nobody waits for.
    package convenience init() { self.init(in: ThreadSeat.schedule) }

    /// Creates a signal for threads that are under `schedule`; `nil` leaves them to the system.
    package init(in schedule: (any ThreadSchedule)?) {
        self.schedule = schedule
        // SAFETY: condition and attributes are initialised before use; the condition lives until `deinit`.
        unsafe condition = .allocate(capacity: 1)
        unsafe condition.initialize(to: pthread_cond_t())
        #if canImport(Darwin)
            let result = unsafe pthread_cond_init(condition, nil)
        #else
            var attributes = pthread_condattr_t()
            unsafe pthread_condattr_init(&attributes)
            unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
            let result = unsafe pthread_cond_init(condition, &attributes)
            unsafe pthread_condattr_destroy(&attributes)
        #endif
        precondition(result == 0, "a condition could not be made")
    }

    deinit {
        // SAFETY: nobody refers to the signal any more, so nobody waits.
        unsafe pthread_cond_destroy(condition)
        unsafe condition.deallocate()
    }

    /// Releases `lock`, waits for a notification, and takes `lock` again.
    ///
    /// - Precondition: This thread holds `lock`; all waits at one time name the same lock.
    package func wait(_ lock: CallerLock) {
        if let schedule {
            _ = schedule.wait(for: ObjectIdentifier(self), releasing: lock, milliseconds: nil)
            return
        }
        // SAFETY: both are initialised and at their own addresses, and this thread holds the mutex.
        let result = unsafe pthread_cond_wait(condition, lock.mutex)
        assert(result == 0, "waiting failed")
    }

    /// Waits like `wait(_:)`, but no longer than `milliseconds`.
    ///
    /// - Returns: `false` when the time ran out.
    package func wait(_ lock: CallerLock, milliseconds: Int) -> Bool {
        // A day is long enough: whoever waits checks and waits again.
        let bounded = min(max(milliseconds, 0), 86_400_000)
        if let schedule {
            return schedule.wait(for: ObjectIdentifier(self), releasing: lock, milliseconds: bounded)
        }
        var time = timespec()
        // SAFETY: all pointers are to initialised memory that outlives the calls, and this thread holds the mutex.
        #if canImport(Darwin)
            time.tv_sec = bounded / 1_000
            time.tv_nsec = bounded % 1_000 * 1_000_000
            let result = unsafe pthread_cond_timedwait_relative_np(condition, lock.mutex, &time)
        #else
            unsafe clock_gettime(CLOCK_MONOTONIC, &time)
            let nanoseconds = Int(time.tv_nsec) + bounded % 1_000 * 1_000_000
            time.tv_sec += bounded / 1_000 + nanoseconds / 1_000_000_000
            time.tv_nsec = nanoseconds % 1_000_000_000
            let result = unsafe pthread_cond_timedwait(condition, lock.mutex, &time)
        #endif
        assert(result == 0 || result == ETIMEDOUT, "waiting failed")
        return result != ETIMEDOUT
    }

    /// Wakes one waiting thread, if there is any.
    package func notifyOne() {
        if let schedule { return schedule.notify(ObjectIdentifier(self), all: false) }
        // SAFETY: the condition is initialised and at its own address.
        unsafe pthread_cond_signal(condition)
    }

    /// Wakes all waiting threads.
    package func notifyAll() {
        if let schedule { return schedule.notify(ObjectIdentifier(self), all: true) }
        // SAFETY: the condition is initialised and at its own address.
        unsafe pthread_cond_broadcast(condition)
    }
}
