// Every file operation, every read and every look (at a name or a size) of every workload fails, once and from then on,
// in every way. Nobody hangs, no file stays open, and what was answered is there when the store is opened again. By
// default a sample; with HOLDFAST_LONG all.

import Holdfast
import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.serialized) struct SweepFailureTests {
    private struct Job: Sendable {
        let workload: SweepWorkload
        let failure: SweepFailure
        let number: Int
        var name: String {
            "\(workload.name), \(failure) at \(number), HOLDFAST_SWEEP_SEED=\(Effort.turnsSeed)"
        }
    }
    private struct Tally {
        var runs = 0
        var hits = 0
        var states = 0
    }
    /// No run takes a tenth of that.
    private static let runMillisecondsMax = 60_000
    /// How many runs the sample has.
    private static let sampleRuns = 240

    @Test(.timeLimit(.minutes(Effort.isLong ? 60 : 15)))
    func everyFailedOperationCostsNothingThatWasAnsweredAndNobodyHangs() async throws {
        let started = ContinuousClock.now
        let all = try await onThread { try Self.jobs() }
        let step = Effort.isLong ? 1 : max(1, all.count / Self.sampleRuns)
        let jobs = stride(from: 0, to: all.count, by: step).map { all[$0] }
        let policies: [CrashPolicy] =
            Effort.isLong
            ? [.everythingPending, .nothingPending, .random(seed: 1), .torn(seed: 2)]
            : [.everythingPending, .nothingPending]
        let tally = Locked(Tally())
        try await SweepCrew.work(
            through: jobs, of: "failed operations", millisecondsMax: Self.runMillisecondsMax, named: { $0.name },
            tools: {}
        ) { job, _ in
            let visit = try job.workload.visit(job.failure, job.number, policies: policies)
            tally.withLock {
                $0.runs += 1
                $0.hits += visit.isHit ? 1 : 0
                $0.states += visit.states
            }
        }
        let seconds = (ContinuousClock.now - started) / .seconds(1)
        let (runs, hits, states) = tally.withLock { ($0.runs, $0.hits, $0.states) }
        Effort.report("failures: operations, reads and looks failed", hits)
        Effort.report("failures: of how many that can fail", all.count)
        Effort.report("failures: disks judged", states)
        Effort.report("failures: seconds", Int(seconds.rounded()))
        #expect(runs == jobs.count)
        // Up to the failure a run does what the one did in which the operations were counted.
        #expect(hits == runs)
    }

    private static func jobs() throws -> [Job] {
        try SweepWorkload.all().flatMap { workload in
            try SweepFailure.allCases.flatMap { failure in
                try workload.measure(failure.numbers, seed: failure.seed).map {
                    Job(workload: workload, failure: failure, number: $0)
                }
            }
        }
    }

    /// Whatever fails first, later calls get the same; a full disk is refused and gets nobody poisoned.
    @Test(.timeLimit(.minutes(5)), arguments: [SweepFailure.once, .lasting, .pagesMarkedClean, .quota])
    func everyLaterCallGetsTheFirstFailureWhereverItIs(failure: SweepFailure) async throws {
        try await onThread {
            var poisoned = 0
            for offset in 1...16 {
                let disk = SimulatedFileSystem()
                let store = try CrashStore(disk)
                for number in 0..<3 { try store.commit([body(number, bytes: 3_000)]) }
                disk.faultPlan = failure.plan(disk.operationCount + offset)
                var first: LogError?
                for number in 0..<6 where first == nil {
                    do {
                        try store.commit([body(10 + number, bytes: 9_000)])
                        _ = try store.log.checkpoint()
                        _ = try store.log.compact()
                    } catch let error as LogError where error.code != .noSpace { first = error } catch is LogError {}
                }
                if let first, first.code == .poisoned {
                    poisoned += 1
                    #expect(throws: first) { try store.append([body(99)]) }
                    #expect(throws: first) { _ = try store.log.checkpoint() }
                    #expect(throws: first) { _ = try store.log.compact() }
                    #expect(throws: first) { try store.log.close() }
                } else {
                    disk.faultPlan = FaultPlan()
                    // New work stays refused until the store has found that there is room again.
                    if failure != .quota { try store.commit([body(99)]) }
                    do { try store.log.close() } catch let error as LogError where error.code == .noSpace {}
                }
                #expect(disk.openFileCount == 0, "offset \(offset)")
            }
            #expect(poisoned > 0 || failure == .quota)
        }
    }
}
