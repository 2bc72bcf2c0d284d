import HoldfastBytes
import Testing

@Suite struct ByteReaderWriterTests {
    @Test func everythingWrittenIsReadBack() throws {
        var writer = ByteWriter(capacity: 0)
        writer.append(UInt8(0xAB))
        writer.append(littleEndian: UInt16(0x1234))
        writer.append(littleEndian: UInt32(0x1234_5678))
        writer.append(littleEndian: UInt64.max - 1)
        writer.append(varint: 300)
        writer.append(counted: "grüße")
        writer.append(counted: [1, 2, 3])
        writer.append(zeros: 2)
        writer.append(utf8: "x")
        let bytes = [UInt8](copying: writer.bytes)
        var reader = ByteReader(bytes.span)
        #expect(try reader.u8() == 0xAB)
        #expect(try reader.u16() == 0x1234)
        #expect(try reader.u32() == 0x1234_5678)
        #expect(try reader.u64() == .max - 1)
        #expect(try reader.varint() == 300)
        #expect(try reader.countedString(atMost: 7) == "grüße")
        #expect(try reader.countedArray(atMost: 3) == [1, 2, 3])
        try reader.skip(2)
        #expect(try reader.array(1) == [0x78])
        let isAtEnd = reader.isAtEnd
        #expect(isAtEnd)
    }

    @Test(
        arguments: [
            (0, [0]), (127, [0x7F]), (128, [0x80, 1]), (16_383, [0xFF, 0x7F]), (16_384, [0x80, 0x80, 1]),
            (.max, [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]),
        ] as [(UInt64, [UInt8])])
    func varintsHaveTheseBytes(value: UInt64, bytes: [UInt8]) throws {
        var writer = ByteWriter()
        writer.append(varint: value)
        #expect([UInt8](copying: writer.bytes) == bytes)
        var reader = ByteReader(bytes.span)
        #expect(try reader.varint() == value)
    }

    @Test(
        arguments: [
            ([0x80, 0], .overlongVarint), ([0x80], .truncated), ([], .truncated),
            ([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2], .overlongVarint),
            ([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x80, 0], .overlongVarint),
        ] as [([UInt8], ByteReaderError.Reason)])
    func varintsWithAnotherSpellingAreRefused(bytes: [UInt8], reason: ByteReaderError.Reason) {
        #expect { try varint(bytes) } throws: { ($0 as? ByteReaderError)?.reason == reason }
    }

    @Test func nothingIsReadPastTheEnd() {
        let bytes: [UInt8] = [1, 2, 3]
        #expect(throws: ByteReaderError(.truncated, at: 0)) { try read(bytes) { reader in _ = try reader.u32() } }
        #expect(throws: ByteReaderError(.truncated, at: 0)) { try read(bytes) { reader in try reader.skip(4) } }
        #expect(throws: ByteReaderError(.truncated, at: 0)) { try read(bytes) { reader in try reader.skip(-1) } }
        #expect(throws: ByteReaderError(.truncated, at: 1)) {
            try read([9, 1]) { reader in _ = try reader.countedArray(atMost: 9) }
        }
    }

    @Test func limitsAndTextAreChecked() {
        #expect(throws: ByteReaderError(.tooLong, at: 0)) {
            try read([5, 1, 1, 1, 1, 1]) { reader in _ = try reader.countedArray(atMost: 4) }
        }
        #expect(throws: ByteReaderError(.notUTF8, at: 1)) {
            try read([2, 0xC3, 0x28]) { reader in _ = try reader.countedString(atMost: 4) }
        }
    }

    @Test func patchesAndGapsLeaveTheRest() {
        var writer = ByteWriter()
        writer.append([1, 2, 3, 4, 5, 6, 7, 8])
        writer.insertGap(2, at: 1)
        writer.store(0xAA, at: 1)
        writer.store(0xBB, at: 2)
        writer.store(littleEndian: UInt32(0x0403_0201), at: 6)
        #expect([UInt8](copying: writer.bytes) == [1, 0xAA, 0xBB, 2, 3, 4, 1, 2, 3, 4])
        writer.truncate(to: 3)
        #expect([UInt8](copying: writer.bytes) == [1, 0xAA, 0xBB])
        writer.removeAll()
        #expect(writer.count == 0 && writer.capacity >= ByteWriter.alignment)
    }

    @Test func growthKeepsWhatWasWrittenAndWholePages() {
        var writer = ByteWriter(capacity: 1)
        for number in 0..<20_000 { writer.append(UInt8(truncatingIfNeeded: number)) }
        #expect(writer.capacity % ByteWriter.alignment == 0)
        #expect([UInt8](copying: writer.bytes) == (0..<20_000).map { UInt8(truncatingIfNeeded: $0) })
    }

    private func varint(_ bytes: [UInt8]) throws -> UInt64 {
        var reader = ByteReader(bytes.span)
        return try reader.varint()
    }

    private func read(_ bytes: [UInt8], _ body: (inout ByteReader) throws -> Void) throws {
        var reader = ByteReader(bytes.span)
        try body(&reader)
    }
}
