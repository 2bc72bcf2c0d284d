// What stands at one offset of a segment file: fields, checks one by one, and whether a single flipped bit explains a
// checksum that fails. Where it does, the checks behind it are made with the bit put right.

internal import HoldfastBytes

/// What a segment file holds at an offset.
package struct OffsetDiagnosis: Sendable {
    /// One number of a header.
    package struct Field: Sendable {
        package let name: String
        /// In the file.
        package let offset: Int
        package let value: UInt64
    }
    /// One check.
    package struct Check: Sendable {
        package let name: String
        package let isPassed: Bool
        /// What was found instead; empty when it passed.
        package let detail: String
    }

    /// Such as `segment header`, `frame`, `footer`, `unused`.
    package private(set) var region = "unused"
    package private(set) var start = 0
    package private(set) var end = 0
    package private(set) var fields: [Field] = []
    package private(set) var checks: [Check] = []
    /// The bits that, flipped back, make the checksums right.
    package private(set) var flippedBits: [(offset: Int, bit: Int)] = []
    /// Whether all checks pass.
    package var isSound: Bool { checks.allSatisfy(\.isPassed) }

    private var content: [UInt8]

    /// Looks at `offset` of a segment file with these bytes.
    ///
    /// - Parameter role: By the file's name; counts when the header is damaged.
    package init(_ content: [UInt8], offset: Int, isSealed: Bool) {
        precondition(offset >= 0 && offset < content.count, "the offset is inside the file")
        self.content = content
        examineHeader(isShown: offset < SegmentHeader.byteCount)
        if offset < SegmentHeader.byteCount { return }
        let header = Self.header(of: self.content, isSealed: isSealed)
        guard let header else {
            checks.append(Check(name: "segment header", isPassed: false, detail: "it does not say how to read frames"))
            return
        }
        find(offset, header)
    }

    private static func header(of content: [UInt8], isSealed: Bool) -> SegmentHeader? {
        let page = content.span.extracting(0..<min(SegmentHeader.byteCount, content.count))
        if let header = try? SegmentHeader(page, file: "") { return header }
        return SalvagedSegment.guessHeader(content, role: isSealed ? .sealed : .journal)
    }

    // MARK: - The segment's header

    private static let headerFields: [(name: String, offset: Int, bytes: Int)] = [
        ("magic", 0, 8), ("format major", 8, 2), ("format minor", 10, 2), ("compatible features", 12, 4),
        ("read-only compatible features", 16, 4), ("incompatible features", 20, 4), ("header bytes", 24, 4),
        ("alignment", 28, 4), ("store identity, low half", 32, 8), ("store identity, high half", 40, 8),
        ("segment id", 48, 8), ("salt", 56, 4), ("epoch", 60, 4), ("base position", 64, 8), ("first sequence", 72, 8),
        ("allocated bytes", 80, 8), ("in-flight bytes", 88, 8), ("created", 96, 8), ("role", 104, 1),
        ("was recycled", 144, 4), ("checksum", 4092, 4),
    ]

    private mutating func examineHeader(isShown: Bool) {
        let size = SegmentHeader.byteCount
        if isShown { (region, start, end) = ("segment header", 0, min(size, content.count)) }
        guard content.count >= size else {
            return checks.append(
                Check(name: "segment header", isPassed: false, detail: "the file has \(content.count) bytes"))
        }
        if isShown { fields = Self.headerFields.map { field($0.name, at: $0.offset, bytes: $0.bytes) } }
        let before = checks.count
        check("segment header checksum", 0..<(size - 4), seed: 0, storedAt: size - 4)
        if !isShown, checks.last?.isPassed == true { checks.removeLast(checks.count - before) }
        guard isShown else { return }
        let isValid = Self.isHeader(content)
        checks.append(
            Check(name: "segment header fields", isPassed: isValid, detail: isValid ? "" : "a field is out of range"))
    }

    private static func isHeader(_ content: [UInt8]) -> Bool {
        (try? SegmentHeader(content.span.extracting(0..<SegmentHeader.byteCount), file: "")) != nil
    }

    private func field(_ name: String, at offset: Int, bytes: Int) -> Field {
        var value: UInt64 = 0
        for index in (0..<bytes).reversed() { value = value << 8 | UInt64(content[offset + index]) }
        return Field(name: name, offset: offset, value: value)
    }

    /// Checks a checksum, and puts a single flipped bit right.
    private mutating func check(_ name: String, _ range: Range<Int>, seed: UInt32, storedAt place: Int) {
        let stored = UInt32(littleEndianBytes: content.span, at: place)
        let actual = CRC32C.checksum(content.span.extracting(range), seed: seed)
        guard stored != actual else { return checks.append(Check(name: name, isPassed: true, detail: "")) }
        var detail = "\(Self.hex(stored)) is written, the bytes give \(Self.hex(actual))"
        let difference = stored ^ actual
        var bit: Int?
        if difference.nonzeroBitCount == 1 {
            bit = place * 8 + difference.trailingZeroBitCount
        } else if let found = BitDamage.flippedBit(
            in: content.span.extracting(range), seed: seed, expected: stored)
        {
            bit = range.lowerBound * 8 + found
        }
        if let bit {
            flippedBits.append((bit / 8, bit % 8))
            content[bit / 8] ^= 1 << UInt8(bit % 8)
            detail += "; bit \(bit % 8) of the byte at offset \(bit / 8) is flipped"
        } else {
            detail += "; more than one bit is wrong"
        }
        checks.append(Check(name: name, isPassed: false, detail: detail))
    }

    private static func hex(_ value: UInt32) -> String {
        let digits = String(value, radix: 16)
        return "0x" + String(repeating: "0", count: 8 - digits.count) + digits
    }

    // MARK: - Frames

    /// Walks to the frame that covers `target`.
    private mutating func find(_ target: Int, _ header: SegmentHeader) {
        var offset = SegmentHeader.byteCount
        var link: UInt32?
        var isSealed = false
        while offset + FrameFormat.headerBytes <= content.count, !isSealed {
            let frame = intactHeader(at: offset, header)
            var next = 0
            if let frame {
                let behind = offset + FrameFormat.headerBytes + frame.storedBytes
                next = FrameFormat.aligned(behind, to: frame.isGroupEnd ? header.alignment : 8)
                isSealed = frame.kind == .seal
            } else {
                next = offset + 8
                while next + FrameFormat.headerBytes <= content.count, intactHeader(at: next, header) == nil {
                    next += 8
                }
                if next + FrameFormat.headerBytes > content.count { next = content.count }
            }
            next = min(next, content.count)
            if target < next {
                (start, end) = (offset, next)
                if frame == nil, next == content.count, isUnused(offset, header) { return }
                return examineFrame(at: offset, header, link: link)
            }
            link = frame?.link
            offset = next
        }
        (start, end) = (offset, content.count)
        guard isSealed else { return }
        region = "footer"
        let isWhole =
            content.count - offset == SealFrame.footerBytes
            && Array(content.suffix(4)) == SealFrame.footerMagic
        checks.append(Check(name: "footer", isPassed: isWhole, detail: isWhole ? "" : "it does not name a seal frame"))
    }

    /// Whether nothing of this use was written at `offset`: zeros, or what an earlier use of the file left.
    private func isUnused(_ offset: Int, _ header: SegmentHeader) -> Bool {
        let bytes = content.span.extracting(offset..<(offset + FrameFormat.headerBytes))
        if content[offset..<(offset + FrameFormat.headerBytes)].allSatisfy({ $0 == 0 }) { return true }
        guard header.wasRecycled else { return false }
        let stored = UInt32(littleEndianBytes: bytes, at: 0)
        let checked = bytes.extracting(4..<FrameFormat.headerBytes)
        let difference = CRC32C.checksum(checked, seed: header.salt) ^ stored
        return difference.nonzeroBitCount > 1
            && BitDamage.flippedBit(in: checked, seed: header.salt, expected: stored) == nil
    }

    private func intactHeader(at offset: Int, _ header: SegmentHeader) -> FrameHeader? {
        guard content[offset + 4] == FrameFormat.magic,
            let frame = FrameHeader(content.span.extracting(offset..<(offset + 64)), salt: header.salt),
            frame.position == header.base.advanced(by: offset)
        else { return nil }
        return frame
    }

    private static let frameFields: [(name: String, offset: Int, bytes: Int)] = [
        ("header checksum", 0, 4), ("magic", 4, 1), ("kind", 5, 1), ("codec", 6, 1), ("flags", 7, 1),
        ("stored bytes", 8, 4), ("raw bytes", 12, 4), ("first sequence", 16, 8), ("record count", 24, 4),
        ("epoch", 28, 4), ("position", 32, 8), ("durable position", 40, 8), ("time", 48, 8),
        ("payload checksum", 56, 4), ("previous link", 60, 4),
    ]

    private mutating func examineFrame(at offset: Int, _ header: SegmentHeader, link: UInt32?) {
        region = "frame"
        fields = Self.frameFields.map { field($0.name, at: offset + $0.offset, bytes: $0.bytes) }
        check("header checksum", (offset + 4)..<(offset + 64), seed: header.salt, storedAt: offset)
        func add(_ name: String, _ isPassed: Bool, _ detail: @autoclosure () -> String) {
            checks.append(Check(name: name, isPassed: isPassed, detail: isPassed ? "" : detail()))
        }
        add("magic", content[offset + 4] == FrameFormat.magic, "\(content[offset + 4]) instead of 167")
        guard let frame = FrameHeader(content.span.extracting(offset..<(offset + 64)), salt: header.salt) else {
            return add("header fields", false, "no header of this segment, so that nothing else can be checked")
        }
        let position = header.base.advanced(by: offset)
        add("position", frame.position == position, "\(frame.position) instead of \(position)")
        if let link {
            add("link", frame.previousLink == link, "the frame before is another than the one it was written behind")
        }
        let payload = (offset + 64)..<(offset + 64 + frame.storedBytes)
        add("length", payload.upperBound <= content.count, "it reaches beyond the end of the file")
        guard payload.upperBound <= content.count else { return }
        check("payload checksum", payload, seed: header.salt, storedAt: offset + 56)
        let raw = Frame.decode(content.span.extracting(payload), header: frame, salt: header.salt)
        add("decompression", raw != nil, "the stored bytes are not what was compressed")
        guard let raw, frame.kind != .seal else { return }
        var count: UInt32 = 0
        var isWalked = true
        do throws(LogError) {
            _ = try Frame(header: frame, offset: offset, raw: raw).forEachEntry(file: "") {
                (_, _) throws(LogError) in
                count += 1
                return true
            }
        } catch {
            isWalked = false
        }
        add(
            "entries", isWalked && count == frame.recordCount,
            "\(count) records can be told apart, the header says \(frame.recordCount)")
    }
}
