// What the system says of this process and of the machine, where it says it (Linux); 0 elsewhere.

import HoldfastLog

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A clock that never goes back.
enum MonotonicTime {
    /// Nanoseconds since some point in the past.
    static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

/// Processor time, of this process and of all.
struct ProcessFigures: Sendable {
    /// Seconds of this process, in user space and in the kernel.
    let user: Double
    let system: Double
    /// Seconds that all processes spent in user space.
    let everyonesUser: Double

    static var now: ProcessFigures {
        var usage = rusage()
        // 0 is the process itself; the libraries name it in different types.
        getrusage(0, &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        let ticks = ProcFile.firstLine(of: "/proc/stat").split(separator: " ").compactMap { Double($0) }
        let everyone = ticks.count > 1 ? (ticks[0] + ticks[1]) / Double(sysconf(Int32(_SC_CLK_TCK))) : 0
        return ProcessFigures(user: seconds(usage.ru_utime), system: seconds(usage.ru_stime), everyonesUser: everyone)
    }

    /// Processor seconds of this process since `earlier`.
    func cpuSeconds(since earlier: ProcessFigures) -> Double { user + system - earlier.user - earlier.system }

    /// The share of all processors that other programs took since `earlier`, in percent.
    func othersPercent(since earlier: ProcessFigures, seconds: Double) -> Int {
        let others = everyonesUser - earlier.everyonesUser - (user - earlier.user)
        let processors = Double(max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1))
        return max(0, Int((others / seconds / processors * 100).rounded()))
    }
}

/// Files of the kernel.
enum ProcFile {
    /// Returns the first line of a file; empty where there is no such file.
    static func firstLine(of path: String) -> String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        var bytes = [CChar](repeating: 0, count: 512)
        guard fgets(&bytes, 512, file) != nil else { return "" }
        return String(decoding: bytes.prefix { $0 != 0 && $0 != 10 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Bytes that this process has in memory.
    static var residentBytes: Int { residentBytes(of: "self") }

    /// Bytes that a process has in memory.
    static func residentBytes(of process: String) -> Int {
        let figures = firstLine(of: "/proc/\(process)/statm").split(separator: " ")
        return (figures.dropFirst().first.flatMap { Int($0) } ?? 0) * Int(getpagesize())
    }

    /// How many want a processor, over the last minute.
    static var load: String { String(firstLine(of: "/proc/loadavg").split(separator: " ").first ?? "0") }
}

/// What is on disk.
enum DiskUse {
    /// Bytes allocated to the files below a directory. Files that go away meanwhile count for nothing.
    static func bytes(below path: String) throws -> Int {
        let files = POSIXFileSystem()
        var bytes = 0
        for name in try files.list(path) {
            guard let status = try files.status(of: path + "/" + name) else { continue }
            bytes += status.kind == .directory ? try Self.bytes(below: path + "/" + name) : status.allocatedBytes
        }
        return bytes
    }
}
