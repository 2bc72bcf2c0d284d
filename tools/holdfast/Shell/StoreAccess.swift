// How a short command gets at a store: through the socket of the process that owns it, or, when nobody does, by
// opening it for a moment.

import Holdfast

/// A store to send requests to.
enum StoreAccess {
    case own(JobStore)
    case remote(ShellConnection)
    /// The store as it was, to look at.
    case past(PastStore)

    /// How long to wait for an owner that is opening or closing the store, or for another short command.
    private static let patience = Duration.seconds(10)
    private static let pauseMilliseconds = 20

    /// Reaches the store at `directory`.
    static func open(_ directory: String, createIfMissing: Bool) throws -> StoreAccess {
        if !createIfMissing {
            try StorePath.requireStore(directory)
        } else if let reason = try StorePath.reasonAgainstCreating(directory) {
            throw CommandFailure(reason, exitCode: CommandFailure.notOpenedCode)
        }
        var options = JobStoreOptions()
        options.createIfMissing = createIfMissing
        let deadline = ContinuousClock.now + patience
        while true {
            if let connection = try failing({ try UnixSocket.connect(directory: directory, name: StoreSocket.name) }) {
                return .remote(ShellConnection(connection))
            }
            do throws(JobStoreError) {
                let store = try JobStore.openBlocking(at: directory, options: options)
                if store.recovery.wasCreated {
                    Descriptor.standardError.writeText("holdfast: created the store \(directory)\n")
                }
                OwnedStore.printFindings(of: store)
                return .own(store)
            } catch {
                guard error.code == .locked, ContinuousClock.now < deadline else {
                    throw CommandFailure(opening: directory, error)
                }
            }
            try failing { try Poll.wait(for: [], milliseconds: pauseMilliseconds) }
        }
    }

    /// Sends one request and returns its reply.
    ///
    /// - Parameter build: Writes the request's fields besides `op`.
    /// - Throws: `CommandFailure` with the reply's message when the request is refused.
    func request(_ operation: StaticString, _ build: (inout JSONWriter) -> Void = { _ in }) throws -> JSONValue {
        let reply = try reply(operation, build)
        guard reply["ok"]?.bool == true else { throw Self.failure(reply) }
        return reply
    }

    /// Sends one request and returns its reply, whatever it says.
    func reply(_ operation: StaticString, _ build: (inout JSONWriter) -> Void = { _ in }) throws -> JSONValue {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("op")
        operation.withUTF8Buffer { writer.value(utf8: [UInt8]($0)) }
        build(&writer)
        writer.endObject()
        switch self {
        case .own(let store):
            var answer = JSONWriter()
            _ = ShellDispatcher(store: store).submit(writer.bytes).write(into: &answer)
            return try ShellConnection.parse(answer.bytes)
        case .past(let past): return try past.answer(ShellConnection.parse(writer.bytes))
        case .remote(let connection):
            return try failing { try connection.exchange(writer.bytes) }
        }
    }

    /// How long to wait for an owner's answer where the files tell as well.
    private static let answerMilliseconds = 2_000

    /// Asks the store's owner; `nil` when there is none to ask, or it is stopped, or dies before it answers.
    static func askOwner(_ directory: String, _ request: String) -> JSONValue? {
        let descriptor = try? UnixSocket.connect(directory: directory, name: StoreSocket.name, isPatient: false)
        guard let descriptor else { return nil }
        let connection = ShellConnection(descriptor)
        defer { connection.close() }
        return try? connection.exchange([UInt8](request.utf8), milliseconds: answerMilliseconds)
    }

    /// What a command ends with when it got `reply`, a refusal.
    static func failure(_ reply: JSONValue) -> CommandFailure {
        CommandFailure(
            reply["error"]?["message"]?.string ?? "the store's owner gave no reason",
            exitCode: CommandFailure.exitCode(forCode: reply["error"]?["code"]?.string))
    }

    /// Lets go of the store.
    func close() throws {
        switch self {
        case .own(let store): try failing { try store.blocking.close() }
        case .remote(let connection): connection.close()
        case .past: break
        }
    }

    /// Reaches the store, runs `body` and lets go of it.
    ///
    /// - Parameter moment: When in its past; now when `nil`.
    static func with<Value>(
        _ directory: String, createIfMissing: Bool = false, asOf moment: StoreMoment? = nil,
        _ body: (StoreAccess) throws -> Value
    ) throws -> Value {
        if let moment { return try body(.past(PastStore(directory: directory, moment: moment))) }
        let access = try open(directory, createIfMissing: createIfMissing)
        let value: Value
        do {
            value = try body(access)
        } catch {
            try? access.close()
            throw error
        }
        try access.close()
        return value
    }
}

/// A client of a store's socket.
final class ShellConnection {
    let descriptor: Descriptor
    private var reader: LineReader

    init(_ descriptor: Descriptor) {
        self.descriptor = descriptor
        reader = LineReader(descriptor, lineBytesMax: JSONDocument.bytesMax)
    }

    /// Sends a line and waits for the reply to it.
    func exchange(_ line: [UInt8]) throws -> JSONValue {
        try descriptor.writeAll(line + [0x0A])
        guard let reply = try next() else {
            throw CommandFailure("the process that owns the store went away before it answered; try again")
        }
        return reply
    }

    /// Sends a line and returns the reply to it; `nil` when none comes in time.
    func exchange(_ line: [UInt8], milliseconds: Int) throws -> JSONValue? {
        try descriptor.writeAll(line + [0x0A])
        guard try Poll.wait(for: [(descriptor, .read)], milliseconds: milliseconds)[0] else { return nil }
        return try next()
    }

    /// Returns the next reply; `nil` when the other side has ended.
    func next() throws -> JSONValue? {
        guard case .line(let line) = try reader.next() else { return nil }
        return try Self.parse(line)
    }

    /// Whether a whole reply has arrived that `next` has not returned.
    var hasBufferedReply: Bool { !reader.mustWait }

    func close() { descriptor.close() }

    static func parse(_ line: [UInt8]) throws -> JSONValue {
        do throws(JSONError) {
            return try JSONDocument(line).root
        } catch {
            throw CommandFailure("the store's owner sent something that is no reply: \(error)")
        }
    }
}
