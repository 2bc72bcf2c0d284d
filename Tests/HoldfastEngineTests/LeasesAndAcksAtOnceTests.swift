// Leases that are granted at once, and plain acks of one call, skip what single records go through; that must be what
// their records do one by one.

import HoldfastBytes
import HoldfastTestKit
import Testing

@testable import HoldfastEngine

@Suite struct LeasesAndAcksAtOnceTests {
    /// With groups, limits, shared slots, rates, ageing, keys, terms, times, dependencies, labels, capacities, and dead
    /// letters that are let go.
    @Test(arguments: UInt64(0)..<40) func theyAreWhatTheirRecordsAreOneByOne(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var (atOnce, oneByOne) = (EngineHarness(), EngineHarness())
        for command in Self.settings(&random) {
            try atOnce.run(command)
            try oneByOne.run(command)
        }
        var held: [(job: JobID, token: LeaseToken)] = []
        var (leases, acks) = (0, 0)
        for _ in 0..<120 {
            if random.chance(1, in: 4) {
                let milliseconds = Int64(random.pick(from: [1, 700, 12_000, 31_000]))
                atOnce.advance(milliseconds)
                oneByOne.advance(milliseconds)
            }
            switch random.pick(0...6) {
            case 0, 1, 2:
                for enqueue in Self.enqueues(&random, at: atOnce.now, known: held.last?.job) {
                    // Some are refused: a key that is held, a queue that is full.
                    let reply = Result { try atOnce.run(.enqueue(enqueue)) }
                    #expect((try? reply.get()) == (try? oneByOne.run(.enqueue(enqueue))))
                }
            case 3, 4:
                let queues = random.pick(from: [["q"], ["r"], ["r", "q"]])
                let turns = queues.count > 1 && random.chance(1, in: 2) ? LeaseTurns(weights: [1, 3]) : nil
                let limit = random.pick(from: [1, 2, 7, 40])
                let worker = random.pick(from: ["", "w"])
                try atOnce.catchUp()
                let granted = atOnce.state.grant(
                    from: queues, turns, limit: limit, until: atOnce.now.advanced(byMilliseconds: 30_000),
                    worker: worker, at: atOnce.now, first: atOnce.state.lastSequence.next)
                try expectBodies(granted.grants.count, granted.record, granted.encodeBody)
                #expect(granted.arePlain == granted.grants.allSatisfy { atOnce.state.status(of: $0.job) == nil })
                atOnce.state.apply(granted)
                let reply = try oneByOne.run(
                    .lease(queues: queues, limit: limit, milliseconds: 30_000, worker: worker, turns: turns))
                #expect(reply == .leased(granted.grants))
                held += granted.grants.enumerated().map { index, grant in
                    (grant.job, LeaseToken(granted.first.advanced(by: UInt64(index))))
                }
                leases += granted.grants.count
            case 5:
                try atOnce.catchUp()
                try oneByOne.catchUp()
                held.removeAll { atOnce.state.leasedEntry($0.job, $0.token) == nil }
                held.sort { $0.job < $1.job }
                var plain = PlainAcks(capacity: 0)
                for lease in held where random.chance(2, in: 3) {
                    let isTaken = plain.add(lease.job, lease.token)
                    #expect(isTaken)
                }
                guard plain.count > 0 else { continue }
                #expect(atOnce.state.holds(plain))
                let (first, now) = (atOnce.state.lastSequence.next, atOnce.now)
                try expectBodies(plain.count) {
                    plain.record($0, from: first, at: now)
                } _: {
                    plain.encodeBody($0, from: first, at: now, into: &$1)
                }
                atOnce.state.apply(plain, from: first, at: now)
                for index in 0..<plain.count {
                    try oneByOne.append(.ack(Ack(job: plain.jobs[index], token: plain.tokens[index])))
                }
                acks += plain.count
            default:
                guard let lease = held.randomElement(using: &random) else { continue }
                let command = Self.other(&random, lease)
                let reply = Result { try atOnce.run(command) }
                #expect((try? reply.get()) == (try? oneByOne.run(command)))
            }
            let digest = oneByOne.state.digest(withCursors: true)
            try #require(atOnce.state.digest(withCursors: true) == digest, "seed \(seed)")
            try #require(try atOnce.restored().digest(withCursors: true) == digest, "seed \(seed)")
            try #require(atOnce.state.needed == oneByOne.state.needed)
            try #require(atOnce.state.completedCount == oneByOne.state.completedCount)
            try #require(atOnce.state.lastShown == oneByOne.state.lastShown)
            try #require(atOnce.state.nextDeadline(after: atOnce.now) == oneByOne.state.nextDeadline(after: atOnce.now))
            atOnce.state.checkInvariants()
        }
        #expect(leases > 50 && acks > 10, "seed \(seed): \(leases) leases, \(acks) acks")
    }

    @Test func acksOfLeasesThatAreNotHeldAreNotTaken() throws {
        var engine = EngineHarness()
        for _ in 0..<3 { try engine.enqueue() }
        let leases = try engine.lease(3)
        let lists: [(leases: [(JobID, LeaseToken)], areHeld: Bool)] = [
            ([(leases[0].job, leases[0].token), (leases[1].job, leases[1].token)], true),
            // With another's token.
            ([(leases[0].job, leases[0].token), (leases[1].job, leases[2].token)], false),
            ([(JobID(1 << 40), leases[0].token)], false),
        ]
        for list in lists { #expect(engine.state.holds(try Self.acks(list.leases)) == list.areHeld) }
        try engine.ack(leases[1])
        #expect(!engine.state.holds(try Self.acks(lists[0].leases)))
        #expect(engine.state.holds(try Self.acks([(leases[2].job, leases[2].token)])))
    }

    @Test func twoOfOneJobAreNotTaken() throws {
        for jobs in [[JobID(5), JobID(5)], [JobID(5), JobID(9), JobID(5)], [JobID(5), JobID(4)]] {
            #expect(throws: EngineError.self) { try Self.acks(jobs.map { ($0, LeaseToken(7)) }) }
        }
    }

    private static func acks(_ leases: [(JobID, LeaseToken)]) throws -> PlainAcks {
        var acks = PlainAcks(capacity: leases.count)
        for (job, token) in leases where !acks.add(job, token) {
            throw EngineError(.invalidState, "job \(job) is there, or may be")
        }
        return acks
    }

    private func expectBodies(
        _ count: Int, _ record: (Int) -> Record, _ encode: (Int, inout ByteWriter) -> Void
    ) throws {
        for index in 0..<count {
            var expected = ByteWriter()
            var body = ByteWriter()
            record(index).encodeBody(into: &expected)
            encode(index, &body)
            try #require([UInt8](copying: body.bytes) == [UInt8](copying: expected.bytes))
        }
    }

    private static func settings(_ random: inout SeededRandom) -> [Command] {
        let limiter = random.pick(from: [nil, nil, SharedLimiter(name: "l", size: 15)])
        let settings = ["q", "r"].map { queue in
            var settings = QueueSettings(
                queue: queue, capacity: random.pick(from: [nil, nil, 40]),
                runningMax: random.pick(from: [nil, nil, 12]),
                crashMax: random.pick(from: [nil, 2]), ageing: random.pick(from: [nil, 1000]))
            settings.sharing = SharingSettings(
                groupRunningMax: random.pick(from: [nil, 2, 9]), order: random.pick(from: [nil, .strict, .parking]),
                rate: random.pick(from: [nil, nil, RateLimit(count: 9, periodMilliseconds: 900, burst: 20)]),
                limiter: limiter,
                groupRate: random.pick(from: [nil, RateLimit(count: 3, periodMilliseconds: 900, burst: 4)]))
            settings.retention = RetentionSettings(
                deadMax: random.pick(from: [0, 2]), deadAge: random.pick(from: [0, 20_000]), results: 0)
            return Command.configure(settings)
        }
        let store = StoreSettings(jobs: random.pick(from: [0, 60]), payloadBytes: random.pick(from: [0, 400]))
        return settings + [.configureStore(store)]
    }

    /// What else becomes of leases, and of jobs that wait for theirs.
    private static func other(
        _ random: inout SeededRandom, _ lease: (job: JobID, token: LeaseToken)
    ) -> Command {
        switch random.pick(0...9) {
        case 0...3:
            .requeue(
                job: lease.job, token: lease.token, delayMilliseconds: random.pick(from: [nil, 0, 5_000]), error: "no",
                countsAttempt: random.chance(3, in: 4))
        case 4, 5:
            .heartbeat(
                job: lease.job, token: lease.token, milliseconds: Int64(random.pick(from: [1_000, 30_000, 60_000])),
                progress: random.pick(from: [nil, [1]]))
        case 6: .bury(job: lease.job, token: lease.token, reason: .buried, error: nil)
        case 7: .cancel(job: lease.job, lane: nil)
        case 8: .redriveQueue(queue: random.pick(from: ["q", "r"]), limit: 3)
        default: .release(job: JobID(lease.job.rawValue + UInt64(random.pick(0...3))))
        }
    }

    private static func enqueues(_ random: inout SeededRandom, at now: Timestamp, known: JobID?) -> [Enqueue] {
        (0..<random.pick(from: [1, 3, 20])).map { _ in
            let group = random.pick(from: ["", "", "a", "b"])
            let lane = Lane(
                queue: random.pick(from: ["q", "q", "r"]), priority: Int8(random.pick(0...1)),
                maxAttempts: UInt32(random.pick(from: [5, 2])), group: group,
                weight: group.isEmpty ? 1 : UInt32(random.pick(1...2)))
            let payload = random.bytes(random.pick(from: [0, 9]))
            guard random.chance(1, in: 3) else { return Enqueue(lane: lane, payload: payload) }
            let key = random.chance(1, in: 3) ? "k\(random.pick(0...9))" : nil
            let isWindowed = key != nil && random.chance(1, in: 3)
            var enqueue = Enqueue(
                lane: lane, runAt: random.chance(1, in: 4) ? now.advanced(byMilliseconds: 5_000) : nil, uniqueKey: key,
                uniqueUntil: isWindowed ? now.advanced(byMilliseconds: 15_000) : nil,
                isKeyFreedByLease: key != nil && !isWindowed && random.chance(1, in: 2),
                startBy: random.chance(1, in: 4) ? now.advanced(byMilliseconds: 20_000) : nil, payload: payload)
            if random.chance(1, in: 4) {
                var terms = JobTerms()
                terms.timeLimit = 9_000
                enqueue.terms = terms
            }
            if random.chance(1, in: 4) { enqueue.labels = JobLabels([("l", "\(random.pick(0...2))")], owner: "o") }
            if let known, random.chance(1, in: 4) {
                enqueue.dependencies = EnqueueDependencies(
                    after: [known], policy: random.pick(from: DependencyPolicy.allCases),
                    isHeld: random.chance(1, in: 4))
            }
            return enqueue
        }
    }
}
