// Stores that no crash leaves behind, each found by fuzzing or by reading on from what it found.

import HoldfastBytes
import HoldfastTestKit
import Testing

@testable import HoldfastLog

@Suite struct ImpossibleStoreTests {
    private static let store = StoreIdentity(bytes: Array(0..<16))
    private static let segmentBytes = 65_536

    /// Writes a journal segment with one empty mark frame at each of `offsets`.
    private func journal(_ number: UInt64, frames offsets: [Int]) -> (Manifest.Journal, [UInt8]) {
        let base = LogPosition((number - 1) * UInt64(Self.segmentBytes))
        var header = SegmentHeader(
            role: .journal, store: Self.store, id: SegmentID(number), salt: UInt32(number), epoch: Epoch(1),
            created: .zero)
        header.base = base
        header.allocatedBytes = Self.segmentBytes
        header.inFlightBytesMax = Self.segmentBytes
        var writer = ByteWriter()
        header.encode(into: &writer)
        writer.append(zeros: Self.segmentBytes - writer.count)
        for offset in offsets {
            var frame = FrameHeader(
                kind: .mark, firstSequence: SequenceNumber(1), epoch: Epoch(1), position: base.advanced(by: offset),
                durable: .zero, time: .zero, previousLink: 0)
            frame.payloadChecksum = CRC32C.checksum([UInt8]().span, seed: header.salt)
            frame.store(into: &writer, at: offset, salt: header.salt)
        }
        let journal = Manifest.Journal(
            id: header.id, slot: number, base: base, bytes: Self.segmentBytes, isOversized: false)
        return (journal, [UInt8](copying: writer.bytes))
    }

    private func scan(_ journals: [(Manifest.Journal, [UInt8])]) throws -> JournalScan {
        let disk = SimulatedFileSystem()
        let layout = StoreLayout(root: "/store")
        var manifest = Manifest(store: Self.store)
        manifest.epoch = Epoch(1)
        for (journal, bytes) in journals {
            manifest.journals.append(journal)
            disk.replace(layout.path(journal), with: bytes)
        }
        return try JournalScan(manifest, layout: layout, fileSystem: disk)
    }

    /// Only the first place of a later segment was looked at. A store whose journal was damaged in two places opened
    /// without what lay behind the first, and could not be opened again once new frames reached the old ones.
    @Test(arguments: [4096, 8192, 65_536 - 4096])
    func framesAnywhereInALaterSegmentAreNoTornTail(offset: Int) throws {
        let scan = try scan([journal(1, frames: [4096]), journal(2, frames: [offset])])
        #expect(scan.tail == 0 && scan.finding.exceedsInFlightBound)
        #expect(RecoveryDecision.row(for: scan.finding).verdict != .cleanEnd)
        #expect(RecoveryDecision.row(for: scan.finding).verdict != .tornTail)
    }

    /// Numbers at the very end of their range trapped on the way to the next one.
    @Test func numbersWithoutASuccessorAreDamage() throws {
        let end = SequenceNumber(SequenceNumber.max.rawValue - 1)
        let changes: [(inout Manifest) -> Void] = [
            { $0.reserved = end }, { $0.epoch = Epoch(UInt32.max - 1) }, { $0.nextBase = LogPosition(1 << 62) },
            { $0.nextSegment = SegmentID(1 << 62) }, { $0.nextSlot = 1 << 62 }, { $0.compactedThrough = end },
        ]
        for change in changes {
            let disk = SimulatedFileSystem()
            let layout = StoreLayout(root: "/store")
            var manifest = Manifest(store: Self.store)
            change(&manifest)
            var writer = ByteWriter()
            manifest.encode(into: &writer)
            for directory in layout.directories {
                disk.replace(directory + "/x", with: [])
                disk.remove(directory + "/x")
            }
            disk.replace(layout.manifest, with: [UInt8](copying: writer.bytes))
            let error = #expect(throws: LogError.self) {
                _ = try WriteAheadLog.open(
                    directory: layout.root, fileSystem: disk, options: LogOptions(), createIfMissing: false, now: .zero)
            }
            #expect(error?.code == .corrupt)
        }
    }

    /// The range of a segment's sequence numbers was made without a look at their order.
    @Test func aSealedSegmentThatEndsBeforeItBeginsIsDamage() {
        var manifest = Manifest(store: Self.store)
        manifest.sealed = [
            Manifest.Sealed(
                id: SegmentID(1), firstSequence: SequenceNumber(9), lastSequence: SequenceNumber(8), bytes: 8192,
                records: 1, rawBytes: 100,
                chain: [UInt8](repeating: 0, count: 32),
                lineage: .init(chain: [UInt8](repeating: 0, count: 32), through: SequenceNumber(8)))
        ]
        var writer = ByteWriter()
        manifest.encode(into: &writer)
        let error = #expect(throws: LogError.self) { _ = try Manifest(writer.bytes) }
        #expect(error?.code == .corrupt)
    }

    /// A named file that was gone passed for a system call that had failed.
    @Test func aSealedSegmentOrACheckpointThatIsGoneIsDamage() throws {
        let disk = SimulatedFileSystem()
        let layout = StoreLayout(root: "/store")
        var manifest = Manifest(store: Self.store)
        manifest.sealed = [
            Manifest.Sealed(
                id: SegmentID(1), firstSequence: SequenceNumber(1), lastSequence: SequenceNumber(8), bytes: 8192,
                records: 1, rawBytes: 100,
                chain: [UInt8](repeating: 0, count: 32),
                lineage: .init(chain: [UInt8](repeating: 0, count: 32), through: SequenceNumber(8)))
        ]
        manifest.checkpoints = [Manifest.Checkpoint(sequence: SequenceNumber(8), bytes: 100, copies: 1)]
        var writer = ByteWriter()
        manifest.encode(into: &writer)
        disk.replace(layout.manifest, with: [UInt8](copying: writer.bytes))
        var reader = try LogReader.open(directory: layout.root, fileSystem: disk)
        let problems = reader.verify(progress: { _, _ in }, { _, _ in }).problems
        #expect(problems.map(\.code) == [.corrupt, .corrupt])
        let named = [layout.path(manifest.sealed[0]), layout.path(manifest.checkpoints[0], copy: 0)]
        #expect(problems.map(\.file) == named.map(layout.relative))
    }

    /// A record of the journal with a number beyond its frame's was taken, and the journal could not be sealed later.
    @Test(arguments: [0, 5] as [UInt8]) func aRecordBeyondItsFramesNumbersIsDamage(gap: UInt8) throws {
        var (journal, bytes) = journal(1, frames: [])
        let entry: [UInt8] = [2, gap, 0x81, 7]
        var frame = FrameHeader(
            kind: .data, firstSequence: SequenceNumber(1), epoch: Epoch(1), position: journal.base.advanced(by: 4096),
            durable: .zero, time: .zero, previousLink: 0)
        frame.recordCount = 1
        frame.rawBytes = entry.count
        frame.storedBytes = entry.count
        frame.payloadChecksum = CRC32C.checksum(entry.span, seed: 1)
        var writer = ByteWriter()
        writer.append(bytes)
        frame.store(into: &writer, at: 4096, salt: 1)
        bytes = [UInt8](copying: writer.bytes)
        bytes.replaceSubrange(4160..<4164, with: entry)
        let log = try open(journal, bytes)
        var found: [UInt64] = []
        do {
            try log.forEachEntry(after: .zero) { (entry, _) throws(LogError) in
                found.append(entry.sequence.rawValue)
                return true
            }
            #expect(gap == 0 && found == [1])
        } catch {
            #expect(gap > 0 && found.isEmpty && error.code == .corrupt && error.offset == 4096, "\(error)")
        }
    }

    /// Opens a store of one journal segment.
    private func open(_ journal: Manifest.Journal, _ bytes: [UInt8]) throws -> WriteAheadLog {
        let disk = SimulatedFileSystem()
        let layout = StoreLayout(root: "/store")
        var manifest = Manifest(store: Self.store)
        manifest.epoch = Epoch(1)
        manifest.nextSegment = SegmentID(2)
        manifest.nextSlot = 2
        manifest.nextBase = LogPosition(UInt64(Self.segmentBytes))
        manifest.journals = [journal]
        disk.replace(layout.path(journal), with: bytes)
        var encoded = ByteWriter()
        manifest.encode(into: &encoded)
        disk.replace(layout.manifest, with: [UInt8](copying: encoded.bytes))
        return try WriteAheadLog.open(
            directory: layout.root, fileSystem: disk, options: LogOptions(), createIfMissing: false, now: .zero)
    }

    /// The walk looks at stored bytes only, so no row of the recovery table is about what they hold.
    @Test(arguments: [true, false]) func compressedContentInAJournalIsCheckedWhenItIsReplayed(isSound: Bool) throws {
        var (journal, bytes) = journal(1, frames: [])
        let entry: [UInt8] = [200, 1, 0, 0x81] + [UInt8](repeating: 7, count: 199)
        var stored = ByteWriter()
        #expect(LZ4Block.append(entry.span, to: &stored, high: false))
        stored.append(littleEndian: CRC32C.checksum(entry.span, seed: 1) ^ (isSound ? 0 : 1))
        let content = [UInt8](copying: stored.bytes)
        var frame = FrameHeader(
            kind: .data, firstSequence: SequenceNumber(1), epoch: Epoch(1), position: journal.base.advanced(by: 4096),
            durable: .zero, time: .zero, previousLink: 0)
        frame.codec = .lz4
        frame.recordCount = 1
        frame.rawBytes = entry.count
        frame.storedBytes = content.count
        frame.payloadChecksum = CRC32C.checksum(content.span, seed: 1)
        var writer = ByteWriter()
        writer.append(bytes)
        frame.store(into: &writer, at: 4096, salt: 1)
        bytes = [UInt8](copying: writer.bytes)
        bytes.replaceSubrange(4160..<(4160 + content.count), with: content)
        let log = try open(journal, bytes)
        #expect(log.recovery.row == RecoveryDecision.rows.last?.name)
        var found: [UInt64] = []
        do {
            try log.forEachEntry(after: .zero) { (entry, _) throws(LogError) in
                found.append(entry.sequence.rawValue)
                return true
            }
            #expect(isSound && found == [1])
        } catch {
            #expect(!isSound && found.isEmpty && error.code == .corrupt && error.offset == 4096, "\(error)")
        }
    }

    @Test func anEmptyLaterSegmentIsNoDamage() throws {
        let scan = try scan([journal(1, frames: [4096]), journal(2, frames: [])])
        #expect(RecoveryDecision.row(for: scan.finding).verdict == .cleanEnd)
    }
}
