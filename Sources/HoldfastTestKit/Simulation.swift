// A whole store, simulated under a seed: several clients do anything that clients do, on a disk in memory that fails
// and loses power, with a clock that jumps; the store is opened again and they go on. Every answer, and all that the
// store shows whenever it was opened, is held against the reference model, job by job:
//
//  - no job that was acknowledged is lost, and none comes back;
//  - no two leases of one job are valid at once, and a token that has ended changes nothing;
//  - an effect has one value for ever;
//  - counts agree, and no number is given twice;
//  - what was not answered is there whole or not at all, and in its order.
//
// Everything comes from the seed, and the same seed goes the same way each time, to the byte, in debug and in release
// builds. Drawn are, for each step on its own: who acts, what kind of operation it is and its parameters, the moves of
// the clock, at which of the next operations of the file system a fault or the loss of power comes and what it leaves,
// and how the store is opened again. The store's threads, the committer, the maintenance thread and the client's, take
// turns that the schedule draws, one running at a time; and the time by which the log paces itself, syncs in the
// interval mode, marks an idle store and looks again at a full disk is the schedule's, as are the salts of its files.
//
// What is not tried: the turn changes hands at operations of the file system, between two operations of clients, and
// where a thread waits or ends. Between those a thread goes on alone; races over memory are for the thread sanitizer.

internal import HoldfastLog

/// What simulations did.
public struct SimulationReport: Sendable, CustomStringConvertible {
    /// How many seeds.
    public var seeds = 0
    /// Operations of clients.
    public var operations = 0
    /// Of these, how many were refused as the model said.
    public var refusals = 0
    /// Of these, how many got no answer.
    public var unanswered = 0
    /// Of these, those that were accepted and then waited for space on a full disk, by their seeds.
    public var waits: [UInt64] = []
    /// Losses of power, and ends of the process.
    public var crashes = 0
    /// Faults that were set for the disk.
    public var faults = 0
    /// Times the store was opened.
    public var openings = 0
    /// How far the clock was moved.
    public var milliseconds: Int64 = 0

    /// Counts nothing yet.
    public init() {}

    /// Adds what another one did.
    public mutating func add(_ other: SimulationReport) {
        seeds += other.seeds
        operations += other.operations
        refusals += other.refusals
        unanswered += other.unanswered
        waits += other.waits
        crashes += other.crashes
        faults += other.faults
        openings += other.openings
        milliseconds += other.milliseconds
    }

    /// All of it in one line.
    public var description: String {
        "\(seeds) seeds, \(milliseconds / 3_600_000) simulated hours, \(operations) operations (\(refusals) refused, "
            + "\(unanswered) unanswered, \(waits.count) waited for space\(waits.isEmpty ? "" : ": seeds \(waits)")), "
            + "\(crashes) crashes, \(faults) faults, \(openings) openings"
    }
}

/// A store that did what it should not have.
public struct SimulationFailure: Error, CustomStringConvertible {
    /// The seed of the run.
    public let seed: UInt64
    /// Which step it was, counted from 0.
    public let step: Int
    /// What was wrong.
    public let message: String
    /// The newest steps, oldest first.
    public let trace: [String]

    /// What was wrong and how to see it again.
    public var description: String {
        "seed \(seed), step \(step): \(message)\nto run it again: \(Simulation.command(seed: seed))\n"
            + trace.joined(separator: "\n")
    }
}

/// Simulates stores.
public enum Simulation {
    /// Runs one seed on the calling thread, which it blocks.
    ///
    /// - Parameters:
    ///   - steps: How many steps; a step is one operation of a client, or a few that share a commit.
    ///   - hasForgetfulDisk: Whether the disk takes for durable what a loss of power may undo. Stores on such a disk
    ///     lose jobs, so this tells whether the simulation would notice.
    ///   - onStandstill: Ends the process when the store's threads wait for each other or never come to an end; it is
    ///     told so, with the command that runs the seed again.
    /// - Returns: What was done.
    /// - Throws: The first thing that was wrong.
    public static func run(
        seed: UInt64, steps: Int = 150, hasForgetfulDisk: Bool = false,
        onStandstill: @escaping @Sendable (String) -> Never = { preconditionFailure($0) }
    ) throws(SimulationFailure) -> SimulationReport {
        try simulate(
            seed: seed, steps: steps, hasForgetfulDisk: hasForgetfulDisk, keepsEvents: false,
            onStandstill: onStandstill
        ).outcome.get()
    }

    /// Runs one seed and returns all that happened, in order: each operation of the file system with the thread that
    /// did it and the time at which, each step, the report or what was wrong, and a hash of what the disk holds.
    package static func events(seed: UInt64, steps: Int = 150) -> [String] {
        let (outcome, events) = simulate(
            seed: seed, steps: steps, hasForgetfulDisk: false, keepsEvents: true,
            onStandstill: { preconditionFailure($0) })
        return events + ["\(outcome)"]
    }

    /// The command that runs a seed again.
    package static func command(seed: UInt64) -> String {
        "HOLDFAST_SIMULATION_SEED=\(seed) swift test --filter SimulationTests.SimulationTests"
    }

    private static func simulate(
        seed: UInt64, steps: Int, hasForgetfulDisk: Bool, keepsEvents: Bool,
        onStandstill: @escaping @Sendable (String) -> Never
    ) -> (outcome: Result<SimulationReport, SimulationFailure>, events: [String]) {
        SeededSchedule.run(
            seed: seed, keepsEvents: keepsEvents,
            onStandstill: { onStandstill("seed \(seed): \($0)\nto run it again: \(command(seed: seed))") }
        ) { schedule in
            let run = SimulationRun(seed: seed, schedule: schedule, hasForgetfulDisk: hasForgetfulDisk)
            let outcome = Result { () throws(SimulationFailure) in
                do throws(SimulationMismatch) { try run.run(steps: steps) } catch {
                    run.abandon()
                    throw SimulationFailure(seed: seed, step: run.step, message: error.message, trace: run.trace)
                }
                return run.report
            }
            schedule.note("the disk is \(run.disk.contentHash())")
            return (outcome, schedule.events)
        }
    }
}
