// Unique keys as a user of the store meets them, idempotency keys, and what workers of ended jobs are told.

import Holdfast
import HoldfastBytes
import Testing

@Suite struct UniqueTests {
    private func unique(_ change: (inout EnqueueOptions) -> Void = { _ in }) -> EnqueueOptions {
        var options = EnqueueOptions()
        options.uniqueKey = "k"
        change(&options)
        return options
    }

    @Test func aJobThatWaitsIsReplaced() async throws {
        try await withStore { store, _ in
            let first = try await store.enqueue("q", payload: [1], options: unique { $0.delay = .seconds(60) })
            let options = unique {
                $0.onCollision = .replace
                $0.priority = 5
                $0.headers = [JobHeader(name: "h", value: "v")]
            }
            let second = try await store.enqueue("q", payload: [2], options: options)
            #expect(second == EnqueueResult(id: first.id, isDuplicate: true, isUpdated: true))
            let lease = try #require(try await store.lease(from: "q").first)
            #expect((lease.id, lease.payload, lease.priority) == (first.id, [2], 5) && lease.headers == options.headers)
            // Now it runs, and stays what it is.
            let third = try await store.enqueue("q", payload: [3], options: options)
            #expect(third == EnqueueResult(id: first.id, isDuplicate: true))
            #expect(try await store.job(first.id)?.payload == [2])
        }
    }

    @Test func aBurstIsPutOffUntilItIsOver() async throws {
        try await withStore { store, _ in
            let options = unique {
                $0.delay = .seconds(5)
                $0.onCollision = .postpone
            }
            let first = try await store.enqueue("q", payload: [1], options: options)
            for _ in 0..<4 {
                try await store.advanceClock(by: 3000)
                #expect(try await store.enqueue("q", payload: [2], options: options).isUpdated)
            }
            #expect(try await store.lease(from: "q").isEmpty)
            try await store.advanceClock(by: 5000)
            #expect(try await store.lease(from: "q").map(\.payload) == [[1]])
            #expect(try await store.history(of: first.id).count == 6)
        }
    }

    @Test func aDuplicateMayBeRejectedAndABatchWithIt() async throws {
        try await withStore { store, _ in
            let options = unique { $0.onCollision = .reject }
            let first = try await store.enqueue("q", payload: [1], options: options)
            do throws(JobStoreError) {
                _ = try await store.enqueue("q", payload: [2], options: options)
                Issue.record("a duplicate was taken")
            } catch { #expect(error.code == .invalidState && error.message.contains("job \(first.id) "), "\(error)") }
            await expectRefusal(.invalidState, index: 1) {
                _ = try await store.batch([
                    .enqueue(queue: "r", payload: []), .enqueue(queue: "q", payload: [], options: options),
                ])
            }
            #expect(try await store.jobs().map(\.id) == [first.id])
        }
    }

    @Test func whileOneRunsTheNextMayWait() async throws {
        try await withStore { store, fixture in
            let options = unique { $0.uniqueScope = .queued }
            let first = try await store.enqueue("q", payload: [1], options: options)
            #expect(try await store.enqueue("q", payload: [2], options: options).id == first.id)
            let lease = try #require(try await store.lease(from: "q").first)
            let next = try await store.enqueue("q", payload: [3], options: options)
            #expect(!next.isDuplicate)
            try await store.requeue(lease, after: .zero)
            #expect(try await store.enqueue("q", payload: [4], options: options).id == next.id)
            #expect(try await store.lease(from: "q", limit: 9).map(\.payload) == [[1], [3]])
        }
    }

    @Test func theSameEnqueueAgainReturnsTheFirstJobAlsoWhenThatIsDone() async throws {
        try await withStore { store, _ in
            let options = EnqueueOptions(idempotencyKey: "order-7", for: .seconds(3600))
            let first = try await store.enqueue("q", payload: [1], options: options)
            try await store.ack(try #require(try await store.lease(from: "q").first))
            _ = try await store.compact()
            try await store.advanceClock(by: 3_599_999)
            #expect(try await store.enqueue("q", payload: [1], options: options) == .duplicate(of: first))
            try await store.advanceClock(by: 1)
            #expect(try await store.enqueue("q", payload: [1], options: options).isDuplicate == false)
        }
    }

    @Test func whatMakesNoSenseTogetherIsRefused() async throws {
        try await withStore { store, _ in
            for options in [
                unique {
                    $0.uniqueKey = nil
                    $0.onCollision = .replace
                },
                unique {
                    $0.uniqueKey = nil
                    $0.uniqueScope = .queued
                },
                unique {
                    $0.uniqueFor = .seconds(1)
                    $0.uniqueScope = .queued
                },
            ] {
                await expectRefusal(.badRequest) { _ = try await store.enqueue("q", payload: [], options: options) }
            }
        }
    }

    // MARK: - Ended jobs

    private func loss(_ body: () async throws(JobStoreError) -> Void) async -> JobStoreError? {
        do throws(JobStoreError) {
            try await body()
            return nil
        } catch { return error }
    }

    @Test func theWorkerOfACancelledJobLearnsItFromItsNextHeartbeat() async throws {
        try await withStore { store, _ in
            _ = try await store.enqueue("q", payload: [])
            let lease = try #require(try await store.lease(from: "q").first)
            try await store.heartbeat(lease)
            try await store.advanceClock(by: 1000)
            try await store.cancel(lease.id)
            try await store.advanceClock(by: 500)
            let cancelledAt = Timestamp(milliseconds: StoreFixture.start + 1000)
            let refusals = [
                await loss { () async throws(JobStoreError) in _ = try await store.heartbeat(lease) },
                await loss { () async throws(JobStoreError) in try await store.ack(lease) },
                await loss { () async throws(JobStoreError) in _ = try await store.requeue(lease) },
                await loss { () async throws(JobStoreError) in
                    _ = try await store.ack(lease, thenLease: NextLease(from: "q"))
                },
                await loss { () async throws(JobStoreError) in _ = try store.blocking.heartbeat(lease) },
                await loss { () async throws(JobStoreError) in
                    _ = try await store.batch([.enqueue(queue: "q", payload: []), .bury(lease.identity)])
                },
            ]
            for refusal in refusals {
                let error = try #require(refusal)
                #expect(error.code == .leaseLost && error.message.contains("was cancelled"), "\(error)")
                #expect(error.lostLease?.state == .cancelled && error.lostLease?.finishedAt == cancelledAt)
                #expect(error.lostLease?.id == lease.id)
            }
            #expect(refusals.map { $0?.index } == [nil, nil, nil, nil, nil, 1])
            // Once the log does not hold its end any more, it is lost all the same.
            _ = try await store.compact()
            #expect(await loss { () async throws(JobStoreError) in try await store.ack(lease) }?.code == .leaseLost)
        }
    }

    @Test func whoComesTwiceLearnsThatItsJobIsDone() async throws {
        try await withStore { store, _ in
            _ = try await store.enqueue("q", payload: [])
            let lease = try #require(try await store.lease(from: "q").first)
            try await store.ack(lease)
            let error = await loss { () async throws(JobStoreError) in try await store.ack(lease) }
            #expect(error?.lostLease?.state == .completed && error?.message.contains("was acked") == true)
            _ = try await store.enqueue("q", payload: [])
            let next = try #require(try await store.lease(from: "q").first)
            try await store.bury(next)
            let dead = await loss { () async throws(JobStoreError) in _ = try await store.heartbeat(next) }
            #expect(dead?.lostLease?.state == .dead)
            #expect(dead?.lostLease?.finishedAt == Timestamp(milliseconds: StoreFixture.start))
        }
    }
}
