// The blocks of the page on effects, each with a store of its own.

import Holdfast
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct EffectsPageTests {
    private struct Declined: Error {}

    /// A service that counts what it was asked for.
    private actor Service {
        private(set) var charges = 0
        func charge() -> String {
            charges += 1
            return "no. \(charges)"
        }
    }

    private static func leased(_ store: JobStore) async throws -> Lease {
        _ = try await store.enqueue("mail", payload: Array("hello".utf8))
        return try #require(try await store.lease(from: "mail", for: .seconds(3600)).first)
    }

    @Test func aJobTakesItsStepsOnce() async throws {
        let path = ReadmeTests.newPath()
        defer { ReadmeTests.remove(path) }
        let store = try await JobStore.open(at: path)
        let lease = try await Self.leased(store)
        let service = Service()
        func charge(_ payload: [UInt8]) async throws -> String { await service.charge() }
        _ = try await store.effects(of: lease).capture("charge", as: .text) { await service.charge() }
        // README begins: steps
        let effects = store.effects(of: lease)
        let declined = EffectErrorPolicy.classify { $0 is Declined ? .record("declined") : .retry }
        let receipt = try await effects.capture("charge", as: .text, onError: declined) {
            try await charge(lease.payload)
        }
        let mail = try effects.operation("mail", as: .text, value: "receipt \(receipt)")
        _ = try await store.batch([mail, .ack(lease.identity), .enqueue(queue: "archive", payload: lease.payload)])
        // README ends
        #expect(receipt == "no. 1")
        #expect(await service.charges == 1)
        #expect(try await store.effects(scope: "job \(lease.id)").list().map(\.key) == ["charge", "mail"])
        #expect(try await store.stats().completed == 1)
        try await store.close()
    }

    @Test func workGoesOnAsItBegan() async throws {
        let path = ReadmeTests.newPath()
        defer { ReadmeTests.remove(path) }
        let store = try await JobStore.open(at: path)
        let price = 100
        @Sendable func rate() async throws -> Int { 7 }
        var totals: [Int] = []
        for scope in ["old", "new"] {
            let effects = store.effects(scope: scope)
            if scope == "old" { _ = try await effects.require(change: "tax", min: 1, max: 1) }
            // README begins: gate
            let total = try await effects.branch(
                "tax", min: 1, max: 2,
                .version(1) { _ in price },
                .otherwise { version in
                    price + (try await version.effects.capture("rate", as: .integer) { try await rate() })
                })
            // README ends
            totals.append(total)
        }
        #expect(totals == [100, 107])
        try await store.close()
    }

    @Test func aHandlerIsRunAgain() async throws {
        let path = ReadmeTests.newPath()
        defer { ReadmeTests.remove(path) }
        let store = try await JobStore.open(at: path)
        let lease = try await Self.leased(store)
        let job = lease.id
        for key in ["charge", "mail"] { _ = try await store.effects(of: lease).capture(key, as: .text) { key } }
        func handle(_ effects: Effects) async throws {
            for key in ["charge", "archive"] { _ = try await effects.capture(key, as: .text) { key } }
        }
        // Beside its owner a reader may lack what was recorded last.
        try await store.close()
        // README begins: replay
        let replay = try EffectReplay(of: job, in: path)
        do {
            try await handle(replay.effects)
            try replay.finish()
        } catch let divergence as EffectDivergence {
            print(divergence)  // step 2: recorded is `mail` (text), asked for is `archive` (text)
        }
        // README ends
        #expect(replay.recorded.map(\.key) == ["charge", "mail"])
        #expect(throws: EffectDivergence.self) { try replay.finish() }
    }
}
