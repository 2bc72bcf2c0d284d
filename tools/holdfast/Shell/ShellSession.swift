// One client of the line protocol: a reader that submits and a writer that answers, joined by a bounded queue. The
// reader never waits for a commit and the writer never decides anything, so a client that keeps many lines in flight
// has them committed together, and its replies still come in order.
//
// If the client stops reading replies, what it has sent is committed all the same, and the session ends.

import Holdfast
import HoldfastLog
import Synchronization

/// Serves one stream of requests.
final class ShellSession: Sendable {
    /// How a session ended.
    struct Outcome: Sendable {
        /// The first failure of the store itself, if it failed.
        var storeFailure: JobStoreError?
        /// Why reading requests ended early, if it did.
        var readFailure: SystemError?
    }

    /// The most bytes of requests that may wait for their answers, with an allowance for what each occupies.
    private static let waitingBytesMax = 16 << 20
    private static let requestOverheadBytes = 512
    /// Replies are handed to the system in pieces of about this size.
    private static let outputBytes = 64 << 10

    private let client = WaitingClient()
    private let dispatcher: ShellDispatcher
    private let queue = BoundedQueue<PendingReply>(weightMax: ShellSession.waitingBytesMax)
    // Each uncontended: written once or twice in a session's life.
    private let failure = Mutex<JobStoreError?>(nil)

    init(store: JobStore) { dispatcher = ShellDispatcher(store: store, client: client) }

    /// Serves `input` until it ends, `stop` can be read, or nobody reads `output` any more. Without `stop` the store
    /// is closed with it: at the end no enqueue waits for room any more. With it, none waits once the other
    /// side of `input` is gone; a client that only says no more is answered.
    func serve(input: Descriptor, output: Descriptor, stop: Descriptor?) throws -> Outcome {
        let done = try Descriptor.pipe()
        let writer: DedicatedThread
        do {
            writer = try DedicatedThread(name: "replies") { [self] in writeReplies(to: output, closing: done.write) }
        } catch {
            done.read.close()
            done.write.close()
            throw error
        }
        var outcome = Outcome()
        var reader = LineReader(
            input, lineBytesMax: JSONDocument.bytesMax, interruptions: [done.read] + (stop.map { [$0] } ?? []))
        do throws(SystemError) {
            try readRequests(&reader, from: stop == nil ? nil : input)
        } catch {
            outcome.readFailure = error
        }
        queue.finish()
        if let stop {
            let ends: [(descriptor: Descriptor, interest: Poll.Interest)] = [
                (input, .hangUp), (done.read, .read), (stop, .read),
            ]
            // Whoever closes the store ends all waits; where all is answered none is left.
            if let ready = try? Poll.wait(for: ends, milliseconds: nil), !ready[2] {
                dispatcher.store.endRoomWaits(of: client)
            }
        } else {
            dispatcher.store.endRoomWaits()
        }
        writer.join()
        done.read.close()
        outcome.storeFailure = failure.withLock { $0 }
        return outcome
    }

    /// - Parameter connection: That of a client that may go before its store does.
    private func readRequests(_ reader: inout LineReader, from connection: Descriptor?) throws(SystemError) {
        while true {
            switch try reader.next() {
            case .end: return
            case .line(let line):
                queue.push(dispatcher.submit(line), weight: line.count + Self.requestOverheadBytes) {
                    endWaits(ofGone: connection)
                }
            case .tooLong:
                let limit = JSONDocument.bytesMax
                let refusal = JobStoreError(
                    .tooLarge, "the line is longer than \(limit) bytes; send large payloads in requests of their own")
                queue.push(PendingReply(refusal: refusal), weight: Self.requestOverheadBytes) {
                    endWaits(ofGone: connection)
                }
            }
        }
    }

    /// Ends what a client waits for that has gone: while nothing is read of it, nobody else notices.
    private func endWaits(ofGone connection: Descriptor?) {
        let sources = connection.map { [(descriptor: $0, interest: Poll.Interest.hangUp)] } ?? []
        guard let ready = try? Poll.wait(for: sources, milliseconds: 0), ready.first ?? false else { return }
        dispatcher.store.endRoomWaits(of: client)
    }

    /// Writes replies until there are no more. Closes `done` when nobody reads them, or at the end.
    private func writeReplies(to output: Descriptor, closing done: Descriptor) {
        var writer = JSONWriter()
        var isAbandoned = false
        func handOver() {
            if !isAbandoned && (try? output.writeAll(writer.bytes)) == nil {
                isAbandoned = true
                done.close()
            }
            writer.removeAll()
        }
        while true {
            let replies = queue.popAll()
            if replies.isEmpty { break }
            for reply in replies {
                if reply.waitsForRoom && !writer.bytes.isEmpty { handOver() }
                if let error = reply.write(into: &writer) { note(error) }
                writer.endLine()
                if writer.bytes.count >= Self.outputBytes { handOver() }
            }
            if !writer.bytes.isEmpty { handOver() }
        }
        if !isAbandoned { done.close() }
    }

    private func note(_ error: JobStoreError) {
        guard error.code == .ioError else { return }
        failure.withLock { $0 = $0 ?? error }
    }
}
