// The probes for the formats of the log. What lies behind a checksum is also probed without it, because a fuzzer does
// not find checksums.

internal import HoldfastBytes
internal import HoldfastLog

extension DecoderProbe {
    /// Reads a frame, its payload and its records under the salt in the first four bytes; also with lengths and
    /// checksums put right.
    public static func frame(_ bytes: [UInt8]) {
        guard bytes.count >= 4 + FrameFormat.headerBytes else { return }
        let salt = LittleEndian.word(bytes, at: 0)
        var page = Array(bytes[4...])
        probeFrame(page, salt: salt)
        let stored = UInt32(page.count - FrameFormat.headerBytes)
        LittleEndian.put(stored, into: &page, at: 8)
        if page[6] == FrameCodec.raw.rawValue { LittleEndian.put(stored, into: &page, at: 12) }
        SealMending.mendFrame(&page, at: 0, salt: salt)
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
        var packed = ByteWriter()
        if LZ4Block.append(raw.span, to: &packed, high: false) {
            let unpacked = LZ4Block.decompress(packed.bytes, rawBytes: raw.count)
            precondition(unpacked == raw, "what was compressed is decompressed")
        }
        entries(raw, firstSequence: header.firstSequence)
    }

    /// Walks the records of a decoded frame.
    public static func entries(_ raw: [UInt8]) { entries(raw, firstSequence: SequenceNumber(1)) }

    static func entries(_ raw: [UInt8], firstSequence: SequenceNumber) {
        var cursor = EntryCursor(raw.span, firstSequence: firstSequence)
        var last: SequenceNumber?
        do {
            while let entry = try cursor.next() {
                precondition(entry.kind != 0, "records have a kind")
                if let last { precondition(entry.sequence > last, "records ascend") }
                last = entry.sequence
                record(kind: entry.kind, body: [UInt8](copying: entry.body), sequence: entry.sequence)
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
        SealMending.mendPage(&page)
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

    /// Reads a manifest, as it is and with length and checksum put right.
    public static func manifest(_ bytes: [UInt8]) {
        probeManifest(bytes)
        var whole = bytes
        SealMending.mendManifest(&whole)
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

    /// Reads the payload of a seal frame with its sparse index.
    public static func seal(_ bytes: [UInt8]) {
        guard let seal = try? SealFrame(bytes.span) else { return }
        var writer = ByteWriter()
        seal.encode(into: &writer)
        precondition([UInt8](copying: writer.bytes) == bytes, "a seal has one encoding")
        precondition(seal.kindCounts.allSatisfy { $0.count <= seal.recordCount }, "a sum is no less than its parts")
        _ = seal.filter.mayContain(UInt64(bytes.count))
        for (entry, next) in zip(seal.index, seal.index.dropFirst()) {
            precondition(
                entry.offset < next.offset && entry.firstSequence <= next.firstSequence && entry.time <= next.time,
                "an index ascends")
        }
    }

    /// Reads a checkpoint file, as it is and with length and checksums put right.
    public static func checkpoint(_ bytes: [UInt8]) {
        probeCheckpoint(bytes)
        var whole = bytes
        SealMending.mendCheckpoint(&whole)
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
        precondition(file.image == bytes[72...], "an image is what follows its head")
        image(Array(file.image))
    }
}
