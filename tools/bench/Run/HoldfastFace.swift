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

/// The store for one task that has all calls outstanding.
extension HoldfastFace {
    /// A call that is decided.
    enum Outstanding: Sendable {
        case enqueue(Pending<EnqueueResult>)
        case batch(Pending<[BatchReply]>)
        case lease(Pending<[Lease]>)
        case settle(Pending<Void>)
        case settleAll(Pending<[BatchReply]>)

        func outcome() async throws -> Outcome<Lease> {
            switch self {
            case .enqueue(let pending): return .enqueued(try await pending.value.id.rawValue)
            case .batch(let pending): return HoldfastFace.ids(try await pending.value)
            case .lease(let pending): return .leased(try await pending.value)
            case .settle(let pending):
                try await pending.value
                return .settled
            case .settleAll(let pending):
                _ = try await pending.value
                return .settled
            }
        }
    }

    private func begin(_ call: Call<Lease>) async -> Outstanding {
        let store = store.pipelined
        switch call {
        case .enqueue(let payload): return .enqueue(await store.enqueue(Self.queue, payload: payload))
        case .enqueueAll(let payloads): return .batch(await store.batch(Self.enqueues(payloads)))
        case .lease(let limit): return .lease(await store.lease(from: Self.queue, limit: limit))
        case .settle(let leases) where leases.count == 1: return .settle(await store.ack(leases[0]))
        case .settle(let leases): return .settleAll(await store.batch(leases.map { .ack($0.identity) }))
        case .settleThenLease(let leases, let limit):
            return .lease(await store.ack(leases[0], thenLease: NextLease(from: Self.queue, limit: limit)))
        }
    }

    /// Runs callers by turns: each one's next call is made when its last has been answered, which is looked at in the
    /// order in which they were made.
    func runOutstanding(_ callers: [Caller<Lease>]) async throws -> [CallerLedger] {
        var callers = callers
        var done: [CallerLedger] = []
        var calls: [Outstanding?] = Array(repeating: nil, count: callers.count)
        while !callers.isEmpty {
            var index = 0
            while index < callers.count {
                if let call = calls[index] { callers[index].finish(try await call.outcome()) }
                if let next = callers[index].begin() {
                    calls[index] = await begin(next)
                    index += 1
                } else {
                    done.append(callers.remove(at: index).ledger)
                    calls.remove(at: index)
                }
            }
        }
        return done
    }
}
