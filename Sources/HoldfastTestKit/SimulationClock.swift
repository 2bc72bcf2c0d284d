// The clocks that a simulation moves.

internal import Holdfast

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

extension JumpingClock: SimulatedClock {}
