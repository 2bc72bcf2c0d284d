// The payload of a sealed segment's last frame: what a reader needs to seek in the segment without a scan, and what
// proves that the segment is whole. Behind the frame stands a footer of 16 bytes, so that it is found from the end:
//
//     seal frame offset u64 · seal frame bytes with header u32 · magic "SEAL"

package import HoldfastBytes

/// Where one frame of a sealed segment starts.
package struct FrameIndexEntry: Hashable, Sendable {
    package var firstSequence: SequenceNumber
    package var time: Timestamp
    package var offset: Int
}

/// The decoded payload of a seal frame.
package struct SealFrame: Hashable, Sendable {
    package var lastSequence: SequenceNumber
    package var rawBytes: Int
    package var firstTime: Timestamp
    package var lastTime: Timestamp
    /// How many records of each kind, by ascending kind.
    package var kindCounts: [KindCount]
    package var index: [FrameIndexEntry]
    package var filter: KeyFilter
    /// SHA-256 of the predecessor's chain value followed by every byte of this file before the seal frame.
    package var chain: [UInt8]
    /// The chain value with which the next segment goes on, and the last sequence number it covers: `chain` and
    /// `lastSequence`, unless this is a rewrite of what was sealed before.
    package var lineage: Lineage

    /// The chain value of the log at the end of a segment as it was first sealed.
    package struct Lineage: Hashable, Sendable {
        package var chain: [UInt8]
        package var through: SequenceNumber

        package init(chain: [UInt8], through: SequenceNumber) {
            self.chain = chain
            self.through = through
        }

        func encode(into writer: inout ByteWriter, behind last: SequenceNumber) {
            writer.append(chain)
            writer.append(varint: through.rawValue - last.rawValue)
        }

        init(from reader: inout ByteReader, behind last: SequenceNumber) throws(ByteReaderError) {
            chain = try reader.array(32)
            // A record always has a successor.
            through = last.advanced(by: try reader.varint(atMost: SequenceNumber.max.rawValue - 1 - last.rawValue))
        }
    }

    package struct KindCount: Hashable, Sendable {
        package var kind: UInt8
        package var count: UInt64
    }

    package static let footerBytes = 16
    package static let footerMagic = Array("SEAL".utf8)
    static let framesMax: UInt64 = 1 << 24

    package var recordCount: UInt64 { kindCounts.reduce(0) { $0 + $1.count } }

    package func encode(into writer: inout ByteWriter) {
        writer.append(varint: lastSequence.rawValue)
        writer.append(varint: UInt64(rawBytes))
        writer.append(varint: UInt64(firstTime.milliseconds))
        writer.append(varint: UInt64(lastTime.milliseconds))
        writer.append(varint: UInt64(kindCounts.count))
        for entry in kindCounts {
            writer.append(entry.kind)
            writer.append(varint: entry.count)
        }
        writer.append(varint: UInt64(index.count))
        var last = FrameIndexEntry(firstSequence: .zero, time: .zero, offset: 0)
        for entry in index {
            assert(entry.firstSequence >= last.firstSequence && entry.offset > last.offset, "an index ascends")
            writer.append(varint: entry.firstSequence.rawValue - last.firstSequence.rawValue)
            writer.append(varint: UInt64(entry.time.milliseconds - last.time.milliseconds))
            writer.append(varint: UInt64(entry.offset - last.offset))
            last = entry
        }
        filter.encode(into: &writer)
        writer.append(chain)
        lineage.encode(into: &writer, behind: lastSequence)
    }

    package init(_ payload: Span<UInt8>) throws(ByteReaderError) {
        var reader = ByteReader(payload)
        let timeMax = UInt64(Timestamp.max.milliseconds)
        lastSequence = SequenceNumber(try reader.varint(atMost: SequenceNumber.max.rawValue - 1))
        rawBytes = Int(try reader.varint(atMost: 1 << 40))
        firstTime = Timestamp(milliseconds: Int64(try reader.varint(atMost: timeMax)))
        lastTime = Timestamp(milliseconds: Int64(try reader.varint(atMost: timeMax)))
        kindCounts = []
        for _ in 0..<(try reader.varint(atMost: 255)) {
            let entry = KindCount(kind: try reader.u8(), count: try reader.varint(atMost: 1 << 48))
            guard kindCounts.last.map({ $0.kind < entry.kind }) ?? true else {
                throw ByteReaderError(.tooLong, at: reader.offset)
            }
            kindCounts.append(entry)
        }
        // Each entry takes three bytes at least, so the count can't make us allocate more than the file holds.
        let frames = Int(try reader.varint(atMost: min(Self.framesMax, UInt64(reader.remaining / 3))))
        index = []
        index.reserveCapacity(frames)
        var last = FrameIndexEntry(firstSequence: .zero, time: .zero, offset: 0)
        for _ in 0..<frames {
            last.firstSequence = last.firstSequence.advanced(
                by: try reader.varint(atMost: SequenceNumber.max.rawValue - last.firstSequence.rawValue))
            let later = try reader.varint(atMost: timeMax - UInt64(last.time.milliseconds))
            last.time = Timestamp(milliseconds: last.time.milliseconds + Int64(later))
            let bytes = Int(try reader.varint(atMost: UInt64(1 << 40 - last.offset)))
            guard bytes > 0 else { throw ByteReaderError(.tooLong, at: reader.offset) }
            last.offset += bytes
            index.append(last)
        }
        filter = try KeyFilter(from: &reader)
        chain = try reader.array(32)
        lineage = try Lineage(from: &reader, behind: lastSequence)
        guard reader.isAtEnd else { throw ByteReaderError(.tooLong, at: reader.offset) }
    }

    package init(
        lastSequence: SequenceNumber, rawBytes: Int, firstTime: Timestamp, lastTime: Timestamp,
        kindCounts: [KindCount], index: [FrameIndexEntry], filter: KeyFilter, chain: [UInt8], lineage: Lineage
    ) {
        self.lastSequence = lastSequence
        self.rawBytes = rawBytes
        self.firstTime = firstTime
        self.lastTime = lastTime
        self.kindCounts = kindCounts
        self.index = index
        self.filter = filter
        self.chain = chain
        self.lineage = lineage
    }
}
