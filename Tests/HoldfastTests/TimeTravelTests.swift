// The state as it was is what the live store said then: its digest, its counts, its jobs, over checkpoints, seals,
// compaction and openings. What the log can't say exactly any more is refused, with how far it can.

import Holdfast
import HoldfastBytes
import HoldfastEngine
import HoldfastLog
import HoldfastTestKit
import Testing

/// What a live store said at some moment.
private struct Testimony: Sendable {
    let digest: StoreDigest
    let queues: [StoreStats.Queue]
    let completed: UInt64
    let time: Timestamp
    let jobs: [JobInfo]

    init(_ store: JobStore) async throws {
        let stats = try await store.stats()
        (queues, completed) = (stats.queues, stats.completed)
        time = try await store.now()
        jobs = try await store.jobs(JobFilter(limit: 1000))
        digest = try await store.digest()
    }

    /// Expects that `snapshot` says the same.
    ///
    /// - Parameter isWhole: Whether no record was dropped.
    func expect(_ snapshot: StoreSnapshot, seed: UInt64 = 0, isWhole: Bool = true) async throws {
        let place: Comment = "seed \(seed), sequence number \(digest.sequence)"
        #expect(snapshot.digest() == digest, place)
        #expect(snapshot.stats.queues == queues, place)
        #expect(snapshot.stats.completed == completed, place)
        let listed = try await snapshot.jobs(JobFilter(limit: 1000))
        if isWhole { #expect(listed == jobs, place) }
        // Of jobs that ended before, compaction may have dropped the records since; of the others, texts.
        let found = listed.filter { !$0.hasEnded }
        let expected = jobs.filter { !$0.hasEnded }
        #expect(found.map(\.id) == expected.map(\.id), place)
        for (found, expected) in zip(found, expected) {
            #expect(found.state == expected.state && found.queue == expected.queue, place)
            #expect(found.attempt == expected.attempt && found.priority == expected.priority, place)
            #expect(found.deadline == expected.deadline && found.token == expected.token, place)
            #expect(found.runAt == expected.runAt && found.worker == expected.worker, place)
            if found.enqueuedAt != nil { #expect(found.enqueuedAt == expected.enqueuedAt, place) }
            #expect(try await snapshot.job(found.id)?.state == expected.state, place)
        }
    }
}

extension JobInfo {
    fileprivate var hasEnded: Bool { state == .completed || state == .cancelled }
}

/// Work on a store, decided by a seed.
private struct Work {
    var random: SeededRandom
    var leases: [Lease] = []

    /// Does something that leaves a record, as its last step.
    mutating func step(_ store: JobStore, _ clock: ManualClock) async throws {
        clock.advance(byMilliseconds: Int64(random.pick(0...400)))
        switch random.pick(0...9) {
        case 0...2:
            leases += try await store.lease(from: "q1", limit: random.pick(1...3), for: .seconds(random.pick(1...20)))
        case 3...5:
            if !leases.isEmpty {
                let lease = leases.remove(at: random.pick(0...(leases.count - 1)))
                // It may have expired.
                switch random.pick(0...3) {
                case 0: _ = try? await store.requeue(lease, error: "again")
                case 1: try? await store.bury(lease, error: "never")
                default: try? await store.ack(lease)
                }
            }
        default: break
        }
        var options = EnqueueOptions()
        options.priority = random.pick(0...2)
        if random.pick(0...4) == 0 { options.delay = .milliseconds(random.pick(1...3000)) }
        let queue = random.pick(0...3) == 0 ? "q2" : "q1"
        _ = try await store.enqueue(queue, payload: random.bytes(random.pick(0...2000)), options: options)
    }
}

@Suite(.timeLimit(.minutes(10))) struct TimeTravelTests {
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func aPastStateIsWhatTheLiveStoreSaidThen(seed: UInt64) async throws {
        let fixture = try StoreFixture()
        let history: JobStoreOptions.History = seed.isMultiple(of: 2) ? .unlimited : .bytes(64 << 10)
        func open() async throws -> JobStore {
            try await fixture.open {
                $0.history = history
                $0.checkpointEveryBytes = 16 << 10
            }
        }
        var work = Work(random: SeededRandom(seed: seed))
        var testimonies: [Testimony] = []
        var refused = 0
        var store = try await open()
        for number in 1...240 {
            try await work.step(store, fixture.clock)
            testimonies.append(try await Testimony(store))
            switch work.random.pick(0...59) {
            case 0: try await store.checkpoint()
            case 1: try await store.compact()
            case 2:
                try await store.close()
                store = try await open()
            default: break
            }
            guard number.isMultiple(of: 20) else { continue }
            for testimony in work.random.sample(5, of: testimonies) {
                let sequence = testimony.digest.sequence
                switch await Self.state(of: store, asOf: .sequence(sequence)) {
                case .success(let snapshot):
                    try await testimony.expect(snapshot, seed: seed, isWhole: history == .unlimited)
                case .failure(let error):
                    try #require(error.code == .beyondHistory, "seed \(seed): \(error)")
                    refused += 1
                    var oldest = try #require(error.oldest)
                    #expect(oldest > sequence, "seed \(seed)")
                    // Compaction in the background may have moved on since, but not back.
                    while case .failure(let error) = await Self.state(of: store, asOf: .sequence(oldest)) {
                        let moved = try #require(error.oldest, "seed \(seed): \(error)")
                        try #require(error.code == .beyondHistory && moved > oldest, "seed \(seed): \(error)")
                        oldest = moved
                    }
                }
            }
        }
        #expect(history == .unlimited ? refused == 0 : refused > 0, "seed \(seed): \(refused) refused")
        try await store.close()
    }

    private static func state(
        of store: JobStore, asOf moment: StoreMoment
    ) async -> Result<StoreSnapshot, JobStoreError> {
        do { return .success(try await store.state(asOf: moment)) } catch { return .failure(error) }
    }

    /// The owner uses journal files again while somebody reads: whoever looks for damage must not take that for it.
    @Test func aJournalFileThatIsUsedAgainIsNoDamageToWhoLooks() async throws {
        let disk = SimulatedFileSystem()
        var options = JobStoreOptions()
        options.clock = ManualClock()
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        options.use(disk)
        let store = try await JobStore.open(at: "/store", options: options)
        @Sendable func fill(_ count: Int) throws {
            for number in 0..<count {
                _ = try store.blocking.enqueue("q", payload: [UInt8](repeating: UInt8(number), count: 12_000))
            }
        }
        try await ThreadExecutor.run {
            try fill(8)
            var attempts = 0
            let newest = try LogReader.compute(directory: "/store", fileSystem: disk) { (reader) throws(LogError) in
                attempts += 1
                if attempts == 1 {
                    #expect(throws: Never.self) {
                        try fill(60)
                        _ = try store.blocking.compact()
                    }
                }
                return try FileRecords(reader).newestState()
            }
            #expect(newest.damage == nil && attempts == 2)
            #expect(newest.state.queueCounts(at: newest.state.latestTime).first?.counts.ready ?? 0 >= 67)
        }
        try await store.close()
    }

    @Test func aStateIsFoundByTime() async throws {
        try await withStore { store, fixture in
            var testimonies: [Testimony] = []
            for number in 0..<200 {
                fixture.clock.advance(byMilliseconds: 10)
                _ = try await store.enqueue("q", payload: [UInt8](repeating: 7, count: 1000))
                testimonies.append(try await Testimony(store))
                if number == 70 || number == 140 { try await store.checkpoint() }
                if number == 100 { try await store.compact() }
            }
            for testimony in testimonies {
                for later in [0, 9] as [Int64] {
                    let moment = StoreMoment.time(testimony.time.advanced(byMilliseconds: later))
                    let snapshot = try await store.state(asOf: moment)
                    #expect(snapshot.digest() == testimony.digest)
                }
            }
            let before = try await store.state(asOf: .time(Timestamp(milliseconds: StoreFixture.start - 1)))
            #expect(before.sequence == .zero && before.stats.queues.isEmpty)
        }
    }

    @Test func aDueJobCountsAsReadyAtTheTimeThatIsAskedFor() async throws {
        try await withStore { store, fixture in
            var options = EnqueueOptions()
            options.delay = .seconds(10)
            let id = try await store.enqueue("q", payload: [1], options: options).id
            fixture.clock.advance(byMilliseconds: 60_000)
            let start = Timestamp(milliseconds: StoreFixture.start)
            let early = try await store.state(asOf: .time(start.advanced(byMilliseconds: 9_999)))
            let late = try await store.state(asOf: .time(start.advanced(byMilliseconds: 10_000)))
            #expect(try await early.job(id)?.state == .scheduled)
            #expect(try await late.job(id)?.state == .ready)
            #expect(early.stats.queues.first?.scheduled == 1 && late.stats.queues.first?.ready == 1)
        }
    }

    @Test func whatIsYetToComeIsRefused() async throws {
        try await withStore { store, _ in
            _ = try await store.enqueue("q", payload: [1])
            await expectRefusal(.badRequest) { _ = try await store.state(asOf: .sequence(SequenceNumber(2))) }
            #expect(try await store.state(asOf: .sequence(SequenceNumber(1))).sequence.rawValue == 1)
            #expect(try await store.state(asOf: .sequence(.zero)).sequence == .zero)
        }
    }

    @Test func withoutHistoryWhatCompactionDroppedIsRefusedWithWhatIsLeft() async throws {
        try await withStore({ $0.history = .none }) { store, fixture in
            for _ in 0..<50 { _ = try await store.enqueue("q", payload: [1]) }
            for lease in try await store.lease(from: "q", limit: 40) { try await store.ack(lease) }
            try await store.compact()
            fixture.clock.advance(byMilliseconds: 1_000)
            let testimony = try await Testimony(store)
            guard case .failure(let error) = await Self.state(of: store, asOf: .sequence(SequenceNumber(20))) else {
                Issue.record("nothing was refused")
                return
            }
            #expect(error.code == .beyondHistory && error.oldest == testimony.digest.sequence)
            await expectRefusal(.beyondHistory) {
                _ = try await store.state(asOf: .time(Timestamp(milliseconds: StoreFixture.start - 1)))
            }
            let now = try await store.state(asOf: .sequence(testimony.digest.sequence))
            try await testimony.expect(now, isWhole: false)
            #expect(try await store.state(asOf: .time(testimony.time)).digest() == testimony.digest)
        }
    }

    @Test func historyOfAnAgeReachesBackThatFar() async throws {
        let disk = SimulatedFileSystem()
        let clock = ManualClock()
        var options = JobStoreOptions()
        options.fileSystem = disk
        options.clock = clock
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        options.checkpointEveryBytes = 16 << 10
        options.history = .age(.seconds(60))
        let store = try await JobStore.open(at: "/store", options: options)
        var testimonies: [Testimony] = []
        for _ in 0..<300 {
            clock.advance(byMilliseconds: 1_000)
            _ = try await store.enqueue("q", payload: [UInt8](repeating: 3, count: 1500))
            for lease in try await store.lease(from: "q") { try await store.ack(lease) }
            testimonies.append(try await Testimony(store))
        }
        try await store.compact()
        for testimony in testimonies.suffix(60) {
            let snapshot = try await store.state(asOf: .sequence(testimony.digest.sequence))
            try await testimony.expect(snapshot, isWhole: false)
        }
        await expectRefusal(.beyondHistory) {
            _ = try await store.state(asOf: .sequence(testimonies[100].digest.sequence))
        }
        try await store.close()
    }
}

extension SeededRandom {
    fileprivate mutating func sample<Element>(_ count: Int, of elements: [Element]) -> [Element] {
        (0..<count).map { _ in elements[pick(0...(elements.count - 1))] }
    }
}
