// A sealed segment: written once, front to back, synced before the manifest names it, never changed. The writer keeps
// one frame's records in memory; the reader needs the seal frame and then one frame at a time.

package import HoldfastBytes

/// Writes a sealed segment.
package struct SealedSegmentWriter: ~Copyable {
    private let file: any File
    private let header: SegmentHeader
    private let usesHighCompression: Bool
    /// Bytes not yet given to the file, which start at `flushed`.
    private var buffer = ByteWriter(capacity: FrameFormat.sealedFrameBytesTarget * 2)
    private var flushed = 0
    private var raw = ByteWriter(capacity: FrameFormat.sealedFrameBytesTarget * 2)
    private var frameFirst = SequenceNumber.zero
    private var frameCount: UInt32 = 0
    private var lastSequence = SequenceNumber.zero
    private var lastTime = Timestamp.zero
    private var link: UInt32 = 0
    private var hash = SHA256()
    private var rawBytes = 0
    private var firstTime: Timestamp?
    private var counts = [UInt64](repeating: 0, count: 256)
    private var index: [FrameIndexEntry] = []
    private var keys = KeyCollector()

    /// What is hashed and written before the processor is offered to others.
    private static let stepBytes = 32 << 10

    /// Starts a segment in an empty file.
    package init(file: any File, header: SegmentHeader, usesHighCompression: Bool) {
        precondition(header.role == .sealed, "a sealed segment has a sealed header")
        self.file = file
        self.header = header
        self.usesHighCompression = usesHighCompression
        header.encode(into: &buffer)
        hash.update(header.predecessorChain.span)
    }

    /// How many raw bytes of records were given so far.
    package var rawByteCount: Int { rawBytes + raw.count }
    package var isEmpty: Bool { lastSequence == .zero }

    /// Adds a record; sequence numbers ascend, gaps are allowed.
    package mutating func append(
        _ entry: borrowing EntryView, time: Timestamp, key: UInt64?
    ) throws(IOFailure) {
        precondition(entry.sequence > lastSequence, "records of a segment ascend")
        if raw.count >= FrameFormat.sealedFrameBytesTarget { try endFrame() }
        if frameCount == 0 { frameFirst = entry.sequence }
        let expected = frameCount == 0 ? entry.sequence.rawValue : lastSequence.rawValue + 1
        raw.append(varint: UInt64(entry.body.count + 1))
        raw.append(varint: entry.sequence.rawValue - expected)
        raw.append(entry.kind)
        raw.append(entry.body)
        frameCount += 1
        lastSequence = entry.sequence
        lastTime = max(lastTime, time)
        firstTime = firstTime ?? time
        counts[Int(entry.kind)] += 1
        if let key { keys.insert(key) }
    }

    /// Writes the seal frame and the footer and syncs the file.
    ///
    /// - Parameter lineage: What the segments had that this one takes the place of, if any.
    package consuming func finish(lineage: SealFrame.Lineage? = nil) throws(IOFailure) -> Manifest.Sealed {
        precondition(!isEmpty, "an empty segment is never sealed")
        try endFrame()
        try flush()
        let chain = hash.finalize()
        let filter = KeyFilter(keys: keys.finish(), breathe: DedicatedThread.giveWay)
        let seal = SealFrame(
            lastSequence: lastSequence, rawBytes: rawBytes, firstTime: firstTime ?? lastTime, lastTime: lastTime,
            kindCounts: counts.indices.filter { counts[$0] > 0 }.map { .init(kind: UInt8($0), count: counts[$0]) },
            index: index, filter: filter, chain: chain,
            lineage: lineage ?? SealFrame.Lineage(chain: chain, through: lastSequence))
        let offset = flushed
        raw.removeAll()
        seal.encode(into: &raw)
        let bytes = appendFrame(kind: .seal, first: lastSequence.next, count: 0)
        buffer.append(littleEndian: UInt64(offset))
        buffer.append(littleEndian: UInt32(bytes))
        buffer.append(SealFrame.footerMagic)
        try file.write(buffer.bytes, at: flushed)
        if Safeguard.sealedSegmentSync.isOn { try file.sync() }
        return Manifest.Sealed(
            id: header.id, firstSequence: header.firstSequence, lastSequence: lastSequence,
            bytes: flushed + buffer.count, records: counts.reduce(0, +), rawBytes: rawBytes, chain: chain,
            lineage: seal.lineage)
    }

    private mutating func endFrame() throws(IOFailure) {
        guard frameCount > 0 else { return }
        index.append(FrameIndexEntry(firstSequence: frameFirst, time: lastTime, offset: flushed + buffer.count))
        rawBytes += raw.count
        _ = appendFrame(kind: .data, first: frameFirst, count: frameCount)
        frameCount = 0
        raw.removeAll()
        DedicatedThread.giveWay()
        try flush()
    }

    /// Hashes and writes what is in the buffer.
    private mutating func flush() throws(IOFailure) {
        for start in stride(from: 0, to: buffer.count, by: Self.stepBytes) {
            let step = start..<min(start + Self.stepBytes, buffer.count)
            Self.update(&hash, with: buffer, step)
            try file.write(buffer.bytes.extracting(step), at: flushed + start)
            DedicatedThread.giveWay()
        }
        flushed += buffer.count
        buffer.removeAll()
    }

    // Spans of one stored property can't be lent while another is changed through `self`; parameters can.
    private static func update(_ hash: inout SHA256, with writer: borrowing ByteWriter, _ range: Range<Int>) {
        hash.update(writer.bytes.extracting(range))
    }
    private static func copy(_ raw: borrowing ByteWriter, into target: inout ByteWriter) { target.append(raw.bytes) }
    private static func compress(_ raw: borrowing ByteWriter, into target: inout ByteWriter, high: Bool) -> Bool {
        LZ4Block.append(raw.bytes, to: &target, high: high)
    }

    /// Appends `raw` as a frame and returns its size with header and alignment.
    private mutating func appendFrame(kind: FrameKind, first: SequenceNumber, count: UInt32) -> Int {
        let start = buffer.count
        buffer.append(zeros: FrameFormat.headerBytes)
        var frame = FrameHeader(
            kind: kind, firstSequence: first, epoch: header.epoch, position: header.base.advanced(by: flushed + start),
            durable: .zero, time: lastTime, previousLink: link)
        frame.recordCount = count
        frame.rawBytes = raw.count
        if Self.compress(raw, into: &buffer, high: usesHighCompression) {
            frame.codec = .lz4
            let checksum = CRC32C.checksum(raw.bytes, seed: header.salt)
            buffer.append(littleEndian: checksum)
        } else {
            Self.copy(raw, into: &buffer)
        }
        let payload = start + FrameFormat.headerBytes
        frame.storedBytes = buffer.count - payload
        frame.payloadChecksum = CRC32C.checksum(buffer.bytes.extracting(payload..<buffer.count), seed: header.salt)
        frame.store(into: &buffer, at: start, salt: header.salt)
        link = frame.link
        buffer.append(zeros: FrameFormat.aligned(buffer.count, to: 8) - buffer.count)
        return buffer.count - start
    }
}

/// Opens sealed segments for reading.
package enum SealedSegment {
    /// Reads header and seal frame of a sealed segment.
    ///
    /// - Parameter size: The size the manifest names, or `nil` when the file stands alone.
    package static func read(
        _ fileSystem: any FileSystem, path: String, name: String, size: Int?
    ) throws(LogError) -> (source: SegmentSource, seal: SealFrame) {
        do {
            let file = try fileSystem.open(path, .read)
            defer { file.close() }
            let actual = try file.size()
            if let size, size != actual {
                throw LogError(
                    .corrupt, "\(name) has \(actual) bytes, the manifest says \(size): restore the file", file: name,
                    offset: actual)
            }
            let header = try SegmentHeader.read(file, name: name)
            var footer = [UInt8](repeating: 0, count: SealFrame.footerBytes)
            guard header.role == .sealed, actual > SegmentHeader.byteCount + SealFrame.footerBytes,
                try file.read(into: &footer, at: actual - footer.count) == footer.count,
                Array(footer[12...]) == SealFrame.footerMagic
            else {
                throw LogError(.corrupt, "\(name) does not end in a seal: restore the file", file: name, offset: actual)
            }
            let offset = UInt64(littleEndianBytes: footer.span, at: 0)
            let sealBytes = UInt64(UInt32(littleEndianBytes: footer.span, at: 8))
            let isWithinBounds =
                offset >= UInt64(SegmentHeader.byteCount) && offset < UInt64(actual)
                && offset + sealBytes == UInt64(actual - footer.count)
            guard isWithinBounds || Safeguard.sealFooterBounds.isOff else {
                throw LogError(
                    .corrupt, "\(name) ends in a damaged footer: restore the file", file: name, offset: actual - 16)
            }
            guard case .success(let frame) = try Frame.read(file, at: Int(offset), segment: header),
                frame.header.kind == .seal, let seal = try? SealFrame(frame.raw.span)
            else {
                throw SegmentSource.damage(.payload, file: name, offset: Int(offset), from: header.firstSequence)
            }
            let source = SegmentSource(header: header, path: path, name: name, end: Int(offset))
            return (source, seal)
        } catch let failure as IOFailure {
            throw LogError(failure, reading: name)
        } catch let error as LogError {
            throw error
        } catch {
            preconditionFailure("only typed errors are thrown above: \(error)")
        }
    }
}
