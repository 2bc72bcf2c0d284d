// Clocks that a simulation moves.

internal import Holdfast
internal import HoldfastBytes
internal import HoldfastLog

/// A clock that moves only when told.
protocol SimulatedClock: StoreClock {
    /// Moves it forward.
    func moveForward(byMilliseconds milliseconds: Int64)
    /// Moves it back, if it is one that goes back.
    func moveBack(byMilliseconds milliseconds: Int64)
}

extension ManualClock: SimulatedClock {
    func moveForward(byMilliseconds milliseconds: Int64) { advance(byMilliseconds: milliseconds) }
    func moveBack(byMilliseconds milliseconds: Int64) {}
}

/// A wall clock that somebody sets, also back.
final class JumpingClock: SimulatedClock {
    private let time: Locked<Timestamp>
    private let monotonic = Locked(Duration.zero)

    init(startingAt start: Timestamp) { time = Locked(start) }

    func wallNow() -> Timestamp { time.withLock { $0 } }
    func monotonicNow() -> Duration { monotonic.withLock { $0 } }

    func moveForward(byMilliseconds milliseconds: Int64) {
        time.withLock { $0 = $0.advanced(byMilliseconds: milliseconds) }
        monotonic.withLock { $0 += .milliseconds(milliseconds) }
    }

    func moveBack(byMilliseconds milliseconds: Int64) {
        time.withLock { $0 = Timestamp(milliseconds: max($0.milliseconds - milliseconds, 0)) }
    }
}
