// What the simulated disk keeps of a crash, and how it fails.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

func simulatedContent(_ system: SimulatedFileSystem, _ path: String) -> [UInt8]? { system.snapshotFiles()[path] }

@Suite struct SimulatedFileSystemTests {
    private let system = SimulatedFileSystem()
    private let ones = [UInt8](repeating: 1, count: 4_096)
    private let twos = [UInt8](repeating: 2, count: 4_096)

    /// Creates a durable file of 8,192 ones.
    private func makeFile(_ path: String = "/f") throws {
        let file = try system.open(path, .create)
        try file.write((ones + ones).span, at: 0)
        try file.sync()
        try system.syncDirectory("/")
        file.close()
    }

    private func lostAndKept(_ seeds: Range<UInt64>, _ isKept: (SimulatedFileSystem) -> Bool) -> Set<Bool> {
        Set(seeds.map { isKept(system.crashImage(.random(seed: $0))) })
    }

    // MARK: - Data

    @Test func aWriteIsDurableOnlyAfterASync() throws {
        try makeFile()
        let file = try system.open("/f", .readWrite)
        try file.write(twos.span, at: 4_096)
        #expect(simulatedContent(system, "/f") == ones + twos)
        #expect(simulatedContent(system.crashImage(.nothingPending), "/f") == ones + ones)
        #expect(simulatedContent(system.crashImage(.everythingPending), "/f") == ones + twos)
        try file.sync()
        #expect(simulatedContent(system.crashImage(.nothingPending), "/f") == ones + twos)
        file.close()
    }

    @Test func aCommitWriteIsDurableWhenItReturns() throws {
        try makeFile()
        let file = try system.open("/f", .commit)
        try withAligned(twos) { span in try file.write(span, at: 0) }
        #expect(simulatedContent(system.crashImage(.nothingPending), "/f") == twos + ones)
        file.close()
    }

    /// A disk gives the blocks of removed files to new ones, and what was not written yet may show what they held.
    @Test func anUnwrittenBlockMayHoldWhatARemovedFileHeld() throws {
        try makeFile("/old")
        try system.unlink("/old")
        try system.syncDirectory("/")
        let file = try system.open("/new", .create)
        try system.syncDirectory("/")
        try file.write((twos + twos).span, at: 0)
        let images = (0..<200).map { system.crashImage(.torn(seed: UInt64($0))) }
        #expect(images.contains { simulatedContent($0, "/new")?.contains(1) ?? false })
        #expect(images.contains { simulatedContent($0, "/new")?.contains { !(0...2).contains($0) } ?? false })
        // What was synced is what was written.
        try file.sync()
        for seed in 0..<200 {
            #expect(simulatedContent(system.crashImage(.torn(seed: UInt64(seed))), "/new") == twos + twos)
        }
        file.close()
    }

    @Test func aCommitWriteCutByACrashIsTornBySectors() throws {
        try makeFile()
        let file = try system.open("/f", .commit)
        system.faultPlan = .crash(at: system.operationCount + 1)
        let failure = #expect(throws: IOFailure.self) { try withAligned(twos) { try file.write($0, at: 0) } }
        #expect(failure?.kind == .io)
        #expect(system.isCrashed)
        #expect(simulatedContent(system.crashImage(.nothingPending), "/f") == ones + ones)
        #expect(simulatedContent(system.crashImage(.everythingPending), "/f") == twos + ones)
        var torn = 0
        for seed in UInt64(0)..<32 {
            let bytes = try #require(simulatedContent(system.crashImage(.random(seed: seed)), "/f"))
            for sector in 0..<16 {
                #expect(Set(bytes[sector * 512..<(sector + 1) * 512]).count == 1)
            }
            if Set(bytes[0..<4_096]).count == 2 { torn += 1 }
        }
        #expect(torn > 16)
        file.close()
    }

    @Test func aSectorIsFoundAsItWasAtSomeMoment() throws {
        try makeFile()
        let file = try system.open("/f", .readWrite)
        try file.write([2, 2].span, at: 0)
        try file.write([3, 3].span, at: 1)
        let found = Set(
            (0..<64).map { Array(simulatedContent(system.crashImage(.random(seed: $0)), "/f")?[..<4] ?? []) })
        #expect(found == [[1, 1, 1, 1], [2, 2, 1, 1], [2, 3, 3, 1]])
        file.close()
    }

    @Test func sizeAndDataAreKeptIndependently() throws {
        try makeFile()
        let file = try system.open("/f", .readWrite)
        try file.write(twos.span, at: 8_192)
        let tails = Set((0..<256).map { simulatedContent(system.crashImage(.random(seed: $0)), "/f")?.count })
        #expect(tails == [8_192, 12_288])
        #expect(
            lostAndKept(0..<64) { simulatedContent($0, "/f")?.dropFirst(8_192).contains(0) ?? false } == [true, false])
        file.close()
    }

    @Test func whatWasCutOffIsZeroWhenTheFileGrowsAgain() throws {
        try makeFile()
        let file = try system.open("/f", .readWrite)
        try file.truncate(to: 100)
        try file.truncate(to: 8_192)
        let expected = [UInt8](repeating: 1, count: 100) + [UInt8](repeating: 0, count: 8_092)
        #expect(simulatedContent(system, "/f") == expected)
        #expect(simulatedContent(system.crashImage(.everythingPending), "/f") == expected)
        #expect(simulatedContent(system.crashImage(.nothingPending), "/f") == ones + ones)
        try file.sync()
        #expect(simulatedContent(system.crashImage(.nothingPending), "/f") == expected)
        file.close()
    }

    // MARK: - Names

    @Test func aNameIsDurableOnlyAfterASyncOfItsDirectory() throws {
        let file = try system.open("/f", .create)
        try file.write(ones.span, at: 0)
        try file.sync()
        #expect(system.crashImage(.nothingPending).snapshotFiles().isEmpty)
        #expect(simulatedContent(system.crashImage(.everythingPending), "/f") == ones)
        #expect(lostAndKept(0..<64) { simulatedContent($0, "/f") != nil } == [true, false])
        try system.syncDirectory("/")
        #expect(simulatedContent(system.crashImage(.nothingPending), "/f") == ones)
        file.close()
    }

    @Test func aRenameHappensWholeOrNotAtAll() throws {
        try makeFile("/old")
        try makeFile("/new")
        system.replace("/old", with: [9])
        try system.rename("/old", to: "/new")
        for seed in UInt64(0)..<64 {
            let files = system.crashImage(.random(seed: seed)).snapshotFiles()
            #expect(files == ["/old": [9], "/new": ones + ones] || files == ["/new": [9]])
        }
        try system.syncDirectory("/")
        #expect(system.crashImage(.nothingPending).snapshotFiles() == ["/new": [9]])
    }

    @Test func aFileMovedAcrossDirectoriesNeverVanishes() throws {
        try system.createDirectory("/a")
        try system.createDirectory("/b")
        try system.syncDirectory("/")
        system.replace("/a/f", with: [9])
        try system.rename("/a/f", to: "/b/f")
        let outcomes = Set((0..<128).map { Set(system.crashImage(.random(seed: $0)).snapshotFiles().keys) })
        #expect(outcomes == [["/a/f"], ["/a/f", "/b/f"], ["/b/f"]])
        try system.syncDirectory("/b")
        #expect(Set(system.crashImage(.nothingPending).snapshotFiles().keys) == ["/a/f", "/b/f"])
        try system.syncDirectory("/a")
        #expect(Set(system.crashImage(.nothingPending).snapshotFiles().keys) == ["/b/f"])
    }

    @Test func aFileInADirectoryThatWasLostIsLostToo() throws {
        try system.createDirectory("/d")
        try system.open("/d/f", .create).close()
        try system.syncDirectory("/d")
        #expect(try system.crashImage(.nothingPending).list("/") == [])
        #expect(try system.crashImage(.everythingPending).list("/d") == ["f"])
    }

    @Test func anUnlinkedFileStaysReadableWhileItIsOpen() throws {
        try makeFile()
        let file = try system.open("/f", .read)
        try system.unlink("/f")
        try system.syncDirectory("/")
        var bytes = [UInt8](repeating: 0, count: 4)
        var span = bytes.mutableSpan
        #expect(try file.read(into: &span, at: 0) == 4)
        #expect(bytes == [1, 1, 1, 1])
        file.close()
    }

    // MARK: - Crashes and faults

    @Test func everyOperationFailsAfterTheCrash() throws {
        try makeFile()
        let file = try system.open("/f", .readWrite)
        system.faultPlan = .crash(at: system.operationCount + 1)
        #expect(throws: IOFailure.self) { try file.sync() }
        let count = system.operationCount
        #expect(throws: IOFailure.self) { try file.write([1].span, at: 0) }
        #expect(throws: IOFailure.self) { try system.list("/") }
        #expect(throws: IOFailure.self) { try system.open("/f", .read) }
        #expect(system.operationCount == count)
        file.close()
        let image = system.crashImage(.nothingPending)
        #expect(!image.isCrashed)
        #expect(try image.list("/") == ["f"])
    }

    @Test func aFailedSyncThatMarksPagesCleanIsNotMadeGoodByTheNext() throws {
        try makeFile()
        let file = try system.open("/f", .readWrite)
        try file.write(twos.span, at: 0)
        let next = system.operationCount + 1
        system.faultPlan = .fault(.init(operation: next, effect: .pagesMarkedClean))
        #expect(throws: IOFailure.self) { try file.sync() }
        try file.sync()
        #expect(simulatedContent(system, "/f") == twos + ones)
        #expect(simulatedContent(system.crashImage(.everythingPending), "/f") == ones + ones)
        file.close()
    }

    @Test func aLastingFaultMeetsEveryLaterOperation() throws {
        try makeFile()
        let file = try system.open("/f", .readWrite)
        system.faultPlan = .fault(.init(operation: system.operationCount + 2, isLasting: true, kind: .noSpace))
        try file.write(twos.span, at: 0)
        for _ in 0..<3 {
            let failure = #expect(throws: IOFailure.self) { try file.write(twos.span, at: 0) }
            #expect(failure?.kind == .noSpace)
        }
        file.close()
    }

    @Test(arguments: [FaultPlan.Effect.shortWrite, .tornWrite])
    func aFailedWriteLeavesAPart(_ effect: FaultPlan.Effect) throws {
        try makeFile()
        let file = try system.open("/f", .readWrite)
        system.faultPlan = .fault(.init(operation: system.operationCount + 1, effect: effect))
        #expect(throws: IOFailure.self) { try file.write((twos + twos).span, at: 0) }
        let bytes = try #require(simulatedContent(system, "/f"))
        #expect(Set(bytes) == [1, 2])
        file.close()
    }

    @Test func aFullDiskTakesWhatFitsAndRecoversWhenSpaceIsFreed() throws {
        try makeFile()
        let file = try system.open("/g", .create)
        system.faultPlan.capacityBytes = 16_384
        let failure = #expect(throws: IOFailure.self) { try file.write((twos + twos + twos).span, at: 0) }
        #expect(failure?.kind == .noSpace)
        #expect(try file.size() == 8_192)
        try file.write(ones.span, at: 4_096)
        try system.unlink("/f")
        try system.syncDirectory("/")
        try file.write(twos.span, at: 8_192)
        file.close()
    }

    @Test func aFileCanBeMadeUnreadable() throws {
        try makeFile()
        system.faultPlan.unreadablePaths = ["f"]
        let file = try system.open("/f", .read)
        var bytes = [UInt8](repeating: 0, count: 1)
        #expect(throws: IOFailure.self) {
            var span = bytes.mutableSpan
            _ = try file.read(into: &span, at: 0)
        }
        file.close()
    }

    @Test func operationsAreCountedAndLogged() throws {
        system.recordsOperations = true
        try makeFile()
        #expect(
            system.operationLog == ["1 create /f", "2 pwrite /f 8192 bytes at 0", "3 fdatasync /f", "4 fsync /"])
        _ = try? system.open("/none", .read)
        _ = try? system.createDirectory("/f")
        #expect(system.operationCount == 4)
    }

    // MARK: - Locks and damage

    @Test func aLockExcludesAndGoesWithTheCrash() throws {
        guard case .acquired(let lock) = try system.lock("/LOCK", note: "me") else {
            Issue.record("the lock was not acquired")
            return
        }
        guard case .heldByOther(let note) = try system.lock("/LOCK", note: "you") else {
            Issue.record("the lock was acquired twice")
            return
        }
        #expect(note == "me")
        #expect(try system.lockHolder("/LOCK") == "me")
        #expect(try system.crashImage(.everythingPending).lockHolder("/LOCK") == nil)
        lock.release()
        #expect(try system.lockHolder("/LOCK") == nil)
    }

    @Test func damageIsDurableAndLeavesImagesAlone() throws {
        try makeFile()
        let before = system.crashImage(.nothingPending)
        system.corrupt("/f", offset: 5_000, xor: 0x80)
        system.truncate("/f", to: 6_000)
        #expect(simulatedContent(system, "/f")?[5_000] == 0x81)
        #expect(simulatedContent(system.crashImage(.nothingPending), "/f")?.count == 6_000)
        #expect(simulatedContent(before, "/f") == ones + ones)
        system.replace("/d/e/g", with: [1, 2])
        system.remove("/f")
        #expect(system.crashImage(.nothingPending).snapshotFiles() == ["/d/e/g": [1, 2]])
    }

    private func withAligned(_ bytes: [UInt8], _ body: (Span<UInt8>) throws -> Void) throws {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 4_096)
        defer { memory.deallocate() }
        memory.copyBytes(from: bytes)
        try body(UnsafeBufferPointer(memory.bindMemory(to: UInt8.self)).span)
    }
}
