// Frames in memory, the newest first to stay. First in, first out: a job store reads each record about once, soon after
// it was written or in order, so recency of use tells little more than age. Those that were written here are kept with
// their headers, so that a segment is sealed from memory: reading it back would take the disk from who commits.

internal import HoldfastBytes

/// One frame. Its offsets are found at the first look-up, under the index's lock.
final class DecodedBlock: @unchecked Sendable {
    // SENDABLE: what is constant never changes; `offsets` and `sequences` are touched under the index's lock only.
    private let bytes: [UInt8]
    /// Where the records begin: behind the frame's header, if that is there.
    private let start: Int
    private let first: SequenceNumber
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    private var offsets: [UInt32] = []
    #if !DEBUG
        @safe @exclusivity(unchecked)
    #endif
    private var sequences: [UInt64] = []

    /// Keeps the records of a frame that was read.
    init(raw: [UInt8], first: SequenceNumber) { (bytes, start, self.first) = (raw, 0, first) }

    /// Keeps a frame of the journal as it was written.
    init(written frame: Span<UInt8>, first: SequenceNumber) {
        (bytes, start, self.first) = ([UInt8](copying: frame), FrameFormat.headerBytes, first)
    }

    var byteCount: Int { bytes.count }

    /// Returns the frame that was written at `offset` of a segment, its checksums compared as where the file is
    /// scanned; `nil` when there are only records here, or they are not what was written.
    func frame(at offset: Int, in segment: SegmentHeader) -> Frame? {
        let bytes = bytes
        guard start > 0 else { return nil }
        let checked = Frame.check(bytes.span, at: 0, offset: offset, segment: segment)
        guard case .success(let header) = checked else { return nil }
        return Frame(header: header, offset: offset, raw: [UInt8](bytes[start...]))
    }

    /// Returns the record, or `nil` when the frame does not hold it.
    func entry(_ sequence: SequenceNumber) -> StoredEntry? {
        if offsets.isEmpty { buildOffsets() }
        guard let index = index(of: sequence) else { return nil }
        let place = start + Int(offsets[index])
        let bytes = bytes
        var cursor = EntryCursor(bytes.span.extracting(place..<bytes.count), firstSequence: .zero)
        guard let entry = try? cursor.next() else { return nil }
        let (kind, count) = (entry.kind, entry.body.count)
        let end = place + cursor.offset
        return StoredEntry(sequence: sequence, kind: kind, body: bytes[(end - count)..<end])
    }

    private func index(of sequence: SequenceNumber) -> Int? {
        // Few frames leave numbers out: where a crash did, or compaction.
        let guess = Int(truncatingIfNeeded: sequence.rawValue &- first.rawValue)
        if sequences.indices.contains(guess), sequences[guess] == sequence.rawValue { return guess }
        let index = sequences.partitioningIndex { $0 >= sequence.rawValue }
        return index < sequences.count && sequences[index] == sequence.rawValue ? index : nil
    }

    /// Whether it is known to hold the record, if the log does.
    func holds(_ sequence: SequenceNumber) -> Bool {
        guard let last = sequences.last else { return false }
        return first <= sequence && sequence.rawValue <= last
    }

    private static let usualEntryBytes = 128

    private func buildOffsets() {
        let bytes = bytes
        // A frame that is larger holds one large record.
        let usual = min(bytes.count, FrameFormat.sealedFrameBytesTarget) / Self.usualEntryBytes
        offsets.reserveCapacity(usual)
        sequences.reserveCapacity(usual)
        var cursor = EntryCursor(bytes.span.extracting(start..<bytes.count), firstSequence: first)
        while true {
            let offset = cursor.offset
            guard let entry = try? cursor.next() else { return }
            offsets.append(UInt32(offset))
            sequences.append(entry.sequence.rawValue)
        }
    }
}

/// Frames by place, at most `byteCountMax` (one frame may be larger, then it is alone).
struct BlockCache {
    private struct Key: Hashable {
        let id: SegmentID
        let offset: Int
    }
    private var blocks: [Key: DecodedBlock] = [:]
    private var order: [Key] = []
    private var oldest = 0
    private(set) var byteCount = 0
    private let byteCountMax: Int
    /// What a block costs beyond its bytes, roughly: so that many tiny frames are bounded too.
    static let overheadBytes = 160

    init(byteCountMax: Int) { self.byteCountMax = byteCountMax }

    func find(id: SegmentID, offset: Int) -> DecodedBlock? { blocks[Key(id: id, offset: offset)] }

    mutating func insert(_ block: DecodedBlock, id: SegmentID, offset: Int) {
        let key = Key(id: id, offset: offset)
        guard blocks.updateValue(block, forKey: key) == nil else { return }
        order.append(key)
        byteCount += block.byteCount + Self.overheadBytes
        while byteCount > byteCountMax, oldest < order.count - 1 { evictOldest() }
        shrinkOrder()
    }

    /// Removes and returns a frame, for the caller to let go behind the lock.
    mutating func remove(id: SegmentID, offset: Int) -> DecodedBlock? {
        guard let removed = blocks.removeValue(forKey: Key(id: id, offset: offset)) else { return nil }
        byteCount -= removed.byteCount + Self.overheadBytes
        return removed
    }

    /// How many places are kept, of frames that are there and of some that are gone.
    var orderCount: Int { order.count }

    private mutating func evictOldest() {
        _ = remove(id: order[oldest].id, offset: order[oldest].offset)
        oldest += 1
    }

    /// Forgets the places of frames that are gone, once they are most of all.
    private mutating func shrinkOrder() {
        guard order.count > 2 * blocks.count + 4096 else { return }
        order = order[oldest...].filter { blocks[$0] != nil }
        oldest = 0
    }
}
