// A reply that may have to wait for its commit.

import Holdfast

/// The reply to one request, in its place in the order of replies.
struct PendingReply: Sendable {
    /// Waits for the answer, then writes the reply's fields; nothing is written when it throws.
    typealias Body = @Sendable (inout JSONWriter) throws(JobStoreError) -> Void

    private let request: [UInt8]?
    private let body: Body
    /// Whether it may wait longer than for a commit; replies before it are not to be kept back meanwhile.
    let waitsForRoom: Bool

    /// Creates a reply.
    ///
    /// - Parameter request: The request's `req`, to be repeated.
    init(request: [UInt8]?, waitsForRoom: Bool = false, body: @escaping Body) {
        self.request = request
        self.waitsForRoom = waitsForRoom
        self.body = body
    }

    /// Creates the reply to a request that was refused before it reached the store.
    init(refusal: JobStoreError, request: [UInt8]? = nil) {
        self.init(request: request) { _ throws(JobStoreError) in throw refusal }
    }

    /// Returns the body of a reply whose fields follow from one operation's value.
    static func body<Value: Sendable>(
        _ pending: Pending<Value>, _ encode: @escaping @Sendable (Value, inout JSONWriter) -> Void
    ) -> Body {
        { writer throws(JobStoreError) in
            let value = try pending.valueBlocking()
            writer.beginReply(isOK: true)
            encode(value, &writer)
        }
    }

    /// Waits for the answer and writes it, without the end of the line.
    ///
    /// - Returns: The error that was written, if it is one.
    func write(into writer: inout JSONWriter) -> JobStoreError? {
        do throws(JobStoreError) {
            try body(&writer)
            writer.endReply(request: request)
            return nil
        } catch {
            writer.beginReply(isOK: false)
            writer.key("error")
            writer.object(error)
            writer.endReply(request: request)
            return error
        }
    }
}
