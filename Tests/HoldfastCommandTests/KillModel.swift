// What the client of a store that is killed again and again knows: every answer it got, and so the state that the
// store has to be in. The requests are chosen so that each has one possible outcome. A store that was killed must be in
// the state after all that was answered and some beginning of what was not.

import Testing

@testable import HoldfastCommand

/// What went otherwise than promised.
struct KillMismatch: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// One request of the workload.
enum KillRequest {
    /// What can also be part of a batch.
    enum Part {
        /// The number stands for the payload.
        case enqueue(Int)
        case ack(Int64), requeue(Int64), bury(Int64), cancel(Int64)
        case effect(key: Int, value: Int, fence: Int64?)
    }
    /// One part alone is a request of its own; more are a batch.
    case parts([Part])
    case lease(limit: Int)
    case heartbeat(Int64)
    case advance(Int64)
    case maintenance(String)

    var parts: [Part] {
        if case .parts(let parts) = self { parts } else { [] }
    }
}

/// The state that the store has to be in.
struct KillModel {
    enum State: String { case ready, leased, completed, cancelled, dead }

    struct Job {
        let number: Int
        var state = State.ready
        var attempt = 0
        var token: Int64?
        var deadline: Int64 = 0
        var maxAttempts: Int { number % 4 == 0 ? 2 : 1000 }
    }

    static let leaseMilliseconds: Int64 = 60_000

    private(set) var jobs: [Int64: Job] = [:]
    private(set) var live: Set<Int64> = []
    private(set) var effects: [Int: Int] = [:]
    private(set) var now: Int64 = 1_700_000_000_000
    private(set) var completedCount = 0
    /// The highest id or token seen: every later one is higher.
    private(set) var highest: Int64 = 0

    static func payload(_ number: Int) -> String {
        // Most are small; some take a frame, and a few more than a whole segment.
        let filler = number % 97 == 0 ? 90_000 : number % 7 == 0 ? 3_000 : number % 100
        return "p\(number):" + String(repeating: "x", count: filler)
    }

    static func result(_ id: Int64) -> String { "{\"of\":\(id)}" }

    /// The jobs in a state, lowest id first.
    func jobs(_ state: State) -> [Int64] { live.filter { jobs[$0]?.state == state }.sorted() }

    // MARK: - Answers

    /// Takes note of an answer, which must be the one that was due.
    mutating func apply(_ request: KillRequest, _ reply: JSONValue) throws(KillMismatch) {
        guard reply["ok"]?.bool == true else { throw KillMismatch("\(request) was refused: \(reply.text)") }
        switch request {
        case .parts(let parts):
            let results = parts.count == 1 ? [reply] : reply["results"]?.elements ?? []
            guard results.count == parts.count else { throw KillMismatch("\(request) gave \(reply.text)") }
            for (part, result) in zip(parts, results) { try apply(part, result) }
        case .lease(let limit):
            let leases = reply["leases"]?.elements ?? []
            let due = jobs(.ready).prefix(limit)
            guard leases.compactMap({ $0["id"]?.integer }) == Array(due) else {
                throw KillMismatch("a lease gave \(reply.text.prefix(300)); due were \(due)")
            }
            for lease in leases { try apply(lease: lease) }
        case .heartbeat(let id):
            jobs[id]?.deadline = now + Self.leaseMilliseconds
            try expect(reply["deadline_ms"]?.integer == now + Self.leaseMilliseconds, request, reply)
        case .advance(let milliseconds):
            advance(milliseconds)
            try expect(reply["now_ms"]?.integer == now, request, reply)
        case .maintenance: break
        }
    }

    private mutating func apply(_ part: KillRequest.Part, _ reply: JSONValue) throws(KillMismatch) {
        switch part {
        case .enqueue(let number):
            guard let id = reply["id"]?.integer else { throw KillMismatch("an enqueue gave \(reply.text)") }
            try take(id, "an id")
            add(number, as: id)
        case .requeue(let id):
            perform(part)
            try expect(reply["state"]?.string == jobs[id]?.state.rawValue, part, reply)
        case .effect(let key, _, _):
            let isReplayed = effects[key] != nil
            perform(part)
            try expect(reply["value"]?.integer == effects[key].map(Int64.init), part, reply)
            try expect(reply["replayed"]?.bool == isReplayed, part, reply)
        case .ack, .bury, .cancel: perform(part)
        }
    }

    private mutating func apply(lease: JSONValue) throws(KillMismatch) {
        guard let id = lease["id"]?.integer, let token = lease["token"]?.integer, let job = jobs[id] else {
            throw KillMismatch("nobody enqueued \(lease.text.prefix(300))")
        }
        try take(token, "a token")
        grant(id, token)
        try expect(lease["payload"]?.string == Self.payload(job.number), "the payload of job \(id)", lease)
        try expect(lease["attempt"]?.integer == Int64(job.attempt + 1), "the attempt of job \(id)", lease)
        try expect(lease["deadline_ms"]?.integer == jobs[id]?.deadline, "the deadline of job \(id)", lease)
    }

    private mutating func take(_ number: Int64, _ what: String) throws(KillMismatch) {
        guard number > highest else { throw KillMismatch("\(what) is \(number), and \(highest) was given out before") }
        highest = number
    }

    private func expect(_ isRight: Bool, _ what: Any, _ reply: JSONValue) throws(KillMismatch) {
        guard isRight else { throw KillMismatch("\(what) gave \(reply.text.prefix(300))") }
    }

    // MARK: - Effects of requests

    /// Does what a request does that got no answer; false when it needs an id and there is none.
    mutating func perform(_ request: KillRequest, newIDs: inout ArraySlice<Int64>) -> Bool {
        switch request {
        case .parts(let parts):
            for part in parts {
                guard case .enqueue(let number) = part else {
                    perform(part)
                    continue
                }
                guard let id = newIDs.popFirst() else { return false }
                add(number, as: id)
            }
        case .lease(let limit): for id in jobs(.ready).prefix(limit) { grant(id, nil) }
        case .heartbeat(let id): jobs[id]?.deadline = now + Self.leaseMilliseconds
        case .advance(let milliseconds): advance(milliseconds)
        case .maintenance: break
        }
        return true
    }

    private mutating func perform(_ part: KillRequest.Part) {
        switch part {
        case .enqueue: preconditionFailure("an enqueue needs an id")
        case .ack(let id):
            end(id, .completed)
            completedCount += 1
        case .requeue(let id): giveBack(id)
        case .bury(let id): jobs[id]?.state = .dead
        case .cancel(let id): end(id, .cancelled)
        case .effect(let key, let value, _): effects[key] = effects[key] ?? value
        }
    }

    private mutating func add(_ number: Int, as id: Int64) {
        jobs[id] = Job(number: number)
        live.insert(id)
    }

    private mutating func grant(_ id: Int64, _ token: Int64?) {
        jobs[id]?.state = .leased
        jobs[id]?.attempt += 1
        jobs[id]?.token = token
        jobs[id]?.deadline = now + Self.leaseMilliseconds
    }

    private mutating func end(_ id: Int64, _ state: State) {
        jobs[id]?.state = state
        live.remove(id)
    }

    private mutating func giveBack(_ id: Int64) {
        guard let job = jobs[id] else { return }
        jobs[id]?.state = job.attempt >= job.maxAttempts ? .dead : .ready
    }

    private mutating func advance(_ milliseconds: Int64) {
        now += milliseconds
        for id in jobs(.leased) where jobs[id].map({ $0.deadline <= now }) == true { giveBack(id) }
    }

    /// Records that an effect was found not to be recorded, which its asking for changed.
    mutating func setEffect(_ key: Int, _ value: Int) { effects[key] = value }

    // MARK: - What is found after a crash

    /// The id behind which everything is that can still change.
    var listedAfter: Int64 { (live.min() ?? highest + 1) - 1 }

    /// Says what tells this state from the one that was found, if anything does.
    func difference(from found: KillFinding) -> String? {
        if found.now != now { return "the time is \(found.now), not \(now)" }
        for (key, value) in found.effects where effects[key] != value {
            return "effect \(key) is \(value.map(String.init) ?? "not recorded")"
        }
        var missing = live
        for (id, job) in found.jobs {
            guard let own = jobs[id] else { return "nobody enqueued job \(id)" }
            missing.remove(id)
            // Compaction may have dropped the leases of a job that is over, and shows fewer attempts then.
            let attempt = job["attempt"]?.integer ?? -1
            let hasAttempt = attempt == Int64(own.attempt) || (!live.contains(id) && attempt < own.attempt)
            guard hasAttempt, job["state"]?.string == own.state.rawValue else { return "\(own) is \(job.text)" }
            if own.state == .leased {
                let isSame = own.token.map { $0 == job["token"]?.integer } ?? true
                guard isSame, job["deadline_ms"]?.integer == own.deadline else { return "\(own) is \(job.text)" }
            }
            let result = job["result"]?.text
            if own.state == .completed, result != Self.result(id) { return "the result of \(id) is \(result ?? "")" }
        }
        if let id = missing.min() { return "job \(id) is lost" }
        return counts(found.stats)
    }

    private func counts(_ stats: JSONValue) -> String? {
        var counts: [State: Int64] = [:]
        for id in live { if let state = jobs[id]?.state { counts[state, default: 0] += 1 } }
        let queue = stats["queues"]?["q"]
        let isSame =
            (queue?["ready"]?.integer ?? 0) == counts[.ready] ?? 0
            && (queue?["leased"]?.integer ?? 0) == counts[.leased] ?? 0
            && (queue?["dead"]?.integer ?? 0) == counts[.dead] ?? 0 && (queue?["scheduled"]?.integer ?? 0) == 0
            && stats["completed"]?.integer == Int64(completedCount)
        return isSame ? nil : "the counts are \(stats.text), not \(counts) and \(completedCount) completed"
    }

    /// Takes over the tokens of leases that got no answer, and how far numbers have been given out.
    mutating func adopt(_ found: KillFinding) throws(KillMismatch) {
        let before = highest
        for (id, job) in found.jobs {
            highest = max(highest, id)
            guard jobs[id]?.state == .leased, jobs[id]?.token == nil, let token = job["token"]?.integer else {
                continue
            }
            guard token > before else { throw KillMismatch("token \(token) was given out after \(before)") }
            jobs[id]?.token = token
            highest = max(highest, token)
        }
    }
}

/// What an opened store says of itself.
struct KillFinding {
    let now: Int64
    /// In the order of ids.
    let jobs: [(id: Int64, info: JSONValue)]
    let stats: JSONValue
    /// The effects that were asked for; `nil` for those that had not been recorded.
    var effects: [Int: Int?] = [:]
}
