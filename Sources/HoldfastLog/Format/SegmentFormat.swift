// The header page of a segment: who wrote it, for which store, and what its frames are salted with.
//
//   off  size  field
//     0     8  magic "HOLDFSEG"
//     8    16  format version: major u16, minor u16, compatible u32, read-only compatible u32, incompatible u32
//    24     4  header bytes (4096)
//    28     4  alignment of commit groups: 4096 in a journal, 8 in a sealed segment
//    32    16  store identity
//    48     8  segment id, never reused
//    56     4  salt: the seed of every checksum of a frame in this use of the file
//    60     4  epoch of the owner that wrote the header
//    64     8  base position: the log position of byte 0 (0 in a sealed segment, whose frames count from its start)
//    72     8  first sequence number (0 in a journal: its first frame says)
//    80     8  allocated bytes: the size the file must have (0 in a sealed segment: the manifest says)
//    88     8  the most bytes that may ever be written here and not yet acknowledged
//    96     8  wall time of creation, ms
//   104     1  role: 1 journal, 2 sealed
//   105     7  zero
//   112    32  chain value of the predecessor (zero in a journal)
//   144     4  1 when the file held another segment before, else 0
//   148  3944  zero
//  4092     4  CRC-32C of bytes 0 ..< 4092
//
// Magic, version and the place of the checksum are the same in every version, so the checksum is looked at first: a
// damaged version word is damage, and only an intact page of another version is of a newer library.

package import HoldfastBytes

/// The identity of a store: random, given at creation.
package struct StoreIdentity: Hashable, Sendable, CustomStringConvertible {
    package let bytes: [UInt8]

    package static let byteCount = 16

    package init(bytes: [UInt8]) {
        precondition(bytes.count == Self.byteCount, "a store identity has 16 bytes")
        self.bytes = bytes
    }

    package var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}

package enum SegmentRole: UInt8, Sendable {
    case journal = 1
    case sealed = 2
}

/// The decoded header page.
package struct SegmentHeader: Hashable, Sendable {
    package var role: SegmentRole
    package var store: StoreIdentity
    package var id: SegmentID
    package var salt: UInt32
    package var epoch: Epoch
    package var base = LogPosition.zero
    package var firstSequence = SequenceNumber.zero
    package var allocatedBytes = 0
    package var inFlightBytesMax = 0
    package var created: Timestamp
    package var predecessorChain = [UInt8](repeating: 0, count: 32)
    package var wasRecycled = false

    package static let byteCount = 4096
    static let magic = Array("HOLDFSEG".utf8)
    package var alignment: Int { role == .journal ? 4096 : 8 }

    package init(
        role: SegmentRole, store: StoreIdentity, id: SegmentID, salt: UInt32, epoch: Epoch, created: Timestamp
    ) {
        self.role = role
        self.store = store
        self.id = id
        self.salt = salt
        self.epoch = epoch
        self.created = created
    }

    /// Appends the header page.
    package func encode(into writer: inout ByteWriter) {
        let start = writer.count
        writer.append(Self.magic)
        FormatVersion().encode(into: &writer)
        writer.append(littleEndian: UInt32(Self.byteCount))
        writer.append(littleEndian: UInt32(alignment))
        writer.append(store.bytes)
        writer.append(littleEndian: id.rawValue)
        writer.append(littleEndian: salt)
        writer.append(littleEndian: epoch.rawValue)
        writer.append(littleEndian: base.rawValue)
        writer.append(littleEndian: firstSequence.rawValue)
        writer.append(littleEndian: UInt64(allocatedBytes))
        writer.append(littleEndian: UInt64(inFlightBytesMax))
        writer.append(littleEndian: UInt64(created.milliseconds))
        writer.append(role.rawValue)
        writer.append(zeros: 7)
        writer.append(predecessorChain)
        writer.append(littleEndian: UInt32(wasRecycled ? 1 : 0))
        writer.append(zeros: start + Self.byteCount - 4 - writer.count)
        let checksum = CRC32C.checksum(writer.bytes.extracting(start..<writer.count))
        writer.append(littleEndian: checksum)
        assert(writer.count - start == Self.byteCount, "a header fills its page")
    }

    /// Decodes a header page.
    ///
    /// - Throws: `.corrupt` for anything that is no intact header, `.unsupportedFormat` for an intact one of a newer
    ///   version.
    package init(_ page: Span<UInt8>, file: String) throws(LogError) {
        do {
            try self.init(decoding: page, file: file)
        } catch let error as LogError {
            throw error
        } catch {
            throw LogError(
                .corrupt,
                "\(file) has no valid segment header at offset 0: restore the file, or run: "
                    + "holdfast salvage STORE NEW",
                file: file, offset: 0)
        }
    }

    private init(decoding page: Span<UInt8>, file: String) throws {
        var reader = ByteReader(page)
        guard page.count == Self.byteCount, try reader.array(8) == Self.magic else {
            throw ByteReaderError(.truncated, at: 0)
        }
        let stored = UInt32(littleEndianBytes: page, at: Self.byteCount - 4)
        guard
            CRC32C.checksum(page.extracting(0..<(Self.byteCount - 4))) == stored
                || Safeguard.segmentHeaderChecksum.isOff
        else {
            throw ByteReaderError(.truncated, at: Self.byteCount - 4)
        }
        try FormatVersion(from: &reader).check(file: file, forWriting: false)
        let headerBytes = try reader.u32()
        let alignment = try reader.u32()
        store = StoreIdentity(bytes: try reader.array(StoreIdentity.byteCount))
        id = SegmentID(try reader.u64())
        salt = try reader.u32()
        epoch = Epoch(try reader.u32())
        base = LogPosition(try reader.u64())
        firstSequence = SequenceNumber(try reader.u64())
        allocatedBytes = Int(try reader.bounded(by: 1 << 40))
        inFlightBytesMax = Int(try reader.bounded(by: 1 << 40))
        created = Timestamp(milliseconds: Int64(try reader.bounded(by: UInt64(Timestamp.max.milliseconds))))
        guard let role = SegmentRole(rawValue: try reader.u8()) else { throw ByteReaderError(.tooLong, at: 104) }
        self.role = role
        let zeros = try reader.array(7)
        predecessorChain = try reader.array(32)
        let recycled = try reader.u32()
        wasRecycled = recycled == 1
        let rest = try reader.array(Self.byteCount - 148 - 4)
        let isWithinBounds =
            headerBytes == Self.byteCount && Int(alignment) == self.alignment && recycled <= 1
            && zeros.span.isAllZero && rest.span.isAllZero && base.rawValue < 1 << 62
            && firstSequence <= .max && (role == .journal || firstSequence > .zero)
        guard isWithinBounds || Safeguard.segmentHeaderBounds.isOff else { throw ByteReaderError(.tooLong, at: 24) }
    }
}

extension UInt32 {
    init(littleEndianBytes bytes: Span<UInt8>, at offset: Int) {
        self =
            UInt32(bytes[offset]) | UInt32(bytes[offset + 1]) << 8 | UInt32(bytes[offset + 2]) << 16
            | UInt32(bytes[offset + 3]) << 24
    }
}

extension UInt64 {
    init(littleEndianBytes bytes: Span<UInt8>, at offset: Int) {
        self =
            UInt64(UInt32(littleEndianBytes: bytes, at: offset))
            | UInt64(UInt32(littleEndianBytes: bytes, at: offset + 4)) << 32
    }
}

extension ByteReader {
    /// Reads a fixed 64-bit integer that must not exceed `limit`.
    mutating func bounded(by limit: UInt64) throws(ByteReaderError) -> UInt64 {
        let start = offset
        let value = try u64()
        guard value <= limit else { throw ByteReaderError(.tooLong, at: start) }
        return value
    }
}
