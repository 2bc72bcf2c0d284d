// A full disk, as a user of the store meets it: new work is refused before anything of it is applied.

import Holdfast
import HoldfastTestKit
import Testing

@Suite struct FullDiskTests {
    @Test(.timeLimit(.minutes(1)))
    func aLargeEnqueueIsRefusedBeforeItIsAppliedAndNothingWaitsForIt() async throws {
        let disk = SimulatedFileSystem()
        var options = JobStoreOptions()
        options.fileSystem = disk
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        let store = try await JobStore.open(at: "/store", options: options)
        let first = try await store.enqueue("q", payload: [1]).id
        // The four segments of the ring and a little: no room for a segment that holds the large one.
        var plan = FaultPlan()
        plan.capacityBytes = 4 * JobStoreOptions.journalSegmentBytesMin + (32 << 10)
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
}
