import HoldfastBytes
import HoldfastEngine
import HoldfastTestKit
import Testing

@Suite struct QueueStateModelTests {
    @Test(arguments: UInt64(0)..<40) func randomCommandsDoWhatTheModelDoes(seed: UInt64) throws {
        try run(seed: seed, steps: 400)
    }

    private func run(seed: UInt64, steps: Int) throws {
        var comparison = ModelComparison(seed: seed)
        for step in 0..<steps {
            do {
                try comparison.step()
            } catch {
                Issue.record("run(seed: \(seed), steps: \(step + 1)) reproduces this: \(error)")
                return
            }
        }
    }
}

/// What the engine did and the model would not have done.
struct ModelDifference: Error, CustomStringConvertible {
    let description: String
}

/// The engine and the model side by side, fed with the same random commands.
struct ModelComparison {
    private var random: SeededRandom
    private var live = QueueState()
    /// Fed with nothing but the records, as bytes.
    private var replayed = QueueState()
    private var model = ReferenceModel()
    private var now = Timestamp(milliseconds: 1_700_000_000_000)
    private var next = SequenceNumber(1)
    private var lanes: [JobID: Lane] = [:]
    private var retired: [(job: JobID, token: LeaseToken)] = []
    private let groups: [String]
    private let weights: [UInt32]

    init(seed: UInt64) {
        random = SeededRandom(seed: seed)
        groups = random.pick(from: [[""], ["", "a"], ["a", "b", "c", "d", "e"]])
        weights = random.pick(from: [[1], [1], [1, 3], [2, 5, 7, 1000]])
    }

    mutating func step() throws {
        if random.chance(1, in: 3) {
            let milliseconds = random.pick(from: [0, 1, 50, 1_000, 20_000, 90_000_000])
            now = now.advanced(byMilliseconds: Int64(milliseconds))
        }
        if random.chance(1, in: 40) { next = next.advanced(by: 1000) }
        try expire()
        if random.chance(1, in: 2) { live.promoteDue(at: now) }
        if random.chance(1, in: 6) { try batch() } else { try single(command()) }
        try compare()
    }

    // MARK: - Private

    private mutating func expire() throws {
        var count = 0
        while live.hasOverdue(at: now) {
            let mutations = live.overdue(at: now, limit: random.pick(1...5))
            try require(!mutations.isEmpty, "something is overdue, but nothing expires")
            for mutation in mutations { try apply(mutation) }
            count += mutations.count
        }
        let expected = model.expire(at: now)
        try require(count == expected, "\(count) records expired, not \(expected)")
        model.last = live.lastSequence
    }

    private mutating func single(_ command: Command) throws {
        var scope = BatchScope()
        let decision = Result { () throws(EngineError) in try live.decide(command, at: now, next: next, in: &scope) }
        var observed: [LeaseGrant] = []
        if case .success(let decision) = decision, case .leased(let grants) = decision.reply { observed = grants }
        let expected = Result { () throws(EngineError) in
            try model.perform(command, at: now, next: next, observed: observed)
        }
        switch (decision, expected) {
        case (.success(let decision), .success(let expected)):
            try require(decision.reply == expected.reply, "\(command): \(decision.reply), not \(expected.reply)")
            try require(decision.mutations.count == expected.records, "\(command): wrong number of records")
            remember(command, decision.reply)
            try decision.mutations.forEach { try apply($0) }
        case (.failure(let error), .failure(let expected)):
            try require(error.code == expected.code, "\(command): \(error), not \(expected.code)")
        default: throw ModelDifference(description: "\(command): \(decision), not \(expected)")
        }
    }

    /// Decides several commands before any is applied; refuses all when one is refused.
    private mutating func batch() throws {
        var (scope, trial, sequence) = (BatchScope(), model, next)
        var mutations: [Mutation] = []
        var decided: [(command: Command, reply: Reply)] = []
        for _ in 0..<random.pick(2...5) {
            let command = settlingCommand()
            let decision = Result { () throws(EngineError) in
                try live.decide(command, at: now, next: sequence, in: &scope)
            }
            let expected = Result { () throws(EngineError) in try trial.perform(command, at: now, next: sequence) }
            switch (decision, expected) {
            case (.success(let decision), .success(let expected)):
                try require(
                    decision.reply == expected.reply, "in a batch, \(command): \(decision.reply), not \(expected.reply)"
                )
                decided.append((command, decision.reply))
                decision.mutations.forEach { mutations.append($0) }
                sequence = sequence.advanced(by: UInt64(decision.mutations.count))
            case (.failure(let error), .failure(let expected)):
                try require(error.code == expected.code, "in a batch, \(command): \(error), not \(expected.code)")
                return
            default: throw ModelDifference(description: "in a batch, \(command): \(decision), not \(expected)")
            }
        }
        model = trial
        // Only now: a caller can't name a job of the batch that it is still putting together.
        for (command, reply) in decided { remember(command, reply) }
        for mutation in mutations { try apply(mutation) }
    }

    private mutating func remember(_ command: Command, _ reply: Reply) {
        if case .enqueue(let enqueue, _) = command, case .enqueued(let job) = reply { lanes[job] = enqueue.lane }
        if case .leased(let grants) = reply {
            for (index, grant) in grants.enumerated() {
                retired.append((grant.job, LeaseToken(next.advanced(by: UInt64(index)))))
            }
        }
    }

    private mutating func apply(_ mutation: Mutation) throws {
        let record = Record(sequence: next, time: now, mutation: mutation)
        try live.validate(record)
        live.apply(record)
        var writer = ByteWriter()
        record.encodeBody(into: &writer)
        let decoded = try Record(sequence: next, kind: mutation.kind.rawValue, body: writer.bytes)
        try require(decoded == record, "\(record) came back as \(String(describing: decoded))")
        if let decoded {
            try replayed.validate(decoded)
            replayed.apply(decoded)
        }
        next = next.next
    }

    private mutating func compare() throws {
        live.checkInvariants()
        let isSame = live.digest(withCursors: true) == replayed.digest(withCursors: true)
        try require(isSame, "the digests of live and replayed state differ")
        try require(live.completedCount == model.completedCount, "completed: \(live.completedCount)")
        try require(model.complaints.isEmpty, model.complaints.first ?? "")
        let expected = model.queueCounts(at: now)
        for (queue, counts, terms) in live.queueCounts(at: now) {
            let wanted = expected[queue] ?? QueueCounts()
            try require(counts == wanted, "\(queue): \(counts), not \(wanted)")
            try require(terms == model.terms(of: queue), "\(queue): \(terms), not \(model.terms(of: queue))")
            var promoted = live
            promoted.promoteDue(at: now)
            let (held, heldByModel) = (promoted.heldCount(of: queue), model.heldCount(of: queue, at: now))
            try require(held == heldByModel, "\(queue): \(held) are held, not \(heldByModel)")
        }
        let kept = model.results.filter { live.keptResult(of: $0.key)?.until != $0.value }
        try require(
            kept.isEmpty && live.keptResultCount == model.results.count, "results: \(kept) are kept otherwise")
        for queue in ["q", "r"] {
            let (found, _) = live.deadLetters(
                queue: queue, meeting: DeadCriteria(), after: JobID(0), limit: .max, looksMax: .max)
            let wanted = model.deadLetters(of: queue, meeting: DeadCriteria(), errorContains: nil)
            try require(found.map(\.id) == wanted, "dead in \(queue): \(found), not \(wanted)")
        }
        let ids = live.unfinishedJobs(queue: nil, state: nil, after: JobID(0), limit: .max / 4, at: now)
        try require(ids == model.jobIDs, "jobs: \(ids), not \(model.jobIDs)")
        try compareLabels()
        try require(live.storeCapacity == model.capacity, "the store takes \(live.storeCapacity)")
        if let load = live.storeLoad {
            try require(load == model.load, "the store holds \(load), not \(model.load)")
        }
        let cursors = Dictionary(uniqueKeysWithValues: live.allCursors.map { ($0.name, $0.cursor) })
        try require(
            cursors == model.standingCursors, "cursors: \(cursors), not \(model.standingCursors)")
        if random.chance(1, in: 25) {
            var writer = ByteWriter()
            live.encodeImage(into: &writer)
            let digest = live.digest(withCursors: true)
            live = try QueueState(image: writer.bytes)
            try require(live.digest(withCursors: true) == digest, "an image came back as another state")
        }
    }

    private func require(_ condition: Bool, _ message: @autoclosure () -> String) throws {
        if !condition { throw ModelDifference(description: message()) }
    }
}

extension ModelComparison {
    private mutating func compareLabels() throws {
        let labels = RecordSamples.labels(&random)
        let queue = random.pick(from: [nil, "q", "r"])
        let state = random.pick(from: [nil, JobState.ready, .scheduled, .leased, .dead])
        let found = live.unfinishedJobs(
            labelled: labels, queue: queue, state: state, after: JobID(0), limit: .max, at: now)
        let wanted = model.jobIDs(labelled: labels, queue: queue, state: state, at: now)
        try require(found == wanted, "\(labels): \(found), not \(wanted)")
    }
}

// MARK: - Random commands

extension ModelComparison {
    private mutating func command() -> Command {
        switch random.pick(0...19) {
        case 0...6:
            let queues = random.pick(from: [["q"], ["r"], ["q", "r"], ["r", "q", "r"], ["unknown"]])
            let milliseconds = Int64(random.pick(from: [1, 30_000, 604_800_000]))
            let turns = Set(queues).count == queues.count && random.chance(1, in: 3) ? turns(queues.count) : nil
            return .lease(
                queues: queues, limit: random.pick(1...6), milliseconds: milliseconds, worker: "w", turns: turns)
        case 7:
            let lease = lease()
            let milliseconds = Int64(random.pick(from: [1, 60_000]))
            return .heartbeat(job: lease.job, token: lease.token, milliseconds: milliseconds, progress: [1])
        case 8: return random.chance(1, in: 2) ? .redrive(job: anyJob()) : .redriveJobs(redrives())
        case 9 where random.chance(1, in: 2): return .release(job: anyJob())
        case 9: return .redriveQueue(queue: random.pick(from: ["q", "r"]), limit: random.pick(1...4))
        case 10:
            let queue = random.pick(from: ["q", "r"])
            if random.chance(2, in: 3) { return .setPaused(queue: queue, random.chance(1, in: 4)) }
            return .configure(
                QueueSettings(
                    queue: queue, capacity: random.pick(from: [nil, 0, 0, 3, 12]),
                    runningMax: random.pick(from: [nil, 0, 0, 1, 4]),
                    retry: random.chance(1, in: 3) ? RecordSamples.retry(&random) : nil,
                    crashMax: random.pick(from: [nil, 0, 1, 2]),
                    finalErrors: random.chance(1, in: 4) ? RecordSamples.errorClasses(&random) : nil,
                    sharing: sharing(), retention: retention(),
                    ageing: random.pick(from: [nil, nil, 0, 1, 9000])))
        case 11:
            if random.chance(1, in: 3) {
                return .configureStore(
                    StoreSettings(
                        jobs: random.pick(from: [nil, 0, 0, 12, 30]), payloadBytes: random.pick(from: [nil, 0, 20, 60]))
                )
            }
            if random.chance(1, in: 2) { return .advanceClock }
            return .removeEffect(scope: random.pick(from: ["s", "t"]), key: random.pick(from: ["1", "2", "3", "4"]))
        case 12: return .moveCursor(random.pick(from: ["c", "d", "e"]), cursorMove())
        default: return settlingCommand()
        }
    }

    /// Weights, and some turns that were had.
    private mutating func turns(_ count: Int) -> LeaseTurns {
        var turns = LeaseTurns(weights: (0..<count).map { _ in random.pick(1...4) })
        for _ in 0..<random.pick(0...3) { turns.serve(random.pick(0...count - 1)) }
        return turns
    }

    private mutating func sharing() -> SharingSettings {
        SharingSettings(
            groupRunningMax: random.pick(from: [nil, 0, 1, 2, 4]),
            order: random.pick(from: [nil, .free, .strict, .parking]),
            rate: random.pick(from: [
                nil, RateLimit.none,
                RateLimit(count: random.pick(1...5), periodMilliseconds: 1000, burst: random.pick(1...4)),
            ]),
            limiter: random.pick(from: [nil, SharedLimiter.none, SharedLimiter(name: "l", size: random.pick(1...4))]),
            groupRate: random.pick(from: [
                nil, RateLimit.none,
                RateLimit(count: random.pick(1...3), periodMilliseconds: 700, burst: random.pick(1...3)),
            ]))
    }

    private mutating func retention() -> RetentionSettings {
        RetentionSettings(
            deadMax: random.pick(from: [nil, nil, 0, 1, 3]), deadAge: random.pick(from: [nil, nil, 0, 1, 60_000]),
            results: random.pick(from: [nil, 0, 20_000]))
    }

    /// Some dead letters and some other jobs, each at a time of its own.
    private mutating func redrives() -> [Redrive] {
        var criteria = DeadCriteria()
        if random.chance(1, in: 2) { criteria.reasons = [random.pick(from: DeadReason.allCases)] }
        criteria.attemptsMin = UInt32(random.pick(0...2))
        let (found, _) = live.deadLetters(
            queue: "q", meeting: criteria, after: JobID(0), limit: random.pick(1...4), looksMax: 100)
        return (found.map(\.id) + [anyJob()]).map { job in
            Redrive(job: job, runAt: random.pick(from: [nil, now, now.advanced(byMilliseconds: 500)]))
        }
    }

    private mutating func cursorMove() -> CursorMove {
        let last = live.lastSequence.rawValue
        let next = SequenceNumber(
            random.pick(from: [0, last + 2, last + 1, last + 1, last, UInt64(random.pick(0...Int(last))), last / 2]))
        switch random.pick(0...9) {
        case 0...3: return .create(at: next, CursorCaps(bytes: UInt64(random.pick(0...9)), age: 1))
        case 4...7: return .advance(to: next)
        case 8: return .reset(to: next)
        default: return .remove
        }
    }

    /// A command that may be part of a batch.
    private mutating func settlingCommand() -> Command {
        switch random.pick(0...9) {
        case 0...3:
            let collision = random.chance(1, in: 2) ? .existing : random.pick(from: KeyCollision.allCases)
            return .enqueue(enqueue(), collision)
        case 4 where random.chance(1, in: 2):
            let job = anyJob()
            return .edit(job: job, lane: lanes[job], changes())
        case 4, 5:
            let lease = lease()
            return .ack(
                job: lease.job, token: lease.token, result: random.pick(from: [nil, [], [1]]),
                keepMilliseconds: random.pick(from: [nil, nil, 0, 1, 5_000]))
        case 6:
            let lease = lease()
            let delay = random.pick(from: [nil, nil, 0, 1, 100_000, Int64.max])
            let counts = random.chance(3, in: 4)
            return .requeue(
                job: lease.job, token: lease.token, delayMilliseconds: delay, error: "e", countsAttempt: counts,
                errorClass: random.pick(from: [nil, "e0", "e1", "other"]))
        case 7:
            let lease = lease()
            return .bury(job: lease.job, token: lease.token, reason: .buried, error: nil)
        case 8:
            let job = anyJob()
            return .cancel(job: job, lane: lanes[job])
        default:
            let lease = lease()
            let fence = random.chance(1, in: 2) ? Effect.Fence(job: lease.job, token: lease.token) : nil
            let (scope, key) = (random.pick(from: ["s", "t"]), random.pick(from: ["1", "2", "3", "4"]))
            var effect = Effect(scope: scope, key: key, value: random.bytes(3), fence: fence)
            if random.chance(1, in: 4) { effect.until = now.advanced(byMilliseconds: Int64(random.pick(1...60_000))) }
            return .effect(effect)
        }
    }

    private mutating func enqueue() -> Enqueue {
        let group = random.pick(from: groups)
        let lane = Lane(
            queue: random.pick(from: ["q", "q", "r"]),
            priority: Int8(random.pick(from: [0, 0, 0, 5, -5])),
            maxAttempts: UInt32(random.pick(from: [1, 2, 5, 5])), group: group,
            weight: group.isEmpty ? 1 : random.pick(from: weights))
        var enqueue = Enqueue(lane: lane, payload: random.bytes(2))
        if random.chance(1, in: 5) { enqueue.runAt = now.advanced(byMilliseconds: Int64(random.pick(-10...30_000))) }
        if random.chance(1, in: 4) { enqueue.uniqueKey = random.pick(from: ["x", "y"]) }
        if enqueue.uniqueKey != nil && random.chance(1, in: 3) {
            enqueue.uniqueUntil = now.advanced(byMilliseconds: Int64(random.pick(1...40_000)))
        } else if enqueue.uniqueKey != nil {
            enqueue.isKeyFreedByLease = random.chance(1, in: 3)
        }
        if random.chance(1, in: 6) { enqueue.startBy = now.advanced(byMilliseconds: Int64(random.pick(1...40_000))) }
        if random.chance(1, in: 5) { enqueue.terms = RecordSamples.terms(&random) }
        if random.chance(1, in: 3) { enqueue.dependencies = dependencies() }
        if random.chance(1, in: 4) { enqueue.labels = RecordSamples.labels(&random) }
        enqueue.isSecret = random.chance(1, in: 8)
        return enqueue
    }

    /// Jobs that there are mostly: what has finished the store tells apart before.
    private mutating func dependencies() -> EnqueueDependencies? {
        let known = model.jobIDs
        var result = EnqueueDependencies(policy: random.pick(from: DependencyPolicy.allCases))
        if !known.isEmpty, random.chance(2, in: 3) {
            result.after = Set((0..<random.pick(1...4)).map { _ in random.pick(from: known) }).sorted()
            if random.chance(1, in: 30) { result.after.append(JobID(1 << 50)) }
        }
        result.isHeld = random.chance(1, in: 8)
        if !known.isEmpty, random.chance(1, in: 3) { result.before = random.pick(from: known) }
        if result.after.isEmpty && !result.isHeld { result.policy = .wait }
        return result.isValid ? result : nil
    }

    private mutating func changes() -> JobChanges {
        var changes = JobChanges()
        if random.chance(1, in: 3) { changes.queue = random.pick(from: ["q", "r"]) }
        if random.chance(1, in: 3) { changes.priority = Int8(random.pick(from: [0, 5, -5])) }
        if random.chance(1, in: 3) { changes.maxAttempts = UInt32(random.pick(from: [1, 2, 5])) }
        if random.chance(1, in: 3) { changes.runAt = now.advanced(byMilliseconds: Int64(random.pick(-10...30_000))) }
        if random.chance(1, in: 4) { changes.headers = random.pick(from: [[], [.init(name: "h", value: "v")]]) }
        if random.chance(1, in: 4) { changes.payload = random.bytes(random.pick(0...3)) }
        return changes
    }

    /// An active lease mostly; or one that was, or a token that never was.
    private mutating func lease() -> (job: JobID, token: LeaseToken) {
        let active = model.leases
        if !active.isEmpty && random.chance(9, in: 10) { return random.pick(from: active) }
        if !retired.isEmpty && random.chance(2, in: 3) { return random.pick(from: retired) }
        return (anyJob(), LeaseToken(UInt64(random.pick(1...2000))))
    }

    private mutating func anyJob() -> JobID {
        let known = model.jobIDs
        if !known.isEmpty && random.chance(4, in: 5) { return random.pick(from: known) }
        if !lanes.isEmpty && random.chance(4, in: 5) { return random.pick(from: lanes.keys.sorted()) }
        return JobID(1 << 50)
    }
}
