// Decoded frames, the newest first to stay. First in, first out: a job store reads each record about once, soon after
// it was written or in order, so recency of use tells little more than age.

internal import HoldfastBytes

/// One decoded frame. Its offsets are found at the first look-up. Guarded by the index's lock.
final class DecodedBlock: @unchecked Sendable {
    // SENDABLE: `raw` and `first` never change; `offsets` and `sequences` are touched under the index's lock only.
    let raw: [UInt8]
    private let first: SequenceNumber
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    private var offsets: [UInt32] = []
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    private var sequences: [UInt64] = []

    init(raw: [UInt8], first: SequenceNumber) {
        self.raw = raw
        self.first = first
    }

    /// Returns the record, or `nil` when the frame does not hold it.
    func entry(_ sequence: SequenceNumber) -> StoredEntry? {
        if offsets.isEmpty { buildOffsets() }
        let index = sequences.partitioningIndex { $0 >= sequence.rawValue }
        guard index < sequences.count, sequences[index] == sequence.rawValue else { return nil }
        let start = Int(offsets[index])
        let bytes = raw
        var cursor = EntryCursor(bytes.span.extracting(start..<bytes.count), firstSequence: .zero)
        guard let entry = try? cursor.next() else { return nil }
        let (kind, count) = (entry.kind, entry.body.count)
        let end = start + cursor.offset
        return StoredEntry(sequence: sequence, kind: kind, body: bytes[(end - count)..<end])
    }

    /// Whether it is known to hold the record, if the log does.
    func holds(_ sequence: SequenceNumber) -> Bool {
        guard let last = sequences.last else { return false }
        return first <= sequence && sequence.rawValue <= last
    }

    private static let usualEntryBytes = 128

    private func buildOffsets() {
        let bytes = raw
        // A frame that is larger holds one large record.
        let usual = min(bytes.count, FrameFormat.sealedFrameBytesTarget) / Self.usualEntryBytes
        offsets.reserveCapacity(usual)
        sequences.reserveCapacity(usual)
        var cursor = EntryCursor(bytes.span, firstSequence: first)
        while true {
            let offset = cursor.offset
            guard let entry = try? cursor.next() else { return }
            offsets.append(UInt32(offset))
            sequences.append(entry.sequence.rawValue)
        }
    }
}

/// Decoded frames by place, at most `byteCountMax` of raw bytes (one frame may be larger, then it is alone).
struct BlockCache {
    private struct Key: Hashable {
        let id: SegmentID
        let offset: Int
    }
    private var blocks: [Key: DecodedBlock] = [:]
    private var order: [Key] = []
    private var oldest = 0
    private var byteCount = 0

    static let byteCountMax = 8 << 20
    /// What a block costs beyond its raw bytes, roughly: so that many tiny frames are bounded too.
    static let overheadBytes = 160

    func find(id: SegmentID, offset: Int) -> DecodedBlock? { blocks[Key(id: id, offset: offset)] }

    mutating func insert(_ block: DecodedBlock, id: SegmentID, offset: Int) {
        let key = Key(id: id, offset: offset)
        guard blocks.updateValue(block, forKey: key) == nil else { return }
        order.append(key)
        byteCount += block.raw.count + Self.overheadBytes
        while byteCount > Self.byteCountMax, oldest < order.count - 1 {
            if let evicted = blocks.removeValue(forKey: order[oldest]) {
                byteCount -= evicted.raw.count + Self.overheadBytes
            }
            oldest += 1
        }
        if oldest > 4096, oldest > order.count / 2 {
            order.removeFirst(oldest)
            oldest = 0
        }
    }
}
