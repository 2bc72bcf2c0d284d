// Walks the journal from its oldest segment to the end of the chain and says what is there, without changing a byte.
// Owner and lock-free readers use the same walk.
//
// Files are read as far as the walk goes. What lies behind the end matters where the end may be a broken one; it does
// not behind a close frame of the manifest's epoch: whoever writes after it raises the epoch in the manifest first.

package import HoldfastBytes

/// The result of walking the journal.
package struct JournalScan: Sendable {
    /// One segment with the frames that belong to whole groups.
    package struct Segment: Sendable {
        package let journal: Manifest.Journal
        package let header: SegmentHeader
        /// The file's bytes as far as they were read; a lock-free reader drops them after the walk.
        package var bytes: [UInt8]
        /// How many there are.
        let capacity: Int
        package var frames: [(first: SequenceNumber, offset: Int)] = []
        package var lastSequence = SequenceNumber.zero
        /// Behind the last whole group.
        package var end = SegmentHeader.byteCount
    }

    package var segments: [Segment] = []
    /// The segment in which the chain ends, as an index of `segments`.
    package var tail = 0
    package var finding: RecoveryFinding
    /// Where the chain was broken, inside the tail segment.
    package var stopOffset = SegmentHeader.byteCount
    package var link: UInt32
    /// The link behind each segment that the walk went through.
    package var links: [UInt32] = []
    package var epoch = Epoch(0)
    /// The last whole group is a roll frame: the log goes on in another segment.
    private var endsInRoll = false
    /// What is read goes through it.
    private var part: [UInt8] = []
    /// What the next record would be numbered without any reservation.
    package var nextSequence: SequenceNumber
    package var time = Timestamp.zero
    /// How many records its whole groups hold.
    package var recordCount: UInt64 = 0
    /// The highest position that anything vouches for.
    package var watermark: LogPosition
    /// The epoch of the close frame that is the last whole group, if it is one.
    package var closedEpoch: Epoch?

    package var tailOffset: Int { segments.isEmpty ? 0 : segments[tail].end }
    package var tailPosition: LogPosition {
        segments.isEmpty ? .zero : segments[tail].header.base.advanced(by: tailOffset)
    }

    /// Walks the journal that `manifest` names.
    ///
    /// - Parameter vouchedBefore: What was durable before the walk began, beside an owner that writes on: up to there
    ///   the journal must be whole. Otherwise up to whatever the walk finds a witness for.
    /// - Throws: `.corrupt` when a file is missing, short or of another store; `.ioFailed` when one can't be read.
    package init(
        _ manifest: Manifest, layout: StoreLayout, fileSystem: any FileSystem, vouchedBefore: LogPosition? = nil
    ) throws(LogError) {
        link = manifest.journalLink
        watermark = Safeguard.watermarkOfManifest.isOn ? manifest.durable : .zero
        let sealedThrough = manifest.sealed.last?.lastSequence ?? .zero
        nextSequence = max(sealedThrough, manifest.compactedThrough).next
        finding = RecoveryFinding(
            stop: .noFrame, isBelowWatermark: false, hasLaterFrames: false, exceedsInFlightBound: false,
            isDirty: false)
        var files: [any File] = []
        defer { for file in files { file.close() } }
        for journal in manifest.journals {
            let (file, segment) = try Self.open(journal, manifest: manifest, layout: layout, fileSystem: fileSystem)
            files.append(file)
            segments.append(segment)
        }
        var goesOn = !segments.isEmpty
        while goesOn {
            goesOn = try walk(tail, files[tail], manifest)
            if goesOn {
                guard tail + 1 < segments.count else {
                    // An exactly full segment may come last; a roll frame is written only once its successor is named.
                    if endsInRoll, Safeguard.rollSuccessor.isOn { finding.stop = .missing }
                    break
                }
                links.append(link)
                tail += 1
            }
        }
        if !endsInClose(manifest), !segments.isEmpty {
            try read(tail, files[tail], through: segments[tail].journal.bytes)
            lookBehindTheTail()
            if Safeguard.laterSegments.isOn {
                for number in segments.indices where number > tail { try lookInto(segments[number], files[number]) }
            }
        }
        finding.isBelowWatermark = tailPosition < vouchedBefore ?? watermark
        part = []
    }

    /// Whether the last whole group is the close frame behind which nothing was written.
    private func endsInClose(_ manifest: Manifest) -> Bool { closedEpoch == manifest.epoch }

    // MARK: - Files

    /// Opens a journal file and checks its size and header.
    private static func open(
        _ journal: Manifest.Journal, manifest: Manifest, layout: StoreLayout, fileSystem: any FileSystem
    ) throws(LogError) -> (any File, Segment) {
        let path = layout.path(journal)
        let name = layout.relative(path)
        let file: any File
        let capacity: Int
        do {
            let status = try fileSystem.status(of: path)
            guard let status, status.bytes == journal.bytes || Safeguard.journalSizes.isOff else {
                throw LogError(
                    .corrupt,
                    "\(name) is missing or does not have the \(journal.bytes) bytes that the manifest names: "
                        + "restore the file, or run: holdfast salvage STORE NEW",
                    file: name, offset: 0)
            }
            file = try fileSystem.open(path, .read)
            capacity = status.bytes
        } catch let failure as IOFailure {
            throw LogError(failure, doing: "reading \(name)")
        } catch let error as LogError {
            throw error
        } catch {
            preconditionFailure("only typed errors are thrown above: \(error)")
        }
        do {
            let header = try SegmentHeader.read(file, name: name)
            try check(header, journal, manifest, name: name)
            return (file, Segment(journal: journal, header: header, bytes: [], capacity: capacity))
        } catch {
            file.close()
            throw error
        }
    }

    private static func check(
        _ header: SegmentHeader, _ journal: Manifest.Journal, _ manifest: Manifest, name: String
    ) throws(LogError) {
        let isInThatUse =
            header.id == journal.id && header.base == journal.base && header.role == .journal
            && header.allocatedBytes == journal.bytes
        guard header.store == manifest.store || Safeguard.journalStore.isOff,
            isInThatUse || Safeguard.journalSegment.isOff
        else {
            throw LogError(
                .corrupt,
                "\(name) is segment \(header.id) of store \(header.store), the manifest expects segment \(journal.id) "
                    + "of store \(manifest.store): put the right file back, or run: holdfast salvage STORE NEW",
                file: name, offset: 0)
        }
    }

    /// What is read at once of a file: what stays in a processor's cache until it is copied. At first less: the journal
    /// of a store that was closed ends at once, and memory costs more when it is first touched than reading twice.
    private static let readBytesMax = 256 << 10
    private static let readBytesMin = 16 << 10

    /// Sees to it that the bytes before `end` of a segment are in memory, and most often more.
    private mutating func read(_ number: Int, _ file: any File, through end: Int) throws(LogError) {
        let (have, capacity) = (segments[number].bytes.count, segments[number].capacity)
        guard have < min(end, capacity) else { return }
        // All at once, so that nothing is copied when there is more; what is not used takes no memory.
        segments[number].bytes.reserveCapacity(capacity)
        while segments[number].bytes.count < min(end, capacity) {
            let offset = segments[number].bytes.count
            let size = min(max(offset, Self.readBytesMin), Self.readBytesMax)
            try Self.read(segments[number], file, into: &part, at: offset, before: min(offset + size, capacity))
            segments[number].bytes.append(contentsOf: part)
        }
    }

    /// Reads what follows `offset` of a segment, up to `end` and no more than is read at once.
    private static func read(
        _ segment: Segment, _ file: any File, into part: inout [UInt8], at offset: Int, before end: Int
    ) throws(LogError) {
        let size = min(end - offset, readBytesMax)
        if part.count != size { part = [UInt8](repeating: 0, count: size) }
        let count: Int
        do { count = try file.read(into: &part, at: offset) } catch {
            throw LogError(error, doing: "reading journal segment \(segment.header.id)")
        }
        guard count == size else {
            throw LogError(
                .corrupt, "journal segment \(segment.header.id) changed its size while it was read: try again")
        }
    }

    // MARK: - The walk

    /// Follows the chain through one segment; true when it goes on in the next.
    private mutating func walk(_ number: Int, _ file: any File, _ manifest: Manifest) throws(LogError) -> Bool {
        let header = segments[number].header
        let capacity = segments[number].capacity
        var offset = SegmentHeader.byteCount
        var pending: [FrameHeader] = []
        var pendingOffsets: [Int] = []
        var pendingLink = link
        stopOffset = offset
        while offset + FrameFormat.headerBytes <= capacity {
            let checked = try check(number, file, at: offset)
            guard case .success(let frame) = checked else {
                if case .failure(let error) = checked {
                    finding.stop = error.defect == .noHeader && pending.isEmpty ? .noFrame : .brokenGroup
                }
                stopOffset = offset
                return false
            }
            let expected = nextExpected(after: pending)
            let follows = frame.epoch >= (pending.last?.epoch ?? epoch) && frame.epoch <= manifest.epoch
            guard frame.previousLink == pendingLink || Safeguard.frameLink.isOff,
                follows || Safeguard.frameEpoch.isOff,
                frame.firstSequence >= expected || Safeguard.frameSequence.isOff
            else {
                finding.stop = .inconsistent
                stopOffset = offset
                return false
            }
            pending.append(frame)
            pendingOffsets.append(offset)
            pendingLink = frame.link
            if Safeguard.watermarkOfFrames.isOn { watermark = max(watermark, frame.durable) }
            offset += FrameFormat.headerBytes + frame.storedBytes
            offset = FrameFormat.aligned(offset, to: frame.isGroupEnd ? header.alignment : 8)
            if frame.isGroupEnd {
                accept(pending, offsets: pendingOffsets, into: number, end: offset)
                link = pendingLink
                pending.removeAll(keepingCapacity: true)
                pendingOffsets.removeAll(keepingCapacity: true)
                stopOffset = offset
                endsInRoll = frame.kind == .roll
                if endsInRoll { return true }
                if endsInClose(manifest) { break }
            }
        }
        finding.stop = pending.isEmpty ? .noFrame : .brokenGroup
        return pending.isEmpty && !endsInClose(manifest)
    }

    /// Checks the frame at `offset`, reading as much as that takes.
    private mutating func check(
        _ number: Int, _ file: any File, at offset: Int
    ) throws(LogError) -> Result<FrameHeader, FrameDefectError> {
        let segment = segments[number].header
        let payload = offset + FrameFormat.headerBytes
        try read(number, file, through: payload)
        try read(number, file, through: payload + storedBytes(number, at: offset))
        let bytes = segments[number].bytes
        return Frame.check(bytes.span, at: offset, offset: offset, segment: segment)
    }

    /// What the header at `offset` says of the frame's length, if it is one.
    private func storedBytes(_ number: Int, at offset: Int) -> Int {
        let bytes = segments[number].bytes
        guard offset + FrameFormat.headerBytes <= bytes.count else { return 0 }
        let header = bytes.span.extracting(offset..<(offset + FrameFormat.headerBytes))
        return FrameHeader(header, salt: segments[number].header.salt)?.storedBytes ?? 0
    }

    private func nextExpected(after pending: [FrameHeader]) -> SequenceNumber {
        guard let last = pending.last else { return nextSequence }
        return max(nextSequence, SequenceNumber(last.firstSequence.rawValue + UInt64(last.recordCount)))
    }

    private mutating func accept(_ group: [FrameHeader], offsets: [Int], into number: Int, end: Int) {
        for (frame, offset) in zip(group, offsets) {
            epoch = frame.epoch
            time = max(time, frame.time)
            closedEpoch = frame.kind == .close ? frame.epoch : nil
            nextSequence = SequenceNumber(frame.firstSequence.rawValue + UInt64(frame.recordCount))
            recordCount += UInt64(frame.recordCount)
            if frame.recordCount > 0 {
                segments[number].frames.append((frame.firstSequence, offset))
                segments[number].lastSequence = SequenceNumber(nextSequence.rawValue - 1)
            }
        }
        segments[number].end = min(end, segments[number].capacity)
    }

    // MARK: - Behind the tail

    private mutating func lookBehindTheTail() {
        let segment = segments[tail]
        let bound = segment.end + segment.header.inFlightBytesMax
        // A disk writes sectors, and not always where it was told to: a frame that lies in the wrong place is none, but
        // what it says was durable when it was built was so.
        for offset in stride(from: segment.end, through: segment.bytes.count - FrameFormat.headerBytes, by: 512) {
            let header = segment.bytes.span.extracting(offset..<(offset + FrameFormat.headerBytes))
            guard let frame = FrameHeader(header, salt: segment.header.salt) else { continue }
            if Safeguard.watermarkBehindTail.isOn { watermark = max(watermark, frame.durable) }
            guard offset % FrameFormat.journalAlignment == 0,
                frame.position == segment.header.base.advanced(by: offset)
            else { continue }
            finding.isDirty = true
            if offset > segment.end, offset > stopOffset { finding.hasLaterFrames = true }
            if offset >= bound, Safeguard.framesBeyondBound.isOn { finding.exceedsInFlightBound = true }
        }
        if claimsToFollow(segment), Safeguard.claimedSuccessor.isOn { finding.isDirty = true }
        if !segment.header.wasRecycled {
            // A file in its first use is zero wherever it was not written.
            let dirty = Self.lastNonZero(segment.bytes.span, from: segment.end)
            if let dirty, Safeguard.bytesBehindTail.isOn {
                finding.isDirty = true
                if dirty >= bound, Safeguard.bytesBeyondBound.isOn { finding.exceedsInFlightBound = true }
            }
        }
    }

    /// Where the last byte is that is not zero, from `start` on.
    private static func lastNonZero(_ bytes: Span<UInt8>, from start: Int) -> Int? {
        var end = bytes.count
        // Most of a file in its first use is zero: that is passed over in blocks.
        while end - start >= FrameFormat.journalAlignment {
            let block = bytes.extracting((end - FrameFormat.journalAlignment)..<end)
            var any: UInt8 = 0
            for index in block.indices { any |= block[index] }
            if any != 0 { break }
            end -= FrameFormat.journalAlignment
        }
        return (start..<end).last { bytes[$0] != 0 }
    }

    /// Whether the bytes at the tail say that they are the next frame although their checksum says that they are
    /// damaged: positions are never used twice, so the last use of a recycled file can't have left this one.
    private func claimsToFollow(_ segment: Segment) -> Bool {
        guard segment.end + FrameFormat.headerBytes <= segment.bytes.count else { return false }
        let bytes = segment.bytes.span.extracting(segment.end..<(segment.end + FrameFormat.headerBytes))
        // Either will do: one flipped bit leaves one of them whole.
        return UInt64(littleEndianBytes: bytes, at: 32) == tailPosition.rawValue
            || (link != 0 && UInt32(littleEndianBytes: bytes, at: 60) == link)
    }

    /// A segment is written to only once the end of the one before it is durable: whatever this use of a later one
    /// wrote, anywhere in it, says that something before it was lost.
    private mutating func lookInto(_ later: Segment, _ file: any File) throws(LogError) {
        var part: [UInt8] = []
        var start = SegmentHeader.byteCount
        while start < later.capacity {
            try Self.read(later, file, into: &part, at: start, before: later.capacity)
            var offset = 0
            while offset + FrameFormat.headerBytes <= part.count {
                let header = part.span.extracting(offset..<(offset + FrameFormat.headerBytes))
                if let frame = FrameHeader(header, salt: later.header.salt),
                    frame.position == later.header.base.advanced(by: start + offset)
                {
                    watermark = max(watermark, frame.durable)
                    finding.exceedsInFlightBound = true
                }
                offset += FrameFormat.journalAlignment
            }
            start += part.count
        }
    }
}
