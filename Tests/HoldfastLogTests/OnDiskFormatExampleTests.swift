// The worked example of the format page, decoded: what the page shows is what the code reads and writes.

import Foundation
import HoldfastBytes
import HoldfastLog
import Testing

@Suite struct OnDiskFormatExampleTests {
    static let salt: UInt32 = 0x5EA1_C0DE
    static let offset = 0x1000
    static let time = Timestamp(milliseconds: 1_700_000_000_000)

    /// The bytes of the page's hex block; each line starts with its offset.
    static func example() throws -> [UInt8] {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let page = root.appending(path: "Sources/Holdfast/Holdfast.docc/OnDiskFormat.md")
        let lines = try String(contentsOf: page, encoding: .utf8).split(
            separator: "\n", omittingEmptySubsequences: false)
        let start = try #require(lines.firstIndex(of: "```hex"))
        let end = try #require(lines[(start + 1)...].firstIndex(of: "```"))
        var bytes: [UInt8] = []
        for line in lines[(start + 1)..<end] {
            let words = line.split(separator: " ")
            #expect(Int(words[0], radix: 16) == Self.offset + bytes.count, "a line starts with its offset: \(line)")
            for word in words.dropFirst() { bytes.append(try #require(UInt8(word, radix: 16))) }
        }
        return bytes
    }

    static var segment: SegmentHeader {
        SegmentHeader(
            role: .journal, store: StoreIdentity(bytes: [UInt8](repeating: 7, count: StoreIdentity.byteCount)),
            id: SegmentID(1), salt: salt, epoch: Epoch(1), created: time)
    }

    @Test func theExampleIsAFrameWithTheValuesGiven() throws {
        let bytes = try Self.example()
        let header = try Frame.check(bytes.span, at: 0, offset: Self.offset, segment: Self.segment).get()
        #expect(header.kind == .data)
        #expect(header.codec == .raw)
        #expect(header.isGroupEnd)
        #expect(header.storedBytes == 20)
        #expect(header.rawBytes == 20)
        #expect(header.firstSequence == SequenceNumber(1))
        #expect(header.recordCount == 1)
        #expect(header.epoch == Epoch(1))
        #expect(header.position == LogPosition(4096))
        #expect(header.durable == .zero)
        #expect(header.time == Self.time)
        #expect(header.payloadChecksum == 0xEDFC_2E85)
        #expect(header.previousLink == 0)
        #expect(header.headerChecksum == 0xDF28_7833)
        #expect(bytes.count == FrameFormat.headerBytes + header.storedBytes)
    }

    @Test func theExampleHoldsTheRecordThatThePageDescribes() throws {
        let bytes = try Self.example()
        let raw = Array(bytes[FrameFormat.headerBytes...])
        var cursor = EntryCursor(raw.span, firstSequence: SequenceNumber(1))
        let next = try cursor.next()
        guard let entry = next else {
            Issue.record("there is no entry")
            return
        }
        #expect(entry.sequence == SequenceNumber(1))
        #expect(entry.kind == 1)
        #expect(entry.body.count == 17)
        // The body is read by the rules of the page, not by the code that wrote it.
        var body = ByteReader(entry.body)
        #expect(try body.varint() == UInt64(Self.time.milliseconds))
        #expect(try body.varint() == 0)
        #expect(try body.countedString(atMost: 255) == "mail")
        #expect(try body.array(body.remaining) == Array("hello".utf8))
        let isLast = try cursor.next() == nil
        #expect(isLast)
    }

    @Test func theFrameThatTheCodeWritesIsTheExample() throws {
        let bytes = try Self.example()
        var writer = ByteWriter()
        writer.append(zeros: FrameFormat.headerBytes)
        writer.append(Array(bytes[FrameFormat.headerBytes...]))
        var header = FrameHeader(
            kind: .data, firstSequence: SequenceNumber(1), epoch: Epoch(1), position: LogPosition(4096), durable: .zero,
            time: Self.time, previousLink: 0)
        header.storedBytes = writer.count - FrameFormat.headerBytes
        header.rawBytes = header.storedBytes
        header.recordCount = 1
        header.payloadChecksum = CRC32C.checksum(
            writer.bytes.extracting(FrameFormat.headerBytes..<writer.count), seed: Self.salt)
        header.store(into: &writer, at: 0, salt: Self.salt)
        let written = [UInt8](copying: writer.bytes)
        #expect(written == bytes)
    }

    @Test func everyFlippedBitOfTheExampleIsNoticed() throws {
        let bytes = try Self.example()
        for bit in 0..<(bytes.count * 8) {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            let checked = Frame.check(damaged.span, at: 0, offset: Self.offset, segment: Self.segment)
            if case .success = checked { Issue.record("bit \(bit) was flipped and nothing was noticed") }
        }
    }
}
