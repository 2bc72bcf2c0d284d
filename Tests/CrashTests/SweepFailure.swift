// Failures of single file operations and reads, numbered, for every workload of the log and of the store.

import Holdfast
import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

/// How operations fail from a place on.
enum SweepFailure: CaseIterable, Sendable {
    case once, lasting, shortWrite, tornWrite, pagesMarkedClean, fullDisk, fullDiskForAWhile, fullDiskLasting, quota
    case readOnce, readLasting

    /// How many operations fail while the disk is full for a while.
    private static let fullOperations = 4

    var isOfReads: Bool { self == .readOnce || self == .readLasting }

    /// The plan under which operation `number`, or read `number`, fails.
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

    /// Runs it without faults and returns how many operations and reads there were before and after.
    func measure() throws -> (operations: Range<Int>, reads: Range<Int>) {
        let disk = SimulatedFileSystem()
        let known = Journalist()
        try prepare(disk, known)
        let (operations, reads) = (disk.operationCount, disk.readCount)
        _ = try run(disk, known)
        return (operations + 1..<disk.operationCount + 1, reads + 1..<disk.readCount + 1)
    }

    private func prepare(_ disk: SimulatedFileSystem, _ known: Journalist) throws {
        if case .log(let workload) = self { try workload.prepare(disk, known, workload.options()) }
    }

    /// Returns how many operations were answered.
    private func run(_ disk: SimulatedFileSystem, _ known: Journalist) throws -> Int {
        switch self {
        case .log(let workload):
            try workload.run(disk, known, workload.options())
            return known.answers
        case .store(let workload, _):
            let store = try JobStore.openBlocking(at: CrashStore.path, options: CrashTrace.options(disk))
            defer { try? store.blocking.close() }
            let steps = StoreSteps(store)
            var answered = 0
            do {
                for step in workload.steps(seed: 0) {
                    do { try step(steps) } catch let error as JobStoreError where error.code == .leaseLost {}
                    answered += 1
                }
            } catch is JobStoreError {}
            return answered
        }
    }

    /// Fails operation or read `number`, then judges the disk as it is and as power losses leave it.
    ///
    /// - Returns: How many disks were judged.
    func visit(_ failure: SweepFailure, _ number: Int, policies: [CrashPolicy]) throws -> Int {
        let disk = SimulatedFileSystem()
        let known = Journalist()
        try prepare(disk, known)
        disk.faultPlan = failure.plan(number)
        var answered = 0
        do { answered = try run(disk, known) } catch is LogError {} catch is JobStoreError {}
        let reproduction = "\(name), \(failure) at \(number)"
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
        return policies.count
    }
}
