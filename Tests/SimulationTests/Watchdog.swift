// A run that never ends would tell nothing about itself. The watchdog names its seed.

import HoldfastLog

/// Ends the process when one seed takes far longer than any should.
final class Watchdog: Sendable {
    private let lock = CallerLock()
    private let signal = Signal()
    private let seed = Locked<UInt64?>(0)

    /// No seed takes a hundredth of that.
    private static let millisecondsMax = 120_000

    /// Notes that `seed` begins; `nil` when there is none left.
    func begin(_ seed: UInt64?) {
        lock.withLock {
            self.seed.withLock { $0 = seed }
            signal.notifyAll()
        }
    }

    /// Watches until there is no seed left. Blocks.
    func watch() {
        lock.withLock {
            while let seed = seed.withLock({ $0 }) {
                guard !signal.wait(lock, milliseconds: Self.millisecondsMax) else { continue }
                guard seed == self.seed.withLock({ $0 }) else { continue }
                fatalError("seed \(seed) hangs: HOLDFAST_SIMULATION_SEED=\(seed) runs it alone")
            }
        }
    }
}
