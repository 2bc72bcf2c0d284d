// What stands in for a store while a handler is replayed: a socket that answers for the effects of one job from their
// recording, in order, and for nothing else. Nothing is computed and nothing is written.

import Holdfast
import HoldfastLog

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Serves recorded steps over the line protocol.
final class ReplayServer: @unchecked Sendable {
    // SENDABLE: what is `var` is guarded by `lock`; the rest never changes.
    /// Where its socket is, for a handler to find instead of a store.
    let directory: String
    private let scope: String
    private let listener: Descriptor
    private let stop: (read: Descriptor, write: Descriptor)
    private let lock = CallerLock()
    private var way: RecordedWay
    private var threads: [DedicatedThread] = []

    /// More connections than this in one replay are turned away.
    private static let connectionsMax = 10_000

    /// Starts serving.
    init(_ recorded: [RecordedEffect], scope: String) throws {
        way = RecordedWay(recorded)
        self.scope = scope
        directory = try Self.makeDirectory()
        stop = try Descriptor.pipe()
        listener = try UnixSocket.listen(directory: directory, name: StoreSocket.name)
        let thread = try DedicatedThread(name: "replay") { [self] in accept() }
        lock.withLock { threads.append(thread) }
    }

    /// Where the handler left the recorded way, if it did, and how many steps it took.
    var outcome: (difference: RecordedWay.Divergence?, count: Int) { lock.withLock { (way.difference, way.count) } }

    /// Ends all connections and removes the socket.
    func close() {
        stop.write.close()
        while let thread = lock.withLock({ threads.popLast() }) { thread.join() }
        listener.close()
        stop.read.close()
        UnixSocket.remove(directory: directory, name: StoreSocket.name)
        _ = rmdir(directory)
    }

    private static func makeDirectory() throws -> String {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(parent)/holdfast-replay-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError("make a directory in \(parent)") }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private func accept() {
        for _ in 0..<Self.connectionsMax {
            guard let ready = try? Poll.wait(for: [(stop.read, .read), (listener, .read)], milliseconds: nil),
                !ready[0]
            else { return }
            guard let connection = UnixSocket.accept(listener) else { continue }
            do {
                let thread = try DedicatedThread(name: "replay client") { [self] in serve(connection) }
                lock.withLock { threads.append(thread) }
            } catch {
                connection.close()
            }
        }
    }

    private func serve(_ connection: Descriptor) {
        defer { connection.close() }
        var reader = LineReader(connection, lineBytesMax: JSONDocument.bytesMax, interruptions: [stop.read])
        while case .line(let line) = try? reader.next() {
            var writer = JSONWriter()
            _ = answer(line).write(into: &writer)
            writer.endLine()
            guard (try? connection.writeAll(writer.bytes)) != nil else { return }
        }
    }

    private func answer(_ line: [UInt8]) -> PendingReply {
        do throws(JSONError) {
            let root = try JSONDocument(line).root
            let request = root["req"].map { [UInt8]($0.raw) }
            do throws(JobStoreError) {
                let (effect, wasAsked) = try take(try RequestFields(root))
                return PendingReply(request: request) { writer throws(JobStoreError) in
                    writer.beginReply(isOK: true)
                    if wasAsked { writer.field("found", true) }
                    writer.field("value", given: effect.value)
                    writer.field("replayed", true)
                    if let tag = effect.tag { writer.field("tag", tag) }
                    if effect.isFailure { writer.field("failed", true) }
                }
            } catch { return PendingReply(refusal: error, request: request) }
        } catch { return PendingReply(refusal: JobStoreError(.badRequest, "the line is not valid JSON: \(error)")) }
    }

    /// Takes the step that a request asks for; says whether it only asked.
    private func take(_ fields: RequestFields) throws(JobStoreError) -> (effect: RecordedEffect, wasAsked: Bool) {
        let name = try fields.requiredText("op")
        guard name == "effect" || name == "effect_get", try fields.requiredText("scope") == scope else {
            throw JobStoreError(
                .invalidState, "this is a replay: it answers `effect` and `effect_get` in the scope `\(scope)` alone")
        }
        let (key, tag) = (try fields.requiredText("key"), try fields.text("tag"))
        switch lock.withLock({ way.take(key, tag: tag) }) {
        case .success(let effect): return (effect, name == "effect_get")
        case .failure(let difference):
            throw JobStoreError(.invalidState, "the handler diverges from its recording at \(difference)")
        }
    }
}
