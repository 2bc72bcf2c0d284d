// What the walk takes for evidence, one piece at a time, in journals made for it: without any one of them damage would
// pass for a clean end, or old bytes for new ones.

import HoldfastBytes
import HoldfastTestKit
import Testing

@testable import HoldfastLog

@Suite struct JournalEvidenceTests {
    private static let store = StoreIdentity(bytes: Array(0..<16))
    private static let segmentBytes = 65_536
    private static let inFlightBytesMax = 8192
    private static let base = LogPosition(1 << 20)

    /// A frame without records, which follows the one before unless it says otherwise.
    private struct Mark {
        var offset: Int
        var kind = FrameKind.mark
        var epoch: UInt32 = 2
        var first: UInt64 = 5
        /// As an offset of the segment.
        var durable: Int?
        var link: UInt32?
        var statedOffset: Int?
    }

    /// Walks a journal of one segment with these frames, and other bytes than zero at `stains`.
    private func scan(
        _ marks: [Mark], wasRecycled: Bool = false, stains: [Int] = [], store: StoreIdentity = Self.store,
        id: SegmentID = SegmentID(3)
    ) throws -> JournalScan {
        let (disk, manifest) = made(marks, wasRecycled: wasRecycled, stains: stains, store: store, id: id)
        return try JournalScan(manifest, layout: Self.layout, fileSystem: disk)
    }

    private static let layout = StoreLayout(root: "/store")

    private func made(
        _ marks: [Mark], wasRecycled: Bool, stains: [Int], store: StoreIdentity, id: SegmentID
    ) -> (SimulatedFileSystem, Manifest) {
        var header = SegmentHeader(
            role: .journal, store: store, id: id, salt: 77, epoch: Epoch(1), created: .zero)
        header.base = Self.base
        header.allocatedBytes = Self.segmentBytes
        header.inFlightBytesMax = Self.inFlightBytesMax
        header.wasRecycled = wasRecycled
        var writer = ByteWriter()
        header.encode(into: &writer)
        writer.append(zeros: Self.segmentBytes - writer.count)
        var link: UInt32 = 0
        for mark in marks {
            var frame = FrameHeader(
                kind: mark.kind, firstSequence: SequenceNumber(mark.first), epoch: Epoch(mark.epoch),
                position: Self.base.advanced(by: mark.statedOffset ?? mark.offset),
                durable: mark.durable.map { Self.base.advanced(by: $0) } ?? .zero, time: .zero,
                previousLink: mark.link ?? link)
            frame.isGroupEnd = true
            frame.payloadChecksum = CRC32C.checksum([UInt8]().span, seed: header.salt)
            frame.store(into: &writer, at: mark.offset, salt: header.salt)
            link = frame.link
        }
        for stain in stains { writer.store(0xA5 as UInt8, at: stain) }
        let disk = SimulatedFileSystem()
        var manifest = Manifest(store: Self.store)
        manifest.epoch = Epoch(2)
        let journal = Manifest.Journal(
            id: SegmentID(3), slot: 1, base: Self.base, bytes: Self.segmentBytes, isOversized: false)
        manifest.journals.append(journal)
        disk.replace(Self.layout.path(journal), with: [UInt8](copying: writer.bytes))
        return (disk, manifest)
    }

    @Test func framesThatFollowAreTaken() throws {
        let scan = try scan([Mark(offset: 4096, epoch: 1), Mark(offset: 8192, first: 6)])
        #expect(scan.tailOffset == 12_288 && scan.finding.stop == .noFrame && !scan.finding.isDirty)
    }

    @Test func aFrameWithAnotherLinkDoesNotFollow() throws {
        let scan = try scan([Mark(offset: 4096), Mark(offset: 8192, link: 1)])
        #expect(scan.tailOffset == 8192 && scan.finding.stop == .inconsistent)
    }

    @Test(arguments: [1, 3] as [UInt32]) func aFrameOfAnEpochThatCanNotBeDoesNotFollow(epoch: UInt32) throws {
        let scan = try scan([Mark(offset: 4096), Mark(offset: 8192, epoch: epoch)])
        #expect(scan.tailOffset == 8192 && scan.finding.stop == .inconsistent)
    }

    @Test func aFrameWhoseNumbersGoBackDoesNotFollow() throws {
        let scan = try scan([Mark(offset: 4096), Mark(offset: 8192, first: 4)])
        #expect(scan.tailOffset == 8192 && scan.finding.stop == .inconsistent)
    }

    @Test func aFrameThatSaysItLiesElsewhereIsNone() throws {
        let scan = try scan([Mark(offset: 4096), Mark(offset: 8192, statedOffset: 12_288)])
        #expect(scan.tailOffset == 8192 && scan.finding.stop == .brokenGroup)
    }

    @Test func aFrameBehindAGapVouchesForTheGap() throws {
        let scan = try scan([Mark(offset: 4096), Mark(offset: 12_288, durable: 12_288)])
        #expect(scan.tailOffset == 8192 && scan.finding.isBelowWatermark)
    }

    @Test func aFrameVouchesForWhatItFollows() throws {
        let scan = try scan([Mark(offset: 4096), Mark(offset: 8192, durable: 8192)])
        #expect(scan.watermark == Self.base.advanced(by: 8192))
    }

    @Test func aFrameFurtherOnThanCanHaveBeenInFlightIsDamage() throws {
        let near = try scan([Mark(offset: 4096), Mark(offset: 12_288)], wasRecycled: true)
        #expect(near.finding.hasLaterFrames && !near.finding.exceedsInFlightBound)
        let far = try scan([Mark(offset: 4096), Mark(offset: 8192 + Self.inFlightBytesMax)], wasRecycled: true)
        #expect(far.finding.exceedsInFlightBound)
    }

    @Test func bytesBehindTheEndOfAFirstUseAreATornWriteOrDamage() throws {
        let near = try scan([Mark(offset: 4096)], stains: [9000])
        #expect(near.finding.isDirty && !near.finding.exceedsInFlightBound)
        let far = try scan([Mark(offset: 4096)], stains: [40_000])
        #expect(far.finding.isDirty && far.finding.exceedsInFlightBound)
        let old = try scan([Mark(offset: 4096)], wasRecycled: true, stains: [9000, 40_000])
        #expect(!old.finding.isDirty)
    }

    /// In a recycled file old bytes mean nothing, unless they name this place or the frame before it.
    @Test func aDamagedHeaderThatStillFollowsIsATornWrite() throws {
        let torn = try scan([Mark(offset: 4096), Mark(offset: 8192)], wasRecycled: true, stains: [8192 + 20])
        #expect(torn.tailOffset == 8192 && torn.finding.isDirty)
        let old = [Mark(offset: 4096), Mark(offset: 8192, link: 1, statedOffset: 4096)]
        #expect(try !scan(old, wasRecycled: true, stains: [8192 + 20]).finding.isDirty)
    }

    /// Without a look at what stopped the walk a reader would take the damaged place for the end.
    @Test func aReaderSaysWhatKeepsItFromTheEnd() throws {
        let marks = [Mark(offset: 4096), Mark(offset: 8192), Mark(offset: 12_288, durable: 12_288)]
        let (disk, manifest) = made(marks, wasRecycled: false, stains: [8192 + 20], store: Self.store, id: SegmentID(3))
        var writer = ByteWriter()
        manifest.encode(into: &writer)
        disk.replace(Self.layout.manifest, with: [UInt8](copying: writer.bytes))
        var reader = try LogReader.open(directory: Self.layout.root, fileSystem: disk)
        let error = #expect(throws: LogError.self) { try reader.forEachFrame(from: .zero) { _, _ in true } }
        #expect(error?.code == .corrupt && error?.offset == 8192)
    }

    @Test func aRollWithoutASuccessorIsAMissingFile() throws {
        #expect(try scan([Mark(offset: 4096, kind: .roll)]).finding.stop == .missing)
    }

    @Test func anotherStoresSegmentAndAnotherUseOfTheFileAreRefused() throws {
        let other = StoreIdentity(bytes: Array(1..<17))
        #expect(throws: LogError.self) { try scan([Mark(offset: 4096)], store: other) }
        #expect(throws: LogError.self) { try scan([Mark(offset: 4096)], id: SegmentID(2)) }
    }

    @Test func aReaderTakesNoFrameThatSaysItLiesElsewhere() throws {
        let marks = [Mark(offset: 4096), Mark(offset: 8192, statedOffset: 12_288)]
        let (disk, manifest) = made(marks, wasRecycled: false, stains: [], store: Self.store, id: SegmentID(3))
        let file = try disk.open(Self.layout.path(manifest.journals[0]), .read)
        defer { file.close() }
        let header = try SegmentHeader.read(file, name: "a journal")
        let read = try Frame.read(file, at: 8192, segment: header)
        guard case .failure(let error) = read else { return #expect(Bool(false), "the frame was taken") }
        #expect(error.defect == .misplaced)
    }

    @Test(arguments: [0, 1] as [UInt32]) func whatDecompressesToSomethingElseIsNone(flipped: UInt32) throws {
        let raw = [UInt8](repeating: 7, count: 4000)
        var stored = ByteWriter()
        #expect(LZ4Block.append(raw.span, to: &stored, high: false))
        stored.append(littleEndian: CRC32C.checksum(raw.span, seed: 77) ^ flipped)
        var header = FrameHeader(
            kind: .data, firstSequence: SequenceNumber(1), epoch: Epoch(1), position: .zero, durable: .zero,
            time: .zero, previousLink: 0)
        header.codec = .lz4
        header.rawBytes = raw.count
        #expect(Frame.decode(stored.bytes, header: header, salt: 77) == (flipped == 0 ? raw : nil))
        header.rawBytes = raw.count + 1
        #expect(Frame.decode(stored.bytes, header: header, salt: 77) == nil, "it decompresses to fewer bytes")
    }
}
