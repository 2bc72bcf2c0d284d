// Every write of every workload reports success and is lost, shifted or goes to another file, one at a time. Whatever
// that costs is refused as damage, except for the last group, as the guarantees say. By default a sample; with
// HOLDFAST_LONG all.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.serialized) struct SweepLieTests {
    private struct Job: Sendable {
        let workload: SweepWorkload
        let kind: SweepLie
        let lie: FaultPlan.Lie
        let number: Int
        var name: String {
            "\(workload.name), write \(number) is \(lie), HOLDFAST_SWEEP_SEED=\(Effort.turnsSeed)"
        }
    }
    private struct Tally {
        var hits = 0
        var outcomes: [String: Int] = [:]
    }
    /// No run takes a tenth of that.
    private static let runMillisecondsMax = 60_000
    /// How many runs the sample has.
    private static let sampleRuns = 240

    @Test(.timeLimit(.minutes(Effort.isLong ? 30 : 15)))
    func aWriteThatLiesCostsNoMoreThanTheLastGroupUnnoticed() async throws {
        let started = ContinuousClock.now
        let all = try await onThread { try Self.jobs() }
        let step = Effort.isLong ? 1 : max(1, all.count / Self.sampleRuns)
        let jobs = stride(from: 0, to: all.count, by: step).map { all[$0] }
        let tally = Locked(Tally())
        try await SweepCrew.work(
            through: jobs, of: "lying disks", millisecondsMax: Self.runMillisecondsMax, named: { $0.name }, tools: {}
        ) { job, _ in
            let visit = try job.workload.visit(
                job.lie, at: job.number, seed: job.kind.seed, reproduction: job.name)
            tally.withLock { tally in
                tally.hits += visit.isHit ? 1 : 0
                for outcome in visit.outcomes {
                    tally.outcomes["\(job.kind.title): \(outcome.rawValue)", default: 0] += 1
                }
            }
        }
        let seconds = (ContinuousClock.now - started) / .seconds(1)
        let found = tally.withLock { $0 }
        Effort.report("lies: writes that lied", found.hits)
        for (outcome, count) in found.outcomes.sorted(by: { $0.key < $1.key }) {
            Effort.report("lies: disks after \(outcome)", count)
        }
        Effort.report("lies: seconds", Int(seconds.rounded()))
        // Up to the lie a run does what the one did in which the writes were counted.
        #expect(found.hits == jobs.count)
        for outcome in [SweepLieOutcome.whole, .refused] {
            #expect(found.outcomes.keys.contains { $0.hasSuffix(outcome.rawValue) }, "\(outcome) never came about")
        }
    }

    private static func jobs() throws -> [Job] {
        try SweepWorkload.all().flatMap { workload in
            try SweepLie.allCases.flatMap { kind in
                let (numbers, files) = try workload.writes(seed: kind.seed)
                return numbers.map { number in
                    Job(
                        workload: workload, kind: kind, lie: kind.lie(in: files[number % files.count]), number: number)
                }
            }
        }
    }
}
