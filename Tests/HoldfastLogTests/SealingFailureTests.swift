// A log that fails while a segment is sealed.

import HoldfastBytes
import HoldfastTestKit
import Synchronization
import Testing

@testable import HoldfastLog

@Suite(.timeLimit(.minutes(10))) struct SealingFailureTests {
    @Test func aLogThatFailsWhileItSealsCanBeClosed() async throws {
        let disk = ReadingDisk()
        var options = LogOptions.small
        options.journalSegmentBytes = 2 << 20
        options.cachedBytesMax = 0
        let opened = try OpenedLog(disk, "/store", options: options)
        let failed = Atomic(false)
        disk.hook.withLock { hook in
            hook = { [weak log = opened.log] in
                guard let log, !failed.exchange(true, ordering: .relaxed) else { return }
                log.lock.withLock { log.failLocked(LogError(.poisoned, "the disk is gone")) }
            }
        }
        // More than a segment holds: what comes after the failure is refused.
        for _ in 0..<5 {
            let part = [[UInt8]](repeating: [UInt8](repeating: 1, count: 1000), count: 500)
            do { try await opened.commit(part) } catch { break }
        }
        while !failed.load(ordering: .relaxed) { await Task.yield() }
        #expect(throws: LogError.self) { try opened.log.close() }
    }
}

/// Tells when a journal segment is read, as sealing does where nothing is in memory.
private final class ReadingDisk: ForwardingFileSystem {
    let base = SimulatedFileSystem()
    let hook = Mutex<@Sendable () -> Void>({})

    func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> any File {
        let file = try base.open(path, mode)
        return path.hasSuffix(".jnl") && mode == .read ? ReadFile(base: file, disk: self) : file
    }
}

private final class ReadFile: ForwardingFile {
    let base: any File
    private let disk: ReadingDisk

    init(base: any File, disk: ReadingDisk) { (self.base, self.disk) = (base, disk) }

    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOFailure) -> Int {
        disk.hook.withLock { $0 }()
        return try base.read(into: &buffer, at: offset)
    }
}
