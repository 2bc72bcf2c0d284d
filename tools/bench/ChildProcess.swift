// Processes that are measured from outside.

import ArgumentParser

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A program that reads what we write and whose output we read.
struct ChildProcess: ~Copyable {
    let id: pid_t
    private var input: Int32
    private let output: Int32
    private var isEnded = false

    /// Starts a program without a shell in between, which would take time of its own.
    init(_ arguments: [String]) throws {
        let (input, output) = (try Self.pipe(), try Self.pipe())
        defer {
            close(input.read)
            close(output.write)
        }
        #if canImport(Darwin)
            var actions: posix_spawn_file_actions_t?
            let environment = _NSGetEnviron().pointee
        #else
            var actions = posix_spawn_file_actions_t()
            let environment = environ
        #endif
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, input.read, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, output.write, STDOUT_FILENO)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let copies = arguments.map { strdup($0) }
        defer { for copy in copies { free(copy) } }
        var process: pid_t = 0
        guard posix_spawnp(&process, arguments[0], &actions, nil, copies + [nil], environment) == 0 else {
            throw ValidationError("\(arguments[0]) could not be started")
        }
        (id, self.input, self.output) = (process, input.write, output.read)
    }

    deinit {
        if input >= 0 { close(input) }
        close(output)
        if !isEnded { waitpid(id, nil, 0) }
    }

    /// Makes a pipe whose ends no child inherits, except as its standard streams.
    private static func pipe() throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [0, 0]
        guard makePipe(&ends) == 0 else { throw ValidationError("no pipe could be made: are too many files open?") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }

    /// Writes all of `bytes`, waiting for room.
    func write(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { systemWrite(input, $0) }
            guard count > 0 || errno == EINTR else { throw ValidationError("the child process ended") }
            rest = rest.dropFirst(max(count, 0))
        }
    }

    /// Reads what there is, waiting for something; nothing at the end.
    func read(into buffer: inout [UInt8]) -> ArraySlice<UInt8> {
        let count = buffer.withUnsafeMutableBytes { systemRead(output, $0) }
        return buffer[..<max(count, 0)]
    }

    /// Reads a line without its end.
    func readLine() throws -> String {
        var line: [UInt8] = []
        var byte: [UInt8] = [0]
        while let next = read(into: &byte).first {
            if next == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
            line.append(next)
        }
        throw ValidationError("the child process ended")
    }

    func kill() throws {
        guard sendSignal(id, SIGKILL) == 0 else { throw ValidationError("the child process is gone") }
    }

    /// Ends the child's input, and waits until it ends with 0.
    mutating func finish() throws {
        close(input)
        input = -1
        var buffer = [UInt8](repeating: 0, count: 4096)
        while !read(into: &buffer).isEmpty {}
        var status: Int32 = 0
        waitpid(id, &status, 0)
        isEnded = true
        guard status == 0 else { throw ValidationError("the child process failed") }
    }
}

// The system's functions, which the methods of the same names hide.

private func sendSignal(_ process: pid_t, _ signal: Int32) -> Int32 { kill(process, signal) }

private func makePipe(_ ends: inout [Int32]) -> Int32 { pipe(&ends) }

private func systemRead(_ number: Int32, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
    read(number, buffer.baseAddress, buffer.count)
}

private func systemWrite(_ number: Int32, _ buffer: UnsafeRawBufferPointer) -> Int {
    write(number, buffer.baseAddress, buffer.count)
}
