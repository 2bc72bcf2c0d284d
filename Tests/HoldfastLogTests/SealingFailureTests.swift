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
            hook = { [weak log = opened.log] _ in
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
