// Dead letters: kept by number and age, and made ready again or dropped by what is known of them.

import Holdfast
import HoldfastBytes
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct DeadLetterTests {
    /// Enqueues a job and lets it die.
    @discardableResult
    private func die(
        _ store: JobStore, _ error: String = "e", _ options: EnqueueOptions = EnqueueOptions()
    ) async throws -> JobID {
        let id = try await store.enqueue("q", payload: [1], options: options).id
        let lease = try #require(try await store.lease(from: "q").first)
        #expect(lease.id == id)
        try await store.bury(lease, error: error)
        return id
    }

    private func dead(_ store: JobStore, _ filter: DeadFilter = .all) async throws -> [JobID] {
        try await store.deadJobs(queue: "q", where: filter).map(\.id)
    }

    @Test func aQueueKeepsAsManyDeadLettersAsItSays() async throws {
        let fixture = try StoreFixture()
        var store = try await fixture.open()
        try await store.configure("q", QueueConfiguration(deadMax: 2, deadAge: .seconds(60)))
        var ids: [JobID] = []
        for _ in 0..<4 { ids.append(try await die(store)) }
        #expect(try await dead(store) == Array(ids.suffix(2)))
        // A record says what became of the others, and they are gone.
        #expect(try await store.job(ids[0]) == nil)
        let last = try #require(try await store.history(of: ids[0]).last)
        #expect(last.kind == "expire")
        #expect(last.fields.first?.value == .text("dead letter dropped"))
        #expect(try await store.explain(ids[0])?.reason == .dropped)
        let kept = try #require(try await store.explain(ids[3])?.keptUntil)
        #expect(kept.milliseconds == StoreFixture.start + 60_000)
        await expectRefusal(.invalidState) { try await store.redrive(ids[0]) }
        #expect(try await store.jobs(JobFilter(state: .cancelled)).isEmpty)
        let digest = try await store.digest()
        try await store.close()
        store = try await fixture.open()
        #expect(try await store.digest().hex == digest.hex)
        _ = try store.blocking.compact()
        #expect(try await store.stats().queues.first?.configuration.deadMax == 2)
        fixture.clock.advance(byMilliseconds: 60_000)
        #expect(try await dead(store).isEmpty)
        #expect(try await store.stats().queues.first?.dead == 0)
        try await store.close()
    }

    /// An age that begins before time does took all that had died at once.
    @Test func atTheBeginningOfTimeOnlyTheSurplusGoes() async throws {
        let disk = SimulatedFileSystem()
        var options = JobStoreOptions()
        options.fileSystem = disk
        options.clock = ManualClock(startingAt: .zero)
        let store = try await JobStore.open(at: "/store", options: options)
        try await store.configure("q", QueueConfiguration(deadMax: 2, deadAge: .seconds(10)))
        var ids: [JobID] = []
        for _ in 0..<3 { ids.append(try await die(store)) }
        #expect(try await dead(store) == Array(ids.suffix(2)))
        options.fileSystem = disk.crashImage(.nothingPending)
        let found = try await JobStore.open(at: "/store", options: options)
        #expect(try await dead(found) == Array(ids.suffix(2)))
        try await found.close()
        try await store.close()
    }

    @Test func settingsOutOfBoundsAreRefused() async throws {
        try await withStore { store, _ in
            for configuration in [
                QueueConfiguration(deadMax: 0), QueueConfiguration(deadMax: -1),
                QueueConfiguration(deadAge: .zero), QueueConfiguration(deadAge: .seconds(365_001 * 86_400)),
                QueueConfiguration(resultRetention: .zero),
            ] {
                await expectRefusal(.badRequest) { try await store.configure("q", configuration) }
            }
        }
    }

    /// Leaves two buried ones, of which one is of group g; one that had two attempts; and one that came too late.
    private func fill(_ store: JobStore, _ fixture: StoreFixture) async throws -> [JobID] {
        var grouped = EnqueueOptions()
        grouped.group = "g"
        var ids = [try await die(store, "connection timed out"), try await die(store, "not found", grouped)]
        fixture.clock.advance(byMilliseconds: 10_000)
        var twice = EnqueueOptions()
        twice.maxAttempts = 2
        ids.append(try await store.enqueue("q", payload: [], options: twice).id)
        for _ in 0..<2 {
            let lease = try #require(try await store.lease(from: "q").first)
            try await store.requeue(lease, after: .zero, error: "timed out")
        }
        var late = EnqueueOptions()
        late.timeToLive = .seconds(1)
        ids.append(try await store.enqueue("q", payload: [], options: late).id)
        fixture.clock.advance(byMilliseconds: 1_000)
        return ids
    }

    @Test func aFilterNamesThoseThatMeetAllOfIt() async throws {
        try await withStore { store, fixture in
            let ids = try await fill(store, fixture)
            let start = Timestamp(milliseconds: StoreFixture.start)
            let tables: [(filter: DeadFilter, found: [Int])] = [
                (.all, [0, 1, 2, 3]), (DeadFilter(), [0, 1, 2, 3]), (DeadFilter(reasons: [.buried]), [0, 1]),
                (DeadFilter(reasons: [.ttlExpired, .attemptsUsedUp]), [2, 3]),
                (DeadFilter(errorContains: "timed out"), [0, 2]), (DeadFilter(errorContains: "Timed"), []),
                (DeadFilter(group: "g"), [1]), (DeadFilter(diedFrom: start.advanced(byMilliseconds: 1)), [2, 3]),
                (DeadFilter(diedBefore: start.advanced(byMilliseconds: 1)), [0, 1]),
                (DeadFilter(diedBefore: start), []),
                (DeadFilter(attemptsMin: 2), [2]), (DeadFilter(firstID: ids[1], lastID: ids[2]), [1, 2]),
                (DeadFilter(reasons: [.buried], errorContains: "timed out"), [0]),
            ]
            for (filter, found) in tables {
                let expected = found.map { ids[$0] }
                #expect(try await dead(store, filter) == expected, "\(filter)")
                guard filter != DeadFilter() else { continue }
                let report = try await store.redrive(queue: "q", where: filter, isDryRun: true)
                #expect(report.count == found.count && report.firstIDs == expected, "\(filter)")
            }
            #expect(try await store.deadJobs(queue: "q", limit: 2, after: ids[0]).map(\.id) == [ids[1], ids[2]])
            let report = try await store.purge(queue: "q", where: DeadFilter(group: "g"))
            #expect(report.count == 1 && report.reasons == [.buried: 1])
            #expect(try await store.job(ids[1])?.state == .cancelled)
            let rest = try await store.redrive(queue: "q", where: DeadFilter(errorContains: "timed out"), limit: 1)
            #expect(rest.count == 1 && rest.firstIDs == [ids[0]])
            #expect(try await dead(store) == [ids[2], ids[3]])
            let blocking = try store.blocking.redrive(queue: "q", where: .all)
            #expect(blocking.count == 2 && blocking.reasons == [.attemptsUsedUp: 1, .ttlExpired: 1])
            #expect(try await store.lease(from: "q", limit: 9).count == 3)
        }
    }

    @Test func whatChangesJobsWantsToBeToldWhich() async throws {
        try await withStore { store, _ in
            try await die(store)
            await expectRefusal(.badRequest) { _ = try await store.redrive(queue: "q", where: DeadFilter()) }
            await expectRefusal(.badRequest) { _ = try await store.purge(queue: "q", where: DeadFilter()) }
            for filter in [DeadFilter(errorContains: ""), DeadFilter(group: ""), DeadFilter(attemptsMin: -1)] {
                await expectRefusal(.badRequest) { _ = try await store.purge(queue: "q", where: filter) }
            }
            await expectRefusal(.badRequest) { _ = try await store.redrive(queue: "", where: .all) }
            await expectRefusal(.badRequest) { _ = try await store.redrive(queue: "q", where: .all, limit: 0) }
            await expectRefusal(.badRequest) { _ = try await store.redrive(queue: "q", where: .all, perSecond: 0) }
            await expectRefusal(.badRequest) { _ = try await store.deadJobs(queue: "q", limit: 10_001) }
            #expect(try await dead(store).count == 1)
        }
    }

    @Test func aRedriveIsSpreadOverTimeAlsoWhenTheStoreIsClosedMeanwhile() async throws {
        let fixture = try StoreFixture()
        var store = try await fixture.open()
        for _ in 0..<5 { try await die(store) }
        let report = try await store.redrive(queue: "q", where: .all, perSecond: 2)
        #expect(report.count == 5)
        #expect(report.lastRunAt?.milliseconds == StoreFixture.start + 2_000)
        #expect(try await store.lease(from: "q", limit: 9).count == 1)
        try await store.close()
        store = try await fixture.open()
        fixture.clock.advance(byMilliseconds: 499)
        #expect(try await store.lease(from: "q", limit: 9).isEmpty)
        for _ in 0..<4 {
            fixture.clock.advance(byMilliseconds: 500)
            #expect(try await store.lease(from: "q", limit: 9).count == 1)
        }
        try await store.close()
    }

    /// Lets so many times 500 jobs die.
    private func dieInHundreds(_ store: JobStore, _ times: Int) async throws {
        for _ in 0..<times {
            _ = try await store.batch((0..<500).map { _ in .enqueue(queue: "q", payload: []) })
            let leases = try await store.lease(from: "q", limit: 500)
            _ = try await store.batch(leases.map { .bury($0.identity, error: "e") })
        }
    }

    @Test func aLimitOnManyDeadLettersIsWorkedOffAndHoldsAfterAReopening() async throws {
        let fixture = try StoreFixture()
        var store = try await fixture.open()
        try await dieInHundreds(store, 24)
        try await store.configure("q", QueueConfiguration(deadMax: 10))
        let left = try await dead(store)
        #expect(left.count == 10)
        let digest = try await store.digest()
        _ = try store.blocking.compact()
        try await store.close()
        store = try await fixture.open()
        #expect(try await store.digest().hex == digest.hex)
        #expect(try await dead(store) == left)
        try await die(store)
        #expect(try await dead(store).first == left[1])
        try await store.close()
    }

    @Test func moreThanOneCommitTakesAreRedrivenAndKeysAreTakenOnce() async throws {
        try await withStore { store, _ in
            try await dieInHundreds(store, 5)
            var unique = EnqueueOptions()
            unique.uniqueKey = "k"
            for _ in 0..<3 { try await die(store, "twice", unique) }
            let dry = try await store.redrive(queue: "q", where: .all, isDryRun: true)
            #expect(dry.count == 2_501 && dry.skipped == 2 && dry.firstIDs.count == 10)
            #expect(try await store.stats().queues.first?.dead == 2_503)
            let report = try await store.redrive(queue: "q", where: DeadFilter(errorContains: "e"))
            #expect(report.count == 2_501 && report.skipped == 2)
            #expect(try await store.stats().queues.first?.ready == 2_501)
        }
    }
}
