// The manifest says which files make up the store. It is small and replaced whole: write MANIFEST.tmp, sync, rename,
// sync the directory. A file that it does not name is a leftover; a file that it names must be there.
//
//     magic "HOLDFMAN" · format version (16) · store identity (16) · payload length u32 · payload · CRC-32C of all
//     before
//
// Every version begins with magic and format version and ends in that checksum, so a damaged version is told from
// another one.

package import HoldfastBytes

package struct Manifest: Hashable, Sendable {
    package var store: StoreIdentity
    package var epoch = Epoch(0)
    /// No sequence number below it that might have been answered is ever given out again.
    package var reserved = SequenceNumber(1)
    package var nextSegment = SegmentID(1)
    package var nextSlot: UInt64 = 1
    /// Everything below it was durable when the manifest was written.
    package var durable = LogPosition.zero
    /// Where the next journal segment's position begins.
    package var nextBase = LogPosition.zero
    /// The link that the first frame of the oldest journal segment stores as its previous one.
    package var journalLink: UInt32 = 0
    /// Records up to here may have been dropped by compaction: a replay needs a checkpoint at or after it.
    package var compactedThrough = SequenceNumber.zero
    /// Oldest first; the last one with frames is the one being written.
    package var journals: [Journal] = []
    /// Oldest first.
    package var sealed: [Sealed] = []
    /// Newest first.
    package var checkpoints: [Checkpoint] = []
    /// Whose segments this store may hold besides its own: forks and restored backups.
    package var ancestors: [Ancestor] = []
    /// The audit chain; `nil` in a store that no version with one has written to.
    package var audit: Audit?

    package struct Journal: Hashable, Sendable {
        package var id: SegmentID
        /// Names the file; a recycled file keeps its slot.
        package var slot: UInt64
        package var base: LogPosition
        package var bytes: Int
        /// Made for one commit group that fits nowhere else; unlinked, not recycled.
        package var isOversized: Bool
    }

    package struct Sealed: Hashable, Sendable {
        package var id: SegmentID
        package var firstSequence: SequenceNumber
        package var lastSequence: SequenceNumber
        package var bytes: Int
        /// How many records it holds, and their bytes before compression.
        package var records: UInt64
        package var rawBytes: Int
        /// The chain value of its seal frame.
        package var chain: [UInt8]
        /// The chain value of the log at the end of what this segment stands for, when that was first sealed. The next
        /// segment was sealed behind it; rewriting changes neither that nor what was published of it.
        package var lineage: SealFrame.Lineage
        /// The audit chain's value after `lineage.through`, as when that was first sealed. It is known wherever the
        /// records behind the chain's anchor reach so far.
        package var audit: [UInt8]?
    }

    package struct Checkpoint: Hashable, Sendable {
        package var sequence: SequenceNumber
        package var bytes: Int
        /// 1, or 2 when records it covers were dropped.
        package var copies: Int
    }

    package struct Ancestor: Hashable, Sendable {
        package var store: StoreIdentity
        package var through: SequenceNumber
    }

    package init(store: StoreIdentity) { self.store = store }

    /// Whether a sealed segment may be one that `writer` wrote: this store, or an ancestor up to where it is one.
    package func mayHold(_ segment: Sealed, of writer: StoreIdentity) -> Bool {
        if writer == store { return true }
        return ancestors.contains {
            $0.store == writer && (segment.lastSequence <= $0.through || Safeguard.ancestorBound.isOff)
        }
    }

    /// Returns the ancestors of a fork of this store: itself, and those of its own that wrote a segment which the fork
    /// takes over. Others are left out, so that forks of forks don't gather them without end.
    ///
    /// - Parameter last: The last record that the fork takes over.
    package func ancestors(ofFork last: SequenceNumber, owning owners: Set<StoreIdentity>) -> [Ancestor] {
        let earlier = ancestors.filter { owners.contains($0.store) && $0.store != store }
        return earlier.map { Ancestor(store: $0.store, through: min($0.through, last)) }
            + [Ancestor(store: store, through: last)]
    }

    static let magic = Array("HOLDFMAN".utf8)
    package static let byteCountMax = 64 << 20
    package static let journalsMax: UInt64 = 4096
    static let headBytes = 8 + FormatVersion.byteCount + StoreIdentity.byteCount + 4

    package func encode(into writer: inout ByteWriter) {
        let start = writer.count
        writer.append(Self.magic)
        var version = FormatVersion()
        if audit != nil { version.incompatible = FormatVersion.auditFeature }
        version.encode(into: &writer)
        writer.append(store.bytes)
        let lengthOffset = writer.count
        writer.append(littleEndian: UInt32(0))
        let payload = writer.count
        encodePayload(into: &writer)
        writer.store(littleEndian: UInt32(writer.count - payload), at: lengthOffset)
        writer.append(littleEndian: CRC32C.checksum(writer.bytes.extracting(start..<writer.count)))
    }

    private func encodePayload(into writer: inout ByteWriter) {
        writer.append(littleEndian: epoch.rawValue)
        writer.append(littleEndian: journalLink)
        for value in [
            reserved.rawValue, nextSegment.rawValue, nextSlot, durable.rawValue, nextBase.rawValue,
            compactedThrough.rawValue,
        ] { writer.append(varint: value) }
        writer.append(varint: UInt64(journals.count))
        for journal in journals {
            writer.append(varint: journal.id.rawValue)
            writer.append(varint: journal.slot)
            writer.append(varint: journal.base.rawValue)
            writer.append(varint: UInt64(journal.bytes))
            writer.append(journal.isOversized ? 1 : 0)
        }
        writer.append(varint: UInt64(sealed.count))
        for segment in sealed {
            writer.append(varint: segment.id.rawValue)
            writer.append(varint: segment.firstSequence.rawValue)
            writer.append(varint: segment.lastSequence.rawValue)
            writer.append(varint: UInt64(segment.bytes))
            writer.append(varint: segment.records)
            writer.append(varint: UInt64(segment.rawBytes))
            writer.append(segment.chain)
            segment.lineage.encode(into: &writer, behind: segment.lastSequence)
        }
        writer.append(varint: UInt64(checkpoints.count))
        for checkpoint in checkpoints {
            writer.append(varint: checkpoint.sequence.rawValue)
            writer.append(varint: UInt64(checkpoint.bytes))
            writer.append(UInt8(checkpoint.copies))
        }
        writer.append(varint: UInt64(ancestors.count))
        for ancestor in ancestors {
            writer.append(ancestor.store.bytes)
            writer.append(varint: ancestor.through.rawValue)
        }
        guard let audit else { return }
        audit.encode(into: &writer)
        for segment in sealed {
            writer.append(segment.audit == nil ? 0 : 1)
            if let value = segment.audit { writer.append(value) }
        }
    }

    /// Decodes a manifest.
    ///
    /// - Throws: `.corrupt` for anything that is no intact manifest, `.unsupportedFormat` for an intact one of a newer
    ///   version.
    package init(_ bytes: Span<UInt8>, forWriting: Bool = false) throws(LogError) {
        do {
            try self.init(decoding: bytes, forWriting: forWriting)
        } catch let error as LogError {
            throw error
        } catch {
            throw LogError(
                .corrupt,
                "MANIFEST is damaged (\(error)): restore it from a backup, or run: holdfast salvage STORE NEW",
                file: "MANIFEST", offset: (error as? ByteReaderError)?.offset ?? 0)
        }
    }

    private init(decoding bytes: Span<UInt8>, forWriting: Bool) throws {
        var reader = ByteReader(bytes)
        guard try reader.array(8) == Self.magic else { throw ByteReaderError(.truncated, at: 0) }
        guard bytes.count >= Self.headBytes + 4 else { throw ByteReaderError(.truncated, at: bytes.count) }
        let checksum = CRC32C.checksum(bytes.extracting(0..<(bytes.count - 4)))
        guard
            checksum == UInt32(littleEndianBytes: bytes, at: bytes.count - 4) || Safeguard.manifestChecksum.isOff
        else {
            throw ByteReaderError(.notCanonical, at: 0)
        }
        let version = try FormatVersion(from: &reader)
        try version.check(file: "MANIFEST", forWriting: forWriting, known: FormatVersion.auditFeature)
        store = StoreIdentity(bytes: try reader.array(StoreIdentity.byteCount))
        let length = Int(try reader.u32())
        guard length == bytes.count - Self.headBytes - 4 else {
            throw ByteReaderError(.truncated, at: reader.offset)
        }
        try decodePayload(from: &reader)
        if version.incompatible & FormatVersion.auditFeature != 0 { try decodeAudit(from: &reader) }
        guard reader.remaining == 4 else { throw ByteReaderError(.tooLong, at: reader.offset) }
    }

    private static func flag(from reader: inout ByteReader) throws(ByteReaderError) -> Bool {
        let value = try reader.u8()
        guard value <= 1 else { throw ByteReaderError(.tooLong, at: reader.offset - 1) }
        return value == 1
    }

    private mutating func decodeAudit(from reader: inout ByteReader) throws(ByteReaderError) {
        let found = try Audit(from: &reader)
        for index in sealed.indices {
            if try Self.flag(from: &reader) { sealed[index].audit = try reader.array(AuditHead.hashBytes) }
            guard sealed[index].audit != nil || sealed[index].lineage.through <= found.anchor.through else {
                throw ByteReaderError(.notCanonical, at: reader.offset)
            }
        }
        audit = found
    }

    private mutating func decodePayload(from reader: inout ByteReader) throws(ByteReaderError) {
        let positionMax: UInt64 = 1 << 62
        // A record always has a successor.
        let sequenceMax = SequenceNumber.max.rawValue - 1
        epoch = Epoch(try reader.u32())
        guard epoch.rawValue < UInt32.max else { throw ByteReaderError(.tooLong, at: reader.offset - 4) }
        journalLink = try reader.u32()
        reserved = SequenceNumber(try reader.varint(atMost: sequenceMax))
        nextSegment = SegmentID(try reader.varint(atMost: positionMax))
        nextSlot = try reader.varint(atMost: positionMax)
        durable = LogPosition(try reader.varint(atMost: positionMax))
        nextBase = LogPosition(try reader.varint(atMost: positionMax))
        compactedThrough = SequenceNumber(try reader.varint(atMost: sequenceMax))
        for _ in 0..<(try reader.varint(atMost: Self.journalsMax)) {
            journals.append(
                Journal(
                    id: SegmentID(try reader.varint(atMost: positionMax)), slot: try reader.varint(atMost: positionMax),
                    base: LogPosition(try reader.varint(atMost: positionMax)),
                    bytes: Int(try reader.varint(atMost: 1 << 40)), isOversized: try Self.flag(from: &reader)))
        }
        for _ in 0..<(try reader.varint(atMost: UInt64(reader.remaining))) {
            let id = SegmentID(try reader.varint(atMost: positionMax))
            let first = SequenceNumber(try reader.varint(atMost: sequenceMax))
            let last = SequenceNumber(try reader.varint(atMost: sequenceMax))
            guard first <= last || Safeguard.sealedRange.isOff else {
                throw ByteReaderError(.tooLong, at: reader.offset)
            }
            let segment = Sealed(
                id: id, firstSequence: first, lastSequence: last, bytes: Int(try reader.varint(atMost: 1 << 40)),
                records: try reader.varint(atMost: 1 << 48), rawBytes: Int(try reader.varint(atMost: 1 << 40)),
                chain: try reader.array(32), lineage: try SealFrame.Lineage(from: &reader, behind: last))
            sealed.append(segment)
        }
        for _ in 0..<(try reader.varint(atMost: 16)) {
            checkpoints.append(
                Checkpoint(
                    sequence: SequenceNumber(try reader.varint(atMost: sequenceMax)),
                    bytes: Int(try reader.varint(atMost: 1 << 40)), copies: Int(try reader.u8())))
        }
        for _ in 0..<(try reader.varint(atMost: 1024)) {
            ancestors.append(
                Ancestor(
                    store: StoreIdentity(bytes: try reader.array(StoreIdentity.byteCount)),
                    through: SequenceNumber(try reader.varint(atMost: sequenceMax))))
        }
    }
}
