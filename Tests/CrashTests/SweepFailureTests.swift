// Every file operation and every read of every workload fails, once and from then on, in every way. Nobody hangs, no
// file stays open, and what was answered is there when the store is opened again. By default a sample; with
// HOLDFAST_LONG all.

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
        var name: String { "\(workload.name), \(failure) at \(number)" }
    }
    private struct Tally {
        var next = 0
        var runs = 0
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
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<CrashEnumeration.threads {
                group.addTask {
                    try await onThread {
                        try Watchdog.watching(
                            millisecondsMax: Self.runMillisecondsMax,
                            onHang: { fatalError("a caller hangs after a failed operation: \($0)") }
                        ) { watchdog in
                            while let job = tally.withLock({ tally -> Job? in
                                defer { tally.next += 1 }
                                return tally.next < jobs.count ? jobs[tally.next] : nil
                            }) {
                                watchdog.begin(job.name)
                                let states = try job.workload.visit(job.failure, job.number, policies: policies)
                                tally.withLock {
                                    $0.runs += 1
                                    $0.states += states
                                }
                            }
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        let seconds = (ContinuousClock.now - started) / .seconds(1)
        Effort.report("failures: operations and reads failed", jobs.count)
        Effort.report("failures: of how many that can fail", all.count)
        Effort.report("failures: disks judged", tally.withLock { $0.states })
        Effort.report("failures: seconds", Int(seconds.rounded()))
        #expect(tally.withLock { $0.runs } == jobs.count)
    }

    private static func jobs() throws -> [Job] {
        var workloads = Workload.allCases.map { SweepWorkload.log($0) }
        for workload in StoreWorkload.allCases {
            workloads.append(.store(workload, digests: try digests(of: workload)))
        }
        return try workloads.flatMap { workload in
            let (operations, reads) = try workload.measure()
            return SweepFailure.allCases.flatMap { failure in
                (failure.isOfReads ? reads : operations).map {
                    Job(workload: workload, failure: failure, number: $0)
                }
            }
        }
    }

    /// The states that a store workload goes through.
    private static func digests(of workload: StoreWorkload) throws -> [String] {
        let store = try JobStore.openBlocking(at: CrashStore.path, options: CrashTrace.options(SimulatedFileSystem()))
        defer { try? store.blocking.close() }
        let steps = StoreSteps(store)
        var digests = [try store.blocking.wholeDigest()]
        for step in workload.steps(seed: 0) {
            do { try step(steps) } catch let error as JobStoreError where error.code == .leaseLost {}
            digests.append((try? store.blocking.wholeDigest()) ?? digests[digests.count - 1])
        }
        return digests
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
