// The bytes of every format, fixed: the literals were computed from the layout tables by a separate program, not by
// the encoders. A change here is a change of the format.

import HoldfastBytes
import HoldfastTestKit
import Testing

@testable import HoldfastLog

@Suite struct FormatTests {
    static let salt: UInt32 = 0x0102_0304
    static let store = StoreIdentity(bytes: Array(0..<16))
    static let time = Timestamp(milliseconds: 1_700_000_000_000)

    // MARK: - Frames

    static let frames: [(kind: FrameKind, hex: String)] = [
        (
            .data,
            "c5d41f12a7010001050000000500000007000000000000000100000003000000"
                + "002000000000000000100000000000000068e5cf8b010000139a2f6344332211"
        ),
        (
            .mark,
            "0ca07194a7020001000000000000000007000000000000000000000003000000"
                + "002000000000000000100000000000000068e5cf8b0100000403020144332211"
        ),
        (
            .roll,
            "b82d30a0a7030001000000000000000007000000000000000000000003000000"
                + "002000000000000000100000000000000068e5cf8b0100000403020144332211"
        ),
        (
            .close,
            "b48df42da7040001000000000000000007000000000000000000000003000000"
                + "002000000000000000100000000000000068e5cf8b0100000403020144332211"
        ),
        (
            .seal,
            "0000b519a7050001000000000000000007000000000000000000000003000000"
                + "002000000000000000100000000000000068e5cf8b0100000403020144332211"
        ),
    ]

    /// One entry: length 3, no gap, kind 1, two bytes.
    static let payload: [UInt8] = [3, 0, 1, 0xAA, 0xBB]

    static func header(_ kind: FrameKind) -> FrameHeader {
        var header = FrameHeader(
            kind: kind, firstSequence: SequenceNumber(7), epoch: Epoch(3), position: LogPosition(0x2000),
            durable: LogPosition(0x1000), time: time, previousLink: 0x1122_3344)
        let stored = kind == .data ? payload : []
        header.storedBytes = stored.count
        header.rawBytes = stored.count
        header.recordCount = kind == .data ? 1 : 0
        header.payloadChecksum = CRC32C.checksum(stored.span, seed: salt)
        return header
    }

    @Test(arguments: FormatTests.frames.indices) func aFrameHeaderHasTheseBytes(number: Int) throws {
        let (kind, hex) = Self.frames[number]
        var header = Self.header(kind)
        var writer = ByteWriter()
        writer.append(zeros: FrameFormat.headerBytes)
        header.store(into: &writer, at: 0, salt: Self.salt)
        #expect([UInt8](copying: writer.bytes).hex == hex)
        #expect(FrameHeader([UInt8](hex: hex).span, salt: Self.salt) == header)
    }

    /// Records are counted from 1: what is computed from the first would go below zero.
    @Test(arguments: FormatTests.frames.indices) func aFrameHasNoRecordZero(number: Int) {
        var header = Self.header(Self.frames[number].kind)
        header.firstSequence = .zero
        var writer = ByteWriter()
        writer.append(zeros: FrameFormat.headerBytes)
        header.store(into: &writer, at: 0, salt: Self.salt)
        #expect(FrameHeader(writer.bytes, salt: Self.salt) == nil)
    }

    @Test(arguments: FormatTests.frames.indices) func everyFlippedBitOfAFrameHeaderIsSeen(number: Int) {
        let bytes = [UInt8](hex: Self.frames[number].hex)
        for bit in 0..<(bytes.count * 8) {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(FrameHeader(damaged.span, salt: Self.salt) == nil)
        }
        #expect(FrameHeader(bytes.span, salt: Self.salt ^ 1) == nil, "another use's salt makes it no frame")
        #expect(FrameHeader([UInt8](repeating: 0, count: 64).span, salt: Self.salt) == nil)
    }

    @Test func everyFlippedBitOfAPayloadIsSeen() throws {
        var segment = SegmentHeader(
            role: .journal, store: Self.store, id: SegmentID(9), salt: Self.salt, epoch: Epoch(3), created: Self.time)
        segment.base = LogPosition(0x1000)
        let bytes = [UInt8](hex: Self.frames[0].hex) + Self.payload
        let header = try Frame.check(bytes.span, at: 0, offset: 0x1000, segment: segment).get()
        #expect(header.recordCount == 1)
        for bit in (64 * 8)..<(bytes.count * 8) {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            let defect = Frame.check(damaged.span, at: 0, offset: 0x1000, segment: segment)
            #expect(defect == .failure(FrameDefectError(.payload)))
        }
        let elsewhere = Frame.check(bytes.span, at: 0, offset: 0x2000, segment: segment)
        #expect(elsewhere == .failure(FrameDefectError(.misplaced)))
        let short = Frame.check(bytes.span.extracting(0..<68), at: 0, offset: 0x1000, segment: segment)
        #expect(short == .failure(FrameDefectError(.cutShort)))
    }

    /// The checksum of these 64 bytes under this salt is such that its stored form begins with two zero bytes: nothing
    /// takes a checksum value for a mark of emptiness.
    @Test func aChecksumThatLooksEmptyIsNone() {
        #expect(Self.frames[4].hex.hasPrefix("0000"))
        #expect(FrameHeader([UInt8](hex: Self.frames[4].hex).span, salt: Self.salt)?.kind == .seal)
    }

    // MARK: - Entries

    @Test func entriesHaveTheseBytes() throws {
        let bytes: [UInt8] = [3, 0, 1, 0xAA, 0xBB, 1, 2, 0x85]
        var cursor = EntryCursor(bytes.span, firstSequence: SequenceNumber(7))
        let first = try #require(try Self.next(&cursor))
        #expect(first == (7, 1, [0xAA, 0xBB]))
        let second = try #require(try Self.next(&cursor))
        #expect(second == (10, 0x85, []))
        #expect(try Self.next(&cursor) == nil)
        #expect(0x85 & EntryFormat.ignorableKindBit != 0)
    }

    @Test(
        arguments: [[0, 0, 1], [1, 0, 0], [5, 0, 1, 1], [0x81, 0x00, 0, 1], [3], [2, 0xFF, 0xFF, 0xFF]] as [[UInt8]])
    func whatIsNoEntryIsRefused(bytes: [UInt8]) {
        var cursor = EntryCursor(bytes.span, firstSequence: SequenceNumber(1))
        #expect(throws: ByteReaderError.self) { _ = try Self.next(&cursor) }
    }

    private static func next(_ cursor: inout EntryCursor) throws -> (UInt64, UInt8, [UInt8])? {
        guard let entry = try cursor.next() else { return nil }
        return (entry.sequence.rawValue, entry.kind, [UInt8](copying: entry.body))
    }

    // MARK: - Segment header

    static let segmentHead =
        "484f4c4446534547010000000000000000000000000000000010000000100000000102030405060708090a0b0c0d0e0f"
        + "09000000000000000403020103000000000001000000000000000000000000000000010000000000008000000000000"
        + "00068e5cf8b010000010000000000000000000000000000000000000000000000000000000000000000000000000000"
        + "0001000000"

    static func segment() -> SegmentHeader {
        var header = SegmentHeader(
            role: .journal, store: store, id: SegmentID(9), salt: salt, epoch: Epoch(3), created: time)
        header.base = LogPosition(0x10000)
        header.allocatedBytes = 65536
        header.inFlightBytesMax = 32768
        header.wasRecycled = true
        return header
    }

    @Test func aSegmentHeaderHasTheseBytes() throws {
        var writer = ByteWriter()
        Self.segment().encode(into: &writer)
        let page = [UInt8](copying: writer.bytes)
        #expect(Array(page[..<148]).hex == Self.segmentHead)
        #expect(page[148..<4092].allSatisfy { $0 == 0 })
        #expect(Array(page[4092...]).hex == "5f1b2a2a")
        #expect(try SegmentHeader(page.span, file: "x") == Self.segment())
    }

    @Test func everyFlippedBitOfASegmentHeaderIsSeen() {
        var writer = ByteWriter()
        Self.segment().encode(into: &writer)
        let page = [UInt8](copying: writer.bytes)
        for bit in Array(0..<(160 * 8)) + Array((4080 * 8)..<(4096 * 8)) {
            var damaged = page
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            let error = #expect(throws: LogError.self) { _ = try SegmentHeader(damaged.span, file: "x") }
            #expect(error?.code == .corrupt && error?.file == "x" && error?.offset == 0)
        }
    }

    /// Size, alignment, a base and a first number beyond all, a role that is none, reserved bytes, a flag.
    @Test(arguments: [24, 28, 71, 79, 104, 106, 144, 200]) func aHeaderBeyondTheFormatIsDamage(offset: Int) {
        var writer = ByteWriter()
        Self.segment().encode(into: &writer)
        var page = [UInt8](copying: writer.bytes)
        page[offset] = 0xFF
        let checksum = CRC32C.checksum(page.span.extracting(0..<4092))
        for index in 0..<4 { page[4092 + index] = UInt8(truncatingIfNeeded: checksum >> UInt32(8 * index)) }
        let error = #expect(throws: LogError.self) { _ = try SegmentHeader(page.span, file: "x") }
        #expect(error?.code == .corrupt)
    }

    @Test func aNewerVersionIsToldFromDamage() {
        var writer = ByteWriter()
        Self.segment().encode(into: &writer)
        for offset in [8, 20] {
            var page = [UInt8](copying: writer.bytes)
            page[offset] = 2
            // Without its checksum, a changed version is a flipped bit.
            let damage = #expect(throws: LogError.self) { _ = try SegmentHeader(page.span, file: "x") }
            #expect(damage?.code == .corrupt)
            let checksum = CRC32C.checksum(page.span.extracting(0..<4092))
            for index in 0..<4 { page[4092 + index] = UInt8(truncatingIfNeeded: checksum >> UInt32(8 * index)) }
            let error = #expect(throws: LogError.self) { _ = try SegmentHeader(page.span, file: "x") }
            #expect(error?.code == .unsupportedFormat)
        }
    }

    // MARK: - Manifest

    static let manifestHex =
        "484f4c44464d414e01000000000000000000000000000000000102030405060708090a0b0c0d0e0f7d00000003000000887766"
        + "55e80705048040808008020104028080048080040001030109882707a846000102030405060708090a0b0c0d0e0f1011121314"
        + "15161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f020108ac02020110"
        + "1112131415161718191a1b1c1d1e1f04e8578943"

    static func manifest() -> Manifest {
        var manifest = Manifest(store: store)
        manifest.epoch = Epoch(3)
        manifest.journalLink = 0x5566_7788
        manifest.reserved = SequenceNumber(1000)
        manifest.nextSegment = SegmentID(5)
        manifest.nextSlot = 4
        manifest.durable = LogPosition(0x2000)
        manifest.nextBase = LogPosition(0x20000)
        manifest.compactedThrough = SequenceNumber(2)
        manifest.journals = [
            .init(id: SegmentID(4), slot: 2, base: LogPosition(0x10000), bytes: 65536, isOversized: false)
        ]
        manifest.sealed = [
            .init(
                id: SegmentID(3), firstSequence: SequenceNumber(1), lastSequence: SequenceNumber(9), bytes: 5000,
                records: 7, rawBytes: 9000, chain: Array(0..<32),
                lineage: .init(chain: Array(32..<64), through: SequenceNumber(11)))
        ]
        manifest.checkpoints = [.init(sequence: SequenceNumber(8), bytes: 300, copies: 2)]
        manifest.ancestors = [.init(store: StoreIdentity(bytes: Array(16..<32)), through: SequenceNumber(4))]
        return manifest
    }

    @Test func aManifestHasTheseBytes() throws {
        var writer = ByteWriter()
        Self.manifest().encode(into: &writer)
        #expect([UInt8](copying: writer.bytes).hex == Self.manifestHex)
        #expect(try Manifest([UInt8](hex: Self.manifestHex).span) == Self.manifest())
    }

    /// Behind what `manifestHex` holds, under a feature: a chain that began behind record 5 of another store, its
    /// value after record 12, and one segment whose value is known.
    static func auditedManifest() -> Manifest {
        var manifest = Self.manifest()
        var audit = Manifest.Audit(store: StoreIdentity(bytes: Array(32..<48)), origin: SequenceNumber(5))
        audit.anchor = AuditPoint(through: SequenceNumber(12), hash: Array(64..<96))
        manifest.audit = audit
        manifest.sealed[0].audit = Array(96..<128)
        return manifest
    }

    @Test func aManifestWithAnAuditChainHasTheseBytesBehindTheRest() throws {
        var writer = ByteWriter()
        Self.auditedManifest().encode(into: &writer)
        let bytes = [UInt8](copying: writer.bytes)
        let plain = [UInt8](hex: Self.manifestHex)
        #expect(bytes[20...23] == [1, 0, 0, 0], "an incompatible feature")
        #expect(bytes[44..<(plain.count - 4)] == plain[44..<(plain.count - 4)])
        var tail: [UInt8] = Array(32..<48)
        tail += [5, 7]
        tail += Array(64..<96)
        tail += [1]
        tail += Array(96..<128)
        #expect(bytes[(plain.count - 4)..<(bytes.count - 4)] == tail[...])
        #expect(try Manifest(bytes.span) == Self.auditedManifest())
        // At its origin the chain has no value of its own, and where the anchor does not reach the segments need one.
        var manifest = Self.auditedManifest()
        manifest.audit = Manifest.Audit(store: Self.store, origin: SequenceNumber(5))
        writer = ByteWriter()
        manifest.encode(into: &writer)
        #expect(writer.count == bytes.count - 32)
        #expect(try Manifest([UInt8](copying: writer.bytes).span) == manifest)
        manifest.sealed[0].audit = nil
        writer = ByteWriter()
        manifest.encode(into: &writer)
        let lacking = [UInt8](copying: writer.bytes)
        #expect(throws: LogError.self) { _ = try Manifest(lacking.span) }
    }

    @Test func aFeatureOfManifestsIsNoneOfSegments() {
        var page = [UInt8](hex: Self.segmentHead)
        page += [UInt8](repeating: 0, count: SegmentHeader.byteCount - page.count)
        page[20] = 1
        let checksum = CRC32C.checksum(page.span.extracting(0..<(page.count - 4)))
        for index in 0..<4 { page[page.count - 4 + index] = UInt8(truncatingIfNeeded: checksum >> UInt32(8 * index)) }
        let error = #expect(throws: LogError.self) { _ = try SegmentHeader(page.span, file: "x") }
        #expect(error?.code == .unsupportedFormat)
    }

    @Test(arguments: [FormatTests.manifest(), FormatTests.auditedManifest()])
    func everyFlippedBitAndEveryCutOfAManifestIsSeen(_ manifest: Manifest) {
        var writer = ByteWriter()
        manifest.encode(into: &writer)
        let bytes = [UInt8](copying: writer.bytes)
        for bit in 0..<(bytes.count * 8) {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            let error = #expect(throws: LogError.self) { _ = try Manifest(damaged.span) }
            #expect(error?.code == .corrupt && error?.offset != nil)
        }
        for count in 0..<bytes.count {
            #expect(throws: LogError.self) { _ = try Manifest(bytes.span.extracting(0..<count)) }
        }
    }

    @Test func whatOnlyReadersMayIgnoreStopsAWriter() throws {
        var bytes = [UInt8](hex: Self.manifestHex)
        bytes[16] = 1
        let checksum = CRC32C.checksum(bytes.span.extracting(0..<(bytes.count - 4)))
        for index in 0..<4 { bytes[bytes.count - 4 + index] = UInt8(truncatingIfNeeded: checksum >> UInt32(8 * index)) }
        #expect(try Manifest(bytes.span) == Self.manifest())
        let error = #expect(throws: LogError.self) { _ = try Manifest(bytes.span, forWriting: true) }
        #expect(error?.code == .unsupportedFormat)
    }

    // MARK: - Checkpoint and seal

    static let checkpointHex =
        "484f4c4446434b5001000000000000000000000000000000000102030405060708090a0b0c0d0e0f0800000000000000"
        + "002000000000000003000000000000001ef230f19bcf6cdb"

    @Test func aCheckpointHasTheseBytesAndEveryFlippedBitIsSeen() throws {
        let image: [UInt8] = [1, 2, 3]
        let head = CheckpointFile.head(
            store: Self.store, sequence: SequenceNumber(8), durable: LogPosition(0x2000), image: image.span)
        #expect([UInt8](copying: head.bytes).hex == Self.checkpointHex)
        let bytes = [UInt8](hex: Self.checkpointHex) + image
        let disk = SimulatedFileSystem()
        disk.replace("/c", with: bytes)
        func read(_ sequence: UInt64 = 8) throws(LogError) -> CheckpointFile {
            try CheckpointFile(disk, path: "/c", name: "c", store: Self.store, sequence: SequenceNumber(sequence))
        }
        #expect(try Array(read().image) == image)
        #expect(throws: LogError.self) { _ = try read(9) }
        for bit in 0..<(bytes.count * 8) {
            disk.corrupt("/c", offset: bit / 8, xor: 1 << UInt8(bit % 8))
            #expect(throws: LogError.self) { _ = try read() }
            disk.corrupt("/c", offset: bit / 8, xor: 1 << UInt8(bit % 8))
        }
        for count in 0..<bytes.count {
            disk.replace("/c", with: Array(bytes[..<count]))
            #expect(throws: LogError.self) { _ = try read() }
        }
    }

    @Test func aSealHasTheseBytes() throws {
        let seal = SealFrame(
            lastSequence: SequenceNumber(9), rawBytes: 500, firstTime: Timestamp(milliseconds: 10),
            lastTime: Timestamp(milliseconds: 20), kindCounts: [.init(kind: 1, count: 2)],
            index: [
                .init(firstSequence: SequenceNumber(1), time: Timestamp(milliseconds: 10), offset: 4096),
                .init(firstSequence: SequenceNumber(5), time: Timestamp(milliseconds: 20), offset: 4500),
            ],
            filter: KeyFilter(keys: [42]), chain: Array(0..<32),
            lineage: .init(chain: Array(32..<64), through: SequenceNumber(11)))
        let hex =
            "09f4030a1401010202010a8020040a94030238c6000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
            + "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f02"
        var writer = ByteWriter()
        seal.encode(into: &writer)
        #expect([UInt8](copying: writer.bytes).hex == hex)
        let bytes = [UInt8](hex: hex)
        #expect(try SealFrame(bytes.span) == seal)
        #expect(seal.filter.mayContain(42))
        for count in 0..<bytes.count {
            #expect(throws: ByteReaderError.self) { _ = try SealFrame(bytes.span.extracting(0..<count)) }
        }
    }

    @Test func aRemainderIsThatOfADivision() {
        var random = SeededRandom(seed: 17)
        let edges: [UInt64] = [0, 1, 2, 7, 8, 1 << 27, (1 << 32) - 1, 1 << 32, 1 << 63, .max - 1, .max]
        let divisors = edges.dropFirst() + (0..<200).map { _ in UInt64.random(in: 1...1 << 27, using: &random) }
        for number in divisors {
            let divisor = Divisor(number)
            let some = edges + [number - 1, number, number &+ 1, number &* 3, number &* 3 &- 1]
            for value in some + (0..<200).map({ _ in random.next() }) {
                #expect(divisor.remainder(of: value) == value % number)
            }
        }
    }

    @Test(arguments: [1, 3, 17, 2000, 4097, 9000] as [UInt64]) func theFilterHasNoFalseNegatives(count: UInt64) {
        let keys = (0..<count).map { $0 &* 7919 }
        let filter = KeyFilter(keys: keys)
        #expect(keys.allSatisfy { filter.mayContain($0) })
        let false_ = (0..<2000 as Range<UInt64>).filter { filter.mayContain($0 &* 7919 &+ 1) }.count
        #expect(false_ < 200)
        #expect(!KeyFilter(keys: []).mayContain(0))
    }

    @Test func eachKeyIsKeptOnce() {
        var random = SeededRandom(seed: 31)
        var (keys, collector) = (Set<UInt64>(), KeyCollector())
        for step in 0..<300_000 as Range<UInt64> {
            // Mostly in order, some again soon, some much later.
            let key = random.chance(1, in: 10) ? UInt64(random.pick(0...100_000)) : step / 3
            keys.insert(key)
            collector.insert(key)
        }
        #expect(collector.finish() == keys.sorted())
        #expect(KeyCollector().finish() == [])
    }

    // MARK: - Relations

    @Test func theConstantsOfTheFormatFitEachOther() {
        #expect(FrameFormat.headerBytes == 64)
        #expect(SegmentHeader.byteCount.isMultiple(of: FrameFormat.journalAlignment))
        #expect(FrameFormat.journalAlignment == ByteWriter.alignment)
        #expect(FrameFormat.journalFrameBytesTarget < FrameFormat.rawBytesMax)
        #expect(FrameFormat.sealedFrameBytesTarget + (64 << 20) + EntryFormat.prefixBytesMax < FrameFormat.rawBytesMax)
        #expect(FrameFormat.rawBytesMax < Int(Int32.max))
        #expect(LogOptions.journalSegmentBytesMin.isMultiple(of: FrameFormat.journalAlignment))
        let inFlight = JournalFiles.inFlightBytesMax(capacity: LogOptions.journalSegmentBytesMin, isOversized: false)
        #expect(inFlight.isMultiple(of: FrameFormat.journalAlignment))
        #expect(inFlight + SegmentHeader.byteCount <= LogOptions.journalSegmentBytesMin)
        #expect(CheckpointFile.headBytes == 8 + FormatVersion.byteCount + StoreIdentity.byteCount + 32)
        #expect(WriteAheadLog.batchRecordsMax < WriteAheadLog.reservationStride / 2)
        #expect(FrameFormat.aligned(1, to: 8) == 8 && FrameFormat.aligned(8, to: 8) == 8)
    }
}

extension [UInt8] {
    init(hex: String) {
        let digits = Array(hex.utf8).map { UInt8($0 < 0x40 ? $0 - 0x30 : $0 - 0x57) }
        self = stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }
    var hex: String { map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
}
