// Operations that are decided and not yet durable, many of them at once.

import Holdfast
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct PipelinedTests {
    /// Opens a store on a disk that can hold writes up.
    private func open(
        _ disk: CountingFileSystem, _ change: (inout JobStoreOptions) -> Void = { _ in }
    ) async throws -> JobStore {
        var options = JobStoreOptions()
        options.fileSystem = disk
        options.idleMarkMilliseconds = 0
        change(&options)
        return try await JobStore.open(at: "/store", options: options)
    }

    @Test func anAnswerComesOnceItIsDurable() async throws {
        let disk = CountingFileSystem()
        let store = try await open(disk)
        disk.holdWrites()
        let first = await store.pipelined.enqueue("q", payload: [1])
        try await onThread { disk.waitForHeldWrite() }
        // Decided meanwhile, each on what the one before did.
        let second = await store.pipelined.enqueue("q", payload: [2])
        let lease = await store.pipelined.lease(from: "q", limit: 2)
        let refused = await store.pipelined.cancel(JobID(1 << 40))
        let answers = Shared<[String]>([])
        let begun = Shared(0)
        try await withThrowingTaskGroup(of: Void.self) { group in
            func answer(_ name: String, _ body: @escaping @Sendable () async throws -> Void) {
                group.addTask {
                    begun.withLock { $0 += 1 }
                    try await body()
                    answers.withLock { $0.append(name) }
                }
            }
            answer("first") { _ = try await first.value }
            answer("second") { _ = try await second.value }
            answer("lease") { _ = try await lease.value }
            answer("refused") { await expectRefusal(.notFound) { try await refused.value } }
            while begun.withLock({ $0 }) < 4 { await Task.yield() }
            for _ in 0..<1000 { await Task.yield() }
            #expect(answers.withLock { $0 } == [])
            disk.releaseWrites()
            try await group.waitForAll()
        }
        #expect(answers.withLock { $0.count } == 4)
        // Again, when nothing has to be waited for.
        #expect(try await lease.value.map(\.payload) == [[1], [2]])
        let ids = (try await first.value.id, try await second.value.id)
        #expect(ids.0 < ids.1)
        try await store.close()
    }

    /// One commit was under way when the others came, and one is theirs.
    @Test func whatIsOutstandingSharesCommits() async throws {
        let disk = CountingFileSystem()
        let store = try await open(disk)
        disk.reset()
        disk.holdWrites()
        var enqueues = [await store.pipelined.enqueue("q", payload: [0])]
        try await onThread { disk.waitForHeldWrite() }
        for number in 1...1000 { enqueues.append(await store.pipelined.enqueue("q", payload: [UInt8(number % 251)])) }
        disk.releaseWrites()
        var ids: [JobID] = []
        for enqueue in enqueues { ids.append(try await enqueue.value.id) }
        #expect(disk.counts.commits == 2)
        #expect(ids == ids.sorted() && Set(ids).count == 1001)
        #expect(try await store.stats().queues.first?.ready == 1001)
        try await store.close()
    }

    /// Far more than the journal's ring holds: the call waits for room, and nothing is refused or lost.
    @Test func theCallWaitsForRoomInTheJournal() async throws {
        let disk = CountingFileSystem()
        let store = try await open(disk) { $0.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin }
        var enqueues: [Pending<EnqueueResult>] = []
        for number in 0..<3000 {
            let payload = [UInt8](repeating: UInt8(number % 251), count: 400)
            enqueues.append(await store.pipelined.enqueue("q", payload: payload))
        }
        var ids: [JobID] = []
        for enqueue in enqueues { ids.append(try await enqueue.value.id) }
        #expect(try await store.stats().stalls > 0)
        try await store.close()
        let again = try await open(disk)
        for (number, id) in ids.enumerated() {
            #expect(try await again.job(id)?.payload == [UInt8](repeating: UInt8(number % 251), count: 400))
        }
        try await again.close()
    }

    @Test func eachOperationDoesWhatItsNamesakeDoes() async throws {
        try await withStore { store, _ in
            let pipeline = store.pipelined
            let added = await pipeline.batch((1...7).map { .enqueue(queue: "q", payload: [$0]) })
            #expect(try await added.value.count == 7)
            let leases = try await pipeline.lease(from: "q", limit: 4, worker: "w").value
            #expect(leases.map(\.payload) == [[1], [2], [3], [4]] && leases.allSatisfy { $0.attempt == 1 })
            let deadline = await pipeline.heartbeat(leases[0], for: .seconds(100), progress: [9])
            let acked = await pipeline.ack(leases[0], result: [8])
            let requeued = await pipeline.requeue(leases[1], after: .zero, error: "e")
            let buried = await pipeline.bury(leases[2], error: "f")
            let next = await pipeline.ack(leases[3], thenLease: NextLease(from: "q"))
            #expect(try await deadline.value.milliseconds == StoreFixture.start + 100_000)
            try await acked.value
            #expect(try await requeued.value.state == .ready)
            try await buried.value
            let again = try #require(try await next.value.first)
            #expect(again.id == leases[1].id && again.attempt == 2)
            let (outcome, fifth) = try await pipeline.requeue(
                again, after: .seconds(5), thenLease: NextLease(from: "q")
            ).value
            #expect(outcome.state == .scheduled && fifth.first?.payload == [5])
            let sixth = try await pipeline.bury(try #require(fifth.first), thenLease: NextLease(from: "q")).value
            #expect(sixth.first?.payload == [6])
            try await pipeline.cancel(try #require(sixth.first).id).value
            let queue = try #require(try await store.stats().queues.first)
            #expect([queue.ready, queue.scheduled, queue.leased, queue.dead] == [1, 1, 0, 2])
            #expect(try await store.result(of: leases[0].id)?.value == [8])
        }
    }

    @Test func refusalsComeWithTheAnswer() async throws {
        try await withStore { store, _ in
            let pipeline = store.pipelined
            let unnamed = await pipeline.enqueue("", payload: [])
            let unlimited = await pipeline.lease(from: "q", limit: 0)
            let halfBad = await pipeline.batch([
                .enqueue(queue: "q", payload: [1]), .enqueue(queue: "", payload: []),
            ])
            _ = await pipeline.enqueue("q", payload: [1])
            let lease = try #require(try await pipeline.lease(from: "q").value.first)
            let (once, twice) = (await pipeline.ack(lease), await pipeline.ack(lease))
            await expectRefusal(.badRequest) { _ = try await unnamed.value }
            await expectRefusal(.badRequest) { _ = try await unlimited.value }
            await expectRefusal(.badRequest, index: 1) { _ = try await halfBad.value }
            try await once.value
            await expectRefusal(.leaseLost) { try await twice.value }
            #expect(try await store.stats().queues.first?.ready == 0)
        }
    }

    @Test func whatIsOutstandingWhenTheStoreIsClosedIsThere() async throws {
        let fixture = try StoreFixture()
        var store = try await fixture.open()
        let kept = await store.pipelined.enqueue("q", payload: [1])
        // Nobody asks for that answer.
        _ = await store.pipelined.enqueue("q", payload: [2])
        try await store.close()
        let late = await store.pipelined.enqueue("q", payload: [3])
        await expectRefusal(.closed) { _ = try await late.value }
        let id = try await kept.value.id
        store = try await fixture.open()
        #expect(try await store.job(id)?.payload == [1])
        #expect(try await store.lease(from: "q", limit: 9).map(\.payload) == [[1], [2]])
        try await store.close()
    }

    /// Where a write is enough, no answer waits for a sync.
    @Test(arguments: [JobStoreOptions.Durability.interval(milliseconds: 3_600_000), .none])
    func inTheWeakerModesAWriteIsEnough(_ durability: JobStoreOptions.Durability) async throws {
        let disk = CountingFileSystem()
        let store = try await open(disk) { $0.durability = durability }
        // Syncs of what opening had to do are over.
        try await store.checkpoint()
        disk.reset()
        var enqueues: [Pending<EnqueueResult>] = []
        for number in UInt8(0)..<100 { enqueues.append(await store.pipelined.enqueue("q", payload: [number])) }
        var ids: [JobID] = []
        for enqueue in enqueues { ids.append(try await enqueue.value.id) }
        let counts = disk.counts
        #expect(counts.otherWrites > 0 && counts.commits == 0 && counts.syncs == 0)
        try await store.close()
        let again = try await open(disk)
        #expect(try await again.lease(from: "q", limit: 100).map(\.id) == ids)
        try await again.close()
    }

    /// What is in memory is read, and the lease lasts: whoever has the store next can be told of it.
    @Test func aLeaseThatIsAskedForAfterTheCloseIsHeldInTheNextOpening() async throws {
        let fixture = try StoreFixture()
        var store = try await fixture.open()
        _ = try await store.batch([.enqueue(queue: "q", payload: [1]), .enqueue(queue: "q", payload: [2])])
        let outstanding = await store.pipelined.lease(from: "q", limit: 2)
        try await store.close()
        let leases = try await outstanding.value
        #expect(leases.map(\.payload) == [[1], [2]])
        store = try await fixture.open()
        #expect(try await store.lease(from: "q", limit: 2).isEmpty)
        for lease in leases { try await store.ack(lease) }
        #expect(try await store.stats().queues.first?.leased == 0)
        try await store.close()
    }

    /// What has no room in that answer can't be given back to a store that is closed: it stays leased.
    @Test func whatALeaseHasNoRoomForStaysLeasedWhenTheStoreIsClosed() async throws {
        let fixture = try StoreFixture()
        let payload = [UInt8](repeating: 5, count: 8 << 20)
        var store = try await fixture.open()
        for _ in 0..<5 { _ = try await store.enqueue("q", payload: payload) }
        let outstanding = await store.pipelined.lease(from: "q", limit: 5)
        try await store.close()
        #expect(try await outstanding.value.map(\.payload) == [[UInt8]](repeating: payload, count: 4))
        store = try await fixture.open()
        let queue = try #require(try await store.stats().queues.first)
        #expect([queue.ready, queue.leased] == [0, 5])
        try await store.close()
    }

    @Test func whatIsOutstandingWhenAWriteFailsThrowsTheFailure() async throws {
        let fixture = try StoreFixture()
        let files = FailingFileSystem()
        let store = try await fixture.open { $0.fileSystem = files }
        let id = try await store.pipelined.enqueue("q", payload: [1]).value.id
        files.fails = true
        let outstanding = [
            await store.pipelined.enqueue("q", payload: [2]), await store.pipelined.enqueue("q", payload: [3]),
        ]
        for enqueue in outstanding { await expectRefusal(.ioError) { _ = try await enqueue.value } }
        let late = await store.pipelined.enqueue("q", payload: [4])
        await expectRefusal(.ioError) { _ = try await late.value }
        try? await store.close()
        files.fails = false
        let again = try await fixture.open()
        #expect(try await again.job(id)?.state == .ready)
        try await again.close()
    }

    /// What one answer has no room for is leased until that answer is asked for, and ready then.
    @Test func aLeaseIsReadWhenItsAnswerIsAskedFor() async throws {
        try await withStore { store, _ in
            let payload = [UInt8](repeating: 5, count: 8 << 20)
            for _ in 0..<5 { _ = try await store.enqueue("q", payload: payload) }
            let leases = await store.pipelined.lease(from: "q", limit: 5)
            let none = await store.pipelined.lease(from: "q")
            #expect(try await none.value.isEmpty)
            #expect(try await store.stats().queues.first?.leased == 5)
            let read = try await leases.value
            #expect(read.map(\.payload) == [[UInt8]](repeating: payload, count: 4))
            let queue = try #require(try await store.stats().queues.first)
            #expect([queue.ready, queue.leased] == [1, 4])
        }
    }

    @Test func whatIsOutstandingOutlivesTheStoreThatIsDropped() async throws {
        let fixture = try StoreFixture()
        var outstanding: [Pending<EnqueueResult>] = []
        do {
            let store = try await fixture.open()
            for _ in 1...100 { outstanding.append(await store.pipelined.enqueue("q", payload: [1])) }
        }
        var ids: [JobID] = []
        for enqueue in outstanding { ids.append(try await enqueue.value.id) }
        outstanding = []
        // It is closed in the background.
        var again: JobStore?
        while again == nil {
            do { again = try await fixture.open() } catch let error as JobStoreError where error.code == .locked {
                await Task.yield()
            }
        }
        let store = try #require(again)
        #expect(try await store.lease(from: "q", limit: 100).map(\.id) == ids)
        try await store.close()
    }
}
