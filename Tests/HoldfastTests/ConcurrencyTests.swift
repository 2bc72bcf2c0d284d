import Holdfast
import HoldfastBytes
import HoldfastLog
import Testing

@Suite(.timeLimit(.minutes(10))) struct ConcurrencyTests {
    @Test func sixtyFourTasksRunEachJobOnce() async throws {
        let (taskCount, jobsPerTask) = (64, 20)
        let fixture = try StoreFixture()
        var store = try await fixture.open()
        let acked = Shared<[JobID: Int]>([:])
        let shared = store
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<taskCount {
                group.addTask {
                    for index in 0..<jobsPerTask {
                        _ = try await shared.enqueue("q", payload: [UInt8(task), UInt8(index)])
                    }
                }
                group.addTask {
                    for _ in 0..<jobsPerTask {
                        let leases = try await shared.lease(from: "q", waitingUpTo: .seconds(600))
                        let lease = try #require(leases.first)
                        try await shared.ack(lease)
                        acked.withLock { $0[lease.id, default: 0] += 1 }
                    }
                }
            }
            try await group.waitForAll()
        }
        let counts = acked.withLock { $0 }
        #expect(counts.count == taskCount * jobsPerTask)
        #expect(counts.values.allSatisfy { $0 == 1 })
        let before = try await store.digest()
        #expect(try await store.stats().completed == UInt64(taskCount * jobsPerTask))
        try await store.close()
        store = try await fixture.open()
        #expect(try await store.digest().hex == before.hex)
        try await store.close()
    }

    @Test func closingWhileCallersWorkLosesNothingThatWasAnswered() async throws {
        let fixture = try StoreFixture()
        var store = try await fixture.open()
        let answered = Shared<[JobID]>([])
        let shared = store
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<16 {
                group.addTask {
                    while true {
                        do throws(JobStoreError) {
                            let id = try await shared.enqueue("q", payload: [1]).id
                            answered.withLock { $0.append(id) }
                        } catch {
                            #expect(error.code == .closed)
                            return
                        }
                    }
                }
            }
            group.addTask {
                while answered.withLock({ $0.count }) < 200 { await Task.yield() }
                do { try await shared.close() } catch { Issue.record("\(error)") }
            }
        }
        store = try await fixture.open()
        for id in answered.withLock({ $0 }) { #expect(try await store.job(id)?.state == .ready) }
        try await store.close()
    }

    @Test func theBlockingInterfaceDoesTheSame() async throws {
        try await withStore { store, _ in
            try await onThread {
                let blocking = store.blocking
                for _ in 0..<6 { _ = try blocking.enqueue("q", payload: [1]) }
                let leases = try blocking.lease(from: ["q"], limit: 4)
                try blocking.ack(leases[0], result: [2])
                _ = try blocking.heartbeat(leases[1])
                #expect(try blocking.requeue(leases[1], after: .zero).state == .ready)
                try blocking.bury(leases[2])
                try blocking.redrive(leases[2].id)
                try blocking.cancel(leases[3].id)
                #expect(try blocking.redrive(queue: "q").count == 0)
                #expect(try blocking.purge(queue: "q").count == 0)
                #expect(try blocking.effect(scope: "s", key: "k", value: [1]).isReplayed == false)
                #expect(try blocking.batch([.enqueue(queue: "q", payload: [])]).count == 1)
                #expect(try blocking.job(leases[0].id)?.result == [2])
                #expect(try blocking.jobs().count == 7)
                #expect(try blocking.history(of: leases[0].id).count == 3)
                try blocking.pause("q")
                try blocking.resume("q")
                #expect(try blocking.drain("q").pending == 5)
                #expect(try blocking.stats().completed == 1)
                let digest = try blocking.digest()
                try blocking.checkpoint()
                try blocking.compact()
                #expect(try blocking.digest().hex == digest.hex)
                try blocking.advanceClock(by: 1)
            }
        }
    }
}

/// A value that tasks share.
final class Shared<Value: Sendable>: Sendable {
    private let value: Locked<Value>

    init(_ value: Value) { self.value = Locked(value) }

    func withLock<Result: Sendable>(_ body: (inout sending Value) -> sending Result) -> Result {
        value.withLock { body(&$0) }
    }
}
