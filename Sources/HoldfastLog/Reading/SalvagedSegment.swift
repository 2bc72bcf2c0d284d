// What is intact in one segment file, whatever else is wrong with it. Behind a damaged place the walk looks for the
// next header that has the segment's salt and names its own position, so that intact frames behind it count too. Of a
// commit group all frames are taken or none.

internal import HoldfastBytes

/// A place of a segment that does not hold what it held.
package struct DamagedPlace: Hashable, Sendable {
    /// The file, relative to the store.
    package let file: String
    /// `nil` when the file as a whole is missing.
    package let offset: Int?
    package let what: String
    /// The first record that may be lost with it, and the last; `nil` where nothing tells.
    package var first: UInt64?
    package var last: UInt64?
}

/// One segment file, as far as it can be read.
struct SalvagedSegment: Sendable {
    /// A frame with records that is intact through and through.
    struct IntactFrame: Sendable {
        let offset: Int
        let first: UInt64
        let last: UInt64
    }

    private enum Look {
        case intact(FrameHeader, [UInt8], last: UInt64?)
        case broken(FrameHeader, String)
        case nothing
    }

    let path: String
    let name: String
    private(set) var header: SegmentHeader
    private(set) var isHeaderIntact = true
    var frames: [IntactFrame] = []
    var places: [DamagedPlace] = []
    /// Sequence numbers that the intact runs of frames account for, left out ones included.
    private(set) var coverage: [ClosedRange<UInt64>] = []
    private(set) var seal: SealFrame?
    /// Behind the last group that was taken.
    private(set) var end = SegmentHeader.byteCount
    private(set) var endsInRoll = false
    /// The highest position that a frame vouches for.
    private(set) var durable = LogPosition.zero
    /// The sequence number that comes next after the last frame seen.
    private(set) var next: UInt64?
    private(set) var bytes: Int

    private var run: UInt64?
    private var group: [IntactFrame] = []
    private var isGroupBroken = false

    /// Walks a file; `nil` when neither its header nor its first frame says how to read it.
    init?(_ content: [UInt8], path: String, name: String, role: SegmentRole) throws(LogError) {
        self.path = path
        self.name = name
        bytes = content.count
        guard content.count > SegmentHeader.byteCount else { return nil }
        do throws(LogError) {
            header = try SegmentHeader(content.span.extracting(0..<SegmentHeader.byteCount), file: name)
        } catch {
            guard error.code == .corrupt else { throw error }
            guard let guess = Self.guessHeader(content, role: role) else { return nil }
            header = guess
            isHeaderIntact = false
            places.append(DamagedPlace(file: name, offset: 0, what: "no valid segment header", first: 1, last: 0))
        }
        walk(content)
        endRun()
        if header.role == .sealed { checkSeal(content) }
    }

    // MARK: - Without a header

    /// Finds salt and base from the first frame: its checksum leaves one salt only.
    static func guessHeader(_ content: [UInt8], role: SegmentRole) -> SegmentHeader? {
        let start = SegmentHeader.byteCount
        guard content.count >= start + FrameFormat.headerBytes else { return nil }
        let frame = content.span.extracting(start..<(start + FrameFormat.headerBytes))
        let written = UInt32(littleEndianBytes: content.span, at: 56)
        for salt in [
            written, BitDamage.seed(of: frame.extracting(4..<64), giving: UInt32(littleEndianBytes: frame, at: 0)),
        ] {
            guard let salt else { continue }
            var header = SegmentHeader(
                role: role, store: StoreIdentity(bytes: Array(content[32..<48])),
                id: SegmentID(UInt64(littleEndianBytes: content.span, at: 48)), salt: salt, epoch: Epoch(0),
                created: .zero)
            header.allocatedBytes = role == .journal ? content.count : 0
            header.inFlightBytesMax = content.count
            var offset = start
            while offset + FrameFormat.headerBytes <= content.count {
                let bytes = content.span.extracting(offset..<(offset + FrameFormat.headerBytes))
                if let found = FrameHeader(bytes, salt: salt), found.position.rawValue >= UInt64(offset) {
                    header.base = LogPosition(found.position.rawValue - UInt64(offset))
                    if case .success = Frame.check(content.span, at: offset, offset: offset, segment: header) {
                        return header
                    }
                }
                offset += header.alignment
            }
        }
        return nil
    }

    // MARK: - The walk

    private mutating func walk(_ content: [UInt8]) {
        var offset = SegmentHeader.byteCount
        while offset + FrameFormat.headerBytes <= content.count, seal == nil {
            switch look(content, at: offset) {
            case .intact(let frame, let raw, let last):
                take(frame, raw, last: last, at: offset)
                offset = Self.behind(frame, at: offset, alignment: header.alignment)
            case .broken(let frame, let what):
                leaveOut(frame, what, at: offset)
                offset = Self.behind(frame, at: offset, alignment: header.alignment)
            case .nothing:
                let isInside = !group.isEmpty || isGroupBroken
                let later = search(content, behind: offset, step: isInside ? 8 : header.alignment)
                guard later != nil || isInside || header.role == .sealed else { return }
                breakOff(at: offset, "no valid frame header", first: next, last: nil)
                giveUpGroup()
                guard let later else { return }
                // Where no group can start, the frames up to the next end of a group belong to a broken one.
                isGroupBroken = !later.isMultiple(of: header.alignment)
                offset = later
            }
        }
        if !group.isEmpty { giveUpGroup() }
    }

    private static func behind(_ frame: FrameHeader, at offset: Int, alignment: Int) -> Int {
        FrameFormat.aligned(
            offset + FrameFormat.headerBytes + frame.storedBytes, to: frame.isGroupEnd ? alignment : 8)
    }

    private func look(_ content: [UInt8], at offset: Int) -> Look {
        let bytes = content.span.extracting(offset..<(offset + FrameFormat.headerBytes))
        guard let frame = FrameHeader(bytes, salt: header.salt), frame.position == header.base.advanced(by: offset)
        else { return .nothing }
        switch Frame.check(content.span, at: offset, offset: offset, segment: header) {
        case .success: break
        case .failure(let error):
            return error.defect == .cutShort
                ? .nothing : .broken(frame, "a frame whose stored bytes fail their checksum")
        }
        let start = offset + FrameFormat.headerBytes
        let stored = content.span.extracting(start..<(start + frame.storedBytes))
        guard let raw = Frame.decode(stored, header: frame, salt: header.salt) else {
            return .broken(frame, "a frame whose content fails its checksum")
        }
        if frame.recordCount == 0 { return .intact(frame, raw, last: nil) }
        var last: UInt64 = 0
        var count: UInt32 = 0
        do throws(LogError) {
            _ = try Frame(header: frame, offset: offset, raw: raw).forEachEntry(file: name) {
                (entry, _) throws(LogError) in
                last = entry.sequence.rawValue
                count += 1
                return true
            }
        } catch {
            return .broken(frame, "a frame whose records can't be told apart")
        }
        guard count == frame.recordCount else { return .broken(frame, "a frame with a wrong record count") }
        return .intact(frame, raw, last: last)
    }

    /// Returns the next place that has a frame header of this use of the file.
    private func search(_ content: [UInt8], behind offset: Int, step: Int) -> Int? {
        var place = FrameFormat.aligned(offset + 1, to: step)
        while place + FrameFormat.headerBytes <= content.count {
            if content[place + 4] == FrameFormat.magic {
                let bytes = content.span.extracting(place..<(place + FrameFormat.headerBytes))
                if let frame = FrameHeader(bytes, salt: header.salt), frame.position == header.base.advanced(by: place)
                {
                    return place
                }
            }
            place += step
        }
        return nil
    }

    private mutating func take(_ frame: FrameHeader, _ raw: [UInt8], last: UInt64?, at offset: Int) {
        bound(by: frame)
        durable = max(durable, frame.durable)
        if frame.kind == .seal { seal = try? SealFrame(raw.span) }
        if let last {
            group.append(IntactFrame(offset: offset, first: frame.firstSequence.rawValue, last: last))
        }
        guard frame.isGroupEnd else { return }
        if isGroupBroken { return giveUpGroup() }
        run = run ?? frame.firstSequence.rawValue
        if let first = group.first, let start = run { run = min(start, first.first) }
        frames += group
        next = last.map { $0 + 1 } ?? max(next ?? 0, frame.firstSequence.rawValue)
        group = []
        end = Self.behind(frame, at: offset, alignment: header.alignment)
        endsInRoll = frame.kind == .roll
    }

    /// What was lost before a frame ends before its first record.
    private mutating func bound(by frame: FrameHeader) {
        guard let index = places.indices.last, places[index].last == nil else { return }
        places[index].last = max(frame.firstSequence.rawValue, 1) - 1
    }

    private mutating func leaveOut(_ frame: FrameHeader, _ what: String, at offset: Int) {
        bound(by: frame)
        durable = max(durable, frame.durable)
        let first = frame.firstSequence.rawValue
        let behind = first + UInt64(frame.recordCount)
        // In a sealed segment numbers may be left out, so that only the next frame tells where this one ended.
        let last: UInt64? = header.role == .journal || frame.recordCount == 0 ? behind - 1 : nil
        breakOff(at: offset, what, first: first, last: last)
        next = behind
        isGroupBroken = true
        if frame.isGroupEnd { giveUpGroup() }
    }

    private mutating func breakOff(at offset: Int, _ what: String, first: UInt64?, last: UInt64?) {
        endRun()
        places.append(DamagedPlace(file: name, offset: offset, what: what, first: first, last: last))
    }

    /// Leaves the frames of an incomplete group out.
    private mutating func giveUpGroup() {
        for frame in group {
            places.append(
                DamagedPlace(
                    file: name, offset: frame.offset, what: "an intact frame of a commit group that is not whole",
                    first: frame.first, last: frame.last))
            next = max(next ?? 0, frame.last + 1)
        }
        group = []
        isGroupBroken = false
        endRun()
    }

    private mutating func endRun() {
        if let run, let next, next > run { coverage.append(run...(next - 1)) }
        run = nil
    }

    private mutating func checkSeal(_ content: [UInt8]) {
        guard let seal else {
            if places.last?.last != nil || places.isEmpty {
                places.append(
                    DamagedPlace(
                        file: name, offset: content.count, what: "no seal at its end", first: next, last: nil))
            }
            return
        }
        if places.isEmpty, let first = frames.first?.first, first <= seal.lastSequence.rawValue {
            coverage = [first...seal.lastSequence.rawValue]
        }
        let footer = content.suffix(SealFrame.footerBytes)
        guard footer.count == SealFrame.footerBytes, Array(footer.suffix(4)) == SealFrame.footerMagic,
            UInt64(littleEndianBytes: content.span, at: content.count - SealFrame.footerBytes) < UInt64(content.count)
        else {
            places.append(
                DamagedPlace(
                    file: name, offset: content.count - SealFrame.footerBytes, what: "a damaged footer", first: 1,
                    last: 0))
            return
        }
    }
}
