// The batch in memory: records as they will stand in the journal, frame by frame, with room left for the headers.
// The committer fills the headers in and writes the whole in one call; nothing is copied on the way.

internal import HoldfastBytes

/// Frames under construction. One owner: the pipeline's lock while filling, the committer while in flight.
struct CommitGroup: ~Copyable {
    private(set) var bytes: ByteWriter
    private(set) var frames: [OpenFrame] = []
    private(set) var latest = Timestamp.zero
    private(set) var recordCount = 0

    struct OpenFrame {
        /// Where its header starts.
        var start: Int
        /// Behind its last payload byte.
        var end: Int
        var firstSequence: SequenceNumber
        var recordCount: UInt32
        var kind: FrameKind
    }

    init() {
        bytes = ByteWriter(capacity: 128 << 10)
        frames.reserveCapacity(64)
    }

    var isEmpty: Bool { frames.isEmpty }
    var byteCount: Int { bytes.count }

    /// Adds one record; sequence numbers within a frame are consecutive.
    mutating func append(
        _ sequence: SequenceNumber, kind: UInt8, time: Timestamp, _ encode: (inout ByteWriter) -> Void
    ) {
        assert(kind != 0, "kind 0 is never used")
        if needsFrame(for: sequence) { beginFrame(kind: .data, first: sequence) }
        let start = bytes.count
        bytes.append(0)
        bytes.append(0)
        bytes.append(kind)
        encode(&bytes)
        let length = bytes.count - start - 2
        if length < 0x80 {
            bytes.store(UInt8(length), at: start)
        } else {
            storeLength(UInt64(length), at: start)
        }
        // A larger frame could be written, but nobody would ever read it again.
        precondition(
            bytes.count - frames[frames.count - 1].start - FrameFormat.headerBytes <= FrameFormat.rawBytesMax,
            "a record is larger than a frame may be")
        frames[frames.count - 1].end = bytes.count
        frames[frames.count - 1].recordCount += 1
        recordCount += 1
        latest = max(latest, time)
    }

    /// Adds a frame without records.
    mutating func appendControl(_ kind: FrameKind, next sequence: SequenceNumber, time: Timestamp) {
        beginFrame(kind: kind, first: sequence)
        latest = max(latest, time)
    }

    /// Fills in every header, for a group that starts at `offset` of the segment, and pads to a whole block.
    /// Returns the link of the last frame.
    mutating func seal(
        at offset: Int, in segment: SegmentHeader, durable: LogPosition, epoch: Epoch, time: Timestamp, link: UInt32
    ) -> UInt32 {
        precondition(!frames.isEmpty, "an empty group is never written")
        var link = link
        for number in frames.indices {
            let frame = frames[number]
            var header = FrameHeader(
                kind: frame.kind, firstSequence: frame.firstSequence, epoch: epoch,
                position: segment.base.advanced(by: offset + frame.start), durable: durable, time: time,
                previousLink: link)
            let payload = frame.start + FrameFormat.headerBytes
            header.isGroupEnd = number == frames.count - 1
            header.storedBytes = frame.end - payload
            header.rawBytes = header.storedBytes
            header.recordCount = frame.recordCount
            header.payloadChecksum = CRC32C.checksum(bytes.bytes.extracting(payload..<frame.end), seed: segment.salt)
            header.store(into: &bytes, at: frame.start, salt: segment.salt)
            link = header.link
        }
        bytes.append(zeros: FrameFormat.aligned(bytes.count, to: FrameFormat.journalAlignment) - bytes.count)
        return link
    }

    /// Memory that one large batch needed is given back; that of the usual group is kept.
    static let keptCapacityMax = 4 << 20

    mutating func removeAll() {
        if bytes.capacity > Self.keptCapacityMax { bytes = ByteWriter(capacity: 128 << 10) }
        bytes.removeAll()
        frames.removeAll(keepingCapacity: true)
        recordCount = 0
    }

    private func needsFrame(for sequence: SequenceNumber) -> Bool {
        guard let frame = frames.last else { return true }
        if frame.kind != .data || bytes.count - frame.start >= FrameFormat.journalFrameBytesTarget { return true }
        return frame.firstSequence.rawValue + UInt64(frame.recordCount) != sequence.rawValue
    }

    private mutating func beginFrame(kind: FrameKind, first: SequenceNumber) {
        bytes.append(zeros: FrameFormat.aligned(bytes.count, to: 8) - bytes.count)
        let start = bytes.count
        bytes.append(zeros: FrameFormat.headerBytes)
        frames.append(
            OpenFrame(start: start, end: bytes.count, firstSequence: first, recordCount: 0, kind: kind))
    }

    private mutating func storeLength(_ length: UInt64, at start: Int) {
        var width = 1
        while length >> UInt64(7 * width) != 0 { width += 1 }
        bytes.insertGap(width - 1, at: start)
        for index in 0..<width {
            let group = UInt8(truncatingIfNeeded: length >> UInt64(7 * index)) & 0x7F
            bytes.store(index == width - 1 ? group : group | 0x80, at: start + index)
        }
        bytes.store(0, at: start + width)
    }
}
