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

    /// Its waits are ended again after so long, for those that came in between.
    private static let endingMilliseconds = 50

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
        let abandoned = try Descriptor.pipe()
        let written = try Descriptor.pipe()
        let writer = try DedicatedThread(name: "replies") { [self] in
            writeReplies(to: output, abandoning: abandoned.write)
            written.write.close()
        }
        var outcome = Outcome()
        var reader = LineReader(
            input, lineBytesMax: JSONDocument.bytesMax, interruptions: [abandoned.read] + (stop.map { [$0] } ?? []))
        do throws(SystemError) {
            try readRequests(&reader)
        } catch {
            outcome.readFailure = error
        }
        queue.finish()
        if let stop {
            endWaits(ofGone: input, unless: [written.read, stop])
        } else {
            dispatcher.store.endRoomWaits()
        }
        writer.join()
        written.read.close()
        abandoned.read.close()
        outcome.storeFailure = failure.withLock { $0 }
        return outcome
    }

    /// Waits until one of `ends` can be read, and meanwhile, once the client is gone, ends what it waits for.
    private func endWaits(ofGone connection: Descriptor, unless ends: [Descriptor]) {
        let ends = ends.map { (descriptor: $0, interest: Poll.Interest.read) }
        while true {
            guard let ready = try? Poll.wait(for: [(connection, .hangUp)] + ends, milliseconds: nil),
                !ready.dropFirst().contains(true)
            else { return }
            guard ready[0] else { continue }
            dispatcher.store.endRoomWaits(of: client)
            guard let over = try? Poll.wait(for: ends, milliseconds: Self.endingMilliseconds), !over.contains(true)
            else { return }
        }
    }

    private func readRequests(_ reader: inout LineReader) throws(SystemError) {
        while true {
            switch try reader.next() {
            case .end: return
            case .line(let line):
                queue.push(dispatcher.submit(line), weight: line.count + Self.requestOverheadBytes)
            case .tooLong:
                let limit = JSONDocument.bytesMax
                let refusal = JobStoreError(
                    .tooLarge, "the line is longer than \(limit) bytes; send large payloads in requests of their own")
                queue.push(PendingReply(refusal: refusal), weight: Self.requestOverheadBytes)
            }
        }
    }

    /// Writes replies until there are no more. Closes `reader`'s waking pipe when nobody reads them, or at the end.
    private func writeReplies(to output: Descriptor, abandoning reader: Descriptor) {
        var writer = JSONWriter()
        var isAbandoned = false
        func handOver() {
            if !isAbandoned && (try? output.writeAll(writer.bytes)) == nil {
                isAbandoned = true
                reader.close()
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
        if !isAbandoned { reader.close() }
    }

    private func note(_ error: JobStoreError) {
        guard error.code == .ioError else { return }
        failure.withLock { $0 = $0 ?? error }
    }
}
