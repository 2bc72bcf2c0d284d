// Faults that were found in the log, each by its name.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct FoundFaultTests {
    /// The directory was looked at before the lock was taken, and an empty manifest put over what came in between.
    @Test func aStoreCreatedWhileTheLockWasSoughtIsNotOverwritten() async throws {
        try await onThread {
            let disk = SimulatedFileSystem()
            let intervening = InterveningFileSystem(disk) {
                guard let other = try? CrashStore(disk) else { return }
                try? other.commit([body(1)])
                try? other.log.close()
            }
            let log = try WriteAheadLog.open(
                directory: CrashStore.path, fileSystem: intervening, options: CrashStore.options(),
                createIfMissing: true, now: .zero)
            #expect(!log.recovery.wasCreated)
            #expect(try log.entry(SequenceNumber(1))?.body == body(1)[...])
            try log.close()
        }
    }

    /// Nobody had synced the name of a directory that was there already.
    @Test func theNameOfADirectoryThatTheUserMadeIsDurable() async throws {
        try await onThread {
            let disk = SimulatedFileSystem()
            try disk.createDirectory(CrashStore.path)
            let store = try CrashStore(disk)
            try store.commit([body(1)])
            let found = try CrashStore(disk.crashImage(.nothingPending))
            #expect(found.replayed.map(\.body) == [body(1)])
            try found.log.close()
            try store.log.close()
        }
    }

    /// A second recovery with the same clock replaced the first one's copy by what its zeroing had left.
    @Test func whatARecoverySavedIsNeverReplaced() async throws {
        try await onThread {
            let found = try DamageTests.Found(commits: 3)
            let last = try #require(found.frames.last)
            func torn() -> SimulatedFileSystem {
                let disk = found.disk.crashImage(.nothingPending)
                disk.corrupt(found.path, offset: last.offset + 70)
                return disk
            }
            let first = torn()
            try CrashStore(first).log.close()
            let name = try #require(first.snapshotFiles().keys.first { $0.hasSuffix(".bin") })
            let second = torn()
            second.replace(name, with: [1, 2, 3])
            try CrashStore(second).log.close()
            #expect(second.snapshotFiles()[name] == [1, 2, 3])
            #expect(second.snapshotFiles().keys.filter { $0.hasSuffix(".bin") }.count == 2)
        }
    }

    /// A fraction of a block at the end of a segment ended the walk there, and the store refused its own log.
    @Test(arguments: [65_537, 70_000, 100_000, 131_071])
    func aSegmentSizeThatIsNoMultipleOfABlockIsRoundedUp(bytes: Int) async throws {
        try await onThread {
            var options = CrashStore.options()
            options.journalSegmentBytes = bytes
            let disk = SimulatedFileSystem()
            let store = try CrashStore(disk, options: options)
            for number in 0..<40 { try store.commit([body(number, bytes: 5000)]) }
            let image = disk.crashImage(.nothingPending)
            try store.log.close()
            let found = try CrashStore(image, options: options)
            #expect(found.replayed.count == 40)
            try found.log.close()
        }
    }

    /// The spares of an earlier opening never fitted, and nobody asked for one that does.
    @Test func aGroupLargerThanTheSparesOfAnEarlierOpeningIsCommitted() async throws {
        try await onThread {
            let disk = SimulatedFileSystem()
            try CrashStore(disk).log.close()
            var options = CrashStore.options()
            options.journalSegmentBytes = 1 << 20
            let store = try CrashStore(disk, options: options)
            for number in 0..<3 { try store.commit([body(number, bytes: 200_000)]) }
            try store.log.close()
            let again = try CrashStore(disk, options: options)
            #expect(again.replayed.count == 3)
            try again.log.close()
        }
    }

    /// In the weaker modes the roll frame went one block beyond what recovery takes for possible.
    @Test func aRollFrameIsWithinTheInFlightBound() async throws {
        try await onThread {
            let options = CrashStore.options(.none)
            // Behind the third group as many bytes are unsynced as may be, and one block is left.
            func run(_ disk: SimulatedFileSystem, _ journalist: Journalist) throws {
                let store = try CrashStore(disk, journalist, options: options)
                defer { try? store.log.close() }
                for blocks in [6, 4, 4, 2] { try store.commit([body(blocks, bytes: blocks * 4096 - 100)]) }
            }
            let dry = SimulatedFileSystem()
            try run(dry, Journalist())
            for operation in 1...dry.operationCount {
                let disk = SimulatedFileSystem()
                let journalist = Journalist()
                disk.faultPlan = .crash(at: operation)
                do { try run(disk, journalist) } catch is LogError {}
                for seed in 1...10 as ClosedRange<UInt64> {
                    try CrashCheck(
                        disk: disk.crashImage(.random(seed: seed)), batches: journalist.all,
                        reproduction: "operation \(operation), seed \(seed)", keepsAcknowledged: false,
                        options: options
                    ).run()
                }
            }
        }
    }

    /// Two calls joined the same threads.
    @Test func closingFromTwoThreadsClosesOnce() async throws {
        for _ in 0..<20 {
            let store = try await onThread { try CrashStore(SimulatedFileSystem()) }
            try await onThread { try store.commit([body(1)]) }
            async let first: Void = onThread { try store.log.close() }
            async let second: Void = onThread { try store.log.close() }
            _ = try await (first, second)
        }
    }

    /// Closing stopped the maker of spares together with the committer, which may still need one.
    @Test func closingCommitsWhatStillNeedsARoll() async throws {
        try await onThread {
            for round in 0..<10 {
                let disk = SimulatedFileSystem()
                let journalist = Journalist()
                let store = try CrashStore(disk, journalist)
                for number in 0..<(12 + round) { _ = try store.append([body(number, bytes: 15_000)]) }
                try store.log.close()
                let again = try CrashStore(disk)
                #expect(again.log.recovery.wasClosedCleanly)
                #expect(again.replayed.map(\.body) == journalist.all.flatMap(\.bodies))
                try again.log.close()
            }
        }
    }

    /// Numbers left out by a crash were counted as records.
    @Test func theReportCountsRecordsAndNotNumbers() async throws {
        try await onThread {
            let found = try DamageTests.Found(commits: 3)
            let store = try CrashStore(found.disk)
            try store.commit([body(9)])
            let image = found.disk.crashImage(.nothingPending)
            try store.log.close()
            let again = try CrashStore(image)
            #expect(again.log.recovery.journalRecords == 4)
            try again.log.close()
        }
    }
}

/// A file system in which something happens just before the lock is taken for the first time.
final class InterveningFileSystem: ForwardingFileSystem {
    let base: SimulatedFileSystem
    private let intervention: Locked<(@Sendable () -> Void)?>

    init(_ base: SimulatedFileSystem, _ intervention: @escaping @Sendable () -> Void) {
        self.base = base
        self.intervention = Locked(intervention)
    }

    func lock(_ path: String, note: String) throws(IOFailure) -> LockOutcome {
        let once = intervention.withLock { body in
            defer { body = nil }
            return body
        }
        once?()
        return try base.lock(path, note: note)
    }
}
