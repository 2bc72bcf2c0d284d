// Sealing leaves the processors to others as long as nobody waits for it, and goes on without that when somebody does.

import HoldfastBytes
import HoldfastTestKit
import Synchronization
import Testing

@testable import HoldfastLog

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

@Suite(.timeLimit(.minutes(10))) struct BackgroundWorkTests {
    @Test func sealingIsLeftToAThreadThatGivesWay() async throws {
        let disk = WatchedDisk()
        let (opened, bodies) = try await Self.filled(disk)
        while opened.log.statistics.sealedSegments == 0 { await Task.yield() }
        let readers = disk.readers.withLock { $0 }
        // The thread that makes the file reads the first frame.
        let rest = readers.drop { $0.thread == readers[0].thread }
        #expect(readers.count - rest.count <= 2 && rest.count > 10 && Set(rest.map(\.thread)).count == 1)
        #if os(Linux)
            #expect(rest.allSatisfy { $0.niceness >= 10 })
        #endif
        try opened.log.close()
        try Self.expect(bodies, on: disk)
    }

    @Test func whoWaitsForItHasTheRestDoneAtOnce() async throws {
        let disk = WatchedDisk()
        let reads = Atomic(0)
        let (opened, bodies) = try await Self.filled(disk) { log in
            // In the background somebody asks for something.
            guard reads.add(1, ordering: .relaxed).newValue == 4 else { return }
            _ = try? DedicatedThread(name: "asker") { _ = try? log.checkpoint() }
            while !log.isHurried.load(ordering: .relaxed) { sched_yield() }
        }
        while opened.log.statistics.sealedSegments == 0 { await Task.yield() }
        let threads = disk.readers.withLock { $0.map(\.thread) }
        // That frame is read to its end; before and after it is the maintenance thread's turn.
        let others = threads.filter { $0 != threads[0] }
        #expect(threads.count > 10 && (1...2).contains(others.count) && threads.last == threads[0])
        try opened.log.close()
        try Self.expect(bodies, on: disk)
    }

    @Test func aLogThatFailsWhileItSealsCanBeClosed() async throws {
        let disk = WatchedDisk()
        let failed = Atomic(false)
        let reads = Atomic(0)
        let (opened, _) = try await Self.filled(disk) { log in
            guard reads.add(1, ordering: .relaxed).newValue == 4 else { return }
            failed.store(true, ordering: .relaxed)
            log.lock.withLock { log.failLocked(LogError(.poisoned, "the disk is gone")) }
            while !log.isHurried.load(ordering: .relaxed) { sched_yield() }
        }
        while !failed.load(ordering: .relaxed) { await Task.yield() }
        #expect(throws: LogError.self) { try opened.log.close() }
    }

    // MARK: - Helpers

    /// A log in which one segment is full, and what was appended to it.
    private static func filled(
        _ disk: WatchedDisk, onReading body: @escaping @Sendable (WriteAheadLog) -> Void = { _ in }
    ) async throws -> (OpenedLog, [[UInt8]]) {
        var options = LogOptions.small
        options.journalSegmentBytes = 2 << 20
        let opened = try OpenedLog(disk, "/store", options: options)
        disk.hook.withLock { hook in
            hook = { [weak log = opened.log] in if let log { body(log) } }
        }
        var bodies: [[UInt8]] = []
        var random = SeededRandom(seed: 1)
        for _ in 0..<5 {
            // What can't be compressed makes a file that is written in parts.
            let part = (0..<500).map { _ in (0..<1000).map { _ in UInt8(truncatingIfNeeded: random.next()) } }
            try await opened.commit(part)
            bodies += part
        }
        return (opened, bodies)
    }

    private static func expect(_ bodies: [[UInt8]], on disk: WatchedDisk) throws {
        var options = LogOptions.small
        options.journalSegmentBytes = 2 << 20
        let again = try WriteAheadLog.open(
            directory: "/store", fileSystem: disk.base, options: options, createIfMissing: false, now: .zero)
        let replayed = try again.replayed()
        #expect(replayed.keys.sorted().map { replayed[$0] } == bodies)
        try again.close()
    }
}

/// Notes who reads journal segments, as sealing does.
private final class WatchedDisk: ForwardingFileSystem {
    struct Reader {
        let thread: Int
        let niceness: Int32
    }

    let base = SimulatedFileSystem()
    let readers = Mutex<[Reader]>([])
    /// Called whenever one is read.
    let hook = Mutex<@Sendable () -> Void>({})

    func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> any File {
        let file = try base.open(path, mode)
        return path.hasSuffix(".jnl") && mode == .read ? WatchedFile(base: file, disk: self) : file
    }

    fileprivate func note() {
        #if os(Linux)
            let niceness = getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0)
        #else
            let niceness: Int32 = 0
        #endif
        readers.withLock { $0.append(Reader(thread: pthread_self().hashValue, niceness: niceness)) }
        hook.withLock { $0 }()
    }
}

private final class WatchedFile: ForwardingFile {
    let base: any File
    private let disk: WatchedDisk

    init(base: any File, disk: WatchedDisk) { (self.base, self.disk) = (base, disk) }

    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOFailure) -> Int {
        disk.note()
        return try base.read(into: &buffer, at: offset)
    }
}
