// The blocks of the page on jobs that wait for others, each with a store of its own.

import Holdfast
import Testing

@Suite(.timeLimit(.minutes(10))) struct DependenciesPageTests {
    private let parts = (0..<1000).map { [UInt8($0 % 251)] }
    private let video = Array("video".utf8)

    private func finish(_ store: JobStore) async throws {
        while case let leases = try await store.lease(from: "encode", limit: 300), !leases.isEmpty {
            #expect(try await store.lease(from: "publish").isEmpty)
            // At once: one by one takes longer than a lease where everything else is tested meanwhile.
            _ = try await store.batch(leases.map { .ack($0.identity) })
        }
    }

    @Test func theLastJobRunsWhenAllPartsHaveEnded() async throws {
        let path = ReadmeTests.newPath()
        defer { ReadmeTests.remove(path) }
        let store = try await JobStore.open(at: path)
        // README begins: fanout
        var end = EnqueueOptions()
        end.afterIndex = Array(parts.indices)
        end.ifOneFails = .run
        let replies = try await store.batch(
            parts.map { .enqueue(queue: "encode", payload: $0) }
                + [.enqueue(queue: "publish", payload: video, options: end)])
        // README ends
        #expect(replies.count == 1001)
        try await finish(store)
        let lease = try #require(try await store.lease(from: "publish").first)
        #expect(try await store.job(lease.id)?.dependencies?.done == 1000)
        try await store.close()
    }

    @Test func aProducerThatCrashedDoesTheSameAgain() async throws {
        let path = ReadmeTests.newPath()
        defer { ReadmeTests.remove(path) }
        let store = try await JobStore.open(at: path)
        let name = "film"
        let parts = parts.prefix(20)
        func produce() async throws {
            // README begins: members
            var hold = EnqueueOptions(idempotencyKey: "publish \(name)", for: .seconds(86_400))
            hold.hold = true
            hold.ifOneFails = .run
            let end = try await store.enqueue("publish", payload: video, options: hold).id
            for (number, part) in parts.enumerated() {
                var member = EnqueueOptions(idempotencyKey: "\(name) \(number)", for: .seconds(86_400))
                member.before = end
                _ = try await store.enqueue("encode", payload: part, options: member)
            }
            try await store.release(end)
            // README ends
        }
        // It came as far as the first part, which is done by now.
        var hold = EnqueueOptions(idempotencyKey: "publish \(name)", for: .seconds(86_400))
        hold.hold = true
        hold.ifOneFails = .run
        let end = try await store.enqueue("publish", payload: video, options: hold).id
        var member = EnqueueOptions(idempotencyKey: "\(name) 0", for: .seconds(86_400))
        member.before = end
        _ = try await store.enqueue("encode", payload: parts[0], options: member)
        try await finish(store)
        try await produce()
        try await finish(store)
        let lease = try #require(try await store.lease(from: "publish").first)
        #expect(lease.id == end)
        #expect(try await store.job(end)?.dependencies?.done == 20)
        try await store.close()
    }
}
