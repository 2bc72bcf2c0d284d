// A checkpoint file: the state as of a sequence number, as the layer above encoded it, in one checked piece.
//
//     magic "HOLDFCKP" · format version (16) · store identity (16) · sequence u64 · durable position u64 ·
//     image length u64 · CRC-32C of the image u32 · CRC-32C of the 68 bytes before u32 · image
//
// The first 72 bytes end in their checksum in every version, so a damaged version is told from another one.

package import HoldfastBytes

package struct CheckpointFile: Sendable {
    package let sequence: SequenceNumber
    /// Everything below it was durable when the image was taken.
    package let durable: LogPosition
    private let bytes: [UInt8]
    package var image: ArraySlice<UInt8> { bytes[Self.headBytes...] }

    static let magic = Array("HOLDFCKP".utf8)
    static let headBytes = 72

    /// Encodes the head that precedes an image.
    static func head(
        store: StoreIdentity, sequence: SequenceNumber, durable: LogPosition, image: Span<UInt8>
    ) -> ByteWriter {
        var writer = ByteWriter()
        writer.append(magic)
        FormatVersion().encode(into: &writer)
        writer.append(store.bytes)
        writer.append(littleEndian: sequence.rawValue)
        writer.append(littleEndian: durable.rawValue)
        writer.append(littleEndian: UInt64(image.count))
        writer.append(littleEndian: CRC32C.checksum(image))
        let checksum = CRC32C.checksum(writer.bytes)
        writer.append(littleEndian: checksum)
        assert(writer.count == headBytes, "a checkpoint's head has a fixed size")
        return writer
    }

    /// Reads and checks a checkpoint.
    package init(
        _ fileSystem: any FileSystem, path: String, name: String, store: StoreIdentity, sequence: SequenceNumber
    ) throws(LogError) {
        let bytes: [UInt8]
        do { bytes = try fileSystem.contents(of: path) } catch { throw LogError(error, reading: name) }
        do {
            var reader = ByteReader(bytes.span)
            guard try reader.array(8) == Self.magic else { throw ByteReaderError(.truncated, at: 0) }
            guard bytes.count >= Self.headBytes,
                CRC32C.checksum(bytes.span.extracting(0..<(Self.headBytes - 4)))
                    == UInt32(littleEndianBytes: bytes.span, at: Self.headBytes - 4)
                    || Safeguard.checkpointHeadChecksum.isOff
            else { throw ByteReaderError(.notCanonical, at: 0) }
            try FormatVersion(from: &reader).check(file: name, forWriting: false)
            let identity = StoreIdentity(bytes: try reader.array(StoreIdentity.byteCount))
            self.sequence = SequenceNumber(try reader.u64())
            durable = LogPosition(try reader.u64())
            let length = try reader.u64()
            let imageChecksum = try reader.u32()
            _ = try reader.u32()
            guard length == UInt64(reader.remaining),
                identity == store && self.sequence == sequence || Safeguard.checkpointIdentity.isOff
            else { throw ByteReaderError(.notCanonical, at: 24) }
            guard
                CRC32C.checksum(bytes.span.extracting(Self.headBytes..<bytes.count)) == imageChecksum
                    || Safeguard.checkpointImageChecksum.isOff
            else { throw ByteReaderError(.notCanonical, at: Self.headBytes) }
            self.bytes = bytes
        } catch let error as LogError {
            throw error
        } catch {
            let offset = (error as? ByteReaderError)?.offset ?? 0
            throw LogError(
                .corrupt,
                "\(name) is damaged or belongs elsewhere (offset \(offset)): restore the file, or let the store do "
                    + "without it",
                file: name, offset: offset)
        }
    }

    /// What is written between two calls of `breathe`.
    private static let pieceBytes = 512 << 10

    /// Writes a checkpoint to `path` and syncs it; the directory is the caller's to sync.
    ///
    /// - Parameter breathe: Called between the pieces of a large image.
    static func write(
        _ fileSystem: any FileSystem, path: String, store: StoreIdentity, sequence: SequenceNumber,
        durable: LogPosition, image: Span<UInt8>, breathe: () -> Void = {}
    ) throws(IOFailure) -> Int {
        try fileSystem.unlinkIfPresent(path)
        let file = try fileSystem.open(path, .create)
        defer { file.close() }
        let head = Self.head(store: store, sequence: sequence, durable: durable, image: image)
        try file.write(head.bytes, at: 0)
        for start in stride(from: 0, to: image.count, by: pieceBytes) {
            if start > 0 { breathe() }
            let piece = image.extracting(start..<min(start + pieceBytes, image.count))
            try file.write(piece, at: head.count + start)
        }
        if Safeguard.checkpointSync.isOn { try file.sync() }
        return head.count + image.count
    }
}
