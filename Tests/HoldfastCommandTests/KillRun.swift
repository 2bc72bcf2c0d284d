// A store in a child process that is killed again and again: at an answer that was counted off, at a moment, or while
// it opens what the last kill left. Requests are in flight all the time.

import Holdfast
import HoldfastTestKit
import Testing

@testable import HoldfastCommand

/// The rounds of one store.
final class KillRun {
    struct Figures {
        var rounds = 0
        var openingKills = 0
        var answered = 0
        var unanswered = 0
        /// How many of those were found to have happened.
        var survived = 0
        var verified = 0
        /// What the store did to its files meanwhile.
        var turnover = StoreTurnover()
    }

    private(set) var figures = Figures()
    private let store: String
    private let arguments: [String]
    private var random: SeededRandom
    private var model = KillModel()
    private var inFlight: [KillRequest] = []
    private var nextNumber = 0
    private var wantsAdvance = false

    /// No answer takes a hundredth of that.
    private static let answerMillisecondsMax = 120_000
    private static let liveMax = 150
    private static let effectCount = 400

    init(_ store: String, arguments: [String], seed: UInt64) {
        self.store = store
        self.arguments = ["--clock", "manual"] + arguments
        random = SeededRandom(seed: seed)
    }

    /// Opens the store, checks what is there, goes on with it, and kills it.
    func round() throws {
        figures.rounds += 1
        try openAndKill()
        try figures.turnover.look(at: store, isDead: true)
        if figures.rounds % 10 == 0 { try verify() }
    }

    private func openAndKill() throws {
        let shell = try ShellProcess(store, arguments: arguments)
        let patience = random.chance(1, in: 6) ? random.pick(0...40) : nil
        guard let found = try look(shell, patience: patience) else {
            _ = try shell.killAndTakeReplies()
            figures.openingKills += 1
            return
        }
        try settle(found, shell)
        try work(shell)
        let replies = try shell.killAndTakeReplies()
        // What left the process was answered, whoever read it when.
        for reply in replies.prefix(inFlight.count) { try take(reply) }
        figures.unanswered += inFlight.count
    }

    /// Leases and acks whatever is left, and closes the store.
    func drain() throws {
        let shell = try ShellProcess(store, arguments: arguments)
        try settle(try #require(try look(shell, patience: nil)), shell)
        try ask(.advance(KillModel.leaseMilliseconds), shell)
        while !model.jobs(.ready).isEmpty {
            try ask(.lease(limit: 100), shell)
            for id in model.jobs(.leased) { try ask(.parts([.ack(id)]), shell) }
        }
        for id in model.jobs(.dead) { try ask(.parts([.cancel(id)]), shell) }
        let found = try #require(try look(shell, patience: nil))
        if let difference = model.difference(from: found) { throw KillMismatch("at the end \(difference)") }
        #expect(try shell.finish() == .code(0))
        try verify()
    }

    private func verify() throws {
        figures.verified += 1
        let result = try CommandHarness.holdfast("verify", store)
        guard result.exit == .code(0) else { throw KillMismatch("verify: \(result.output) \(result.errors)") }
    }

    // MARK: - After a crash

    /// Asks a store what it holds; `nil` when it did not say in time.
    private func look(_ shell: ShellProcess, patience: Int?) throws -> KillFinding? {
        try shell.send(
            #"{"op":"now"}"#, #"{"op":"jobs","limit":10000,"after":\#(model.listedAfter)}"#, #"{"op":"stats"}"#)
        let deadline = ContinuousClock.now + .milliseconds(patience ?? Self.answerMillisecondsMax)
        var replies: [JSONValue] = []
        while replies.count < 3 {
            let rest = Int(max(deadline - .now, .zero) / .milliseconds(1))
            guard let reply = try shell.receive(milliseconds: rest) else {
                if patience == nil { throw KillMismatch("the store did not open in time") }
                return nil
            }
            guard reply["ok"]?.bool == true else { throw KillMismatch("it did not open: \(reply.text)") }
            replies.append(reply)
        }
        let jobs = replies[1]["jobs"]?.elements ?? []
        return KillFinding(
            now: replies[0]["now_ms"]?.integer ?? 0, jobs: jobs.map { ($0["id"]?.integer ?? 0, $0) },
            stats: replies[2])
    }

    /// Finds how much of what was not answered has happened: it must be a beginning of it.
    private func settle(_ found: KillFinding, _ shell: ShellProcess) throws {
        var found = found
        for part in inFlight.flatMap(\.parts) {
            guard case .effect(let key, _, _) = part, model.effects[key] == nil else { continue }
            let reply = try shell.ask(#"{"op":"effect","scope":"s","key":"\#(key)","value":-1}"#)
            let value = try #require(reply["value"]?.integer)
            found.effects[key] = .some(reply["replayed"]?.bool == true ? Int(value) : nil)
        }
        let known = model
        let newIDs = found.jobs.map(\.id).filter { known.jobs[$0] == nil }
        if let id = newIDs.first, id <= known.highest {
            throw KillMismatch("id \(id) was given out after \(known.highest)")
        }
        var reason = ""
        var matching: KillModel?
        var candidate = known
        var ids = newIDs[...]
        for count in 0...inFlight.count {
            if count > 0, !candidate.perform(inFlight[count - 1], newIDs: &ids) { break }
            let difference = ids.isEmpty ? candidate.difference(from: found) : "there are jobs \(ids)"
            guard let difference else {
                matching = candidate
                figures.survived += count
                break
            }
            reason += "\nafter \(count) of what was in flight: \(difference)"
        }
        guard var state = matching else { throw KillMismatch("no such state: \(inFlight)\(reason)") }
        try state.adopt(found)
        for (key, value) in found.effects where value == nil { state.setEffect(key, -1) }
        model = state
        inFlight = []
    }

    // MARK: - Work

    private func work(_ shell: ShellProcess) throws {
        let target = random.pick(0...100)
        let window = random.pick(1...24)
        let end = ContinuousClock.now + .milliseconds(random.chance(1, in: 2) ? random.pick(1...80) : 10_000)
        var answered = 0
        while answered < target {
            while inFlight.count < window, let request = draw() { try send(request, shell) }
            let rest = Int(max(end - .now, .zero) / .milliseconds(1))
            guard let reply = try shell.receive(milliseconds: rest) else { return }
            try take(reply)
            answered += 1
        }
        while inFlight.count < window, let request = draw() { try send(request, shell) }
        // The moment of the kill: anywhere in the work on these.
        if random.chance(2, in: 3) { try Poll.wait(for: [], milliseconds: random.pick(0...8)) }
    }

    private func ask(_ request: KillRequest, _ shell: ShellProcess) throws {
        try send(request, shell)
        try take(try shell.receive())
    }

    private func send(_ request: KillRequest, _ shell: ShellProcess) throws {
        try shell.send(line(request))
        inFlight.append(request)
    }

    private func take(_ reply: JSONValue) throws {
        try model.apply(inFlight.removeFirst(), reply)
        figures.answered += 1
    }

    /// Draws a request whose outcome is certain; `nil` when that takes waiting for answers.
    private func draw() -> KillRequest? {
        if wantsAdvance {
            guard inFlight.isEmpty else { return nil }
            wantsAdvance = false
            return .advance(Int64(random.pick(1...40_000)))
        }
        if case .advance? = inFlight.first { return nil }
        let busy = busy()
        switch random.pick(0...99) {
        case 0: wantsAdvance = true
        case 1: return .maintenance("checkpoint")
        case 2: return .maintenance("compact")
        case 3...22 where !busy.isLeasing && !busy.isRequeueing: return .lease(limit: random.pick(1...8))
        case 3...60:
            let leased = model.jobs(.leased).filter { !busy.jobs.contains($0) }
            if let id = leased.randomElement(using: &random) { return settling(id, busy.keys) }
        case 61...64:
            let others = model.jobs(model.jobs(.dead).count > 10 ? .dead : .ready)
            if let id = others.filter({ !busy.jobs.contains($0) }).randomElement(using: &random) {
                return .parts([.cancel(id)])
            }
        case 65...68: if let effect = effect(busy.keys, fence: nil) { return .parts([effect]) }
        default: break
        }
        if wantsAdvance { return draw() }
        if model.live.count > Self.liveMax { return inFlight.isEmpty ? .maintenance("checkpoint") : nil }
        return .parts((0..<(random.chance(1, in: 8) ? 5 : 1)).map { _ in enqueue() })
    }

    private func settling(_ id: Int64, _ keys: Set<Int>) -> KillRequest {
        switch random.pick(0...19) {
        case 0: return .parts([.bury(id)])
        case 1...3: return .parts([.requeue(id)])
        case 4: return .heartbeat(id)
        case 5...8:
            let effect = effect(keys, fence: id).map { [$0] } ?? []
            return .parts(effect + [.ack(id), enqueue()])
        default: return .parts([.ack(id)])
        }
    }

    private func enqueue() -> KillRequest.Part {
        nextNumber += 1
        return .enqueue(nextNumber)
    }

    private func effect(_ busy: Set<Int>, fence: Int64?) -> KillRequest.Part? {
        let key = random.pick(0...Self.effectCount)
        return busy.contains(key) ? nil : .effect(key: key, value: random.pick(0...1_000_000), fence: fence)
    }

    /// What the requests in flight are about.
    private func busy() -> (jobs: Set<Int64>, keys: Set<Int>, isLeasing: Bool, isRequeueing: Bool) {
        var jobs: Set<Int64> = []
        var keys: Set<Int> = []
        var (isLeasing, isRequeueing) = (false, false)
        for request in inFlight {
            if case .lease = request { isLeasing = true }
            if case .heartbeat(let id) = request { jobs.insert(id) }
            for part in request.parts {
                switch part {
                case .enqueue: break
                case .ack(let id), .bury(let id), .cancel(let id): jobs.insert(id)
                case .requeue(let id):
                    jobs.insert(id)
                    isRequeueing = true
                case .effect(let key, _, _): keys.insert(key)
                }
            }
        }
        return (jobs, keys, isLeasing, isRequeueing)
    }

    // MARK: - Lines

    private func line(_ request: KillRequest) -> String {
        switch request {
        case .parts(let parts):
            let lines = parts.map(line)
            return lines.count == 1 ? lines[0] : #"{"op":"batch","ops":[\#(lines.joined(separator: ","))]}"#
        case .lease(let limit):
            return #"{"op":"lease","queue":"q","limit":\#(limit),"lease_ms":\#(KillModel.leaseMilliseconds)}"#
        case .heartbeat(let id):
            return #"{"op":"heartbeat",\#(fence(id)),"lease_ms":\#(KillModel.leaseMilliseconds)}"#
        case .advance(let milliseconds): return #"{"op":"advance","ms":\#(milliseconds)}"#
        case .maintenance(let name): return #"{"op":"\#(name)"}"#
        }
    }

    private func line(_ part: KillRequest.Part) -> String {
        switch part {
        case .enqueue(let number):
            let most = KillModel.Job(number: number).maxAttempts
            let payload = KillModel.payload(number)
            return #"{"op":"enqueue","queue":"q","max_attempts":\#(most),"payload":"\#(payload)"}"#
        case .ack(let id): return #"{"op":"ack",\#(fence(id)),"result":\#(KillModel.result(id))}"#
        case .requeue(let id): return #"{"op":"requeue",\#(fence(id)),"delay_ms":0}"#
        case .bury(let id): return #"{"op":"bury",\#(fence(id)),"error":"buried"}"#
        case .cancel(let id): return #"{"op":"cancel","id":\#(id)}"#
        case .effect(let key, let value, let id):
            let fencing = id.map { "," + fence($0) } ?? ""
            return #"{"op":"effect","scope":"s","key":"\#(key)","value":\#(value)\#(fencing)}"#
        }
    }

    private func fence(_ id: Int64) -> String { #""id":\#(id),"token":\#(model.jobs[id]?.token ?? 0)"# }
}
