// One file operation fails, or all do from one on, and power stays. Nobody hangs, nobody is told what is not true, and
// the first failure is what every later call gets.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.serialized, .timeLimit(.minutes(10))) struct FailedOperationTests {
    static let faults: [(isLasting: Bool, effect: FaultPlan.Effect)] = [
        (false, .none), (true, .none), (false, .tornWrite), (false, .pagesMarkedClean),
    ]

    @Test(arguments: Workload.allCases)
    func aFailedOperationCostsNothingThatWasAcknowledged(workload: Workload) async throws {
        let states = try await onThread { try Self.visit(workload, kind: .ioError, faults: Self.faults) }
        print("failed operation, \(workload.rawValue): \(states) states")
        #expect(states > 0)
    }

    @Test(arguments: [Workload.create, .commit, .checkpoint, .close])
    func aFullDiskForOneOperationCostsNothingThatWasAcknowledged(workload: Workload) async throws {
        let states = try await onThread { try Self.visit(workload, kind: .noSpace, faults: [(false, .none)]) }
        print("full disk once, \(workload.rawValue): \(states) states")
        #expect(states > 0)
    }

    static func visit(
        _ workload: Workload, kind: FaultPlan.Kind, faults: [(isLasting: Bool, effect: FaultPlan.Effect)]
    ) throws -> Int {
        let options = workload.options()
        let dry = SimulatedFileSystem()
        try workload.prepare(dry, Journalist(), options)
        let first = dry.operationCount + 1
        try workload.run(dry, Journalist(), options)
        var states = 0
        for operation in first...dry.operationCount {
            for fault in faults {
                let disk = SimulatedFileSystem()
                let journalist = Journalist()
                try workload.prepare(disk, journalist, options)
                disk.faultPlan = .fault(
                    .init(operation: operation, isLasting: fault.isLasting, kind: kind, effect: fault.effect))
                do { try workload.run(disk, journalist, options) } catch is LogError {}
                for policy in [CrashPolicy.nothingPending, .everythingPending] {
                    try CrashCheck(
                        disk: disk.crashImage(policy), batches: journalist.all,
                        reproduction: "\(workload.rawValue), operation \(operation) fails with \(fault), \(policy)"
                    ).run()
                    states += 1
                }
            }
        }
        return states
    }

    @Test func theFirstFailureIsWhatEveryLaterCallGets() async throws {
        try await onThread {
            let disk = SimulatedFileSystem()
            let store = try CrashStore(disk)
            try store.commit([body(1)])
            disk.faultPlan = .fault(.init(operation: disk.operationCount + 1))
            let (_, ticket) = try store.append([body(2)])
            let first = try #require(throws: LogError.self) { try store.log.waitBlocking(for: ticket) }
            #expect(first.code == .poisoned)
            #expect(throws: first) { try store.append([body(3)]) }
            #expect(throws: first) { _ = try store.log.checkpoint() }
            #expect(throws: first) { _ = try store.log.compact() }
            #expect(throws: first) { try store.log.waitBlocking(for: ticket) }
            #expect(throws: first) { try store.log.close() }
            // What was durable before stays readable and acknowledged.
            #expect(try store.log.entry(SequenceNumber(1))?.body == body(1)[...])
            try store.log.waitBlocking(for: CommitTicket(group: 1))
            // The store is released: the next opening decides what survived.
            let again = try CrashStore(disk)
            #expect(again.replayed.map(\.body) == [body(1)])
            try again.log.close()
        }
    }

    @Test func aFailureReleasesEveryWaiter() async throws {
        let disk = SimulatedFileSystem()
        let store = try await onThread { try CrashStore(disk) }
        disk.faultPlan = .fault(.init(operation: disk.operationCount + 3, isLasting: true))
        let outcomes = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<200 {
                group.addTask {
                    while true {
                        do {
                            let ticket = try store.log.lock.withLock { () throws(LogError) -> CommitTicket? in
                                guard case .ready = try store.log.admission(isSettling: false) else { return nil }
                                store.log.append(kind: 1, time: .zero) { $0.append(body(number, bytes: 3000)) }
                                return store.log.ticket
                            }
                            if let ticket {
                                try await store.log.wait(for: ticket)
                                return true
                            }
                        } catch { return false }
                        await store.log.waitForRoom()
                    }
                }
            }
            var failed = 0
            for await isDurable in group where !isDurable { failed += 1 }
            return failed
        }
        #expect(outcomes > 0)
        try? await onThread { try? store.log.close() }
    }

    /// The maintenance thread fails while a group is in flight: the committer must not take that for its own success.
    @Test func aFailureOfMaintenanceDoesNotTrapTheCommitter() async throws {
        try await onThread {
            for offset in 1...40 {
                let disk = SimulatedFileSystem()
                let journalist = Journalist()
                let store = try CrashStore(disk, journalist)
                disk.faultPlan = .fault(.init(operation: disk.operationCount + offset))
                do {
                    for number in 0..<60 {
                        _ = try store.append([body(number, bytes: 9000)])
                    }
                    try store.log.waitBlocking(for: store.log.lock.withLock { store.log.ticket })
                } catch is LogError {}
                try? store.log.close()
                try CrashCheck(
                    disk: disk.crashImage(.nothingPending), batches: journalist.all, reproduction: "offset \(offset)"
                ).run()
            }
        }
    }

    @Test func aFullDiskRefusesNewWorkAndWorkGoesOnWhenSpaceIsBack() async throws {
        try await onThread {
            let disk = SimulatedFileSystem()
            let journalist = Journalist()
            let store = try CrashStore(disk, journalist)
            try store.commit([body(0)])
            var plan = FaultPlan()
            plan.capacityBytes = 3 * LogOptions.journalSegmentBytesMin + (24 << 10)
            disk.faultPlan = plan
            var refusal: LogError?
            for number in 1..<400 where refusal == nil {
                // Bytes that LZ4 can't shrink, so that sealing needs the space that is not there.
                var random = SeedableBytes(UInt64(number))
                do { _ = try store.append([random.bytes(9000)]) } catch { refusal = error as? LogError }
            }
            #expect(refusal?.code == .noSpace)
            disk.faultPlan = FaultPlan()
            while true {
                do {
                    try store.commit([body(1)])
                    break
                } catch let error as LogError where error.code == .noSpace {}
            }
            try store.log.waitBlocking(for: store.log.lock.withLock { store.log.ticket })
            try store.log.close()
            let again = try CrashStore(disk)
            #expect(again.replayed.map(\.body) == journalist.all.flatMap(\.bodies))
            try again.log.close()
        }
    }

    @Test func anOversizedGroupWaitsForSpaceAndIsNotForgotten() async throws {
        try await onThread {
            let disk = SimulatedFileSystem()
            let store = try CrashStore(disk)
            try store.commit([body(0)])
            var plan = FaultPlan()
            plan.capacityBytes = 4 * LogOptions.journalSegmentBytesMin
            disk.faultPlan = plan
            let large = body(1, bytes: 300_000)
            let (first, ticket) = try store.append([large])
            // The first try has failed once new work is refused or made to wait.
            while store.log.statistics.stalls == 0 {}
            disk.faultPlan = FaultPlan()
            try store.log.waitBlocking(for: ticket)
            #expect(try store.log.entry(first)?.body == large[...])
            // New work is taken again once the reserve could be written again.
            while true {
                do {
                    try store.commit([body(2)])
                    break
                } catch let error as LogError where error.code == .noSpace {}
            }
            try store.log.close()
        }
    }
}

/// Bytes without structure.
struct SeedableBytes {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }
    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return UInt8(truncatingIfNeeded: state >> 24)
        }
    }
}
