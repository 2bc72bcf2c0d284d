// Walks the journal from its oldest segment to the end of the chain and says what is there, without changing a byte.
// Owner and lock-free readers use the same walk.

package import HoldfastBytes

/// The result of walking the journal.
package struct JournalScan: Sendable {
    /// One segment with the frames that belong to whole groups.
    package struct Segment: Sendable {
        package let journal: Manifest.Journal
        package let header: SegmentHeader
        /// The file's bytes; a lock-free reader drops them after the walk.
        package var bytes: [UInt8]
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
    /// - Throws: `.corrupt` when a file is missing, short or of another store; `.ioFailed` when one can't be read.
    package init(
        _ manifest: Manifest, layout: StoreLayout, fileSystem: any FileSystem
    ) throws(LogError) {
        link = manifest.journalLink
        watermark = Safeguard.watermarkOfManifest.isOn ? manifest.durable : .zero
        let sealedThrough = manifest.sealed.last?.lastSequence ?? .zero
        nextSequence = max(sealedThrough, manifest.compactedThrough).next
        finding = RecoveryFinding(
            stop: .noFrame, isBelowWatermark: false, hasLaterFrames: false, exceedsInFlightBound: false,
            isDirty: false)
        for journal in manifest.journals {
            segments.append(try Self.load(journal, manifest: manifest, layout: layout, fileSystem: fileSystem))
        }
        var goesOn = !segments.isEmpty
        while goesOn {
            goesOn = walk(tail, epochMax: manifest.epoch)
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
        lookBehindTheTail()
    }

    // MARK: - Files

    private static func load(
        _ journal: Manifest.Journal, manifest: Manifest, layout: StoreLayout, fileSystem: any FileSystem
    ) throws(LogError) -> Segment {
        let path = layout.path(journal)
        let name = layout.relative(path)
        let bytes: [UInt8]
        do {
            let status = try fileSystem.status(of: path)
            guard let status, status.bytes == journal.bytes || Safeguard.journalSizes.isOff else {
                throw LogError(
                    .corrupt,
                    "\(name) is missing or does not have the \(journal.bytes) bytes that the manifest names: "
                        + "restore the file, or run: holdfast salvage STORE NEW",
                    file: name, offset: 0)
            }
            bytes = try fileSystem.contents(of: path)
        } catch let failure as IOFailure {
            throw LogError(failure, doing: "reading \(name)")
        } catch let error as LogError {
            throw error
        } catch {
            preconditionFailure("only typed errors are thrown above: \(error)")
        }
        guard bytes.count == journal.bytes || Safeguard.journalSizes.isOff, bytes.count >= SegmentHeader.byteCount
        else {
            throw LogError(
                .corrupt, "\(name) changed its size while it was read: try again", file: name,
                offset: bytes.count)
        }
        let header = try SegmentHeader(bytes.span.extracting(0..<SegmentHeader.byteCount), file: name)
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
        return Segment(journal: journal, header: header, bytes: bytes)
    }

    // MARK: - The walk

    /// Follows the chain through one segment; true when it goes on in the next.
    private mutating func walk(_ number: Int, epochMax: Epoch) -> Bool {
        let header = segments[number].header
        let bytes = segments[number].bytes
        let capacity = bytes.count
        var offset = SegmentHeader.byteCount
        var pending: [FrameHeader] = []
        var pendingOffsets: [Int] = []
        var pendingLink = link
        stopOffset = offset
        while offset + FrameFormat.headerBytes <= capacity {
            let checked = Frame.check(bytes.span, at: offset, offset: offset, segment: header)
            guard case .success(let frame) = checked else {
                if case .failure(let error) = checked {
                    finding.stop = error.defect == .noHeader && pending.isEmpty ? .noFrame : .brokenGroup
                }
                stopOffset = offset
                return false
            }
            let expected = nextExpected(after: pending)
            let follows = frame.epoch >= (pending.last?.epoch ?? epoch) && frame.epoch <= epochMax
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
            }
        }
        finding.stop = pending.isEmpty ? .noFrame : .brokenGroup
        return pending.isEmpty
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
        segments[number].end = min(end, segments[number].bytes.count)
    }

    // MARK: - Behind the tail

    private mutating func lookBehindTheTail() {
        guard !segments.isEmpty else { return }
        let segment = segments[tail]
        let bound = segment.end + segment.header.inFlightBytesMax
        var offset = segment.end
        while offset + FrameFormat.headerBytes <= segment.bytes.count {
            let header = segment.bytes.span.extracting(offset..<(offset + FrameFormat.headerBytes))
            if let frame = FrameHeader(header, salt: segment.header.salt),
                frame.position == segment.header.base.advanced(by: offset)
            {
                finding.isDirty = true
                if offset > segment.end, offset > stopOffset { finding.hasLaterFrames = true }
                if offset >= bound, Safeguard.framesBeyondBound.isOn { finding.exceedsInFlightBound = true }
                if Safeguard.watermarkBehindTail.isOn { watermark = max(watermark, frame.durable) }
            }
            offset += FrameFormat.journalAlignment
        }
        if claimsToFollow(segment), Safeguard.claimedSuccessor.isOn { finding.isDirty = true }
        if !segment.header.wasRecycled {
            // A file in its first use is zero wherever it was not written.
            let dirty = segment.bytes[segment.end...].lastIndex { $0 != 0 }
            if let dirty, Safeguard.bytesBehindTail.isOn {
                finding.isDirty = true
                if dirty >= bound, Safeguard.bytesBeyondBound.isOn { finding.exceedsInFlightBound = true }
            }
        }
        if Safeguard.laterSegments.isOn { for later in segments[(tail + 1)...] { lookInto(later) } }
        finding.isBelowWatermark = tailPosition < watermark
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
    private mutating func lookInto(_ later: Segment) {
        var offset = SegmentHeader.byteCount
        while offset + FrameFormat.headerBytes <= later.bytes.count {
            let header = later.bytes.span.extracting(offset..<(offset + FrameFormat.headerBytes))
            if let frame = FrameHeader(header, salt: later.header.salt),
                frame.position == later.header.base.advanced(by: offset)
            {
                watermark = max(watermark, frame.durable)
                finding.exceedsInFlightBound = true
            }
            offset += FrameFormat.journalAlignment
        }
    }
}
