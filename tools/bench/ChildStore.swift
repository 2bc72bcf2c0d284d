// Stores opened by processes of their own: so that an opening costs what it costs a program that has just started, and
// so that a store can be killed at work.

import ArgumentParser
import Holdfast

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

private func sendSignal(_ process: pid_t, _ signal: Int32) -> Int32 { kill(process, signal) }

/// Starts this program once more, to open a store.
struct ChildStore {
    /// From the start of the process to its first lease.
    let nanoseconds: Int64
    /// What the process had in memory then, in KiB.
    let kibibytes: Int
    /// Unfinished jobs.
    let pending: Int

    /// Opens the store in a new process and takes a lease; the lease is given up with the process.
    static func open(_ path: String, queue: String) throws -> ChildStore {
        let began = MonotonicTime.now
        return try start("lease", path, queue) { next in
            let resident = try number(next())
            let elapsed = MonotonicTime.now - began
            return ChildStore(nanoseconds: Int64(elapsed), kibibytes: resident, pending: try number(next()))
        }
    }

    /// Enqueues in a new process for a while, then kills it.
    static func killAmidEnqueues(_ path: String, queue: String, afterMilliseconds milliseconds: Int) throws {
        try start("enqueue", path, queue) { next in
            let process = try number(next())
            usleep(UInt32(milliseconds) * 1000)
            try kill(process)
        }
    }

    /// Leases and acks in a new process for a while, then kills it; returns how many jobs it left.
    static func killAfterWork(_ path: String, queue: String) throws -> Int {
        try start("work", path, queue) { next in
            let process = try number(next())
            let left = try number(next())
            try kill(process)
            return left
        }
    }

    private static func number(_ line: String) throws -> Int {
        guard let number = Int(line) else { throw ValidationError("a child said: \(line)") }
        return number
    }

    private static func kill(_ process: Int) throws {
        guard sendSignal(pid_t(process), SIGKILL) == 0 else { throw ValidationError("the child process is gone") }
    }

    /// Starts a child for `task`; `body` gets what reads the next line that it prints.
    private static func start<Value>(
        _ task: String, _ path: String, _ queue: String, _ body: (() throws -> String) throws -> Value
    ) throws -> Value {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0, let output = fdopen(ends[0], "r") else {
            throw ValidationError("no pipe could be made: are too many files open?")
        }
        defer { fclose(output) }
        let process = try spawn([CommandLine.arguments[0], "child-store", task, path, queue], output: ends[1])
        defer { waitpid(process, nil, 0) }
        return try body {
            var bytes = [CChar](repeating: 0, count: 256)
            guard fgets(&bytes, 256, output) != nil else { throw ValidationError("the child process ended") }
            return String(decoding: bytes.prefix { $0 != 10 && $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
    }

    /// Starts a program without a shell in between, which would take time of its own; `output` is closed here.
    private static func spawn(_ arguments: [String], output: Int32) throws -> pid_t {
        #if canImport(Darwin)
            var actions: posix_spawn_file_actions_t?
            let environment = _NSGetEnviron().pointee
        #else
            var actions = posix_spawn_file_actions_t()
            let environment = environ
        #endif
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        posix_spawn_file_actions_addclose(&actions, output)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            close(output)
        }
        let copies = arguments.map { strdup($0) }
        defer { for copy in copies { free(copy) } }
        var process: pid_t = 0
        guard posix_spawnp(&process, arguments[0], &actions, nil, copies + [nil], environment) == 0 else {
            throw ValidationError("\(arguments[0]) could not be started")
        }
        return process
    }
}

/// What the child processes do; the program hands over to it before it looks at anything else, like one that opens its
/// store first.
enum ChildStoreTask: String {
    case lease, enqueue, work

    private static let workRounds = 5000

    /// Does what `arguments` say if they are those of a child; returns false for any others.
    static func run(_ arguments: [String]) throws -> Bool {
        guard arguments.count == 5, arguments[1] == "child-store", let task = ChildStoreTask(rawValue: arguments[2])
        else { return false }
        try task.run(arguments[3], queue: arguments[4])
        return true
    }

    private func run(_ path: String, queue: String) throws {
        let store = try JobStore.openBlocking(at: path)
        switch self {
        case .lease:
            guard try !store.blocking.lease(from: queue).isEmpty else { throw ValidationError("no job") }
            print(ProcFile.residentBytes >> 10)
            fflush(nil)
            // A program that starts does not ask for this.
            print(try Self.pending(store))
            fflush(nil)
            try store.blocking.close()
        case .enqueue:
            print(getpid())
            fflush(nil)
            let payloads = try Payloads(byteCount: Payloads.byteCounts.lowerBound)
            for number in 0... {
                _ = try store.blocking.batch(
                    (0..<64).map { .enqueue(queue: queue, payload: payloads.make(UInt64(number * 64 + $0))) })
            }
        case .work:
            for _ in 0..<min(Self.workRounds, try Self.pending(store) / 2) {
                guard let lease = try store.blocking.lease(from: queue).first else { break }
                try store.blocking.ack(lease)
            }
            print(getpid())
            print(try Self.pending(store))
            fflush(nil)
            while true { pause() }
        }
    }

    private static func pending(_ store: JobStore) throws -> Int {
        try store.blocking.stats().queues.reduce(0) { $0 + $1.ready + $1.leased + $1.scheduled }
    }
}
