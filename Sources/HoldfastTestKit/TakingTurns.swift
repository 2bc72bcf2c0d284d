// Runs whose threads take turns that a seed draws, for tests that number what a store does: the same number is the same
// operation each time.

package import HoldfastLog

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// What makes runs of a store the same each time.
package enum TakingTurns {
    /// Runs `body` on the calling thread. It and the threads of the stores that it opens on the file system which it is
    /// given take turns, and their clock and what they draw come from the seed.
    ///
    /// - Parameters:
    ///   - disk: What that file system keeps its files on, and whose faults it has.
    ///   - name: What is said of a run in which nobody can go on, or that never ends: it ends the process.
    /// - Precondition: `body` closes what it opens, and uses that from the calling thread alone.
    package static func run<Value>(
        seed: UInt64, on disk: SimulatedFileSystem, named name: String, _ body: (any FileSystem) throws -> Value
    ) throws -> Value {
        try SeededSchedule.run(
            seed: seed, keepsEvents: false, onStandstill: { preconditionFailure("\(name): \($0)") }
        ) { schedule in
            Result {
                try body(SimulationDisk(disk, schedule: schedule, forgets: false, syncMilliseconds: 0))
            }
        }.get()
    }

    /// Lets other threads go on, whoever decides which.
    package static func yield() {
        if let schedule = ThreadSeat.schedule as? SeededSchedule { schedule.pass("yields") } else { sched_yield() }
    }
}
