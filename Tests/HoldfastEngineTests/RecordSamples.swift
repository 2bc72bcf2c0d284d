import HoldfastBytes
import HoldfastEngine
import HoldfastTestKit

/// Random records within the limits.
enum RecordSamples {
    static func record(_ random: inout SeededRandom) -> Record {
        let sequence = SequenceNumber(
            random.pick(from: [UInt64(random.pick(3...300)), UInt64(random.pick(300...1 << 40)), UInt64(Int64.max)]))
        return Record(
            sequence: sequence, time: instant(&random), mutation: mutation(&random, before: sequence.rawValue))
    }

    static func retry(_ random: inout SeededRandom) -> RetryPolicy {
        let longest = RetryPolicy.delayMillisecondsMax
        let jitter = UInt8(random.pick(0...100))
        switch random.pick(0...3) {
        case 0: return RetryPolicy(.fixed(random.pick(from: [0, 1, 5000, longest])), jitterPercent: jitter)
        case 1:
            let factor = UInt32(random.pick(from: [1010, 1011, 2000, 1_000_000]))
            return RetryPolicy(
                .exponential(first: Int64(random.pick(0...9)), factor: factor, most: random.pick(from: [9, longest])),
                jitterPercent: jitter)
        case 2:
            let list = (0..<random.pick(1...RetryPolicy.listMax)).map { _ in Int64(random.pick(0...100_000)) }
            return RetryPolicy(.listed(list), jitterPercent: jitter)
        default: return .standard
        }
    }

    static func errorClasses(_ random: inout SeededRandom) -> ErrorClasses {
        let all = (0..<ErrorClasses.countMax).map { "e\($0)" }
        return ErrorClasses(Array(all.shuffled(using: &random).prefix(random.pick(from: [0, 1, 2, all.count]))))
    }

    /// Terms that say something.
    static func terms(_ random: inout SeededRandom) -> JobTerms {
        var terms = JobTerms()
        terms.timeLimit = random.pick(from: [nil, 1, 60_000, JobTerms.timeLimitMax])
        terms.crashMax = random.pick(from: [nil, 1, 2, JobTerms.crashesMax])
        if random.chance(1, in: 2) { terms.retry = retry(&random) }
        terms.finalErrors = errorClasses(&random)
        if terms.isEmpty { terms.crashMax = 3 }
        return terms
    }

    static func sharing(_ random: inout SeededRandom) -> SharingSettings {
        SharingSettings(
            groupRunningMax: random.pick(from: [nil, 0, 1, QueueTerms.limitMax]),
            order: random.pick(from: [nil, .free, .strict, .parking]),
            rate: random.pick(from: [
                nil, RateLimit.none,
                RateLimit(
                    count: random.pick(1...9), periodMilliseconds: RateLimit.periodMax, burst: RateLimit.countMax),
            ]),
            limiter: random.pick(from: [nil, SharedLimiter.none, SharedLimiter(name: "l", size: random.pick(1...400))]),
            groupRate: random.pick(from: [
                nil, RateLimit.none, RateLimit(count: random.pick(1...9), periodMilliseconds: 5, burst: 1),
            ]))
    }

    static func mutation(_ random: inout SeededRandom, before sequence: UInt64) -> Mutation {
        let job = JobID(UInt64.random(in: 1..<sequence, using: &random))
        let token = LeaseToken(UInt64.random(in: 1..<sequence, using: &random))
        switch random.pick(0...17) {
        case 0: return .enqueue(enqueue(&random, before: sequence))
        case 1:
            let attempt = UInt32(random.pick(from: [0, 1, 2, 300, Int(UInt32.max)]))
            return .lease(
                LeaseGrant(
                    job: job, lane: lane(&random), attempt: attempt, deadline: instant(&random), worker: text(&random)))
        case 2:
            return .heartbeat(
                Heartbeat(job: job, token: token, deadline: instant(&random), progress: bytes(&random)))
        case 3:
            var ack = Ack(job: job, token: token, result: bytes(&random))
            if ack.result != nil, random.chance(1, in: 2) { ack.until = instant(&random) }
            return .ack(ack)
        case 4:
            let outcome = random.pick(from: [Requeue.Outcome.ready, .dead, .scheduled(runAt: instant(&random))])
            return .requeue(
                Requeue(
                    job: job, token: token, outcome: outcome, countsAttempt: random.chance(1, in: 2),
                    error: random.chance(1, in: 2) ? text(&random) : nil,
                    errorClass: random.chance(1, in: 2) ? text(&random) : nil))
        case 5:
            return .expire(
                random.pick(from: [
                    .lease(job: job, token: token, isDead: random.chance(1, in: 2)),
                    .timeLimit(job: job, token: token, isDead: random.chance(1, in: 2)), .startBy(job: job),
                    .uniqueKey(queue: text(&random), key: text(&random), job: job),
                    .effect(scope: text(&random), key: text(&random)), .deadLetter(job: job), .result(job: job),
                    .dependency(job: job, failed: JobID(token.rawValue)),
                ]))
        case 6:
            let reason = random.pick(from: [Bury.Reason.buried, .unreadable])
            let error = random.chance(1, in: 2) ? text(&random) : nil
            return .bury(Bury(job: job, token: token, reason: reason, error: error))
        case 7: return .redrive(Redrive(job: job, runAt: random.chance(1, in: 2) ? instant(&random) : nil))
        case 8: return .cancel(Cancel(job: job, lane: lane(&random)))
        case 9:
            let fence = random.chance(1, in: 2) ? Effect.Fence(job: job, token: token) : nil
            return .effect(
                Effect(
                    scope: text(&random), key: text(&random), value: bytes(&random) ?? [], fence: fence,
                    tag: text(&random), isFailure: random.chance(1, in: 2),
                    until: random.chance(1, in: 2) ? instant(&random) : nil))
        case 10:
            return .queueSettings(
                QueueSettings(
                    queue: text(&random), isPaused: random.pick(from: [nil, false, true]),
                    capacity: random.pick(from: [nil, 0, 1, 300, QueueTerms.limitMax]),
                    runningMax: random.pick(from: [nil, 0, 1, QueueTerms.limitMax]),
                    retry: random.chance(1, in: 2) ? retry(&random) : nil,
                    crashMax: random.pick(from: [nil, 0, 1, JobTerms.crashesMax]),
                    finalErrors: random.chance(1, in: 2) ? errorClasses(&random) : nil, sharing: sharing(&random),
                    retention: RetentionSettings(
                        deadMax: random.pick(from: [nil, 0, 1, QueueTerms.limitMax]),
                        deadAge: random.pick(from: [nil, 0, 1, RetentionTerms.longest]),
                        results: random.pick(from: [nil, 0, 1, RetentionTerms.longest])),
                    ageing: random.pick(from: [nil, 0, 1, QueueTerms.ageingMax])))
        case 13: return .edit(edit(&random, of: job))
        case 11: return .cursorRemove(CursorRemove(name: text(&random)))
        case 12:
            let caps = CursorCaps(
                bytes: random.pick(from: [CursorCaps.standard.bytes, 0, CursorCaps.bytesMax]),
                age: random.pick(from: [CursorCaps.standard.age, 0, CursorCaps.ageMax]))
            let next = SequenceNumber(UInt64.random(in: 1...sequence, using: &random))
            return .cursorSet(CursorSet(name: text(&random), cursor: Cursor(next: next, caps: caps)))
        case 15: return .release(Release(job: job))
        case 16:
            let limits = [nil, 0, 1, 300, QueueTerms.limitMax]
            let settings = StoreSettings(jobs: random.pick(from: limits), payloadBytes: random.pick(from: limits))
            return .storeSettings(settings == StoreSettings() ? StoreSettings(jobs: 7) : settings)
        case 14: return .effectRemove(EffectRemove(scope: text(&random), key: text(&random)))
        default: return .clock(ClockAdvance())
        }
    }

    private static func dependencies(_ random: inout SeededRandom, before sequence: UInt64) -> EnqueueDependencies? {
        var result = EnqueueDependencies(policy: random.pick(from: DependencyPolicy.allCases))
        let ids = (0..<random.pick(0...5)).map { _ in JobID(UInt64.random(in: 1..<sequence, using: &random)) }
        result.after = Set(ids).sorted()
        result.isHeld = random.chance(1, in: 2)
        if random.chance(1, in: 2) { result.done = random.pick(from: [1, 300]) }
        if result.policy == .run { (result.dead, result.cancelled) = (random.pick(0...2), random.pick(0...2)) }
        if random.chance(1, in: 2) { result.before = JobID(UInt64.random(in: 1..<sequence, using: &random)) }
        return result.isValid ? result : nil
    }

    static func enqueue(_ random: inout SeededRandom, before sequence: UInt64) -> Enqueue {
        var enqueue = Enqueue(lane: lane(&random), payload: bytes(&random) ?? [])
        if random.chance(1, in: 3) { enqueue.runAt = instant(&random) }
        if random.chance(1, in: 3) { enqueue.uniqueKey = text(&random) }
        if enqueue.uniqueKey != nil && random.chance(1, in: 2) { enqueue.uniqueUntil = instant(&random) }
        enqueue.isKeyFreedByLease = enqueue.uniqueKey != nil && enqueue.uniqueUntil == nil && random.chance(1, in: 2)
        if random.chance(1, in: 3) { enqueue.startBy = instant(&random) }
        if random.chance(1, in: 3) { enqueue.terms = terms(&random) }
        if random.chance(1, in: 3) { enqueue.dependencies = dependencies(&random, before: sequence) }
        if random.chance(1, in: 3) { enqueue.labels = labels(&random) }
        enqueue.isSecret = random.chance(1, in: 4)
        enqueue.headers = headers(&random)
        return enqueue
    }

    /// Labels that say something.
    static func labels(_ random: inout SeededRandom) -> JobLabels {
        let names = ["tenant", "kind", "\u{1F600}", String(repeating: "l", count: 255)]
        let labels = names.filter { _ in random.chance(1, in: 2) }.map {
            (name: $0, value: random.pick(from: ["a", "b", "gr\u{FC}n"]))
        }
        return JobLabels(labels, owner: labels.isEmpty || random.chance(1, in: 2) ? "me" : nil)
    }

    private static func headers(_ random: inout SeededRandom) -> [Enqueue.Header] {
        (0..<random.pick(from: [0, 0, 1, 5])).map { _ in .init(name: text(&random), value: text(&random)) }
    }

    private static func edit(_ random: inout SeededRandom, of job: JobID) -> Edit {
        let from = lane(&random)
        var edit = Edit(job: job, from: from, to: random.chance(1, in: 2) ? from : lane(&random))
        (edit.to.group, edit.to.weight) = (from.group, from.weight)
        if random.chance(1, in: 2) { edit.runAt = instant(&random) }
        if random.chance(1, in: 2) { edit.headers = headers(&random) }
        edit.payload = bytes(&random)
        return edit
    }

    static func lane(_ random: inout SeededRandom) -> Lane {
        let group = text(&random)
        return Lane(
            queue: text(&random), priority: Int8(random.pick(from: [0, 0, 1, -1, 127, -128])),
            maxAttempts: UInt32(random.pick(from: [5, 5, 1, 200, 1_000_000])), group: group,
            weight: group.isEmpty ? 1 : random.pick(from: [1, 1, 2, 300, RecordLimits.weightMax]))
    }

    static func instant(_ random: inout SeededRandom) -> Timestamp {
        random.pick(from: [
            .zero, .max, Timestamp(milliseconds: 1_700_000_000_000 + Int64(random.pick(0...100_000))),
        ])
    }

    private static func text(_ random: inout SeededRandom) -> String {
        random.pick(from: ["", "q", "mail", "grüße", "\u{1F600}\0", String(repeating: "n", count: 255)])
    }

    private static func bytes(_ random: inout SeededRandom) -> [UInt8]? {
        let count = random.pick(from: [0, 1, 7, 300])
        return random.chance(1, in: 4) ? nil : random.bytes(count)
    }
}
