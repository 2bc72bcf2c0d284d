// The frame: the unit of checksum. A commit group is a run of frames whose last one carries the group-end flag; what
// recovery keeps or drops is always a whole group.
//
//   off  size  field                the defect it rules out
//     0     4  header checksum      CRC-32C, seeded by the segment's salt, of bytes 4 ..< 64: a damaged length is
//                                   seen before it is followed; bytes of an earlier use of the file never match
//     4     1  magic 0xA7           zeros are never a frame
//     5     1  kind                 1 data, 2 mark, 3 roll, 4 close, 5 seal
//     6     1  codec                0 raw, 1 LZ4 block followed by the CRC-32C of the raw bytes
//     7     1  flags                bit 0: the last frame of its commit group
//     8     4  stored bytes         what follows the header, without padding
//    12     4  raw bytes            after decompression
//    16     8  first sequence       of its records; of the next record in a frame that has none
//    24     4  record count
//    28     4  epoch                tells apart what two owners wrote at one place
//    32     8  self position        base position + offset: moved, doubled and shifted bytes fail
//    40     8  durable position     everything below it was durable when the frame was built; always a group's end
//    48     8  wall time, ms        never goes back
//    56     4  payload checksum     CRC-32C, seeded by the salt, of the stored bytes
//    60     4  previous link        header checksum xor payload checksum of the frame before: gaps and mixed files;
//                                   stored, not folded in, so that each frame can be checked alone
//
// Frames start at multiples of 8; in a journal a group starts at a multiple of 4,096 and is padded with zeros, so that
// no later write touches a block that holds acknowledged bytes.

package import HoldfastBytes

package enum FrameKind: UInt8, Sendable {
    case data = 1
    /// Written when the store goes idle: vouches for the last acknowledged frame.
    case mark = 2
    /// The log goes on in the next journal segment.
    case roll = 3
    /// The store was closed cleanly.
    case close = 4
    /// The last frame of a sealed segment.
    case seal = 5
}

package enum FrameCodec: UInt8, Sendable {
    case raw = 0
    case lz4 = 1
}

package enum FrameFormat {
    package static let headerBytes = 64
    package static let magic: UInt8 = 0xA7
    package static let groupEndFlag: UInt8 = 1
    /// A journal frame is closed once it holds this many raw bytes; one record may make it larger.
    package static let journalFrameBytesTarget = 64 << 10
    /// A sealed frame is closed once it holds this many raw bytes.
    package static let sealedFrameBytesTarget = 128 << 10
    /// The most raw bytes of a frame: the largest payload, its headers and the target.
    package static let rawBytesMax = 68 << 20
    package static let journalAlignment = 4096

    /// Rounds up to the next place where a frame may start.
    package static func aligned(_ offset: Int, to alignment: Int) -> Int { (offset + alignment - 1) & ~(alignment - 1) }
}

/// A decoded frame header.
package struct FrameHeader: Hashable, Sendable {
    package var kind: FrameKind
    package var codec = FrameCodec.raw
    package var isGroupEnd = true
    package var storedBytes = 0
    package var rawBytes = 0
    package var firstSequence: SequenceNumber
    package var recordCount: UInt32 = 0
    package var epoch: Epoch
    package var position: LogPosition
    package var durable: LogPosition
    package var time: Timestamp
    package var payloadChecksum: UInt32 = 0
    package var previousLink: UInt32
    package var headerChecksum: UInt32 = 0

    package init(
        kind: FrameKind, firstSequence: SequenceNumber, epoch: Epoch, position: LogPosition, durable: LogPosition,
        time: Timestamp, previousLink: UInt32
    ) {
        self.kind = kind
        self.firstSequence = firstSequence
        self.epoch = epoch
        self.position = position
        self.durable = durable
        self.time = time
        self.previousLink = previousLink
    }

    /// What the next frame stores as its previous link.
    package var link: UInt32 { headerChecksum ^ payloadChecksum }

    /// Fills the 64 bytes at `offset`, which the writer holds already, and sets `headerChecksum`.
    package mutating func store(into writer: inout ByteWriter, at offset: Int, salt: UInt32) {
        assert(storedBytes <= FrameFormat.rawBytesMax + 4, "a frame is bounded")
        assert(durable <= position, "a frame vouches only for what lies before it")
        writer.store(FrameFormat.magic, at: offset + 4)
        writer.store(kind.rawValue, at: offset + 5)
        writer.store(codec.rawValue, at: offset + 6)
        writer.store(isGroupEnd ? FrameFormat.groupEndFlag : 0, at: offset + 7)
        writer.store(littleEndian: UInt32(storedBytes), at: offset + 8)
        writer.store(littleEndian: UInt32(rawBytes), at: offset + 12)
        writer.store(littleEndian: firstSequence.rawValue, at: offset + 16)
        writer.store(littleEndian: recordCount, at: offset + 24)
        writer.store(littleEndian: epoch.rawValue, at: offset + 28)
        writer.store(littleEndian: position.rawValue, at: offset + 32)
        writer.store(littleEndian: durable.rawValue, at: offset + 40)
        writer.store(littleEndian: UInt64(time.milliseconds), at: offset + 48)
        writer.store(littleEndian: payloadChecksum, at: offset + 56)
        writer.store(littleEndian: previousLink, at: offset + 60)
        headerChecksum = CRC32C.checksum(writer.bytes.extracting((offset + 4)..<(offset + 64)), seed: salt)
        writer.store(littleEndian: headerChecksum, at: offset)
    }

    /// Decodes the 64 bytes of a header, or returns `nil` when they are none of this segment.
    package init?(_ bytes: Span<UInt8>, salt: UInt32) {
        guard bytes.count >= FrameFormat.headerBytes, bytes[4] == FrameFormat.magic else { return nil }
        let stored = UInt32(littleEndianBytes: bytes, at: 0)
        guard CRC32C.checksum(bytes.extracting(4..<64), seed: salt) == stored || Safeguard.frameHeaderChecksum.isOff
        else { return nil }
        guard let kind = FrameKind(rawValue: bytes[5]), let codec = FrameCodec(rawValue: bytes[6]), bytes[7] <= 1
        else { return nil }
        self.kind = kind
        self.codec = codec
        isGroupEnd = bytes[7] == FrameFormat.groupEndFlag
        storedBytes = Int(UInt32(littleEndianBytes: bytes, at: 8))
        rawBytes = Int(UInt32(littleEndianBytes: bytes, at: 12))
        firstSequence = SequenceNumber(UInt64(littleEndianBytes: bytes, at: 16))
        recordCount = UInt32(littleEndianBytes: bytes, at: 24)
        epoch = Epoch(UInt32(littleEndianBytes: bytes, at: 28))
        position = LogPosition(UInt64(littleEndianBytes: bytes, at: 32))
        durable = LogPosition(UInt64(littleEndianBytes: bytes, at: 40))
        let milliseconds = UInt64(littleEndianBytes: bytes, at: 48)
        payloadChecksum = UInt32(littleEndianBytes: bytes, at: 56)
        previousLink = UInt32(littleEndianBytes: bytes, at: 60)
        headerChecksum = stored
        let isWithinBounds =
            milliseconds <= UInt64(Timestamp.max.milliseconds) && firstSequence > .zero && firstSequence <= .max
            && rawBytes <= FrameFormat.rawBytesMax && storedBytes <= FrameFormat.rawBytesMax + 4
            && (codec == .lz4 || rawBytes == storedBytes) && position.rawValue < 1 << 62 && durable <= position
            && recordCount <= rawBytes
            && firstSequence.rawValue + UInt64(recordCount) <= SequenceNumber.max.rawValue
        guard isWithinBounds || Safeguard.frameHeaderBounds.isOff else { return nil }
        time = Timestamp(milliseconds: Int64(milliseconds))
    }
}
