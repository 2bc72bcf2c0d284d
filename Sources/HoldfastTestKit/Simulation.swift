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
// What is the same for the same seed: every number that is drawn. Those are, for each step on its own, who acts, what
// kind of operation it is and its parameters, the moves of the clock, at which of the next operations of the file
// system a fault or the loss of power comes and what it leaves, and how the store is opened again.
//
// What is not: the store's log writes from two threads of its own. Where both are at work, when a journal segment is
// full, their file operations may come in another order from run to run. So the fault may hit the other one, and it may
// differ whether the client's operation was answered before. What clients do next follows what they know, and so do
// steps behind such a point. Three things of the log go by real time: the sync of the interval mode, marks of an idle
// store (off in most seeds), and the next look at a disk that was full. So a seed that failed mostly fails again, and
// where it does not, the same was attempted in another order; run it a few times. The model is as strict in each.

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
        "seed \(seed), step \(step): \(message)\nto run it again: HOLDFAST_SIMULATION_SEED=\(seed)\n"
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
    /// - Returns: What was done.
    /// - Throws: The first thing that was wrong.
    public static func run(
        seed: UInt64, steps: Int = 150, hasForgetfulDisk: Bool = false
    ) throws(SimulationFailure) -> SimulationReport {
        let run = SimulationRun(seed: seed, hasForgetfulDisk: hasForgetfulDisk)
        do { try run.run(steps: steps) } catch {
            run.abandon()
            throw SimulationFailure(seed: seed, step: run.step, message: error.message, trace: run.trace)
        }
        return run.report
    }
}
