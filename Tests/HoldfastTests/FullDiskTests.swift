// A full disk, as a user of the store meets it: new work is refused before anything of it is applied.

import Holdfast
import HoldfastTestKit
import Testing

@Suite struct FullDiskTests {
    @Test(.timeLimit(.minutes(10)))
    func aLargeEnqueueIsRefusedBeforeItIsAppliedAndNothingWaitsForIt() async throws {
        let disk = SimulatedFileSystem()
        let options = Self.options(disk)
        let store = try await JobStore.open(at: "/store", options: options)
        let first = try await store.enqueue("q", payload: [1]).id
        // The four segments of the ring and a little: no room for a segment that holds the large one.
        var plan = FaultPlan()
        plan.capacityBytes = 4 * JobStoreOptions.journalSegmentBytesMin + (512 << 10) + (32 << 10)
        disk.faultPlan = plan
        let large = [UInt8](repeating: 7, count: 300_000)
        await #expect { _ = try await store.enqueue("q", payload: large) } throws: {
            ($0 as? JobStoreError)?.code == .noSpace
        }
        #expect(try await store.stats().queues.first { $0.name == "q" }?.ready == 1)
        // What is small enough goes on.
        let second = try await store.enqueue("q", payload: [2]).id
        let lease = try #require(try await store.lease(from: "q").first)
        #expect(lease.id == first)
        try await store.ack(lease)
        // And the large one is taken once there is space, without opening the store again.
        disk.faultPlan = FaultPlan()
        let third = try await store.enqueue("q", payload: large).id
        try await store.close()

        let again = try await JobStore.open(at: "/store", options: options)
        let leases = try await again.lease(from: "q", limit: 10)
        #expect(leases.map(\.id) == [second, third])
        #expect(leases.last?.payload == large)
        try await again.close()
    }

    @Test(.timeLimit(.minutes(10)))
    func onAFullDiskWorkEndsAndNoneBegins() async throws {
        let disk = SimulatedFileSystem()
        let store = try await JobStore.open(at: "/store", options: Self.options(disk))
        for number in 0..<3 { _ = try await store.enqueue("q", payload: [UInt8(number)]) }
        let leases = try await store.lease(from: "q", limit: 2)
        disk.faultPlan.capacityBytes = Self.usedBlocks(disk) * 4096
        while await refusal(of: { _ = try await store.enqueue("q", payload: [1]) }) == nil {}
        let waiting = try await store.stats().queues.first?.ready
        #expect(try await store.ack(leases[0], thenLease: NextLease(from: "q")).isEmpty)
        #expect(try store.blocking.bury(leases[1], thenLease: NextLease(from: "q")).isEmpty)
        let queue = try #require(try await store.stats().queues.first)
        #expect(queue.leased == 0 && queue.dead == 1 && queue.ready == waiting)
        #expect(try await store.stats().completed == 1)
        disk.faultPlan = FaultPlan()
        try await store.close()
    }

    /// Each settled job takes a block of the journal, so without room to seal, fifteen of them would fill the
    /// last segment.
    @Test(.timeLimit(.minutes(10)))
    func hundredsOfJobsAreSettledOneByOneOnAFullDisk() async throws {
        let disk = SimulatedFileSystem()
        let store = try await JobStore.open(at: "/store", options: Self.options(disk))
        for number in 0..<300 { _ = try await store.enqueue("q", payload: [UInt8(number % 256)]) }
        let leases = try await store.lease(from: "q", limit: 300, for: .seconds(3600))
        var plan = FaultPlan()
        plan.capacityBytes = Self.usedBlocks(disk) * 4096
        disk.faultPlan = plan
        while await refusal(of: { _ = try await store.enqueue("q", payload: [1]) }) == nil {}
        for lease in leases { try await store.ack(lease) }
        #expect(try await store.stats().completed == 300)
        await expectRefusal(.noSpace) { _ = try await store.enqueue("q", payload: [1]) }
        disk.faultPlan = FaultPlan()
        while let code = await refusal(of: { _ = try await store.enqueue("q", payload: [1]) }) {
            #expect(code == .noSpace)
            await Task.yield()
        }
        try await store.close()
    }

    /// The segment of its own that it needs was written, but no new manifest could name it.
    @Test(.timeLimit(.minutes(10)))
    func aBatchLargerThanASegmentIsAnsweredWhereverTheDiskBecomesFull() async throws {
        for blocks in 0..<40 {
            let disk = SimulatedFileSystem()
            let store = try await JobStore.open(at: "/store", options: Self.options(disk))
            var plan = FaultPlan()
            plan.capacityBytes = (Self.usedBlocks(disk) + blocks) * 4096
            disk.faultPlan = plan
            for number in 0..<6 {
                let operations: [BatchOperation] = (0..<6).map {
                    .enqueue(queue: "q", payload: [UInt8](repeating: UInt8(number * 6 + $0), count: 9_000))
                }
                let code = await refusal(of: { _ = try await store.batch(operations) })
                #expect(code == nil || code == .noSpace, "\(blocks) blocks")
            }
            try? await store.close()
        }
    }

    /// What an operation brings besides a payload can be larger than what is left of the journal, too.
    @Test(.timeLimit(.minutes(10)), arguments: Large.allCases, [false, true])
    func whatIsTooLargeForTheDiskIsRefusedBeforeItIsApplied(_ large: Large, isReserveSpent: Bool) async throws {
        let disk = SimulatedFileSystem()
        let store = try await JobStore.open(at: "/store", options: Self.options(disk))
        for _ in 0..<2 { _ = try await store.enqueue("q", payload: [1]) }
        let lease = try #require(try await store.lease(from: "q").first)
        let other = try #require(try await store.lease(from: "q").first)
        disk.faultPlan.capacityBytes = Self.usedBlocks(disk) * 4096 + (32 << 10)
        if isReserveSpent { while await refusal(of: { _ = try await store.enqueue("q", payload: [1]) }) == nil {} }
        await expectRefusal(.noSpace) { try await large.run(on: store, lease) }
        // What is small enough goes on, and the large one is taken once there is space.
        try await store.ack(other)
        let queue = try #require(try await store.stats().queues.first)
        #expect(queue.leased == 1 && queue.dead == 0)
        disk.faultPlan = FaultPlan()
        while let code = await refusal(of: { try await large.run(on: store, lease) }) {
            try #require(code == .noSpace)
            await Task.yield()
        }
        try await store.close()
        let again = try await JobStore.open(at: "/store", options: Self.options(disk))
        #expect(try await large.isDone(in: again, lease))
        try await again.close()
    }

    enum Large: CaseIterable, Sendable {
        case result, resultThenLease, results, requeueError, burialError, progress, value, values

        private static let bytes = [UInt8](repeating: 7, count: 900_000)
        private static let text = String(repeating: "x", count: 900_000)

        func run(on store: JobStore, _ lease: Lease) async throws {
            switch self {
            case .result: try await store.ack(lease, result: Self.bytes)
            case .resultThenLease:
                // The settlement is tried by itself where there is no room for both.
                _ = try await store.ack(lease, result: Self.bytes, thenLease: NextLease(from: "q"))
            case .results: _ = try await store.batch([.ack(lease.identity, result: Self.bytes)])
            case .requeueError: try await store.requeue(lease, error: Self.text)
            case .burialError: try await store.bury(lease, error: Self.text)
            case .progress: try await store.heartbeat(lease, progress: Self.bytes)
            case .value: _ = try await store.effect(scope: "s", key: "k", value: Self.bytes)
            case .values:
                _ = try await store.batch(
                    (0..<3).map {
                        .effect(
                            scope: "s", key: "k\($0)", fencedBy: nil, tag: "",
                            value: [UInt8](repeating: UInt8($0), count: 300_000))
                    })
            }
        }

        func isDone(in store: JobStore, _ lease: Lease) async throws -> Bool {
            switch self {
            case .result, .resultThenLease, .results: try await store.result(of: lease.id)?.value == Self.bytes
            case .requeueError: try await store.job(lease.id)?.lastError == Self.text
            case .burialError: try await store.job(lease.id)?.state == .dead
            case .progress: try await store.job(lease.id)?.progress == Self.bytes
            case .value: try await store.effect(scope: "s", key: "k", value: []).value == Self.bytes
            case .values: try await store.effect(scope: "s", key: "k2", value: []).value.count == 300_000
            }
        }
    }

    /// Names make many small records large.
    @Test(.timeLimit(.minutes(10)))
    func manyRecordsWithLongNamesAreWrittenAsFarAsThereIsRoom() async throws {
        let disk = SimulatedFileSystem()
        let clock = ManualClock()
        var options = Self.options(disk)
        options.clock = clock
        let store = try await JobStore.open(at: "/store", options: options)
        let queue = String(repeating: "q", count: 250)
        var ids: [JobID] = []
        for number in 0..<1_500 {
            var job = EnqueueOptions()
            job.group = String(repeating: "g", count: 250)
            job.uniqueKey = String(repeating: "k", count: 250) + "\(number)"
            job.uniqueFor = .seconds(60)
            ids.append(try await store.enqueue(queue, payload: [1], options: job).id)
        }
        disk.faultPlan.capacityBytes = Self.usedBlocks(disk) * 4096
        while await refusal(of: { _ = try await store.enqueue("q", payload: [1]) }) == nil {}
        // Jobs are cancelled, all at once and in steps, and then all windows end: each step is done, or refused.
        let cancels = ids.prefix(1_200).map { BatchOperation.cancel($0) }
        let cancelled = await refusal(of: { _ = try await store.batch(cancels) })
        #expect(cancelled == .noSpace)
        let purged = await refusal(of: { _ = try await store.purge(queue: queue, states: .all) })
        #expect(purged == nil || purged == .noSpace)
        let advanced = await refusal(of: { _ = try await store.advanceClock(by: 120_000) })
        #expect(advanced == nil || advanced == .noSpace)
        let looked = await refusal(of: { _ = try await store.stats() })
        #expect(looked == nil || looked == .noSpace)
        disk.faultPlan = FaultPlan()
        while let code = await refusal(of: { _ = try await store.purge(queue: queue, states: .all) }) {
            try #require(code == .noSpace)
            await Task.yield()
        }
        let left = try await store.stats().queues.first { $0.name == queue }
        #expect(left.map { $0.ready + $0.scheduled } ?? 0 == 0)
        try await store.close()
    }

    /// Results around what a segment takes at once, some of which have a file made ready that they need or not.
    @Test(.timeLimit(.minutes(10)), arguments: Array(stride(from: 0, to: 40, by: 3)))
    func resultsOfAnySizeAreAnsweredOnAFullDisk(blocks: Int) async throws {
        let disk = SimulatedFileSystem()
        let store = try await JobStore.open(at: "/store", options: Self.options(disk))
        for number in 0..<60 { _ = try await store.enqueue("q", payload: [UInt8(number)]) }
        let leases = try await store.lease(from: "q", limit: 60, for: .seconds(3600))
        var random = SeededRandom(seed: UInt64(blocks))
        for (number, lease) in leases.enumerated() {
            if number == 10 { disk.faultPlan.capacityBytes = (Self.usedBlocks(disk) + blocks) * 4096 }
            // The first have a file made that the group turns out not to need.
            let bytes = number < 10 ? 27_000 : [9_000, 12_000, 20_000, 27_000].randomElement(using: &random) ?? 0
            // No sealing makes them smaller.
            let result = random.bytes(bytes)
            let code = await refusal(of: { try await store.ack(lease, result: result) })
            #expect(code == nil || code == .noSpace && number >= 10, "\(bytes) bytes")
            // Nothing waits behind it.
            _ = try await store.stats()
        }
        // And when there is space again all sizes are taken.
        disk.faultPlan = FaultPlan()
        for bytes in [9_000, 27_000, 300_000] {
            let value = random.bytes(bytes)
            while let code = await refusal(of: { _ = try await store.effect(scope: "s", key: "\(bytes)", value: value) }
            ) {
                try #require(code == .noSpace)
                await Task.yield()
            }
        }
        try await store.close()
    }

    /// Whatever is asked of a store on a disk that becomes full is done or refused, and nothing waits behind it.
    @Test(.timeLimit(.minutes(10)), arguments: 0..<8)
    func anythingIsAnsweredOnAFullDisk(seed: Int) async throws {
        var random = SeededRandom(seed: UInt64(seed))
        let disk = SimulatedFileSystem()
        let clock = ManualClock()
        var options = Self.options(disk)
        options.clock = clock
        options.journalSegmentBytes *= [1, 1, 2, 4][seed % 4]
        let store = try await JobStore.open(at: "/store", options: options)
        var leases: [Lease] = []
        for step in 0..<150 {
            if step == 40 {
                disk.faultPlan.capacityBytes = (Self.usedBlocks(disk) + Int.random(in: 0..<80, using: &random)) * 4096
            }
            let bytes = [10, 1_000, 9_000, 20_000, 27_000, 60_000, 200_000].randomElement(using: &random) ?? 0
            let value = random.bytes(bytes)
            let lease = leases.isEmpty ? nil : leases.remove(at: Int.random(in: leases.indices, using: &random))
            let choice = Int.random(in: 0..<12, using: &random)
            let code = await refusal(of: {
                switch (choice, lease) {
                case (0, let lease?): try await store.ack(lease, result: value)
                case (1, let lease?): try await store.requeue(lease, error: String(repeating: "e", count: bytes))
                case (2, let lease?): try await store.heartbeat(lease, for: .seconds(600), progress: value)
                case (3, let lease?):
                    _ = try await store.batch([
                        .ack(lease.identity, result: value), .enqueue(queue: "q", payload: value),
                    ])
                case (4, let lease?):
                    leases += try await store.ack(lease, result: value, thenLease: NextLease(from: "q", limit: 50))
                case (5, _): _ = try await store.effect(scope: "s", key: "\(step)", value: value)
                case (6, _): leases += try await store.lease(from: "q", limit: 100)
                case (7, _): _ = try await store.purge(queue: "q", states: .all)
                case (8, _): try await store.advanceClock(by: 40_000)
                default:
                    var job = EnqueueOptions()
                    job.uniqueKey = String(repeating: "k", count: 200) + "\(step)"
                    job.uniqueFor = .seconds(60)
                    job.group = String(repeating: "g", count: 200)
                    _ = try await store.batch(
                        (0..<40).map {
                            .enqueue(queue: "q", payload: [UInt8($0)], options: $0 == 0 ? job : EnqueueOptions())
                        })
                }
            })
            #expect(code == nil || code == .noSpace || code == .leaseLost, "step \(step), choice \(choice)")
            let looked = await refusal(of: { _ = try await store.stats() })
            #expect(looked == nil || looked == .noSpace, "step \(step)")
        }
        disk.faultPlan = FaultPlan()
        try await store.close()
    }

    /// The ring still has the segments of an earlier opening, which take less at once.
    @Test(.timeLimit(.minutes(10)))
    func aStoreOpenedWithLargerSegmentsOnAFullDiskAnswers() async throws {
        let disk = SimulatedFileSystem()
        var store = try await JobStore.open(at: "/store", options: Self.options(disk))
        for number in 0..<40 { _ = try await store.enqueue("q", payload: [UInt8(number)]) }
        let leases = try await store.lease(from: "q", limit: 40, for: .seconds(3600))
        try await store.close()
        var options = Self.options(disk)
        options.journalSegmentBytes = 8 << 20
        store = try await JobStore.open(at: "/store", options: options)
        disk.faultPlan.capacityBytes = Self.usedBlocks(disk) * 4096
        for lease in leases {
            let code = await refusal(of: {
                try await store.ack(lease, result: [UInt8](repeating: 7, count: 100_000))
            })
            #expect(code == nil || code == .noSpace)
        }
        // As many as there are do not fit in one of its segments, either.
        let acks = leases.map { BatchOperation.ack($0.identity, result: [UInt8](repeating: 7, count: 2_000)) }
        let code = await refusal(of: { _ = try await store.batch(acks) })
        #expect(code == .noSpace)
        _ = try await store.stats()
        disk.faultPlan = FaultPlan()
        try await store.close()
    }

    /// Who waits for many asks for no more room than who looks whether there is any: it went round for ever.
    @Test(.timeLimit(.minutes(10)))
    func aLeaseOfManyThatWaitsIsServedBesideALargeEnqueue() async throws {
        let disk = SimulatedFileSystem()
        let store = try await JobStore.open(at: "/store", options: Self.options(disk))
        async let waiting = store.lease(from: "q", limit: 500, waitingUpTo: .seconds(600))
        while store.waitingLeaseCount == 0 { await Task.yield() }
        let id = try await store.enqueue("q", payload: [UInt8](repeating: 7, count: 100_000)).id
        #expect(try await waiting.map(\.id) == [id])
        try await store.close()
    }

    /// Leases with long names that one segment does not hold: whoever waited for them gets those that have a place.
    @Test(.timeLimit(.minutes(10)))
    func aWaitingLeaseTakesNoMoreThanTheJournalHolds() async throws {
        let disk = SimulatedFileSystem()
        let store = try await JobStore.open(at: "/store", options: Self.options(disk))
        let queue = String(repeating: "q", count: 250)
        var job = EnqueueOptions()
        job.group = String(repeating: "g", count: 250)
        async let waiting = store.lease(from: queue, limit: 240, waitingUpTo: .seconds(600))
        while store.waitingLeaseCount == 0 { await Task.yield() }
        let operations = (0..<240).map { BatchOperation.enqueue(queue: queue, payload: [UInt8($0)], options: job) }
        _ = try await store.batch(operations)
        let first = try await waiting
        // Half of the smallest segment holds so many.
        #expect((1..<60).contains(first.count))
        // Who does not wait gets all of the rest.
        let rest = try await store.lease(from: queue, limit: 240)
        #expect(Set((first + rest).map(\.id)).count == 240)
        try await store.close()
    }

    /// Why `body` was refused, if it was.
    private func refusal(of body: () async throws -> Void) async -> JobStoreError.Code? {
        do {
            try await body()
            return nil
        } catch { return (error as? JobStoreError)?.code }
    }

    private static func usedBlocks(_ disk: SimulatedFileSystem) -> Int {
        disk.snapshotFiles().values.reduce(0) { $0 + ($1.count + 4095) / 4096 }
    }

    private static func options(_ disk: SimulatedFileSystem) -> JobStoreOptions {
        var options = JobStoreOptions()
        options.fileSystem = disk
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        return options
    }
}
