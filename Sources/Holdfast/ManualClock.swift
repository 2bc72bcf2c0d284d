// A clock for tests and for replaying: it stands until it is moved. `JobStore.advanceClock` moves it and records the
// move, so that time goes on where it was after a restart.

public import HoldfastBytes
internal import HoldfastLog

/// A clock that moves only when told.
public final class ManualClock: StoreClock {
    private struct State {
        var now: Timestamp
        var observers: [UInt64: @Sendable () -> Void] = [:]
        var observations: UInt64 = 0
    }

    /// What ends an observation.
    struct Observation: Hashable, Sendable {
        fileprivate let number: UInt64
    }

    // Uncontended: the store reads it under its own lock.
    private let state: Locked<State>

    /// Where a clock stands unless told otherwise.
    public static let defaultStart = Timestamp(milliseconds: 1_700_000_000_000)

    /// Creates a clock that stands at `start`.
    public init(startingAt start: Timestamp = ManualClock.defaultStart) {
        state = Locked(State(now: start))
    }

    /// Returns where the clock stands.
    public func wallNow() -> Timestamp { state.withLock { $0.now } }

    /// Returns where the clock stands, as a duration since 1970.
    public func monotonicNow() -> Duration { .milliseconds(wallNow().milliseconds) }

    /// Moves the clock without recording it, and lets the stores that use it notice.
    ///
    /// - Precondition: `milliseconds` is not negative.
    public func advance(byMilliseconds milliseconds: Int64) {
        move(byMilliseconds: milliseconds)
        notifyObservers()
    }

    /// Moves the clock and tells nobody.
    func move(byMilliseconds milliseconds: Int64) {
        precondition(milliseconds >= 0, "time does not go back")
        state.withLock { $0.now = $0.now.advanced(byMilliseconds: milliseconds) }
    }

    /// Moves the clock to `time` unless it is already past it.
    func raise(to time: Timestamp) { state.withLock { $0.now = max($0.now, time) } }

    /// Calls `observer` after each move, until `endObservation`.
    func observe(_ observer: @escaping @Sendable () -> Void) -> Observation {
        state.withLock { state in
            state.observations += 1
            state.observers[state.observations] = observer
            return Observation(number: state.observations)
        }
    }

    /// Forgets an observer; a second call does nothing.
    func endObservation(_ observation: Observation) { state.withLock { $0.observers[observation.number] = nil } }

    /// How many stores are told of moves.
    var observerCount: Int { state.withLock { $0.observers.count } }

    /// Tells the stores that the clock was moved. The caller holds no store's lock.
    func notifyObservers() {
        for observer in state.withLock({ Array($0.observers.values) }) { observer() }
    }
}
