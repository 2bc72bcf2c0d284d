// Safeguards that no workload of the other suites would miss.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.serialized, .timeLimit(.minutes(10))) struct SafeguardTests {
    /// A log that is never idle is synced by its commits.
    @Test func aCommitSyncsWhenTheIntervalHasPassed() async throws {
        try await onThread {
            let disk = SimulatedFileSystem()
            let store = try CrashStore(disk, options: CrashStore.options(.interval(milliseconds: 0)))
            for number in 0..<50 {
                try store.commit([body(number, bytes: 3000)])
                let found = try CrashStore(opening: disk.crashImage(.nothingPending))
                #expect(found.replayed.count == number + 1)
                try found.log.close()
            }
            try store.log.close()
        }
    }

    /// Nothing comes after the commit, and on a full disk no mark does either.
    @Test(arguments: [DurabilityMode.none, .interval(milliseconds: 3_600_000)], [false, true])
    func anIdleLogIsSyncedOnAFullDiskToo(mode: DurabilityMode, isFull: Bool) async throws {
        try await onThread {
            let disk = SimulatedFileSystem()
            let options = CrashStore.options(mode, idleMarkMilliseconds: 1)
            try CrashStore(disk, options: options).log.close()
            if isFull {
                disk.remove("\(CrashStore.path)/RESERVE")
                // A manifest has room, the reserve has none.
                disk.faultPlan.capacityBytes = disk.usedBytes + 4_096
            }
            let store = try CrashStore(disk, options: options)
            try store.commit([body(1)], isSettling: true)
            var found = 0
            for _ in 0..<5_000 where found == 0 {
                let image = try CrashStore(opening: disk.crashImage(.nothingPending))
                found = image.replayed.count
                try image.log.close()
            }
            #expect(found == 1)
            disk.faultPlan.capacityBytes = nil
            try store.log.close()
        }
    }

    /// A record may come between the last checkpoint and the end: nothing else syncs it.
    @Test func whatIsAppendedWhileTheLogClosesIsDurableBeforeTheCloseFrame() async throws {
        try await onThread {
            let options = CrashStore.options(.none)
            let disk = SimulatedFileSystem()
            let store = try CrashStore(disk, options: options)
            try store.commit([body(0, bytes: 3000)])
            disk.recordCrashPoints { 0 }
            disk.whileSyncing { path in
                guard path.hasSuffix("MANIFEST.tmp") else { return }
                disk.whileSyncing(nil)
                try? store.commit([body(1, bytes: 3000)])
            }
            try store.log.close()
            #expect(store.journalist.all.count == 2)
            for point in disk.crashPoints {
                for item in 0..<point.itemCount {
                    let reproduction = "operation \(point.operation), item \(item)"
                    try CrashCheck(
                        disk: point.image(.only(item: item)), batches: store.journalist.all,
                        reproduction: reproduction, keepsAcknowledged: false, options: options
                    ).run()
                }
            }
        }
    }

    @Test func nothingIsInstalledAfterAFailure() async throws {
        try await onThread {
            let disk = SimulatedFileSystem()
            let store = try CrashStore(disk)
            try store.commit([body(0)])
            let manifest = disk.snapshotFiles()["/store/MANIFEST"]
            disk.whileSyncing { path in
                guard path.hasSuffix(".ckpt") else { return }
                disk.whileSyncing(nil)
                disk.faultPlan = .fault(.init(operation: disk.operationCount + 1))
                try? store.commit([body(1)])
            }
            let error = #expect(throws: LogError.self) { _ = try store.log.checkpoint() }
            #expect(error?.code == .poisoned)
            #expect(disk.snapshotFiles()["/store/MANIFEST"] == manifest)
            try? store.log.close()
        }
    }

    /// A frame behind one whose fate is unknown may not follow what is found there.
    @Test func noCloseFrameFollowsAFailure() async throws {
        try await onThread {
            let disk = SimulatedFileSystem()
            let store = try CrashStore(disk)
            try store.commit([body(0)])
            disk.faultPlan = .fault(.init(operation: disk.operationCount + 1))
            #expect(throws: LogError.self) { try store.commit([body(1)]) }
            #expect(throws: LogError.self) { try store.log.close() }
            let found = try CrashStore(opening: disk.crashImage(.everythingPending))
            #expect(found.replayed.map(\.body) == [body(0)] && !found.log.recovery.wasClosedCleanly)
            try found.log.close()
        }
    }

    /// What the second owner answered and then lost with the power left no trace but its epoch.
    @Test func theCloseOfAnEarlierEpochIsNoCleanClose() async throws {
        try await onThread {
            let options = CrashStore.options(.none)
            let disk = SimulatedFileSystem()
            let first = try CrashStore(disk, options: options)
            try first.commit([body(0)])
            try first.log.close()
            let second = try CrashStore(disk, options: options)
            try second.commit([body(1)])
            let given = try #require(second.journalist.all.last?.last)
            let image = disk.crashImage(.nothingPending)
            try second.log.close()
            let found = try CrashStore(opening: image, options: options)
            #expect(found.replayed.count == 1 && !found.log.recovery.wasClosedCleanly)
            #expect(found.log.lock.withLock { found.log.nextSequence } > given)
            try found.log.close()
        }
    }

    @Test func aReaderBesideALivingOwnerShowsNothingThatACrashCanTakeBack() async throws {
        try await onThread {
            let options = CrashStore.options(.none)
            let disk = SimulatedFileSystem()
            let store = try CrashStore(disk, options: options)
            for number in 0..<2 { try store.commit([body(number)]) }
            _ = try store.log.checkpoint()
            try store.commit([body(2)])
            var shown: [SequenceNumber] = []
            var reader = try LogReader.open(directory: CrashStore.path, fileSystem: disk)
            try reader.forEachFrame(from: .zero) { (source, frame) throws(LogError) in
                try frame.forEachEntry(file: source.name) { (entry, _) throws(LogError) in
                    shown.append(entry.sequence)
                    return true
                }
            }
            let found = try CrashStore(opening: disk.crashImage(.nothingPending), options: options)
            #expect(shown.count == 2 && found.replayed.map(\.sequence).starts(with: shown))
            try found.log.close()
            try store.log.close()
        }
    }

    @Test func aSalvagedStoreIsWholeOrNotThereWhereverThePowerGoes() async throws {
        try await onThread {
            let disk = SimulatedFileSystem()
            disk.recordCrashPoints { 0 }
            let bodies = (1...3).map { body($0) }
            var writer = try NewStoreWriter(directory: CrashStore.path, fileSystem: disk)
            for (index, body) in bodies.enumerated() {
                let entry = EntryView(sequence: SequenceNumber(UInt64(index + 1)), kind: 1, body: body.span)
                try writer.append(entry, time: .zero, key: nil)
            }
            let image: [UInt8] = [3, 0, 0, 0, 0, 0, 0, 0]
            let last = SequenceNumber(3)
            try writer.addCheckpoint(last, image: image.span, copies: 2)
            _ = try writer.complete(reserved: last.next, compactedThrough: last, ancestors: [])
            try writer.install()
            func isThere(_ disk: SimulatedFileSystem) -> Bool { disk.snapshotFiles()["/store/MANIFEST"] != nil }
            #expect(isThere(disk.crashImage(.nothingPending)))
            for point in disk.crashPoints {
                let items = 0..<point.itemCount
                for policy in items.map({ .only(item: $0) }) + items.map({ .allBut(item: $0) }) as [CrashPolicy] {
                    let left = point.image(policy)
                    guard isThere(left) else { continue }
                    let found = try CrashStore(opening: left)
                    #expect(found.replayed.map(\.body) == bodies && found.checkpoint == last)
                    try found.log.close()
                }
            }
        }
    }
}
