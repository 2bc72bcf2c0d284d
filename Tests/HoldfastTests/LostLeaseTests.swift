// Every way to lose a lease, met by every operation that needs one.

import Holdfast
import HoldfastBytes
import Testing

@Suite struct LostLeaseTests {
    /// How a lease is lost, and what of it is told.
    enum Way: CaseIterable {
        case expired, leasedByAnother, timeLimit, acked, requeued, delayed, buried, lastAttempt, cancelled, neverHeld

        var end: LostLease.End {
            switch self {
            case .expired, .leasedByAnother, .lastAttempt: .expired
            case .timeLimit: .timeLimit
            case .acked: .acked
            case .requeued, .delayed: .requeued
            case .buried: .buried
            case .cancelled: .cancelled
            case .neverHeld: .neverHeld
            }
        }

        var state: JobInfo.State {
            switch self {
            case .expired, .timeLimit, .requeued: .ready
            case .delayed: .scheduled
            case .leasedByAnother, .neverHeld: .leased
            case .acked: .completed
            case .buried, .lastAttempt: .dead
            case .cancelled: .cancelled
            }
        }
    }

    private static func at(_ milliseconds: Int64) -> Timestamp {
        Timestamp(milliseconds: StoreFixture.start + milliseconds)
    }

    /// Leases a job and loses it, 1000 ms after the start of the clock; 500 ms pass after that.
    private func lose(_ way: Way, on store: JobStore) async throws -> LeaseIdentity {
        var options = EnqueueOptions()
        if way == .timeLimit { options.timeLimit = .seconds(1) }
        if way == .lastAttempt { options.maxAttempts = 1 }
        _ = try await store.enqueue("q", payload: [], options: options)
        let lease = try #require(try await store.lease(from: "q", for: .seconds(1), worker: "w1").first)
        if ![.expired, .leasedByAnother, .lastAttempt].contains(way) { try await store.heartbeat(lease) }
        try await store.advanceClock(by: 1000)
        switch way {
        case .expired, .timeLimit, .lastAttempt, .neverHeld: break
        case .leasedByAnother:
            try await store.advanceClock(by: 200)
            _ = try await store.lease(from: "q", for: .seconds(60), worker: "w2")
        case .acked: try await store.ack(lease)
        case .requeued: try await store.requeue(lease, after: .zero)
        case .delayed: try await store.requeue(lease, after: .seconds(9))
        case .buried: try await store.bury(lease)
        case .cancelled: try await store.cancel(lease.id)
        }
        try await store.advanceClock(by: way == .leasedByAnother ? 300 : 500)
        return way == .neverHeld
            ? LeaseIdentity(id: lease.id, token: LeaseToken(lease.token.rawValue + 1)) : lease.identity
    }

    private func refusal(_ body: () async throws -> Void) async -> JobStoreError? {
        do {
            try await body()
            return nil
        } catch { return error as? JobStoreError }
    }

    /// What each operation says.
    private func refusals(of lease: LeaseIdentity, on store: JobStore) async -> [(what: String, JobStoreError?)] {
        [
            ("heartbeat", await refusal { try await store.heartbeat(lease) }),
            ("progress", await refusal { try await store.heartbeat(lease, progress: [1]) }),
            ("ack", await refusal { try await store.ack(lease) }),
            ("requeue", await refusal { try await store.requeue(lease) }),
            ("bury", await refusal { try await store.bury(lease) }),
            ("then lease", await refusal { _ = try await store.ack(lease, thenLease: NextLease(from: "q")) }),
            ("batch", await refusal { _ = try await store.batch([.ack(lease)]) }),
            ("effect", await refusal { _ = try await store.effect(scope: "s", key: "k", fencedBy: lease, value: [1]) }),
            (
                "computed effect",
                await refusal { _ = try await store.effect(scope: "s", key: "k", fencedBy: lease) { [] } }
            ),
            ("blocking", await refusal { try store.blocking.ack(lease) }),
        ]
    }

    @Test(arguments: Way.allCases)
    func eachOperationTellsWhatBecameOfTheLease(_ way: Way) async throws {
        try await withStore { store, _ in
            let lease = try await lose(way, on: store)
            for (what, refusal) in await refusals(of: lease, on: store) {
                let error = try #require(refusal, "\(what) took a lease that was lost: \(way)")
                #expect(error.code == .leaseLost && error.job == lease.id, "\(way), \(what): \(error)")
                #expect(error.index == (what == "batch" ? 0 : nil))
                let lost = try #require(error.lostLease)
                #expect(lost.id == lease.id && lost.token == lease.token)
                #expect(lost.end == way.end && lost.state == way.state, "\(way), \(what): \(lost)")
                #expect(lost.endedAt == (way == .neverHeld ? nil : Self.at(1000)), "\(way), \(what)")
                #expect(lost.finishedAt == ([.completed, .dead, .cancelled].contains(way.state) ? Self.at(1000) : nil))
                #expect(lost.runAt == (way == .delayed ? Self.at(10_000) : nil))
                #expect((lost.holder != nil) == (way.state == .leased), "\(way), \(what)")
                #expect(error.message.contains(way == .neverHeld ? "never was" : "1700000001000 ms"), "\(error)")
            }
        }
    }

    @Test func whoHasTheJobSinceIsTold() async throws {
        try await withStore { store, _ in
            let lease = try await lose(.leasedByAnother, on: store)
            let present = try #require(try await store.job(lease.id))
            let error = await refusal { try await store.ack(lease) }
            let holder = try #require(error?.lostLease?.holder)
            #expect(holder.token == present.token && holder.worker == "w2" && holder.attempt == 2)
            #expect(holder.since == Self.at(1200) && holder.deadline == Self.at(61_200))
            #expect(error?.message.contains("w2 has leased it since, as attempt 2") == true)
        }
    }

    @Test func whatTheLogDoesNotHoldAnyMoreIsNotTold() async throws {
        try await withStore({ $0.history = .none }) { store, _ in
            let lease = try await lose(.leasedByAnother, on: store)
            for _ in 0..<40 { _ = try await store.enqueue("other", payload: [UInt8](repeating: 1, count: 9000)) }
            _ = try await store.purge(queue: "other", states: .ready)
            _ = try await store.compact()
            let error = await refusal { try await store.ack(lease) }
            let lost = try #require(error?.lostLease)
            #expect(lost.state == .leased && lost.holder?.worker == "w2" && lost.holder?.attempt == 2)
            // The record of the lease is gone; that of the expiry is kept for its error.
            #expect(lost.end == .expired && lost.endedAt == Self.at(1000) && lost.holder?.since == nil, "\(lost)")
            let next = try await lose(.delayed, on: store)
            for _ in 0..<40 { _ = try await store.enqueue("other", payload: [UInt8](repeating: 1, count: 9000)) }
            _ = try await store.purge(queue: "other", states: .ready)
            _ = try await store.compact()
            let again = await refusal { try await store.ack(next) }
            let delayed = try #require(again?.lostLease)
            #expect(delayed.state == .scheduled && delayed.end == nil && delayed.endedAt == nil, "\(delayed)")
        }
    }

    @Test func refusalsAboutAJobNameIt() async throws {
        try await withStore { store, _ in
            let unknown = JobID(1 << 40)
            let cancel = await refusal { try await store.cancel(unknown) }
            #expect(cancel?.code == .notFound && cancel?.job == unknown)
            let id = try await store.enqueue("q", payload: []).id
            let redrive = await refusal { try await store.redrive(id) }
            #expect(redrive?.code == .invalidState && redrive?.job == id)
        }
    }
}
