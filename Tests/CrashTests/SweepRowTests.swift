// Every row of the recovery table is come to by some damage, and what is no row is refused as what it is.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(5))) struct SweepRowTests {
    /// The row by which a disk is opened or refused.
    private static func row(_ disk: SimulatedFileSystem, options: LogOptions = CrashStore.options()) throws -> String {
        do {
            let store = try CrashStore(opening: disk, options: options)
            defer { try? store.log.close() }
            return store.log.recovery.row
        } catch let error as LogError {
            return SweepJudge.row(in: error) ?? "\(error)"
        }
    }

    @Test func everyRowOfTheRecoveryTableIsComeTo() async throws {
        try await onThread {
            var rows: Set<String> = []
            let crashed = try SweepStore(.crashed)
            let firstUse = try DamageTests.Found(commits: 2)
            func damage(_ found: SimulatedFileSystem, _ path: String, at offset: Int) throws -> String {
                let disk = found.crashImage(.nothingPending)
                disk.corrupt(path, offset: offset, xor: 4)
                return try Self.row(disk)
            }
            rows.insert(try Self.row(crashed.disk.crashImage(.nothingPending)))
            rows.insert(try damage(crashed.disk, crashed.tail.path, at: crashed.map.last.offset + 9))
            rows.insert(try damage(crashed.disk, crashed.tail.path, at: SegmentHeader.byteCount + 9))
            rows.insert(try damage(firstUse.disk, firstUse.path, at: LogOptions.journalSegmentBytesMin - 1))
            rows.insert(try Self.rowWithoutSuccessor(crashed))
            rows.formUnion(try Self.rowsOfUnsyncedGroups())
            #expect(rows == Set(RecoveryDecision.rows.map(\.name)))
        }
    }

    /// The journal of a manifest that names no segment behind one that ends in a roll frame.
    private static func rowWithoutSuccessor(_ store: SweepStore) throws -> String {
        let disk = store.disk.crashImage(.nothingPending)
        let layout = StoreLayout(root: CrashStore.path)
        var manifest = try #require(try ManifestStore(layout: layout, fileSystem: disk).read())
        manifest.journals.removeLast(manifest.journals.count - 1)
        try ManifestStore(layout: layout, fileSystem: disk).replace(with: manifest)
        return try row(disk)
    }

    /// Of three groups that were never synced the first is lost. They are cut off, others written in their place, and
    /// of these the second is lost, so that the old one shows again.
    private static func rowsOfUnsyncedGroups() throws -> [String] {
        let options = CrashStore.options(.none)
        let layout = StoreLayout(root: CrashStore.path)
        let disk = SimulatedFileSystem()
        let store = try CrashStore(disk, options: options)
        for number in 0..<3 { try store.commit([body(number, bytes: 3000)]) }
        let torn = disk.crashImage(.everythingPending)
        try store.log.close()
        let manifest = try #require(try ManifestStore(layout: layout, fileSystem: torn).read())
        let path = layout.path(manifest.journals[0])
        let frames = try JournalScan(manifest, layout: layout, fileSystem: torn).segments[0].frames
        let old = try #require(torn.snapshotFiles()[path])[frames[1].offset..<frames[2].offset]
        torn.corrupt(path, offset: frames[0].offset + 100)
        let cut = try CrashStore(torn, options: options)
        let first = cut.log.recovery.row
        for number in 10..<12 { try cut.commit([body(number, bytes: 3000)]) }
        let shown = torn.crashImage(.everythingPending)
        try cut.log.close()
        var bytes = try #require(shown.snapshotFiles()[path])
        bytes.replaceSubrange(frames[1].offset..<frames[2].offset, with: old)
        shown.replace(path, with: bytes)
        return [first, try row(shown, options: options)]
    }

    /// A file that can't be read is no damage: nothing is known of its bytes, and nothing is changed.
    @Test func aReadThatFailsWhileOpeningIsAnErrorOfItsOwnAndNoRow() async throws {
        try await onThread {
            let store = try SweepStore(.crashed)
            let dry = store.disk.crashImage(.nothingPending)
            _ = try Self.row(dry)
            var failures = 0
            for number in 1...dry.readCount {
                let disk = store.disk.crashImage(.nothingPending)
                disk.faultPlan.readFaults = [.init(operation: number)]
                // A checkpoint that can't be read is passed over, and nothing else can be done without.
                do { try CrashStore(opening: disk).log.close() } catch let error as LogError {
                    failures += 1
                    #expect(error.code == .ioFailed && SweepJudge.row(in: error) == nil, "\(error)")
                }
                disk.faultPlan = FaultPlan()
                #expect(try Self.row(disk) == SweepMap.cleanEnd)
            }
            #expect(failures > dry.readCount / 2)
        }
    }

    /// A misdirected write over the group before it left no trace of either but a torn tail, and both were cut off.
    @Test(arguments: [-4096, -512]) func aGroupWrittenOverTheOneBeforeItIsNoTornTail(distance: Int) async throws {
        try await onThread {
            let disk = SimulatedFileSystem()
            let store = try CrashStore(disk)
            for number in 0..<3 { try store.commit([body(number, bytes: 3990)]) }
            disk.faultPlan.lies[disk.operationCount + 1] = .shifted(by: distance)
            try store.commit([body(3, bytes: 3990)])
            #expect(disk.faultHits == 1)
            let image = disk.crashImage(.nothingPending)
            try store.log.close()
            let error = #expect(throws: LogError.self) { try CrashStore(opening: image).log.close() }
            #expect(error?.code == .corrupt && error.flatMap(SweepJudge.row) == SweepMap.belowWatermark)
        }
    }
}
