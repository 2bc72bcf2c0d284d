// A store that takes so many jobs, or bytes of payloads, and no more.

import HoldfastBytes
import HoldfastEngine
import Testing

@Suite struct StoreCapacityTests {
    private func limited(jobs: Int? = nil, bytes: Int? = nil) throws -> EngineHarness {
        var engine = EngineHarness()
        try engine.run(.configureStore(StoreSettings(jobs: jobs, payloadBytes: bytes)))
        return engine
    }

    private func add(_ bytes: Int, _ queue: String = "q") -> Command {
        .enqueue(Enqueue(lane: Lane(queue: queue), payload: [UInt8](repeating: 1, count: bytes)))
    }

    @Test func itRefusesOneMoreJobUntilOneHasEnded() throws {
        var engine = try limited(jobs: 2)
        try engine.run(add(1, "a"))
        try engine.run(add(1, "b"))
        let digest = engine.state.digest()
        #expect(code { try engine.run(add(1, "c")) } == .queueFull)
        #expect(engine.state.digest() == digest && engine.state.isFull(nil) && !engine.state.isFull("c"))
        let lease = try engine.lease(from: ["a"])[0]
        #expect(code { try engine.run(add(1)) } == .queueFull)
        try engine.run(.bury(job: lease.job, token: lease.token, reason: .buried, error: nil))
        try engine.run(add(1))
        // The dead don't count, and come back all the same.
        try engine.run(.redrive(job: lease.job))
        #expect(engine.state.storeLoad?.jobs == 3)
        #expect(code { try engine.run(add(1)) } == .queueFull)
        try engine.run(.configureStore(StoreSettings(jobs: 0)))
        try engine.run(add(1))
        #expect(engine.state.storeCapacity.isUnlimited && engine.state.storeLoad == nil)
    }

    @Test func itCountsThePayloadsGivenSinceBytesAreLimited() throws {
        var engine = EngineHarness()
        try engine.run(add(500))
        try engine.run(.configureStore(StoreSettings(payloadBytes: 100)))
        #expect(engine.state.storeLoad.map { [$0.jobs, $0.payloadBytes] } == [1, 0])
        try engine.run(add(60))
        #expect(code { try engine.run(add(41)) } == .queueFull)
        try engine.run(add(40))
        try engine.run(add(0))
        // The first job is none of those that count, until its payload is another.
        var changes = JobChanges()
        changes.payload = [1]
        #expect(code { try engine.run(.edit(job: JobID(1), lane: Lane(queue: "q"), changes)) } == .queueFull)
        changes.payload = []
        try engine.run(.edit(job: JobID(3), lane: Lane(queue: "q"), changes))
        #expect(engine.state.storeLoad?.payloadBytes == 40)
        changes.payload = [UInt8](repeating: 2, count: 60)
        try engine.run(.edit(job: JobID(1), lane: Lane(queue: "q"), changes))
        #expect(engine.state.storeLoad?.payloadBytes == 100)
        try engine.run(.cancel(job: JobID(4), lane: Lane(queue: "q")))
        #expect(engine.state.storeLoad.map { [$0.jobs, $0.payloadBytes] } == [3, 60])
        #expect(try engine.replayed().digest() == engine.state.digest())
        #expect(try engine.restored().digest() == engine.state.digest())
        try engine.restored().checkInvariants()
    }

    @Test func aBatchIsCountedAsAWhole() throws {
        var engine = try limited(jobs: 2, bytes: 10)
        try engine.runBatch([add(5), add(5)])
        let lease = try engine.lease()[0]
        let ack = Command.ack(job: lease.job, token: lease.token, result: nil)
        #expect(code { try engine.runBatch([ack, add(6)]) } == .queueFull)
        #expect(code { try engine.runBatch([add(1), ack]) } == .queueFull)
        try engine.runBatch([ack, add(5)])
        #expect(code { try engine.run(add(0)) } == .queueFull)
        #expect(engine.state.storeLoad.map { [$0.jobs, $0.payloadBytes] } == [2, 10])
    }

    @Test func salvageTakesTheLostOutOfTheFigures() throws {
        var engine = try limited(jobs: 9, bytes: 99)
        for _ in 0..<3 { try engine.run(add(10)) }
        try engine.lease()
        var kept = engine.state.neededRecords
        kept.remove(2)
        kept.remove(3)
        _ = engine.state.forget(recordsOutside: kept)
        engine.state.checkInvariants()
        #expect(engine.state.storeLoad.map { [$0.jobs, $0.payloadBytes] } == [1, 10])
    }

    @Test func impossibleLimitsAreNoRecord() throws {
        var engine = EngineHarness()
        for settings in [StoreSettings(), StoreSettings(jobs: QueueTerms.limitMax + 1)] {
            #expect(code { try engine.append(.storeSettings(settings)) } == .corrupt)
        }
        try engine.run(.configureStore(StoreSettings(jobs: 5)))
        let count = engine.records.count
        try engine.run(.configureStore(StoreSettings(jobs: 5)))
        #expect(engine.records.count == count)
    }
}
