// Puts right what guards the bytes of a store's files - lengths, checksums and links - after something changed the
// bytes themselves. A fuzzer does not find checksums by chance, and without this would never see what lies behind them.

internal import HoldfastBytes
internal import HoldfastLog

/// Seals changed bytes anew.
enum SealMending {
    /// The most raw bytes that a compressed frame is unpacked to.
    private static let rawBytesMax = 1 << 20

    /// Puts the checksum at the end of a segment's header page right.
    static func mendPage(_ bytes: inout [UInt8]) {
        guard bytes.count >= SegmentHeader.byteCount else { return }
        let end = SegmentHeader.byteCount - 4
        LittleEndian.put(CRC32C.checksum(bytes.span.extracting(0..<end)), into: &bytes, at: end)
    }

    /// Puts length and checksum of a manifest right.
    static func mendManifest(_ bytes: inout [UInt8]) {
        guard bytes.count >= 48 else { return }
        LittleEndian.put(UInt32(bytes.count - 48), into: &bytes, at: 40)
        let end = bytes.count - 4
        LittleEndian.put(CRC32C.checksum(bytes.span.extracting(0..<end)), into: &bytes, at: end)
    }

    /// Puts length and checksums of a checkpoint right.
    static func mendCheckpoint(_ bytes: inout [UInt8]) {
        guard bytes.count >= 72 else { return }
        LittleEndian.put(UInt32(bytes.count - 72), into: &bytes, at: 56)
        LittleEndian.put(0, into: &bytes, at: 60)
        LittleEndian.put(CRC32C.checksum(bytes.span.extracting(72..<bytes.count)), into: &bytes, at: 64)
        LittleEndian.put(CRC32C.checksum(bytes.span.extracting(0..<68)), into: &bytes, at: 68)
    }

    /// Puts a segment right: its header page and the checksums and links of the frames that can be walked.
    ///
    /// - Parameter link: What the first frame's link is to be, or `nil` to leave it; afterwards the last frame's.
    static func mendSegment(_ bytes: inout [UInt8], link: inout UInt32?) {
        guard bytes.count >= SegmentHeader.byteCount else { return }
        mendPage(&bytes)
        let salt = LittleEndian.word(bytes, at: 56)
        let alignment = bytes[104] == SegmentRole.journal.rawValue ? FrameFormat.journalAlignment : 8
        var offset = SegmentHeader.byteCount
        while offset + FrameFormat.headerBytes <= bytes.count, bytes[offset + 4] == FrameFormat.magic {
            let end = offset + FrameFormat.headerBytes + Int(LittleEndian.word(bytes, at: offset + 8))
            guard end <= bytes.count else { return }
            if let link { LittleEndian.put(link, into: &bytes, at: offset + 60) }
            link = mendFrame(&bytes, at: offset, salt: salt)
            let isGroupEnd = bytes[offset + 7] == FrameFormat.groupEndFlag
            offset = FrameFormat.aligned(end, to: isGroupEnd ? alignment : 8)
        }
    }

    /// Puts the checksums of the frame at `offset` right and returns its link.
    @discardableResult
    static func mendFrame(_ bytes: inout [UInt8], at offset: Int, salt: UInt32) -> UInt32 {
        let start = offset + FrameFormat.headerBytes
        let end = start + Int(LittleEndian.word(bytes, at: offset + 8))
        guard end <= bytes.count else { return 0 }
        let rawBytes = Int(LittleEndian.word(bytes, at: offset + 12))
        if bytes[offset + 6] == FrameCodec.lz4.rawValue, end - start >= 4, rawBytes <= rawBytesMax,
            let raw = LZ4Block.decompress(bytes.span.extracting(start..<(end - 4)), rawBytes: rawBytes)
        {
            LittleEndian.put(CRC32C.checksum(raw.span, seed: salt), into: &bytes, at: end - 4)
        }
        let payload = CRC32C.checksum(bytes.span.extracting(start..<end), seed: salt)
        LittleEndian.put(payload, into: &bytes, at: offset + 56)
        let header = CRC32C.checksum(bytes.span.extracting((offset + 4)..<start), seed: salt)
        LittleEndian.put(header, into: &bytes, at: offset)
        return header ^ payload
    }
}

/// Words in arrays of bytes.
enum LittleEndian {
    static func word(_ bytes: [UInt8], at offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
    }

    static func put(_ word: UInt32, into bytes: inout [UInt8], at offset: Int) {
        for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: word >> UInt32(8 * index)) }
    }
}
