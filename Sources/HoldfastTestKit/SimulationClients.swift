// The simulated clients: what each of them does next. They remember their leases, settle most of them, forget some
// (a client that died), and now and then use one that has ended, their own or another's.

internal import Holdfast
internal import HoldfastBytes
internal import HoldfastEngine

/// Draws operations from a generator and from what the clients know.
struct SimulationClients {
    private static let queues = ["a", "b", "c"]
    private static let count = 4
    /// More unfinished jobs than that, and the clients rather work them off.
    private static let jobsMax = 50

    private var held = [[LeaseIdentity]](repeating: [], count: Self.count)
    /// The newest leases ever granted, ended or not.
    private var known: [LeaseIdentity] = []
    /// The newest jobs ever enqueued.
    private var jobs: [JobID] = []
    /// Jobs that have not ended, as far as is known, and those of them that wait for others.
    private var live: [JobID] = []
    private var blocked: [JobID] = []
    /// Whether the store's clock is moved by operations.
    var canAdvance = true

    /// Remembers what an operation of client number `client` gave.
    mutating func take(_ answer: SimulationAnswer, client: Int) {
        held[client] += answer.leases.map(\.identity)
        known = (known + answer.leases.map(\.identity)).suffix(40)
        switch answer {
        case .enqueued(let result): jobs = (jobs + [result.id]).suffix(80)
        case .batch(let replies):
            for case .enqueued(let result) in replies { jobs = (jobs + [result.id]).suffix(80) }
        default: break
        }
    }

    /// Notes what there is.
    mutating func look(at model: ReferenceModel) {
        live = model.jobIDs
        blocked = model.blockedJobs
    }

    /// Draws who acts next.
    func client(_ random: inout SeededRandom) -> Int { random.pick(0...Self.count - 1) }

    /// Draws what client number `client` does next.
    mutating func operation(
        of client: Int, unfinished: Int, _ random: inout SeededRandom
    ) -> SimulationOperation {
        if random.chance(1, in: 60) { held[client] = [] }
        if unfinished > Self.jobsMax, random.chance(1, in: 2) { return relief(client, &random) }
        switch random.pick(0...99) {
        case 0..<27: return enqueue(&random)
        case 27..<47: return lease(client, &random)
        case 47..<52:
            guard let lease = someLease(client, &random) else { return enqueue(&random) }
            return .heartbeat(lease, milliseconds: Int64(random.pick(1...60)) * 1000)
        case 52..<66:
            guard let lease = someLease(client, &random) else { return lease(client, &random) }
            return settle(lease, client, &random)
        case 66..<69: return .cancel(someJob(&random))
        case 69: return .redrive(someJob(&random))
        case 70: return redriveWhere(&random)
        case 71, 72: return .edit(someJob(&random), edit(&random))
        case 73..<75: return .redriveQueue(random.pick(from: Self.queues), limit: random.pick(1...5))
        case 75..<79: return effect(client, &random)
        case 79: return passingEffect(&random)
        case 80, 81:
            let acks = acks(client, &random)
            return acks.isEmpty ? lease(client, &random) : .batch(acks)
        case 82..<86: return .batch((0..<random.pick(1...6)).map { _ in part(client, &random) })
        case 86..<88: return .setPaused(random.pick(from: Self.queues), random.chance(1, in: 3))
        case 88: return .configure(random.pick(from: Self.queues), Self.configuration(&random))
        case 89: return .drain(random.pick(from: Self.queues))
        case 90 where random.chance(1, in: 2): return labelled(&random)
        case 90: return .purge(random.pick(from: Self.queues), PurgeStates(rawValue: UInt8(random.pick(0...7))))
        case 91..<96 where canAdvance: return .advance(Self.span(&random))
        case 96: return random.chance(1, in: 3) ? .result(someJob(&random)) : .job(someJob(&random))
        case 97:
            let isBlocked = !blocked.isEmpty && random.chance(3, in: 4)
            return .release(isBlocked ? random.pick(from: blocked) : someJob(&random))
        case 98: return random.chance(1, in: 3) ? .stats : cursor(&random)
        case 99 where random.chance(1, in: 4): return .configureStore(Self.limits(&random))
        default: return .now
        }
    }

    /// Draws a span of time in milliseconds: mostly seconds, sometimes hours.
    static func span(_ random: inout SeededRandom) -> Int64 {
        switch random.pick(0...9) {
        case 0: 0
        case 1...6: Int64(random.pick(1...20_000))
        case 7, 8: Int64(random.pick(1...600)) * 1000
        default: Int64(random.pick(1...30)) * 3_600_000
        }
    }

    // MARK: - Parts

    /// Draws settings; seldom so tight that little else happens.
    private static func configuration(_ random: inout SeededRandom) -> QueueConfiguration {
        var configuration = QueueConfiguration()
        if random.chance(1, in: 3) { configuration.capacity = random.pick(1...20) }
        if random.chance(1, in: 3) { configuration.runningMax = random.pick(1...4) }
        if random.chance(1, in: 4) { configuration.groupRunningMax = random.pick(1...2) }
        if random.chance(1, in: 3) { configuration.groupOrder = random.pick(from: [.strict, .parking]) }
        if random.chance(1, in: 4) {
            configuration.rate = .init(random.pick(1...5), per: .seconds(random.pick(1...5)), burst: random.pick(1...5))
        }
        if random.chance(1, in: 4) {
            configuration.groupRate = .init(random.pick(1...3), per: .seconds(random.pick(1...9)))
        }
        if random.chance(1, in: 4) { configuration.ageing = .seconds(random.pick(1...20)) }
        if random.chance(1, in: 4) { configuration.limiter = .init(name: "slots", size: random.pick(1...4)) }
        if random.chance(1, in: 2) {
            configuration.retry = .fixed(.seconds(random.pick(0...20)), jitterPercent: random.pick(0...100))
        }
        if random.chance(1, in: 4) { configuration.crashMax = random.pick(1...3) }
        if random.chance(1, in: 4) { configuration.finalErrors = ["e0"] }
        if random.chance(1, in: 4) { configuration.deadMax = random.pick(1...4) }
        if random.chance(1, in: 4) { configuration.deadAge = .seconds(random.pick(1...600)) }
        if random.chance(1, in: 4) { configuration.resultRetention = .seconds(random.pick(1...600)) }
        return configuration
    }

    /// Draws limits of the store, mostly none.
    private static func limits(_ random: inout SeededRandom) -> StoreLimits {
        var limits = StoreLimits()
        if random.chance(1, in: 3) { limits.jobs = random.pick(5...60) }
        if random.chance(1, in: 3) { limits.payloadBytes = random.pick(from: [2_000, 20_000, 200_000]) }
        return limits
    }

    private static func labels(_ random: inout SeededRandom) -> [String: String] {
        // One, so that a trace reads the same each time; the owner is found like a second.
        random.chance(3, in: 4) ? ["tenant": "t\(random.pick(0...2))"] : ["kind": "k\(random.pick(0...1))"]
    }

    /// Draws something that goes by labels or owners.
    private func labelled(_ random: inout SeededRandom) -> SimulationOperation {
        let queue = random.chance(1, in: 3) ? random.pick(from: Self.queues) : nil
        let labels = random.chance(3, in: 4) ? Self.labels(&random) : [:]
        let owner = labels.isEmpty || random.chance(1, in: 4) ? "o\(random.pick(0...1))" : nil
        if random.chance(1, in: 6) { return .cancelJobs(labels: labels, owner: owner, queue: queue) }
        var filter = JobFilter(queue: queue, state: random.pick(from: [.ready, .scheduled, .leased, .dead]))
        (filter.labels, filter.owner) = (labels, owner)
        return .jobs(filter)
    }

    private func cursor(_ random: inout SeededRandom) -> SimulationOperation {
        let name = "cursor\(random.pick(0...2))"
        switch random.pick(0...9) {
        case 0...3: return .openCursor(name)
        case 4...7: return .advanceCursor(name, someJob(&random).sequence.next)
        case 8: return .resetCursor(name)
        default: return .removeCursor(name)
        }
    }

    private mutating func relief(_ client: Int, _ random: inout SeededRandom) -> SimulationOperation {
        guard let lease = held[client].last else {
            if random.chance(1, in: 6) { return .purge(random.pick(from: Self.queues), .all) }
            return .lease(queues: Self.queues, limit: 4, milliseconds: 60_000, worker: "w\(client)")
        }
        held[client].removeAll { $0 == lease }
        return .ack(lease, keepFor: Self.keepFor(&random))
    }

    private func enqueue(_ random: inout SeededRandom) -> SimulationOperation {
        .enqueue(
            queue: random.pick(from: Self.queues), payload: payload(&random), options: options(&random))
    }

    private func payload(_ random: inout SeededRandom) -> [UInt8] {
        switch random.pick(0...99) {
        case 0..<85: random.bytes(random.pick(0...60))
        // Compresses, so that the large ones cost the simulation little.
        case 85..<99: [UInt8](repeating: UInt8(random.pick(0...255)), count: random.pick(500...9_000))
        default: [UInt8](repeating: UInt8(random.pick(0...255)), count: random.pick(40_000...120_000))
        }
    }

    /// Draws which jobs a new one waits for, and which one waits for it.
    private func dependencies(_ options: inout EnqueueOptions, _ random: inout SeededRandom) {
        if !live.isEmpty, random.chance(1, in: 6) {
            options.after = (0..<random.pick(1...3)).map { _ in random.pick(from: live) }
            if random.chance(1, in: 20) { options.after = [JobID(1 << 50)] }
        }
        options.hold = random.chance(1, in: 25)
        if options.hold || !options.after.isEmpty {
            options.ifOneFails = random.pick(from: DependencyFailure.allCases)
        }
        guard !blocked.isEmpty, random.chance(1, in: 8) else { return }
        options.before = random.pick(from: blocked)
    }

    private func options(_ random: inout SeededRandom) -> EnqueueOptions {
        var options = EnqueueOptions()
        dependencies(&options, &random)
        if random.chance(1, in: 3) { options.priority = random.pick(-1...2) }
        if random.chance(1, in: 6) { options.delay = .seconds(random.pick(0...90)) }
        if options.delay == nil, random.chance(1, in: 20) {
            options.runAt = ManualClock.defaultStart.advanced(byMilliseconds: Int64(random.pick(0...7_200_000)))
        }
        if random.chance(1, in: 2) { options.maxAttempts = random.pick(1...3) }
        if random.chance(1, in: 5) {
            options.uniqueKey = "key\(random.pick(0...5))"
            switch random.pick(0...3) {
            case 0, 1: options.uniqueFor = .seconds(random.pick(1...120))
            case 2: options.uniqueScope = .queued
            default: break
            }
            if random.chance(1, in: 2) { options.onCollision = random.pick(from: UniqueCollision.allCases) }
        }
        if random.chance(1, in: 4) {
            options.group = "g\(random.pick(0...2))"
            if random.chance(1, in: 3) { options.weight = random.pick(from: [2, 3, 1000]) }
        }
        if random.chance(1, in: 8) { options.headers = [JobHeader(name: "h", value: "\(random.pick(0...999))")] }
        if random.chance(1, in: 8) { options.timeToLive = .seconds(random.pick(1...120)) }
        if random.chance(1, in: 10) { options.timeLimit = .seconds(random.pick(1...60)) }
        if random.chance(1, in: 10) { options.crashMax = random.pick(1...3) }
        if random.chance(1, in: 10) { options.retry = .fixed(.seconds(random.pick(0...20)), jitterPercent: 50) }
        if random.chance(1, in: 10) { options.finalErrors = ["e1", "e0"] }
        if random.chance(1, in: 6) { options.labels = Self.labels(&random) }
        if random.chance(1, in: 8) { options.owner = "o\(random.pick(0...1))" }
        options.isSecret = options.onCollision != .replace && random.chance(1, in: 10)
        return options
    }

    private func edit(_ random: inout SeededRandom) -> JobEdit {
        var edit = JobEdit(priority: random.pick(-1...2))
        if random.chance(1, in: 2) { edit.queue = random.pick(from: Self.queues) }
        if random.chance(1, in: 3) { edit.priority = nil }
        if random.chance(1, in: 3) { edit.maxAttempts = random.pick(1...4) }
        if random.chance(1, in: 3) { edit.delay = .seconds(random.pick(0...90)) }
        if random.chance(1, in: 2) { edit.headers = [JobHeader(name: "h", value: "\(random.pick(0...999))")] }
        if random.chance(1, in: 2) || edit == JobEdit() { edit.payload = payload(&random) }
        return edit
    }

    private func lease(_ client: Int, _ random: inout SeededRandom) -> SimulationOperation {
        var queues = Self.queues.shuffled(using: &random)
        queues.removeLast(random.pick(0...2))
        return .lease(
            queues: queues, limit: random.chance(1, in: 2) ? 1 : random.pick(2...5),
            milliseconds: Int64(random.pick(1...60)) * 1000, worker: random.chance(1, in: 2) ? "w\(client)" : "",
            weights: random.chance(1, in: 3) ? queues.map { _ in random.pick(1...3) } : [])
    }

    private mutating func settle(
        _ lease: LeaseIdentity, _ client: Int, _ random: inout SeededRandom
    ) -> SimulationOperation {
        if random.chance(4, in: 5) { held[client].removeAll { $0 == lease } }
        let settlement = settlement(of: lease, &random)
        return random.chance(1, in: 3) ? .settle(settlement, thenLease: self.lease(client, &random)) : settlement
    }

    private func settlement(of lease: LeaseIdentity, _ random: inout SeededRandom) -> SimulationOperation {
        switch random.pick(0...9) {
        case 0..<5: return .ack(lease, keepFor: Self.keepFor(&random))
        case 5..<9:
            let delay: Int64? = random.chance(1, in: 2) ? nil : Int64(random.pick(0...30)) * 1000
            return .requeue(
                lease, delay: delay, errorClass: errorClass(&random), countsAttempt: random.chance(4, in: 5))
        default: return .bury(lease)
        }
    }

    /// How long a result is kept: mostly its queue says.
    private static func keepFor(_ random: inout SeededRandom) -> Int64? {
        random.chance(1, in: 4) ? Int64(random.pick(0...600)) * 1000 : nil
    }

    /// Dead letters by what is known of them: made ready again, or let go of.
    private func redriveWhere(_ random: inout SeededRandom) -> SimulationOperation {
        var filter = DeadFilter()
        switch random.pick(0...5) {
        case 0: filter.reasons = [.buried, .attemptsUsedUp]
        case 1: filter.errorContains = random.pick(from: ["expired", "no", "bad"])
        case 2: filter.group = "g\(random.pick(0...2))"
        case 3: filter.attemptsMin = random.pick(1...3)
        case 4: filter.firstID = someJob(&random)
        default: filter = .all
        }
        let queue = random.pick(from: Self.queues)
        if random.chance(1, in: 4) { return .purgeWhere(queue, filter) }
        return .redriveWhere(queue, filter, perSecond: random.chance(1, in: 2) ? random.pick(1...3) : nil)
    }

    private func errorClass(_ random: inout SeededRandom) -> String? {
        random.chance(1, in: 4) ? "e\(random.pick(0...2))" : nil
    }

    /// An effect kept for a time, or one forgotten.
    private func passingEffect(_ random: inout SeededRandom) -> SimulationOperation {
        let (scope, key) = ("s\(random.pick(0...1))", "k\(random.pick(0...9))")
        if random.chance(1, in: 2) { return .removeEffect(scope: scope, key: key) }
        return .keptEffect(scope: scope, key: key, seconds: random.pick(1...60), value: random.bytes(9))
    }

    private func effect(_ client: Int, _ random: inout SeededRandom) -> SimulationOperation {
        let fence = random.chance(1, in: 3) ? someLease(client, &random) : nil
        return .effect(
            scope: "s\(random.pick(0...1))", key: "k\(random.pick(0...9))", fence: fence,
            value: random.bytes(random.pick(0...20)))
    }

    /// Acks of most that a client holds, as of a worker that takes many jobs at once; now and then one that has ended.
    private mutating func acks(_ client: Int, _ random: inout SeededRandom) -> [BatchOperation] {
        var leases = held[client].filter { _ in random.chance(3, in: 4) }
        held[client].removeAll { leases.contains($0) }
        if random.chance(1, in: 8), let other = someLease(client, &random) { leases.append(other) }
        if random.chance(7, in: 8) { leases.sort { $0.id < $1.id } }
        return leases.map { .ack($0) }
    }

    private mutating func part(_ client: Int, _ random: inout SeededRandom) -> BatchOperation {
        switch random.pick(0...6) {
        case 6: return .edit(someJob(&random), edit(&random))
        case 0, 1:
            return .enqueue(
                queue: random.pick(from: Self.queues), payload: payload(&random), options: options(&random))
        case 2: return .cancel(someJob(&random))
        case 3:
            guard case .effect(let scope, let key, let fence, let value) = effect(client, &random) else { break }
            return .effect(scope: scope, key: key, fencedBy: fence, value: value)
        default: break
        }
        guard let lease = held[client].popLast() else {
            return .enqueue(queue: "a", payload: random.bytes(8), options: EnqueueOptions())
        }
        switch random.pick(0...3) {
        case 0:
            return .requeue(
                lease, after: random.chance(1, in: 2) ? nil : .seconds(3), errorClass: errorClass(&random))
        case 1: return .bury(lease)
        default:
            if random.chance(1, in: 3) { return .ack(lease) }
            let keepFor: Duration? = random.chance(1, in: 3) ? .seconds(60) : nil
            return .ack(lease, result: SimulationOperation.result(of: lease.id), keepFor: keepFor)
        }
    }

    private func someLease(_ client: Int, _ random: inout SeededRandom) -> LeaseIdentity? {
        if !held[client].isEmpty, random.chance(5, in: 6) { return random.pick(from: held[client]) }
        guard !known.isEmpty else { return nil }
        let lease = random.pick(from: known)
        // Now and then a token that was never given for that job.
        return random.chance(1, in: 8)
            ? LeaseIdentity(id: lease.id, token: LeaseToken(lease.token.rawValue + 1)) : lease
    }

    private func someJob(_ random: inout SeededRandom) -> JobID {
        if jobs.isEmpty || random.chance(1, in: 20) { return JobID(UInt64(random.pick(1...40)) << 40) }
        return random.pick(from: jobs)
    }
}
