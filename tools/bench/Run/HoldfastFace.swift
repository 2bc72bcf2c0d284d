// The store as callers see it: nothing but its public interface.

import Holdfast
import HoldfastBytes

extension Lease: HeldJob {
    var number: UInt64 { id.rawValue }
}

/// A store, for tasks and for threads.
struct HoldfastFace: AsyncFace, BlockingFace {
    static let queue = "bench"
    let store: JobStore

    func perform(_ call: Call<Lease>) async throws -> Outcome<Lease> {
        switch call {
        case .enqueue(let payload):
            return .enqueued(try await store.enqueue(Self.queue, payload: payload).id.rawValue)
        case .enqueueAll(let payloads):
            return Self.ids(try await store.batch(Self.enqueues(payloads)))
        case .lease(let limit):
            return .leased(try await store.lease(from: Self.queue, limit: limit))
        case .settle(let leases) where leases.count == 1:
            try await store.ack(leases[0])
            return .settled
        case .settle(let leases):
            _ = try await store.batch(leases.map { .ack($0.identity) })
            return .settled
        case .settleThenLease(let leases, let limit):
            return .leased(try await store.ack(leases[0], thenLease: NextLease(from: Self.queue, limit: limit)))
        }
    }

    func perform(_ call: Call<Lease>, caller: Int) throws -> Outcome<Lease> {
        let store = store.blocking
        switch call {
        case .enqueue(let payload):
            return .enqueued(try store.enqueue(Self.queue, payload: payload).id.rawValue)
        case .enqueueAll(let payloads):
            return Self.ids(try store.batch(Self.enqueues(payloads)))
        case .lease(let limit):
            return .leased(try store.lease(from: Self.queue, limit: limit))
        case .settle(let leases) where leases.count == 1:
            try store.ack(leases[0])
            return .settled
        case .settle(let leases):
            _ = try store.batch(leases.map { .ack($0.identity) })
            return .settled
        case .settleThenLease(let leases, let limit):
            return .leased(try store.ack(leases[0], thenLease: NextLease(from: Self.queue, limit: limit)))
        }
    }

    private static func enqueues(_ payloads: [[UInt8]]) -> [BatchOperation] {
        payloads.map { .enqueue(queue: queue, payload: $0) }
    }

    private static func ids(_ replies: [BatchReply]) -> Outcome<Lease> {
        .enqueuedAll(
            replies.map {
                guard case .enqueued(let result) = $0 else { preconditionFailure("an enqueue is answered by an id") }
                return result.id.rawValue
            })
    }
}
