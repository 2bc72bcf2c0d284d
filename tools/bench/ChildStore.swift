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
        let child = try start("lease", path, queue)
        let resident = try number(child)
        let elapsed = MonotonicTime.now - began
        return ChildStore(nanoseconds: Int64(elapsed), kibibytes: resident, pending: try number(child))
    }

    /// Enqueues in a new process for a while, then kills it.
    static func killAmidEnqueues(_ path: String, queue: String, afterMilliseconds milliseconds: Int) throws {
        let child = try start("enqueue", path, queue)
        _ = try child.readLine()
        usleep(UInt32(milliseconds) * 1000)
        try child.kill()
    }

    /// Leases and acks in a new process for a while, then kills it; returns how many jobs it left.
    static func killAfterWork(_ path: String, queue: String) throws -> Int {
        let child = try start("work", path, queue)
        let left = try number(child)
        try child.kill()
        return left
    }

    private static func start(_ task: String, _ path: String, _ queue: String) throws -> ChildProcess {
        try ChildProcess([CommandLine.arguments[0], "child-store", task, path, queue])
    }

    private static func number(_ child: borrowing ChildProcess) throws -> Int {
        let line = try child.readLine()
        guard let number = Int(line) else { throw ValidationError("a child said: \(line)") }
        return number
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
            print("open")
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
            print(try Self.pending(store))
            fflush(nil)
            while true { pause() }
        }
    }

    private static func pending(_ store: JobStore) throws -> Int {
        try store.blocking.stats().queues.reduce(0) { $0 + $1.ready + $1.leased + $1.scheduled }
    }
}
