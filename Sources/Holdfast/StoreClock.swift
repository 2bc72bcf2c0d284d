// Time enters the store here and nowhere else: one reading per operation, which is put into its records.

public import HoldfastBytes

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Where a store reads the time.
public protocol StoreClock: Sendable {
    /// Returns the wall time, which may jump; the store never lets its own time go back.
    func wallNow() -> Timestamp
    /// Returns the time since some fixed instant; never goes back.
    func monotonicNow() -> Duration
}

extension StoreClock {
    /// Returns the wall time, or the nearest one that the store has a place for: a broken clock may say anything.
    func boundedNow() -> Timestamp { min(max(wallNow(), .zero), .max) }
}

/// The system's clock.
public struct SystemClock: StoreClock {
    /// Creates a clock.
    public init() {}

    /// Returns the system's wall time.
    public func wallNow() -> Timestamp {
        let time = Self.read(CLOCK_REALTIME)
        return Timestamp(milliseconds: time.seconds * 1000 + time.nanoseconds / 1_000_000)
    }

    /// Returns the time since the system started.
    public func monotonicNow() -> Duration {
        let time = Self.read(CLOCK_MONOTONIC)
        return .seconds(time.seconds) + .nanoseconds(time.nanoseconds)
    }

    private static func read(_ clock: clockid_t) -> (seconds: Int64, nanoseconds: Int64) {
        var value = timespec()
        // SAFETY: the call writes one timespec, which lives on the stack for its duration.
        let status = unsafe clock_gettime(clock, &value)
        precondition(status == 0, "the system has no such clock")
        return (Int64(value.tv_sec), Int64(value.tv_nsec))
    }
}
