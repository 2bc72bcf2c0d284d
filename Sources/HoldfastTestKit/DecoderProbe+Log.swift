// The probes for the formats of the log. What lies behind a checksum is also probed without it, because a fuzzer does
// not find checksums.

internal import HoldfastBytes
internal import HoldfastLog

extension DecoderProbe {
    /// Reads a frame header under the salt in the first four bytes, which is also tried with a checksum put right.
    public static func frame(_ bytes: [UInt8]) {
        guard bytes.count >= 4 + FrameFormat.headerBytes else { return }
        let salt = word(bytes, at: 0)
        var page = Array(bytes[4...])
        probeFrame(page, salt: salt)
        let checksum = CRC32C.checksum(page.span.extracting(4..<FrameFormat.headerBytes), seed: salt)
        for index in 0..<4 { page[index] = UInt8(truncatingIfNeeded: checksum >> UInt32(8 * index)) }
        probeFrame(page, salt: salt)
    }

    private static func probeFrame(_ page: [UInt8], salt: UInt32) {
        guard var header = FrameHeader(page.span.extracting(0..<FrameFormat.headerBytes), salt: salt) else { return }
        var writer = ByteWriter()
        writer.append(zeros: FrameFormat.headerBytes)
        let decoded = header
        header.store(into: &writer, at: 0, salt: salt)
        precondition(header == decoded, "a header is read as it is written")
        precondition(
            [UInt8](copying: writer.bytes) == Array(page[..<FrameFormat.headerBytes]), "a header has one encoding")
        let stored = page.span.extracting(FrameFormat.headerBytes..<page.count)
        guard header.storedBytes == stored.count, let raw = Frame.decode(stored, header: header, salt: salt) else {
            return
        }
        precondition(raw.count == header.rawBytes, "a frame decodes to the size that its header names")
        entries(raw)
    }

    /// Walks the records of a decoded frame.
    public static func entries(_ raw: [UInt8]) {
        var cursor = EntryCursor(raw.span, firstSequence: SequenceNumber(1))
        var last = SequenceNumber.zero
        do {
            while let entry = try cursor.next() {
                precondition(entry.sequence > last && entry.kind != 0, "records ascend and have a kind")
                last = entry.sequence
            }
            precondition(cursor.offset == raw.count, "a walk ends at the end")
        } catch {
            precondition(error.offset <= raw.count, "an error lies inside the bytes")
        }
    }

    /// Reads a segment's header page.
    public static func segmentHeader(_ bytes: [UInt8]) {
        var page = Array(bytes.prefix(SegmentHeader.byteCount))
        page.append(contentsOf: [UInt8](repeating: 0, count: SegmentHeader.byteCount - page.count))
        probeSegmentHeader(page)
        putChecksum(&page)
        probeSegmentHeader(page)
    }

    private static func probeSegmentHeader(_ page: [UInt8]) {
        guard let header = try? SegmentHeader(page.span, file: "probe") else { return }
        var writer = ByteWriter()
        header.encode(into: &writer)
        // The words for features that may be ignored are not kept: everything behind them is.
        precondition(
            [UInt8](copying: writer.bytes)[24..<4092] == page[24..<4092], "a segment header has one encoding")
    }

    /// Reads a manifest.
    public static func manifest(_ bytes: [UInt8]) {
        probeManifest(bytes)
        guard bytes.count >= 48 else { return }
        var whole = bytes
        let length = UInt32(bytes.count - 48)
        for index in 0..<4 { whole[40 + index] = UInt8(truncatingIfNeeded: length >> UInt32(8 * index)) }
        putChecksum(&whole)
        probeManifest(whole)
    }

    private static func probeManifest(_ bytes: [UInt8]) {
        guard let manifest = try? Manifest(bytes.span) else { return }
        var writer = ByteWriter()
        manifest.encode(into: &writer)
        precondition(
            [UInt8](copying: writer.bytes)[24..<(bytes.count - 4)] == bytes[24..<(bytes.count - 4)],
            "a manifest has one encoding")
    }

    /// Reads the payload of a seal frame.
    public static func seal(_ bytes: [UInt8]) {
        guard let seal = try? SealFrame(bytes.span) else { return }
        _ = seal.recordCount
        _ = seal.filter.mayContain(UInt64(bytes.count))
    }

    /// Reads a checkpoint file.
    public static func checkpoint(_ bytes: [UInt8]) {
        probeCheckpoint(bytes)
        guard bytes.count >= 72 else { return }
        var whole = bytes
        let image = CRC32C.checksum(bytes.span.extracting(72..<bytes.count))
        for index in 0..<4 { whole[64 + index] = UInt8(truncatingIfNeeded: image >> UInt32(8 * index)) }
        let head = CRC32C.checksum(whole.span.extracting(0..<68))
        for index in 0..<4 { whole[68 + index] = UInt8(truncatingIfNeeded: head >> UInt32(8 * index)) }
        probeCheckpoint(whole)
    }

    private static func probeCheckpoint(_ bytes: [UInt8]) {
        let disk = SimulatedFileSystem()
        disk.replace("/checkpoint", with: bytes)
        guard bytes.count >= 48 else { return }
        let store = StoreIdentity(bytes: Array(bytes[24..<40]))
        let sequence = (0..<8).reduce(0 as UInt64) { $0 | UInt64(bytes[40 + $1]) << UInt64(8 * $1) }
        guard
            let file = try? CheckpointFile(
                disk, path: "/checkpoint", name: "checkpoint", store: store, sequence: SequenceNumber(sequence))
        else { return }
        precondition(file.image == Array(bytes[72...]), "an image is what follows its head")
    }

    private static func word(_ bytes: [UInt8], at offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
    }

    private static func putChecksum(_ bytes: inout [UInt8]) {
        let end = bytes.count - 4
        let checksum = CRC32C.checksum(bytes.span.extracting(0..<end))
        for index in 0..<4 { bytes[end + index] = UInt8(truncatingIfNeeded: checksum >> UInt32(8 * index)) }
    }
}
