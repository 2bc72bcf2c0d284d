// Drives the built `holdfast` executable, which lies beside the test bundle, through pipes and by its exit codes.

import HoldfastLog
import Testing

@testable import HoldfastCommand

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
    import MachO
#endif

/// A directory that is gone after the test.
final class TemporaryDirectory {
    let path: String

    init() throws {
        let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = [UInt8]("\(base)/holdfast-test.XXXXXX".utf8).map { CChar(bitPattern: $0) } + [0]
        let made = try #require(mkdtemp(&template))
        path = String(cString: made)
    }

    deinit { _ = try? CommandHarness.run("/bin/rm", ["-rf", path]) }

    /// The path of a store that does not exist yet.
    var store: String { path + "/store" }
}

/// What a finished process left.
struct ProcessResult {
    let exit: ChildExit
    let output: String
    let errors: String

    var lines: [String] { output.split(separator: "\n", omittingEmptySubsequences: true).map(String.init) }
}

enum CommandHarness {
    static func executable() throws -> String {
        #if canImport(Darwin)
            for index in 0..<_dyld_image_count() {
                let name = String(cString: _dyld_get_image_name(index))
                if let range = name.firstRange(of: ".xctest/") {
                    let bundle = name[..<range.lowerBound]
                    return bundle[..<(bundle.lastIndex(of: "/") ?? bundle.startIndex)] + "/holdfast"
                }
            }
            throw CommandFailure("the test bundle's place is not known")
        #else
            var buffer = [CChar](repeating: 0, count: 4096)
            let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
            try #require(count > 0)
            let path = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            return path[..<(path.lastIndex(of: "/") ?? path.startIndex)] + "/holdfast"
        #endif
    }

    /// Runs `holdfast` to its end.
    static func holdfast(_ arguments: String..., input: [UInt8] = []) throws -> ProcessResult {
        try run(executable(), arguments, input: input)
    }

    static func run(_ path: String, _ arguments: [String], input: [UInt8] = []) throws -> ProcessResult {
        let child = try ChildProcess.start(
            ([path] + arguments).map { [UInt8]($0.utf8) }, environment: [], hasInput: true)
        return try finish(child, input: input)
    }

    /// Runs `holdfast` while nobody reads its standard output.
    static func holdfastUnread(_ arguments: [String]) throws -> ProcessResult {
        // It is started once the reading end is closed.
        let words = ["/bin/sh", "-c", #"read go; exec "$0" "$@""#, try executable()] + arguments
        let child = try ChildProcess.start(words.map { [UInt8]($0.utf8) }, environment: [], hasInput: true)
        child.output.close()
        let none = try Descriptor.pipe()
        none.write.close()
        let unread = ChildProcess(id: child.id, input: child.input, output: none.read, errors: child.errors)
        return try finish(unread, input: [UInt8]("go\n".utf8))
    }

    /// How long a process may say nothing and go on: no test makes one work for a tenth of that.
    static let silenceMillisecondsMax = 300_000

    /// Feeds a process, reads what it says, and waits for it. One that hangs is killed.
    static func finish(_ child: ChildProcess, input: [UInt8] = []) throws -> ProcessResult {
        var rest = input[...]
        var open = child.input
        var output: [UInt8] = []
        var errors: [UInt8] = []
        var streams: [(descriptor: Descriptor, isOutput: Bool)] = [(child.output, true), (child.errors, false)]
        while !streams.isEmpty {
            if let descriptor = open {
                var isDone = rest.isEmpty
                do throws(SystemError) {
                    while !rest.isEmpty, let count = try descriptor.writeSome(rest) { rest = rest.dropFirst(count) }
                    isDone = rest.isEmpty
                } catch {
                    isDone = true
                }
                if isDone {
                    descriptor.close()
                    open = nil
                }
            }
            var sources: [(descriptor: Descriptor, interest: Poll.Interest)] = streams.map { ($0.descriptor, .read) }
            if let open { sources.append((open, .write)) }
            let started = ContinuousClock.now
            try Poll.wait(for: sources, milliseconds: silenceMillisecondsMax)
            if ContinuousClock.now - started >= .milliseconds(silenceMillisecondsMax) { child.send(SIGKILL) }
            streams.removeAll { stream in
                let (bytes, isAtEnd) = drain(stream.descriptor)
                if stream.isOutput { output += bytes } else { errors += bytes }
                if isAtEnd { stream.descriptor.close() }
                return isAtEnd
            }
        }
        open?.close()
        return ProcessResult(
            exit: try wait(child.id), output: String(decoding: output, as: UTF8.self),
            errors: String(decoding: errors, as: UTF8.self))
    }

    static func wait(_ id: pid_t) throws -> ChildExit {
        var status: Int32 = 0
        while waitpid(id, &status, 0) < 0 { try #require(errno == EINTR) }
        return ChildExit(waitStatus: status)
    }

    private static func drain(_ descriptor: Descriptor) -> (bytes: [UInt8], isAtEnd: Bool) {
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        do throws(SystemError) {
            var count = 0
            var failure: SystemError?
            bytes.withUnsafeMutableBytes { buffer in
                do throws(SystemError) { count = try descriptor.read(into: buffer) } catch { failure = error }
            }
            if let failure { throw failure }
            return ([UInt8](bytes[..<count]), count == 0)
        } catch {
            return ([], error.number != EAGAIN)
        }
    }
}

/// A running `holdfast shell`.
final class ShellProcess {
    let child: ChildProcess
    private var reader: LineReader
    private let never: (read: Descriptor, write: Descriptor)
    private var isFinished = false

    /// - Parameter starter: A command that becomes the shell.
    convenience init(_ store: String, _ arguments: String..., startedBy starter: [String] = []) throws {
        try self.init(store, arguments: arguments, startedBy: starter)
    }

    init(_ store: String, arguments: [String], startedBy starter: [String] = []) throws {
        // Small segments: filling large ones takes longer than a test.
        let words = starter + [try CommandHarness.executable(), "shell", store, "--segment-bytes", "65536"] + arguments
        child = try ChildProcess.start(words.map { [UInt8]($0.utf8) }, environment: [], hasInput: true)
        never = try Descriptor.pipe()
        // The pipe does not block, so the reader must wait before it reads: it does when it can be interrupted.
        reader = LineReader(child.output, lineBytesMax: 256 << 20, interruptions: [never.read])
    }

    deinit {
        if !isFinished { _ = try? kill() }
        never.read.close()
        never.write.close()
    }

    func send(_ lines: String...) throws { try sendAll(lines) }

    func sendAll(_ lines: [String]) throws {
        try #require(child.input).writeAll([UInt8](lines.map { $0 + "\n" }.joined().utf8))
    }

    func receive() throws -> JSONValue {
        let limit = CommandHarness.silenceMillisecondsMax
        guard let reply = try receive(milliseconds: limit) else { throw CommandFailure("the shell hangs") }
        return reply
    }

    private func receiveNow() throws -> JSONValue {
        guard case .line(let line) = try reader.next() else { throw CommandFailure("the shell ended early") }
        return try JSONDocument(line).root
    }

    /// Returns the next reply; `nil` when none begins to arrive within the time, which may be 0.
    func receive(milliseconds: Int) throws -> JSONValue? {
        if reader.mustWait {
            let deadline = ContinuousClock.now + .milliseconds(milliseconds)
            var canGoOn = false
            while !canGoOn {
                let rest = Int(max(deadline - .now, .zero) / .milliseconds(1))
                canGoOn = try Poll.wait(for: [(child.output, .read)], milliseconds: rest)[0]
                if !canGoOn && ContinuousClock.now >= deadline { return nil }
            }
        }
        return try receiveNow()
    }

    /// Kills the process as a crash would and returns the replies that had left it. Half a line is no reply.
    func killAndTakeReplies() throws -> [JSONValue] {
        isFinished = true
        child.send(SIGKILL)
        var replies: [JSONValue] = []
        while case .line(let line) = try reader.next() {
            guard let document = try? JSONDocument(line) else { break }
            replies.append(document.root)
        }
        try #require(try CommandHarness.finish(child).exit == .signal(SIGKILL))
        return replies
    }

    /// Sends a request and returns its reply.
    @discardableResult
    func ask(_ line: String) throws -> JSONValue {
        try send(line)
        return try receive()
    }

    /// Sends a request and checks that the reply holds at least what `expected` says.
    @discardableResult
    func expect(
        _ line: String, _ expected: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> JSONValue {
        let reply = try ask(line)
        let wanted = try JSONDocument([UInt8](expected.utf8)).root
        #expect(reply.holds(wanted), "\(line) gave \(reply.text)", sourceLocation: sourceLocation)
        return reply
    }

    /// Sends a request and checks that it is refused with `code`.
    @discardableResult
    func refuse(
        _ line: String, _ code: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> String {
        let reply = try ask(line)
        let isRefused = reply["ok"]?.bool == false && reply["error"]?["code"]?.string == code
        #expect(isRefused, "\(line.prefix(200)) gave \(reply.text.prefix(400))", sourceLocation: sourceLocation)
        return reply["error"]?["message"]?.string ?? ""
    }

    /// Ends the input and waits for the end.
    func finish() throws -> ChildExit {
        isFinished = true
        return try CommandHarness.finish(child).exit
    }

    /// Kills the process as a crash would.
    @discardableResult
    func kill() throws -> ChildExit {
        isFinished = true
        child.send(SIGKILL)
        return try CommandHarness.finish(child).exit
    }
}

extension JSONValue {
    var text: String { String(decoding: raw, as: UTF8.self) }

    /// Says whether this has at least the fields and elements of `other`, with the same text in each scalar.
    func holds(_ other: JSONValue) -> Bool {
        if let fields = other.fields {
            guard let own = self.fields else { return false }
            return fields.allSatisfy { field in
                own.contains { $0.name.string == field.name.string && $0.value.holds(field.value) }
            }
        }
        if let elements = other.elements {
            guard let own = self.elements, own.count == elements.count else { return false }
            return zip(own, elements).allSatisfy { $0.holds($1) }
        }
        return text == other.text
    }
}
