import Holdfast
import HoldfastBytes
import HoldfastLog
import Testing

@Suite(.timeLimit(.minutes(10))) struct LifecycleTests {
    @Test func aReopenedStoreHasTheSameDigestAndGoesOn() async throws {
        let fixture = try StoreFixture()
        var store = try await fixture.open()
        #expect(store.recovery.wasCreated)
        for index in 0..<50 {
            var options = EnqueueOptions()
            options.priority = index % 3
            if index % 5 == 0 { options.delay = .seconds(100) }
            if index % 7 == 0 { options.uniqueKey = "k\(index)" }
            if index % 11 == 0 { options.group = "g" }
            _ = try await store.enqueue("q\(index % 2)", payload: [UInt8(index)], options: options)
        }
        let leases = try await store.lease(from: ["q0", "q1"], limit: 12, for: .seconds(600))
        for (index, lease) in leases.enumerated() {
            switch index % 4 {
            case 0: try await store.ack(lease)
            case 1: try await store.requeue(lease, error: "e")
            case 2: try await store.bury(lease)
            default: break
            }
        }
        _ = try await store.effect(scope: "s", key: "k", value: [1])
        let now = try await store.advanceClock(by: 5_000)
        let before = try await store.digest()
        try await store.close()
        for _ in 0..<2 {
            store = try await fixture.open { $0.clock = ManualClock() }
            #expect(!store.recovery.wasCreated)
            #expect(store.recovery.wasClosedCleanly)
            #expect(try await store.now() == now)
            #expect(try await store.digest().hex == before.hex)
            try await store.close()
        }
        store = try await fixture.open()
        try await store.ack(leases[3])
        #expect(try await store.enqueue("q0", payload: []).id.rawValue > before.sequence.rawValue)
        try await store.close()
    }

    @Test func compactionChangesNoDigestAndDropsFinishedJobs() async throws {
        try await withStore({ $0.history = .none }) { store, _ in
            var ids: [JobID] = []
            for _ in 0..<200 { ids.append(try await store.enqueue("q", payload: [UInt8](repeating: 7, count: 500)).id) }
            let leases = try await store.lease(from: "q", limit: 190)
            _ = try await store.batch(leases.map { .ack($0.identity) })
            let before = try await store.digest()
            try await store.checkpoint()
            try await store.compact()
            #expect(try await store.digest().hex == before.hex)
            #expect(try await store.job(ids[0]) == nil)
            #expect(try await store.job(ids[199])?.state == .ready)
            await expectRefusal(.leaseLost) { try await store.ack(leases[0]) }
            await expectRefusal(.notFound) { try await store.cancel(ids[0]) }
            #expect(try await store.lease(from: "q", limit: 100).count == 10)
        }
    }

    @Test func historyIsKeptOverCompaction() async throws {
        try await withStore { store, _ in
            let id = try await store.enqueue("q", payload: [1]).id
            let lease = try #require(try await store.lease(from: "q").first)
            try await store.ack(lease, result: [2])
            try await store.compact()
            #expect(try await store.job(id)?.result == [2])
            #expect(try await store.history(of: id).count == 3)
        }
    }

    @Test func aClosedStoreRefusesEverything() async throws {
        let fixture = try StoreFixture()
        let store = try await fixture.open()
        let id = try await store.enqueue("q", payload: []).id
        try await store.close()
        try await store.close()
        await expectRefusal(.closed) { _ = try await store.enqueue("q", payload: []) }
        await expectRefusal(.closed) { _ = try await store.lease(from: "q", waitingUpTo: .seconds(1)) }
        await expectRefusal(.closed) { _ = try await store.job(id) }
        await expectRefusal(.closed) { _ = try await store.stats() }
        await expectRefusal(.closed) { _ = try await store.digest() }
        await expectRefusal(.closed) { _ = try await store.batch([.cancel(id)]) }
        await expectRefusal(.closed) { _ = try await store.effect(scope: "s", key: "k") { [] } }
        await expectRefusal(.closed) { _ = try await store.checkpoint() }
        await expectRefusal(.closed) { _ = try await store.compact() }
        await expectRefusal(.closed) { _ = try await store.advanceClock(by: 1) }
    }

    @Test func anOpenStoreIsLocked() async throws {
        try await withStore { _, fixture in
            await expectRefusal(.locked) { _ = try await fixture.open() }
        }
    }

    @Test func aDroppedStoreIsClosed() async throws {
        let fixture = try StoreFixture()
        do {
            let store = try await fixture.open()
            _ = try await store.enqueue("q", payload: [1])
        }
        while true {
            do {
                let store = try await fixture.open()
                #expect(try await store.stats().queues.first?.ready == 1)
                try await store.close()
                return
            } catch let error as JobStoreError where error.code == .locked {
                await Task.yield()
            }
        }
    }

    @Test func anotherDirectoryIsNotAStoreAndAMissingOneIsNotCreatedUnasked() async throws {
        let fixture = try StoreFixture()
        let files = POSIXFileSystem()
        let other = fixture.directory + "/other"
        try files.createDirectory(other)
        try files.open(other + "/notes.txt", .create).close()
        await expectRefusal(.notAStore) { _ = try await JobStore.open(at: other, options: fixture.options) }
        #expect(try files.list(other) == ["notes.txt"])
        await expectRefusal(.notAStore) {
            _ = try await fixture.open { $0.createIfMissing = false }
        }
        // The error of a directory that is not there says which one to make.
        let deep = fixture.directory + "/missing/store"
        do {
            _ = try await JobStore.open(at: deep, options: fixture.options)
            Issue.record("a store was made below a directory that is not there")
        } catch {
            #expect(error.code == .notAStore && error.message.contains("the directory above it does not exist"))
        }
        #expect(try files.list(fixture.directory).contains("missing") == false)
    }

    @Test func settingsOutOfTheirLimitsAreRefused() async throws {
        let fixture = try StoreFixture()
        let changes: [@Sendable (inout JobStoreOptions) -> Void] = [
            { $0.journalSegmentBytes = 65_535 }, { $0.payloadBytesMax = 0 }, { $0.payloadBytesMax = (64 << 20) + 1 },
            { $0.durability = .interval(milliseconds: 0) }, { $0.history = .bytes(-1) },
            { $0.checkpointEveryBytes = 0 },
        ]
        for change in changes { await expectRefusal(.badRequest) { _ = try await fixture.open(change) } }
    }

    @Test func checkpointsComeAsOftenAsAsked() async throws {
        let fixture = try StoreFixture()
        var store = try await fixture.open { $0.checkpointEveryBytes = 1_000 }
        for _ in 0..<100 { _ = try await store.enqueue("q", payload: [UInt8](repeating: 1, count: 100)) }
        // Too little to be sealed, so no other checkpoint comes before the close.
        let files = POSIXFileSystem()
        while try files.list(fixture.path + "/checkpoints").filter({ $0.hasSuffix(".ckpt") }).isEmpty {
            await Task.yield()
        }
        let before = try await store.digest()
        try await store.close()
        store = try await fixture.open()
        #expect(try await store.digest().hex == before.hex)
        try await store.close()
    }

    @Test(arguments: [JobStoreOptions.Durability.commit, .interval(milliseconds: 5), .none])
    func everyDurabilityKeepsWhatACloseCommitted(_ durability: JobStoreOptions.Durability) async throws {
        let fixture = try StoreFixture()
        var store = try await fixture.open { $0.durability = durability }
        for _ in 0..<20 { _ = try await store.enqueue("q", payload: [1]) }
        try await store.close()
        store = try await fixture.open()
        #expect(try await store.stats().queues.first?.ready == 20)
        try await store.close()
    }

    @Test func theClockOnlyMovesWhenItIsManual() async throws {
        try await withStore({ $0.clock = SystemClock() }) { store, _ in
            await expectRefusal(.badRequest) { _ = try await store.advanceClock(by: 1) }
        }
        try await withStore { store, _ in
            #expect(try await store.now() == ManualClock.defaultStart)
            await expectRefusal(.badRequest) { _ = try await store.advanceClock(by: -1) }
            await expectRefusal(.badRequest) { _ = try await store.advanceClock(by: .max) }
            let moved = try await store.advanceClock(by: 0)
            #expect(moved == ManualClock.defaultStart)
            let now = try await store.submitNow().value
            #expect(now == ManualClock.defaultStart)
        }
    }
}
