// The process dies, the power stays: what it wrote is in the system's cache, and on the disk only perhaps. What the
// next
// opening finds there and relies on must survive a loss of power that comes later.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct ProcessCrashTests {
    /// Ends a log without letting it write: the lock is released, everything unsynced stays so.
    static func kill(_ store: CrashStore, on disk: SimulatedFileSystem) {
        disk.faultPlan = .fault(.init(operation: disk.operationCount + 1, isLasting: true))
        try? store.log.close()
        disk.faultPlan = FaultPlan()
    }

    @Test(arguments: [0, 1, 5, 20]) func whatAnOpeningFoundSurvivesALaterLossOfPower(commits: Int) async throws {
        try await onThread {
            let options = CrashStore.options(.none)
            let disk = SimulatedFileSystem()
            let store = try CrashStore(disk, options: options)
            for number in 0..<commits { try store.commit([body(number, bytes: 3000)]) }
            Self.kill(store, on: disk)
            try Self.checkFound(disk, commits: commits)
        }
    }

    /// A failed sync may leave pages that look written and never will be; a later sync proves nothing about them. The
    /// last of them holds the close frame.
    @Test func pagesThatAFailedSyncMarkedCleanAreWrittenAgain() async throws {
        try await onThread {
            let dry = SimulatedFileSystem()
            let calls = try Self.closeOperations(of: Self.filledStore(on: dry), on: dry)
            for (offset, isLasting) in calls.flatMap({ [($0, true), ($0, false)] }) {
                let disk = SimulatedFileSystem()
                let store = try Self.filledStore(on: disk)
                disk.faultPlan = .fault(
                    .init(
                        operation: disk.operationCount + offset, isLasting: isLasting, effect: .pagesMarkedClean))
                _ = try? store.log.checkpoint()
                try? store.log.close()
                disk.faultPlan = FaultPlan()
                try Self.checkFound(disk, commits: 5)
            }
        }
    }

    private static func filledStore(on disk: SimulatedFileSystem) throws -> CrashStore {
        let store = try CrashStore(disk, options: CrashStore.options(.none))
        for number in 0..<5 { try store.commit([body(number, bytes: 3000)]) }
        return store
    }

    /// Which calls of the file system a checkpoint and a close make, counted from 1.
    private static func closeOperations(of store: CrashStore, on disk: SimulatedFileSystem) throws -> ClosedRange<Int> {
        let before = disk.operationCount
        _ = try store.log.checkpoint()
        try store.log.close()
        return 1...(disk.operationCount - before)
    }

    /// The power goes right after the opening, before anything else is written, or after more commits.
    private static func checkFound(_ disk: SimulatedFileSystem, commits: Int) throws {
        let options = CrashStore.options(.none)
        let found = try CrashStore(disk, options: options)
        #expect(found.replayed.count == commits)
        let image = disk.crashImage(.nothingPending)
        for number in 0..<3 { try found.commit([body(number)]) }
        let later = disk.crashImage(.nothingPending)
        kill(found, on: disk)
        for after in [image, later] {
            let store = try CrashStore(after, options: options)
            #expect(store.replayed.count >= commits)
            #expect(store.replayed.prefix(commits).map(\.body) == found.replayed.map(\.body))
            try store.log.close()
        }
    }

    /// The manifest's new name may not be on the disk yet when the next opening reads it.
    @Test func aStoreWhoseCreatorDiedAnywhereCanBeUsed() async throws {
        try await onThread {
            let dry = SimulatedFileSystem()
            try CrashStore(dry).log.close()
            for operation in 1...dry.operationCount {
                let disk = SimulatedFileSystem()
                disk.faultPlan = .fault(.init(operation: operation, isLasting: true))
                if let store = try? CrashStore(disk) { try? store.log.close() }
                disk.faultPlan = FaultPlan()
                let journalist = Journalist()
                let store = try CrashStore(disk, journalist)
                try store.commit([body(1)])
                for policy in PowerLossTests.policies {
                    try CrashCheck(
                        disk: disk.crashImage(policy), batches: journalist.all,
                        reproduction: "creator died at \(operation), \(policy)"
                    ).run()
                }
                try store.log.close()
            }
        }
    }
}
