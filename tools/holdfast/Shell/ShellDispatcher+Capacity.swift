// How much the store takes in all, and enqueues that wait for room.
//
// A request that waits holds up the replies behind it, which come in order, and nothing else: the requests behind it
// are read and carried out meanwhile, so that an ack in the same stream may make the room.

import Holdfast
import HoldfastEngine

extension ShellDispatcher {
    func enqueue(_ fields: RequestFields) throws(JobStoreError) -> PendingReply.Body {
        let (queue, payload) = (try fields.requiredText("queue"), try fields.payload())
        let options = try fields.enqueueOptions()
        guard let wait = try fields.wait() else {
            return PendingReply.body(store.submitEnqueue(queue, payload: payload, options: options)) {
                $1.fields(of: $0)
            }
        }
        return PendingReply.body(
            store.submitEnqueue(queue, payload: payload, options: options, waitingUpTo: wait, for: client)
        ) { $1.fields(of: $0) }
    }

    /// Changes what the store takes, if anything is said of it, and tells what it takes and holds.
    func configureStore(_ fields: RequestFields) throws(JobStoreError) -> PendingReply.Body {
        let settings = StoreSettings(jobs: try fields.limit("jobs"), payloadBytes: try fields.limit("payload_bytes"))
        let load = settings == StoreSettings() ? store.submitLoad() : store.submitConfigure(settings)
        return PendingReply.body(load) { load, writer in
            writer.field("jobs", optional: load.limits.jobs)
            writer.field("payload_bytes", optional: load.limits.payloadBytes)
            writer.field("held_jobs", load.jobs)
            writer.field("held_payload_bytes", load.payloadBytes)
        }
    }
}

extension RequestFields {
    /// Reads `wait_ms`, how long to wait for room.
    func wait() throws(JobStoreError) -> Duration? { try count("wait_ms").map { .milliseconds($0) } }
}

extension PendingReply {
    /// Returns the body of a reply to an operation that may wait for room.
    static func body<Value: Sendable>(
        _ pending: RoomPending<Value>, _ encode: @escaping @Sendable (Value, inout JSONWriter) -> Void
    ) -> Body {
        { writer throws(JobStoreError) in
            let value = try pending.valueBlocking()
            writer.beginReply(isOK: true)
            encode(value, &writer)
        }
    }
}
