// Steps of a piece of work: run once, recorded with what they are, replayed, forgotten; and gates by version.

import Holdfast
import HoldfastBytes
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct EffectStepTests {
    private struct Broken: Error, Equatable {}

    private func failing<T>(_ body: () async throws -> T) async -> (any Error)? {
        do { _ = try await body() } catch { return error }
        return nil
    }

    private func code<T>(_ body: () async throws -> T) async -> JobStoreError.Code? {
        (await failing(body) as? JobStoreError)?.code
    }

    @Test func aStepRunsOnceAndGivesWhatItGave() async throws {
        let fixture = try StoreFixture()
        var store = try await fixture.open()
        #expect(try await store.effects(scope: "order 7").capture("charge", as: .integer) { 42 } == 42)
        #expect(try await store.effects(scope: "order 7").capture("greet", as: .text) { "grüße" } == "grüße")
        try await store.close()
        store = try await fixture.open()
        let effects = store.effects(scope: "order 7")
        // Blanks around a name do not count.
        let again = try await effects.capture(" charge ", as: .integer) {
            Issue.record("a recorded step does not run")
            return 1
        }
        #expect(again == 42)
        let listed = try await effects.list()
        #expect(listed.map(\.key) == ["charge", "greet"] && listed.map(\.tag) == ["integer", "text"])
        #expect(listed[0].value == Array("42".utf8) && listed[0].job == nil && !listed[0].isFailure)
        #expect(try await effects.list(after: "charge", limit: 1).map(\.key) == ["greet"])
        #expect(try await store.effectScopes().map(\.count) == [2])
        let blank = await code { try await effects.capture("  ") { [] } }
        #expect(blank == .badRequest)
        try await store.close()
    }

    @Test func aValueOfAnotherTagIsRefusedAndTheStepDoesNotRun() async throws {
        try await withStore { store, _ in
            let effects = store.effects(scope: "s")
            _ = try await effects.capture("k", as: .text) { "12" }
            let refused = await code {
                try await effects.capture("k", as: .integer) {
                    Issue.record("the step does not run")
                    return 1
                }
            }
            #expect(refused == .effectMismatch)
            // What was recorded without a tag is anything.
            _ = try await store.effect(scope: "s", key: "old", value: Array("5".utf8))
            #expect(try await effects.capture("old", as: .integer) { 6 } == 5)
            let failed = await failing { try await effects.capture("bad", as: .integer) { throw Broken() } }
            #expect(failed is Broken)
            _ = try await store.effect(scope: "s", key: "bad", value: Array("x".utf8))
            let error = await failing { try await effects.capture("bad", as: .integer) { 1 } }
            #expect(error as? EffectDecodingError == EffectDecodingError(tag: "integer"))
        }
    }

    @Test func anErrorIsTriedAgainOrRecordedAsThePolicySays() async throws {
        try await withStore { store, _ in
            let effects = store.effects(scope: "s")
            let tried = await failing { try await effects.capture("a") { throw Broken() } }
            #expect(tried is Broken)
            let recovered = try await effects.capture("a") { [1] }
            #expect(recovered == [1])
            let first = await failing { try await effects.capture("b", onError: .record) { throw Broken() } }
            let second = await failing { try await effects.capture("b") { [2] } }
            #expect(
                first as? EffectFailure == EffectFailure(scope: "s", key: "b", message: "Broken()"))
            #expect(second as? EffectFailure == first as? EffectFailure)
            let policy = EffectErrorPolicy.classify { $0 is Broken ? .record("for good") : .retry }
            let classified = await failing { try await effects.capture("c", onError: policy) { throw Broken() } }
            #expect((classified as? EffectFailure)?.message == "for good")
            #expect(try await effects.list().filter(\.isFailure).map(\.key) == ["b", "c"])
        }
    }

    @Test func aCancellationIsNeverRecorded() async throws {
        try await withStore { store, _ in
            let effects = store.effects(scope: "s")
            let thrown = await failing {
                try await effects.capture("a", onError: .record) { throw CancellationError() }
            }
            #expect(thrown is CancellationError)
            // Nor is an error that comes of giving up.
            let started = Counter()
            let task = Task {
                try await effects.capture("a", onError: .record) {
                    started.add()
                    while !Task.isCancelled { await Task.yield() }
                    throw Broken()
                }
            }
            while started.count == 0 { await Task.yield() }
            task.cancel()
            let ended = await failing { try await task.value }
            #expect(ended is Broken)
            let recovered = try await effects.capture("a") { [1] }
            #expect(recovered == [1])
        }
    }

    @Test func callersOfOneStepRunItOnce() async throws {
        try await withStore { store, _ in
            let runs = Counter()
            let values = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<32 {
                    group.addTask {
                        try await store.effects(scope: "s").capture("k", as: .integer) {
                            runs.add()
                            for _ in 0..<100 { await Task.yield() }
                            return 7
                        }
                    }
                }
                return try await group.reduce(into: [Int]()) { $0.append($1) }
            }
            #expect(values == [Int](repeating: 7, count: 32) && runs.count == 1)
        }
    }

    @Test func aJobsStepsAreFencedByItsLeaseAndKeptForItsNextAttempt() async throws {
        try await withStore { store, fixture in
            let id = try await store.enqueue("q", payload: []).id
            let first = try #require(try await store.lease(from: "q", for: .seconds(1)).first)
            #expect(try await store.effects(of: first).capture("charge", as: .integer) { 1 } == 1)
            fixture.clock.advance(byMilliseconds: 1_000)
            let late = await code {
                try await store.effects(of: first).capture("mail") {
                    Issue.record("nothing runs under a lease that has ended")
                    return []
                }
            }
            #expect(late == .leaseLost)
            let second = try #require(try await store.lease(from: "q").first)
            let effects = store.effects(of: second)
            #expect(try await effects.capture("charge", as: .integer) { 2 } == 1)
            #expect(try await effects.list().first?.job == id)
            // The last step, the end of the job and what follows, in one commit.
            _ = try await store.batch([
                try effects.operation("mail", as: .text, value: "sent"), .ack(second.identity),
                .enqueue(queue: "next", payload: [1]),
            ])
            #expect(try await store.effects(scope: "job \(id)").capture("mail", as: .text) { "no" } == "sent")
        }
    }

    @Test func whatIsForgottenRunsAgain() async throws {
        try await withStore { store, fixture in
            let effects = store.effects(scope: "s")
            _ = try await effects.capture("a", as: .integer) { 1 }
            #expect(try await effects.remove("a"))
            #expect(try await effects.remove("a") == false)
            #expect(try await effects.capture("a", as: .integer) { 2 } == 2)
            _ = try await effects.capture("b", as: .integer, keepFor: .seconds(5)) { 1 }
            #expect(try await effects.list().last?.keptUntil == fixture.clock.wallNow().advanced(byMilliseconds: 5000))
            fixture.clock.advance(byMilliseconds: 4_999)
            #expect(try await effects.capture("b", as: .integer) { 2 } == 1)
            fixture.clock.advance(byMilliseconds: 1)
            #expect(try await effects.capture("b", as: .integer) { 3 } == 3)
            #expect(try await effects.list().map(\.keptUntil) == [nil, nil])
        }
    }

    @Test func whatIsKeptForATimeIsKeptThroughCrashesCheckpointsAndCompaction() async throws {
        let disk = SimulatedFileSystem()
        let clock = ManualClock()
        var options = JobStoreOptions()
        options.clock = clock
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        options.history = .none
        options.use(disk)
        let store = try await JobStore.open(at: "/store", options: options)
        _ = try await store.effects(scope: "s").capture("short", keepFor: .seconds(9)) { [1] }
        _ = try await store.effects(scope: "s").capture("long") { [2] }
        let digest = try await store.digest().hex
        var image = disk.crashImage(.nothingPending)
        for round in 0..<3 {
            options.use(image)
            let again = try await JobStore.open(at: "/store", options: options)
            #expect(try await again.digest().hex == digest, "round \(round)")
            #expect(try await again.effects(scope: "s").list().map(\.value) == [[2], [1]])
            if round == 0 { try await again.checkpoint() } else { _ = try await again.compact() }
            try await again.close()
            image = image.crashImage(.nothingPending)
        }
        clock.advance(byMilliseconds: 9_000)
        options.use(image)
        let last = try await JobStore.open(at: "/store", options: options)
        #expect(try await last.effects(scope: "s").list().map(\.value) == [[2]])
        _ = try await last.compact()
        #expect(try await last.effects(scope: "s").capture("long") { [3] } == [2])
        try await last.close()
        try await store.close()
    }

    // MARK: - Gates

    @Test func workGoesByTheVersionItBeganWith() async throws {
        try await withStore { store, _ in
            let effects = store.effects(scope: "s")
            let first = try await effects.require(change: "tax", min: 1, max: 2)
            #expect(first == VersionDecision(change: "tax", version: 2, isNew: true))
            let later = try await effects.require(change: "tax", min: 1, max: 5)
            #expect(later.version == 2 && !later.isNew)
            #expect(try await effects.require(change: "old", min: 1, max: 9, initial: 4).version == 4)
            let gone = await code { try await effects.require(change: "tax", min: 3, max: 5) }
            #expect(gone == .versionConflict)
            let swapped = await code { try await effects.require(change: "new", min: 2, max: 1) }
            #expect(swapped == .badRequest)
            let outside = await code { try await effects.require(change: "new", min: 1, max: 2, initial: 3) }
            #expect(outside == .versionConflict)
            _ = try await effects.capture("value", as: .integer) { 1 }
            let value = await code { try await effects.require(change: "value", min: 1, max: 2) }
            #expect(value == .effectMismatch)
        }
    }

    @Test func theFirstBranchThatFitsIsTaken() async throws {
        try await withStore { store, _ in
            let effects = store.effects(scope: "s")
            func run(_ change: String, initial: Int) async throws -> String {
                try await effects.branch(
                    change, min: 1, max: 4, initial: initial,
                    .version(1) { _ in "one" },
                    .range(2...3) { context in try await context.effects.capture(" step ", as: .text) { "two" } },
                    .when({ $0 > 2 }, { _ in "more" }), .otherwise { _ in "other" })
            }
            let (one, two, more) = (
                try await run("a", initial: 1), try await run("b", initial: 3), try await run("c", initial: 4)
            )
            #expect((one, two, more) == ("one", "two", "more"))
            #expect(try await effects.list().map(\.key) == ["a", "b", "b::v3::step", "c"])
            let none = await code { try await effects.branch("d", min: 1, max: 2, .version(1) { _ in 1 }) }
            #expect(none == .versionConflict)
            let outside = await code { try await effects.branch("e", min: 1, max: 2, .version(3) { _ in 1 }) }
            #expect(outside == .badRequest)
        }
    }

    // MARK: - Replay

    private func handle(_ effects: Effects, _ order: [String]) async throws -> [Int] {
        var values: [Int] = []
        let gate = try await effects.require(change: "gate", min: 1, max: 2)
        for key in order { values.append(try await effects.capture(key, as: .integer) { key.count + gate.version }) }
        return values
    }

    @Test func aHandlerIsRunAgainFromItsStoreAlone() async throws {
        let fixture = try StoreFixture()
        let store = try await fixture.open()
        let id = try await store.enqueue("q", payload: []).id
        let lease = try #require(try await store.lease(from: "q").first)
        let steps = ["a", "bb", "a", "ccc"]
        let values = try await handle(store.effects(of: lease), steps)
        try await store.ack(lease)
        // Beside its owner, and after it.
        for isClosed in [false, true] {
            if isClosed { try await store.close() }
            let replay = try EffectReplay(of: id, in: fixture.path)
            #expect(replay.recorded.map(\.key) == ["gate", "a", "bb", "ccc"])
            #expect(try await handle(replay.effects, steps) == values)
            try replay.finish()
            let other = try EffectReplay(of: id, in: fixture.path)
            let error = await failing { try await handle(other.effects, ["a", "ccc"]) } as? EffectDivergence
            #expect(error?.description == "step 3: recorded is `bb` (integer), asked for is `ccc` (integer)")
            let finish = await failing { try other.finish() }
            #expect(finish is EffectDivergence)
            let short = try EffectReplay(of: id, in: fixture.path)
            #expect(try await handle(short.effects, ["a", "bb"]) == Array(values.prefix(2)))
            let left = await failing { try short.finish() } as? EffectDivergence
            #expect(left?.recorded?.key == "ccc" && left?.asked == nil && left?.position == 4)
            let long = try EffectReplay(of: id, in: fixture.path)
            let more = await failing { try await handle(long.effects, steps + ["d"]) } as? EffectDivergence
            #expect(more?.recorded == nil && more?.asked?.key == "d")
            let removal = await code { try await long.effects.remove("a") }
            #expect(removal == .invalidState)
        }
    }
}
