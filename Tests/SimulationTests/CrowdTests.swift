// Stores with thousands of jobs of interleaved queues, under seeds: sets of ids take forms there that the few jobs of a
// simulation never reach. What is known of each job is kept in a dictionary. Every lease, the counts and the digest
// after each opening, and what is left in the end are held against it. Trouble comes between operations, so that each
// is known to have happened; what a crash leaves of one that was under way is the simulation's.

import Holdfast
import HoldfastBytes
import HoldfastTestKit
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

@Suite(.timeLimit(.minutes(20))) struct CrowdTests {
    private static let isLong = getenv("HOLDFAST_LONG") != nil

    @Test func crowdsOfInterleavedQueuesAreLeasedInOrderOnceEach() async throws {
        let seeds: ClosedRange<UInt64> = 1...(Self.isLong ? 200 : 4)
        let figures = try await SimulationTests.onThread {
            try seeds.reduce(into: CrowdRun.Figures()) { figures, seed in
                var run = try CrowdRun(seed: seed)
                try run.run()
                figures.add(run.figures)
            }
        }
        print("figure | crowds: seeds | \(seeds.count)")
        print("figure | crowds: jobs | \(figures.jobs)")
        print("figure | crowds: leases | \(figures.leases)")
        print("figure | crowds: openings | \(figures.openings)")
        #expect(figures.leases > figures.jobs / 2 && figures.openings > seeds.count)
    }
}

/// What a store did that it should not have.
private struct CrowdFailure: Error, CustomStringConvertible {
    let description: String
}

/// One store and what is known of its jobs.
private struct CrowdRun {
    /// What runs did.
    struct Figures {
        var jobs = 0
        var leases = 0
        var openings = 0

        mutating func add(_ other: Figures) {
            jobs += other.jobs
            leases += other.leases
            openings += other.openings
        }
    }

    private enum State: Equatable {
        case waiting(until: Timestamp)
        case leased(LeaseIdentity, until: Timestamp)
        case dead
    }
    private struct Job {
        let queue: String
        let priority: Int
        let tries: Int
        let payload: [UInt8]
        var attempt = 0
        var state: State
    }

    private static let path = "/store"
    private static let queues = ["a", "b", "c"]
    private static let steps = 200
    private static let leaseMilliseconds: Int64 = 60_000
    /// With so many, more are settled, and none is added.
    private static let jobsMax = 12_000

    private let seed: UInt64
    private var random: SeededRandom
    private var disk = SimulatedFileSystem()
    private var options = JobStoreOptions()
    private let clock = ManualClock()
    private var store: BlockingJobStore
    private var jobs: [JobID: Job] = [:]
    private var completed = 0
    /// How many of a hundred jobs are of the first queue; the others share the rest.
    private let firstShare: Int
    private(set) var figures = Figures()
    /// What was done, by steps.
    private var trace: [String] = []

    init(seed: UInt64) throws {
        self.seed = seed
        random = SeededRandom(seed: seed)
        firstShare = random.pick(20...60)
        options.fileSystem = disk
        options.clock = clock
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        options.history = random.pick(from: [.none, .bytes(64 << 10), .unlimited])
        options.checkpointEveryBytes = random.chance(1, in: 2) ? 100_000 : nil
        store = try JobStore.openBlocking(at: Self.path, options: options).blocking
    }

    mutating func run() throws {
        defer { try? store.close() }
        for _ in 0..<random.pick(20...40) { try enqueue() }
        for step in 0..<Self.steps {
            do { try takeStep() } catch {
                throw CrowdFailure(
                    description: "seed \(seed), step \(step): \(error)\n\(trace.joined(separator: "\n"))")
            }
        }
        do { try drain() } catch {
            throw CrowdFailure(description: "seed \(seed), in the end: \(error)\n\(trace.joined(separator: "\n"))")
        }
    }

    private mutating func takeStep() throws {
        switch random.pick(0...19) {
        case 0..<5: try enqueue()
        case 5..<10: try lease(from: random.pick(from: Self.queues), limit: random.pick(1...600))
        case 10..<15: try settle()
        case 15: try cancel()
        case 16: clock.advance(byMilliseconds: Int64(random.pick(1...40_000)))
        case 17:
            trace.append("checkpoint")
            _ = try store.checkpoint()
        case 18:
            trace.append("compact")
            _ = try store.compact()
        default: try reopen()
        }
    }

    // MARK: - Operations

    private mutating func enqueue() throws {
        guard jobs.count < Self.jobsMax else { return try settle() }
        let now = clock.wallNow()
        let isPlain = random.chance(4, in: 5)
        var added: [Job] = []
        let operations = (0..<random.pick(100...500)).map { _ in
            let isFirst = random.chance(firstShare, in: 100)
            let queue = isFirst ? Self.queues[0] : random.pick(from: Array(Self.queues.dropFirst()))
            var enqueue = EnqueueOptions()
            if !isPlain && random.chance(1, in: 4) { enqueue.priority = random.pick(0...1) }
            if !isPlain && random.chance(1, in: 8) { enqueue.delay = .seconds(random.pick(1...90)) }
            let milliseconds = (enqueue.delay?.components.seconds ?? 0) * 1000
            // Each another one, some of them long.
            let payload = random.bytes(random.chance(1, in: 50) ? 3_000 : 8)
            added.append(
                Job(
                    queue: queue, priority: enqueue.priority, tries: enqueue.maxAttempts, payload: payload,
                    state: .waiting(until: now.advanced(byMilliseconds: milliseconds))))
            return BatchOperation.enqueue(queue: queue, payload: payload, options: enqueue)
        }
        trace.append("\(now): enqueue \(added.count)")
        figures.jobs += added.count
        for (job, reply) in zip(added, try store.batch(operations)) {
            guard case .enqueued(let result) = reply, jobs.updateValue(job, forKey: result.id) == nil else {
                throw CrowdFailure(description: "an enqueue gave \(reply)")
            }
        }
    }

    private mutating func lease(from queue: String, limit: Int) throws {
        let now = clock.wallNow()
        expire(at: now)
        let expected = ready(in: queue, at: now).prefix(limit)
        trace.append("\(now): lease \(limit) of \(queue)")
        let leases = try store.lease(from: queue, limit: limit, for: .milliseconds(Self.leaseMilliseconds))
        guard leases.map(\.id) == Array(expected) else {
            let index = zip(leases, expected).prefix { $0.id == $1 }.count
            let (got, wanted) = (leases.dropFirst(index).first?.id, expected.dropFirst(index).first)
            throw CrowdFailure(
                description: "of \(queue), lease \(index) is of \(got.map { "\($0)" } ?? "none"), not of "
                    + (wanted.map { "\($0)" } ?? "none"))
        }
        figures.leases += leases.count
        for lease in leases {
            guard var job = jobs[lease.id] else { continue }
            job.attempt += 1
            job.state = .leased(lease.identity, until: now.advanced(byMilliseconds: Self.leaseMilliseconds))
            jobs[lease.id] = job
            guard lease.attempt == job.attempt, lease.payload == job.payload, lease.queue == job.queue,
                lease.priority == job.priority
            else { throw CrowdFailure(description: "\(lease) is not what was enqueued, or not attempt \(job.attempt)") }
        }
    }

    /// Ends some leases, mostly well.
    private mutating func settle() throws {
        let now = clock.wallNow()
        expire(at: now)
        let isBatch = random.chance(3, in: 4)
        let chosen = leased.filter { _ in random.chance(1, in: 2) }.prefix(isBatch ? 2_000 : 20)
        // Often all end well, as with a worker whose jobs do.
        let isWell = random.chance(1, in: 2)
        let operations = chosen.map { job, lease in
            switch isWell ? 19 : random.pick(0...19) {
            case 0: return BatchOperation.bury(lease)
            case 1, 2: return .requeue(lease, after: .zero)
            case 3: return .requeue(lease, after: .seconds(30))
            default: return .ack(lease)
            }
        }
        trace.append("\(now): settle \(operations.count), \(isBatch ? "at once" : "one by one")")
        for operation in operations {
            switch operation {
            case .ack(let lease, _, _):
                jobs[lease.id] = nil
                completed += 1
                if !isBatch { try store.ack(lease) }
            case .requeue(let lease, let after, _, _, _):
                if !isBatch { try store.requeue(lease, after: after) }
                guard var job = jobs[lease.id] else { continue }
                let delay = (after?.components.seconds ?? 0) * 1000
                job.state = job.attempt == job.tries ? .dead : .waiting(until: now.advanced(byMilliseconds: delay))
                jobs[lease.id] = job
            case .bury(let lease, _):
                if !isBatch { try store.bury(lease) }
                jobs[lease.id]?.state = .dead
            default: break
            }
        }
        if isBatch { _ = try store.batch(operations) }
    }

    /// Takes jobs out of the middle.
    private mutating func cancel() throws {
        let now = clock.wallNow()
        expire(at: now)
        let all = ready(in: random.pick(from: Self.queues), at: now)
        guard !all.isEmpty else { return }
        let first = random.pick(0...all.count - 1)
        let meant = all[first...].prefix(random.pick(1...100)).filter { _ in random.chance(2, in: 3) }
        trace.append("\(now): cancel \(meant.count) from the \(first)th of \(all.count)")
        _ = try store.batch(meant.map { .cancel($0) })
        for id in meant { jobs[id] = nil }
    }

    /// Opens the store again: as it was closed, or as a loss of power left it.
    private mutating func reopen() throws {
        let digest = try store.digest().hex
        let isCut = random.chance(2, in: 3)
        trace.append("\(clock.wallNow()): \(isCut ? "power cut" : "close"), and open")
        if isCut {
            let image = disk.crashImage(.random(seed: random.next()))
            try store.close()
            disk = image
            options.fileSystem = disk
        } else {
            try store.close()
        }
        store = try JobStore.openBlocking(at: Self.path, options: options).blocking
        figures.openings += 1
        let opened = try store.digest().hex
        guard opened == digest else { throw CrowdFailure(description: "it opened as another one") }
        try checkCounts()
    }

    /// Works off all there is.
    private mutating func drain() throws {
        for queue in Self.queues {
            while true {
                clock.advance(byMilliseconds: Self.leaseMilliseconds + 30_000)
                let before = jobs.count
                try lease(from: queue, limit: 1_000)
                let held = leased
                if held.isEmpty { break }
                _ = try store.batch(held.map { .ack($0.lease) })
                for (id, _) in held { jobs[id] = nil }
                completed += held.count
                guard jobs.count < before else { throw CrowdFailure(description: "jobs never end") }
            }
        }
        try reopen()
        guard jobs.values.allSatisfy({ $0.state == .dead }), try store.stats().completed == completed else {
            throw CrowdFailure(description: "\(completed) jobs were acked; the store says otherwise")
        }
    }

    // MARK: - What is known

    /// Ends the leases that are over.
    private mutating func expire(at now: Timestamp) {
        for (id, job) in jobs {
            guard case .leased(_, let end) = job.state, end <= now else { continue }
            jobs[id]?.state = job.attempt == job.tries ? .dead : .waiting(until: .zero)
        }
    }

    /// The jobs of a queue that may be leased, in the order in which they are.
    private func ready(in queue: String, at now: Timestamp) -> [JobID] {
        jobs.lazy.filter { _, job in
            guard job.queue == queue, case .waiting(let until) = job.state else { return false }
            return until <= now
        }.sorted { ($1.value.priority, $0.key) < ($0.value.priority, $1.key) }.map(\.key)
    }

    /// The leases that are held, by job.
    private var leased: [(id: JobID, lease: LeaseIdentity)] {
        jobs.compactMap { id, job in
            if case .leased(let lease, _) = job.state { (id, lease) } else { nil }
        }.sorted { $0.id < $1.id }
    }

    private mutating func checkCounts() throws {
        let now = clock.wallNow()
        expire(at: now)
        for queue in try store.stats().queues {
            var (ready, scheduled, leased, dead) = (0, 0, 0, 0)
            for job in jobs.values where job.queue == queue.name {
                switch job.state {
                case .waiting(let until): if until <= now { ready += 1 } else { scheduled += 1 }
                case .leased: leased += 1
                case .dead: dead += 1
                }
            }
            let (counts, known) = (
                [queue.ready, queue.scheduled, queue.leased, queue.dead], [ready, scheduled, leased, dead]
            )
            guard counts == known else {
                throw CrowdFailure(description: "the counts of \(queue.name) are \(counts), not \(known)")
            }
        }
    }
}
