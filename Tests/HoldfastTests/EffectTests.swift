import Holdfast
import HoldfastBytes
import HoldfastLog
import Testing

@Suite(.timeLimit(.minutes(10))) struct EffectTests {
    private struct Failed: Error, Equatable {}

    @Test func theFirstValueIsTheValueForEver() async throws {
        let fixture = try StoreFixture()
        var store = try await fixture.open()
        let first = try await store.effect(scope: "s", key: "k", value: [1])
        #expect(first.value == [1] && !first.isReplayed)
        let second = try await store.effect(scope: "s", key: "k", value: [2])
        #expect(second.value == [1] && second.isReplayed)
        try await store.close()
        store = try await fixture.open()
        let third = try await store.effect(scope: "s", key: "k") {
            Issue.record("a recorded effect is not computed again")
            return [3]
        }
        #expect(third.value == [1] && third.isReplayed)
        #expect(try await store.effect(scope: "s", key: "other", value: [4]).value == [4])
        try await store.close()
    }

    @Test func aFenceThatEndedRefusesEvenARecordedEffect() async throws {
        try await withStore { store, _ in
            _ = try await store.enqueue("q", payload: [])
            let lease = try #require(try await store.lease(from: "q", for: .seconds(1)).first)
            let fence = lease.identity
            _ = try await store.effect(scope: "s", key: "k", fencedBy: fence, value: [1])
            try await store.advanceClock(by: 1_000)
            await expectRefusal(.leaseLost) {
                _ = try await store.effect(scope: "s", key: "k", fencedBy: fence, value: [1])
            }
            await expectRefusal(.leaseLost) {
                _ = try await store.effect(scope: "s", key: "new", fencedBy: fence) {
                    Issue.record("nothing is computed under a lease that has ended")
                    return [1]
                }
            }
            await expectRefusal(.notFound) {
                let unknown = LeaseIdentity(id: JobID(99_999), token: fence.token)
                _ = try await store.effect(scope: "s", key: "new", fencedBy: unknown) { [1] }
            }
            #expect(try await store.history(of: lease.id).map(\.kind) == ["enqueue", "lease", "effect", "expire"])
        }
    }

    @Test func concurrentCallersOfOneKeyRunOneBody() async throws {
        try await withStore { store, _ in
            let runs = Counter()
            let values = try await withThrowingTaskGroup(of: EffectResult.self) { group in
                for index in 0..<32 {
                    group.addTask {
                        try await store.effect(scope: "s", key: "k") {
                            runs.add()
                            for _ in 0..<100 { await Task.yield() }
                            return [UInt8(index)]
                        }
                    }
                }
                return try await group.reduce(into: [EffectResult]()) { $0.append($1) }
            }
            #expect(runs.count == 1)
            #expect(Set(values.map(\.value)).count == 1)
            #expect(values.filter { !$0.isReplayed }.count == 1)
        }
    }

    @Test func anErrorIsThrownUntouchedAndNotRecorded() async throws {
        try await withStore { store, _ in
            await #expect(throws: Failed()) {
                try await store.effect(scope: "s", key: "k") { throw Failed() }
            }
            await #expect(throws: CancellationError.self) {
                try await store.effect(scope: "s", key: "k") { throw CancellationError() }
            }
            let result = try await store.effect(scope: "s", key: "k") { [1] }
            #expect(result.value == [1] && !result.isReplayed)
        }
    }

    @Test func aWaiterGoesOnWhenTheOtherBodyFails() async throws {
        try await withStore { store, _ in
            let results = await withTaskGroup(of: EffectResult?.self) { group in
                for index in 0..<8 {
                    group.addTask {
                        try? await store.effect(scope: "s", key: "k") {
                            for _ in 0..<20 { await Task.yield() }
                            if index % 2 == 0 { throw Failed() }
                            return [UInt8(index)]
                        }
                    }
                }
                return await group.reduce(into: [EffectResult]()) { if let result = $1 { $0.append(result) } }
            }
            #expect(results.count >= 4)
            #expect(Set(results.map(\.value)).count == 1)
        }
    }

    @Test func namesAndValuesOutOfTheirLimitsAreRefused() async throws {
        try await withStore { store, _ in
            await expectRefusal(.badRequest) { _ = try await store.effect(scope: "", key: "k", value: []) }
            await expectRefusal(.badRequest) { _ = try await store.effect(scope: "s", key: "") { [] } }
            let long = [UInt8](repeating: 0, count: (1 << 20) + 1)
            await expectRefusal(.tooLarge) { _ = try await store.effect(scope: "s", key: "k", value: long) }
        }
    }

    @Test func blockingCallersRunOneBodyToo() async throws {
        try await withStore { store, _ in
            let runs = Counter()
            let values = try await withThrowingTaskGroup(of: EffectResult.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        try await onThread {
                            try store.blocking.effect(scope: "s", key: "k") {
                                runs.add()
                                return [1]
                            }
                        }
                    }
                }
                return try await group.reduce(into: [EffectResult]()) { $0.append($1) }
            }
            #expect(runs.count == 1)
            #expect(values.count == 4)
        }
    }
}

/// Counts across tasks.
final class Counter: Sendable {
    private let value = Locked(0)
    var count: Int { value.withLock { $0 } }
    func add() { value.withLock { $0 += 1 } }
}
