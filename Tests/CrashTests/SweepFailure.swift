// Failures of single file operations and reads, numbered, for every workload of the log and of the store.

import Holdfast
import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

/// How operations fail from a place on.
enum SweepFailure: CaseIterable, Sendable {
    case once, lasting, shortWrite, tornWrite, pagesMarkedClean, fullDisk, fullDiskForAWhile, fullDiskLasting, quota
    case readOnce, readLasting, lookOnce, lookLasting

    /// What is numbered.
    enum Numbers {
        case operations, reads, looks
    }
    /// How many operations fail while the disk is full for a while.
    private static let fullOperations = 4

    var numbers: Numbers {
        switch self {
        case .readOnce, .readLasting: .reads
        case .lookOnce, .lookLasting: .looks
        default: .operations
        }
    }

    /// Draws the turns of the threads of its runs.
    var seed: UInt64 { Effort.turnsSeed &* 100 + UInt64(Self.allCases.firstIndex(of: self) ?? 0) }

    /// The plan under which operation, read or look `number` fails.
    func plan(_ number: Int) -> FaultPlan {
        switch self {
        case .once: return .fault(.init(operation: number))
        case .lasting: return .fault(.init(operation: number, isLasting: true))
        case .shortWrite: return .fault(.init(operation: number, effect: .shortWrite))
        case .tornWrite: return .fault(.init(operation: number, isLasting: true, effect: .tornWrite))
        case .pagesMarkedClean: return .fault(.init(operation: number, effect: .pagesMarkedClean))
        case .fullDisk: return .fault(.init(operation: number, kind: .noSpace))
        case .fullDiskLasting: return .fault(.init(operation: number, isLasting: true, kind: .noSpace))
        case .quota: return .fault(.init(operation: number, kind: .quotaExceeded, effect: .shortWrite))
        case .fullDiskForAWhile:
            var plan = FaultPlan()
            plan.faults = (0..<Self.fullOperations).map { .init(operation: number + $0, kind: .noSpace) }
            return plan
        case .readOnce, .readLasting:
            var plan = FaultPlan()
            plan.readFaults = [.init(operation: number, isLasting: self == .readLasting)]
            return plan
        case .lookOnce, .lookLasting:
            var plan = FaultPlan()
            plan.lookFaults = [.init(operation: number, isLasting: self == .lookLasting)]
            return plan
        }
    }
}

/// A workload whose operations are made to fail, and how to judge what is left.
enum SweepWorkload: Sendable {
    case log(Workload)
    case store(StoreWorkload, digests: [String])

    var name: String {
        switch self {
        case .log(let workload): workload.rawValue
        case .store(let workload, _): workload.rawValue
        }
    }

    /// Every workload of the log and of the store.
    static func all() throws -> [SweepWorkload] {
        try Workload.allCases.map { SweepWorkload.log($0) }
            + StoreWorkload.allCases.map { .store($0, digests: try digests(of: $0)) }
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

    /// Runs it without faults and returns which operations, reads or looks it has.
    func measure(_ numbers: SweepFailure.Numbers, seed: UInt64) throws -> Range<Int> {
        let disk = SimulatedFileSystem()
        func count() -> Int {
            switch numbers {
            case .operations: disk.operationCount
            case .reads: disk.readCount
            case .looks: disk.lookCount
            }
        }
        var before = 0
        _ = try run(disk, Journalist(), seed: seed, prepared: { before = count() })
        return before + 1..<count() + 1
    }

    /// Prepares it and runs it, its threads taking turns as the seed has it, and returns how many operations were
    /// answered.
    ///
    /// - Parameters:
    ///   - prepared: Runs in between.
    ///   - beforeClose: Runs when all is done and the store is still open.
    func run(
        _ disk: SimulatedFileSystem, _ known: Journalist, seed: UInt64, prepared: () -> Void = {},
        beforeClose: () -> Void = {}
    ) throws -> Int {
        try TakingTurns.run(seed: seed, on: disk, named: name) { drive in
            if case .log(let workload) = self { try workload.prepare(drive, known, workload.options()) }
            prepared()
            return try run(disk, through: drive, known, beforeClose: beforeClose)
        }
    }

    private func run(
        _ disk: SimulatedFileSystem, through drive: any FileSystem, _ known: Journalist, beforeClose: () -> Void
    ) throws -> Int {
        switch self {
        case .log(let workload):
            try workload.run(disk, through: drive, known, workload.options(), beforeClose: beforeClose)
            return known.answers
        case .store(let workload, _):
            let store = try JobStore.openBlocking(at: CrashStore.path, options: CrashTrace.options(drive))
            defer {
                beforeClose()
                try? store.blocking.close()
            }
            let steps = StoreSteps(store)
            var answered = 0
            do {
                for step in workload.steps(seed: 0) {
                    do { try step(steps) } catch let error as JobStoreError where error.code == .leaseLost {}
                    answered += 1
                }
            } catch let error as JobStoreError { checkLaterCalls(store.blocking, after: error) }
            return answered
        }
    }

    /// After a failure that poisons the store not even a look at it succeeds, and all fail for the same reason.
    private func checkLaterCalls(_ store: BlockingJobStore, after first: JobStoreError) {
        func next() -> JobStoreError? {
            do {
                _ = try store.digest()
                return nil
            } catch { return error }
        }
        // A read that failed concerns its caller alone, and a full disk passes.
        guard first.code == .ioError, let second = next(), second.code == .ioError else { return }
        #expect(next() == second, "a poisoned store changes its mind (\(name))")
    }

    /// What became of one failure.
    struct Visit {
        let states: Int
        /// Whether the planned failure happened.
        let isHit: Bool
    }

    /// Fails operation, read or look `number`, then judges the disk as it is and as power losses leave it.
    func visit(_ failure: SweepFailure, _ number: Int, policies: [CrashPolicy]) throws -> Visit {
        let disk = SimulatedFileSystem()
        let known = Journalist()
        var answered = 0
        do {
            answered = try run(
                disk, known, seed: failure.seed, prepared: { disk.faultPlan = failure.plan(number) })
        } catch is LogError {} catch is JobStoreError {}
        let reproduction = "\(name), \(failure) at \(number), HOLDFAST_SWEEP_SEED=\(Effort.turnsSeed)"
        let isHit = disk.faultHits > 0
        #expect(disk.openFileCount == 0, "files are left open (\(reproduction))")
        for policy in policies {
            let image = disk.crashImage(policy)
            let place = "\(reproduction), \(policy)"
            switch self {
            case .log:
                try CrashCheck(disk: image, batches: known.all, reproduction: place).run()
            case .store(_, let digests):
                try StoreCheck(disk: image, digests: digests, answered: answered, reproduction: place)
                    .run(KnownStates())
            }
        }
        return Visit(states: policies.count, isHit: isHit)
    }
}
