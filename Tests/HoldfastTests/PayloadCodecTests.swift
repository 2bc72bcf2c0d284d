// Encoded payloads: what is stored, who can read it, and what becomes of a job whose key is not there.

import Holdfast
import HoldfastBytes
import HoldfastTestKit
import Testing

/// Turns bytes by a number for each key. The last of `keys` encodes.
private struct TurningCodec: PayloadCodec {
    struct UnknownKey: Error {}
    var keys: [(id: String, number: UInt8)]

    func encode(_ payload: [UInt8]) throws -> EncodedPayload {
        guard let key = keys.last else { throw UnknownKey() }
        return EncodedPayload(keyID: key.id, bytes: payload.map { $0 &+ key.number })
    }

    func decode(_ payload: EncodedPayload) throws -> [UInt8] {
        guard let key = keys.first(where: { $0.id == payload.keyID }) else { throw UnknownKey() }
        return payload.bytes.map { $0 &- key.number }
    }
}

/// Its errors quote what they are about, as those of many libraries do.
private struct WordyCodec: PayloadCodec {
    struct Refusal: Error, CustomStringConvertible { let description = String(repeating: "\u{e9}", count: 1_500_000) }

    func encode(_ payload: [UInt8]) -> EncodedPayload { EncodedPayload(keyID: "k", bytes: payload) }
    func decode(_ payload: EncodedPayload) throws -> [UInt8] { throw Refusal() }
}

@Suite(.timeLimit(.minutes(10))) struct PayloadCodecTests {
    private let old = TurningCodec(keys: [("k1", 1)])
    private let new = TurningCodec(keys: [("k1", 1), ("k2", 2)])

    @Test func workersAndViewsSeeWhatWasGivenAndTheLogSomethingElse() async throws {
        try await withStore {
            $0.payloadCodec = old
        } _: { store, fixture in
            let secret = bytes("attack at dawn")
            let id = try await store.enqueue("q", payload: secret).id
            _ = try await store.batch([.enqueue(queue: "q", payload: secret)])
            try await store.edit(id, JobEdit(priority: 1, payload: bytes("at noon")))
            let info = try #require(try await store.job(id))
            #expect(info.payload == bytes("at noon") && info.payloadKeyID == "k1" && info.payloadError == nil)
            let past = try await store.state(asOf: .sequence(id.sequence))
            #expect(try await past.job(id)?.payload == secret)
            let leases = try await store.lease(from: "q", limit: 2)
            #expect(leases.map(\.payload) == [bytes("at noon"), secret])
            try await store.close()
            let blind = try await fixture.open()
            var stored: [[UInt8]] = []
            for try await event in blind.events(from: .oldest) {
                if let payload = event.payload { stored.append(payload) }
                if stored.count == 3 { break }
            }
            #expect(stored.allSatisfy { !$0.contains(secret) && $0.count > secret.count / 2 })
            try await blind.close()
        }
    }

    @Test func manyJobsOfOneCallAreEncodedAndDecoded() async throws {
        try await withStore {
            $0.payloadCodec = old
        } _: { store, _ in
            let payloads = (0..<100).map { bytes("attack at \($0)") }
            _ = try await store.batch(payloads.map { .enqueue(queue: "q", payload: $0) })
            let leases = try await store.lease(from: "q", limit: 100)
            #expect(leases.map(\.payload) == payloads)
            #expect(try await store.job(leases[7].id)?.payloadKeyID == "k1")
        }
    }

    @Test func keysChangeWhileJobsWait() async throws {
        try await withStore {
            $0.payloadCodec = old
        } _: { store, fixture in
            _ = try await store.enqueue("q", payload: [1])
            try await store.close()
            let later = try await fixture.open { $0.payloadCodec = new }
            _ = try await later.enqueue("q", payload: [2])
            #expect(try await later.lease(from: "q", limit: 2).map(\.payload) == [[1], [2]])
            #expect(try await later.jobs().count == 2)
            try await later.close()
        }
    }

    @Test func withoutTheKeyTheJobIsGivenBackAndTheReasonNamed() async throws {
        try await withStore {
            $0.payloadCodec = new
        } _: { store, fixture in
            let id = try await store.enqueue("q", payload: [1]).id
            try await store.close()
            for codec in [nil, old] as [TurningCodec?] {
                let blind = try await fixture.open { $0.payloadCodec = codec }
                let plain = codec == nil ? try await blind.enqueue("q", payload: [7]).id : nil
                if let plain {
                    // Others have their turn meanwhile.
                    let leases = try await blind.lease(from: "q", limit: 5)
                    #expect(leases.map(\.id) == [plain])
                    try await blind.ack(leases[0])
                } else {
                    do throws(JobStoreError) {
                        _ = try await blind.lease(from: "q")
                        Issue.record("a payload was decoded without its key")
                    } catch {
                        #expect(error.code == .payloadCodec && error.message.contains("`k2`"))
                    }
                }
                let info = try #require(try await blind.job(id))
                #expect(info.state == .scheduled && info.attempt == 0 && info.payload == nil)
                #expect(info.payloadKeyID == "k2" && info.payloadError?.code == .payloadCodec)
                #expect(info.lastError?.contains("`k2`") == true)
                try await blind.advanceClock(by: 60_000)
                try await blind.close()
            }
            let seeing = try await fixture.open { $0.payloadCodec = new }
            let leases = try await seeing.lease(from: "q")
            #expect(leases.map(\.payload) == [[1]] && leases.map(\.attempt) == [1])
            try await seeing.close()
        }
    }

    /// A record with a longer error is damage to whoever reads it: the store could not be opened again.
    @Test func ofALongErrorOnlyTheBeginningIsRecorded() async throws {
        let disk = SimulatedFileSystem()
        var options = JobStoreOptions()
        options.fileSystem = disk
        options.payloadCodec = WordyCodec()
        let store = try await JobStore.open(at: "/store", options: options)
        let id = try await store.enqueue("q", payload: [1]).id
        await expectRefusal(.payloadCodec) { _ = try await store.lease(from: "q") }
        _ = try await store.now()
        options.fileSystem = disk.crashImage(.nothingPending)
        let found = try await JobStore.open(at: "/store", options: options)
        let error = try #require(try await found.job(id)?.lastError)
        #expect(error.utf8.count < 2_000 && error.contains("with the key `k` (\u{e9}") && error.hasSuffix("\u{e9}..."))
        try await found.close()
        try await store.close()
    }

    @Test func whatCanNotBeEncodedIsRefused() async throws {
        try await withStore {
            $0.payloadCodec = TurningCodec(keys: [])
        } _: { store, _ in
            await expectRefusal(.payloadCodec) { _ = try await store.enqueue("q", payload: [1]) }
            await expectRefusal(.payloadCodec, index: 0) {
                _ = try await store.batch([.enqueue(queue: "q", payload: [1])])
            }
            let jobs = try await store.jobs()
            #expect(jobs.isEmpty)
        }
    }

    @Test func aPlainPayloadIsNeverTakenForAnEncodedOne() async throws {
        let mark: [UInt8] = [0x00, 0xF5, 0x48, 0x46, 0x45, 0x4E, 0x43, 0x01]
        try await withStore { store, _ in
            await expectRefusal(.badRequest) { _ = try await store.enqueue("q", payload: mark + [1, 65, 66]) }
            let id = try await store.enqueue("q", payload: Array(mark.dropLast())).id
            await expectRefusal(.badRequest) { try await store.edit(id, JobEdit(payload: mark)) }
            #expect(try await store.lease(from: "q").map(\.payload) == [Array(mark.dropLast())])
        }
    }
}
