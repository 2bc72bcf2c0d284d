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
