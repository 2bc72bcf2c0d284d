// Stores opened by processes of their own: so that an opening costs what it costs a program that has just started, and
// so that a store can be killed at work.

import ArgumentParser

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Starts a program that does nothing but open a store and use it: see `opener`.
struct ChildStore {
    /// From the start of the process to its first lease.
    let nanoseconds: Int64
    /// What the process had in memory then.
    let residentBytes: Int
    /// Unfinished jobs.
    let pending: Int

    /// Opens the store in a new process and takes a lease; the lease is given up with the process.
    static func open(_ path: String, queue: String) throws -> ChildStore {
        let began = MonotonicTime.now
        let child = try start("lease", path, queue)
        let answer = try child.readLine()
        let elapsed = MonotonicTime.now - began
        guard answer == "leased" else { throw ValidationError("a child said: \(answer)") }
        let resident = ProcFile.residentBytes(of: "\(child.id)")
        try child.write([UInt8(ascii: "\n")])
        return ChildStore(nanoseconds: Int64(elapsed), residentBytes: resident, pending: try number(child))
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
        // It is built beside this one.
        let folder = CommandLine.arguments[0].split(separator: "/", omittingEmptySubsequences: false).dropLast()
        let opener = (folder + ["holdfast-bench-opener"]).joined(separator: "/")
        do { return try ChildProcess([opener, task, path, queue]) } catch {
            throw ValidationError("\(opener) can't be started: swift build -c release --product holdfast-bench-opener")
        }
    }

    private static func number(_ child: borrowing ChildProcess) throws -> Int {
        let line = try child.readLine()
        guard let number = Int(line) else { throw ValidationError("a child said: \(line)") }
        return number
    }
}
