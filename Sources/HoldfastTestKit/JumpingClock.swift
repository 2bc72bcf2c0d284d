// A wall clock as machines have them: set ahead and set back, while a store uses it and while none does.

public import Holdfast
public import HoldfastBytes
internal import HoldfastLog

/// A wall clock that somebody sets, also back. Time stands until then.
///
/// A store notices when it next does something: it isn't woken, as nobody wakes it when the system's clock is set.
public final class JumpingClock: StoreClock {
    private let time: Locked<Timestamp>
    private let monotonic = Locked(Duration.zero)

    /// Creates a clock that stands at `start`.
    public init(startingAt start: Timestamp = ManualClock.defaultStart) { time = Locked(start) }

    /// Returns where the clock stands.
    public func wallNow() -> Timestamp { time.withLock { $0 } }

    /// Returns how far the clock was moved forward in all; going back takes nothing of that away.
    public func monotonicNow() -> Duration { monotonic.withLock { $0 } }

    /// Sets the clock ahead.
    ///
    /// - Precondition: `milliseconds` is not negative.
    public func moveForward(byMilliseconds milliseconds: Int64) {
        precondition(milliseconds >= 0, "this is the way forward")
        time.withLock { $0 = $0.advanced(byMilliseconds: milliseconds) }
        monotonic.withLock { $0 += .milliseconds(milliseconds) }
    }

    /// Sets the clock back, to 1970 at most.
    ///
    /// - Precondition: `milliseconds` is not negative.
    public func moveBack(byMilliseconds milliseconds: Int64) {
        precondition(milliseconds >= 0, "this is the way back")
        time.withLock { $0 = Timestamp(milliseconds: max($0.milliseconds - milliseconds, 0)) }
    }
}
