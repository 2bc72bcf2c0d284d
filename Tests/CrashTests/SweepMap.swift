// What each byte of an intact store is for, and so what recovery must make of any change to it: the table of the
// format, read from the other side. The store is walked frame by frame, without the code that opens it.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

/// What a byte of a store belongs to.
enum SweepPart: UInt8, CaseIterable, Sendable {
    /// A file without meaning to the store: LOCK, RESERVE, and what lies in lost/.
    case meaningless
    case manifest
    case journalHeader
    /// A frame of the journal that something behind it vouches for.
    case vouchedFrame
    /// The frame that nobody vouches for: the last group of a crashed store, the close frame of a closed one.
    case lastFrame
    /// Padding in a journal, what lies behind its end, and segments that nothing was written to yet.
    case unusedJournal
    /// Behind the end of a journal file in its first use, which is zero there, within the in-flight bound and beyond.
    case zerosWithinBound, zerosBeyondBound
    /// Header, frames, seal and footer of a sealed segment.
    case sealed
    /// What lies between the frames of a sealed segment: only its chain value covers it.
    case sealedPadding
    /// What lies behind its seal frame: nothing covers it.
    case sealPadding
    case checkpoint
    /// A journal or a sealed segment that is missing or has another size.
    case resized
    /// A whole manifest, but an older one or another store's.
    case otherManifest

    /// What a table of figures calls it.
    var title: String {
        switch self {
        case .meaningless: "LOCK, RESERVE, lost"
        case .manifest: "manifest"
        case .journalHeader: "journal header"
        case .vouchedFrame: "journal frame below the watermark"
        case .lastFrame: "last journal frame"
        case .unusedJournal: "unused part of a journal"
        case .zerosWithinBound: "zeros of a first use"
        case .zerosBeyondBound: "zeros beyond the bound"
        case .sealed: "sealed segment"
        case .sealedPadding, .sealPadding: "padding of a sealed segment"
        case .checkpoint: "checkpoint"
        case .resized: "file missing or resized"
        case .otherManifest: "another whole manifest"
        }
    }
}

/// What a damage changed.
struct SweepTouch: Sendable {
    var parts: Set<SweepPart> = []
    /// The checkpoint files concerned, by their place in the order in which they are tried.
    var checkpoints: Set<Int> = []
    /// The last frame's header is intact, or it still names its own place or the frame before.
    var lastFrameIsClaimed = true
}

/// The parts of one store.
struct SweepMap: Sendable {
    /// The rows by the names that the table gives them.
    static let (missing, belowWatermark, beyondBound, tornTail, cleanEnd) = (
        name("R1"), name("R2"), name("R3"), name("T2"), name("C1")
    )
    private static func name(_ prefix: String) -> String {
        RecoveryDecision.rows.map(\.name).first { $0.hasPrefix(prefix) } ?? "no row \(prefix)"
    }

    /// What each byte of each file belongs to.
    private(set) var parts: [String: [SweepPart]] = [:]
    /// Every structure of the format that was found.
    private(set) var structures: Set<String> = []
    /// Where the last frame of the journal lies, and in which file.
    private(set) var last: (path: String, offset: Int) = ("", 0)
    private let files: [String: [UInt8]]
    private let isClosed: Bool
    private var isFirstUse = false
    private var checkpointPaths: [String] = []
    /// Whether a replay may begin with the checkpoint at each place.
    private var suffices: [Bool] = []

    init(_ disk: SimulatedFileSystem, isClosed: Bool) throws {
        files = disk.snapshotFiles()
        self.isClosed = isClosed
        let layout = StoreLayout(root: CrashStore.path)
        let manifest = try #require(try ManifestStore(layout: layout, fileSystem: disk).read())
        for (path, bytes) in files {
            let part: SweepPart = path == layout.manifest ? .manifest : .meaningless
            parts[path] = [SweepPart](repeating: part, count: bytes.count)
            if path.hasPrefix(layout.lostDirectory), !bytes.isEmpty { structures.insert("saved bytes") }
            if part == .manifest { structures.insert("manifest") }
        }
        let scan = try JournalScan(manifest, layout: layout, fileSystem: disk)
        for (number, segment) in scan.segments.enumerated() {
            mapJournal(segment, path: layout.path(segment.journal), isInUse: number <= scan.tail)
        }
        mapEnd(scan.segments[scan.tail])
        for segment in manifest.sealed { try mapSealed(segment, path: layout.path(segment), disk) }
        for checkpoint in manifest.checkpoints {
            for copy in 0..<checkpoint.copies {
                let path = layout.path(checkpoint, copy: copy)
                fill(path, 0..<(files[path]?.count ?? 0), .checkpoint)
                checkpointPaths.append(path)
                suffices.append(checkpoint.sequence >= manifest.compactedThrough)
                structures.insert("checkpoint")
            }
        }
    }

    private mutating func fill(_ path: String, _ range: Range<Int>, _ part: SweepPart) {
        guard var all = parts.removeValue(forKey: path) else { return }
        for index in range.clamped(to: 0..<all.count) { all[index] = part }
        parts[path] = all
    }

    private mutating func mapJournal(_ segment: JournalScan.Segment, path: String, isInUse: Bool) {
        let bytes = files[path] ?? []
        structures.insert("segment header")
        if segment.header.wasRecycled { structures.insert("recycled journal") }
        fill(path, 0..<bytes.count, .unusedJournal)
        fill(path, 0..<SegmentHeader.byteCount, .journalHeader)
        var offset = SegmentHeader.byteCount
        while isInUse, offset < segment.end {
            guard
                case .success(let frame) = Frame.check(bytes.span, at: offset, offset: offset, segment: segment.header)
            else { break }
            let end = offset + FrameFormat.headerBytes + frame.storedBytes
            fill(path, offset..<end, .vouchedFrame)
            last = (path, offset)
            structures.insert(frame.recordCount > 0 ? "\(frame.codec) journal frame" : "\(frame.kind)")
            offset = FrameFormat.aligned(end, to: frame.isGroupEnd ? segment.header.alignment : 8)
        }
    }

    /// What nobody vouches for, and what lies behind.
    private mutating func mapEnd(_ tail: JournalScan.Segment) {
        let bytes = files[last.path] ?? []
        fill(last.path, last.offset..<tail.end, .lastFrame)
        if let frame = try? Frame.check(bytes.span, at: last.offset, offset: last.offset, segment: tail.header).get() {
            fill(last.path, (last.offset + FrameFormat.headerBytes + frame.storedBytes)..<tail.end, .unusedJournal)
        }
        isFirstUse = !tail.header.wasRecycled
        guard isFirstUse, !isClosed else { return }
        let bound = tail.end + tail.header.inFlightBytesMax
        fill(last.path, tail.end..<bytes.count, .zerosBeyondBound)
        fill(last.path, tail.end..<bound, .zerosWithinBound)
    }

    private mutating func mapSealed(_ segment: Manifest.Sealed, path: String, _ disk: SimulatedFileSystem) throws {
        let (source, seal) = try SealedSegment.read(disk, path: path, name: path, size: segment.bytes)
        fill(path, 0..<segment.bytes, .sealedPadding)
        fill(path, 0..<SegmentHeader.byteCount, .sealed)
        structures.formUnion(["seal", "footer"])
        if seal.index.count > 1 { structures.insert("sparse index of several frames") }
        if segment.records < segment.lastSequence.rawValue - segment.firstSequence.rawValue + 1 {
            structures.insert("segment with gaps")
        }
        try source.forEachFrame(disk) { (frame) throws(LogError) in
            fill(path, frame.offset..<frame.end, .sealed)
            structures.insert("\(frame.header.codec) sealed frame")
            return true
        }
        let frame = try source.frame(disk, at: source.end)
        // The filter and the index may be stored compressed, too.
        fill(path, frame.offset..<segment.bytes, .sealed)
        let stored = frame.offset + FrameFormat.headerBytes + frame.header.storedBytes
        fill(path, stored..<(segment.bytes - 16), .sealPadding)
    }

    // MARK: - What a damage touches

    /// Says what a change to one byte touches.
    func touch(_ path: String, offset: Int) -> SweepTouch {
        var touch = SweepTouch()
        note(path, offset, in: &touch)
        return touch
    }

    /// Says what new contents touch; `nil` stands for a file that is gone.
    func touch(_ changed: [String: [UInt8]?]) -> SweepTouch {
        var touch = SweepTouch()
        var hasPlace = true
        var hasLink = true
        for (path, content) in changed {
            let bytes = files[path] ?? []
            guard let content, content.count == bytes.count else {
                noteResized(path, content, in: &touch)
                continue
            }
            for index in bytes.indices where bytes[index] != content[index] {
                note(path, index, in: &touch)
                if path == last.path, (last.offset + 32..<last.offset + 40).contains(index) { hasPlace = false }
                if path == last.path, (last.offset + 60..<last.offset + 64).contains(index) { hasLink = false }
            }
            if path.hasSuffix("/MANIFEST"), (try? Manifest(content.span)) != nil { touch.parts = [.otherManifest] }
        }
        touch.lastFrameIsClaimed = hasPlace || hasLink
        return touch
    }

    private func note(_ path: String, _ offset: Int, in touch: inout SweepTouch) {
        guard let part = parts[path]?[offset] else { return }
        touch.parts.insert(part)
        if part == .checkpoint, let place = checkpointPaths.firstIndex(of: path) { touch.checkpoints.insert(place) }
    }

    private func noteResized(_ path: String, _ content: [UInt8]?, in touch: inout SweepTouch) {
        switch parts[path]?.first {
        case .manifest:
            let isWhole = content.map { (try? Manifest($0.span)) != nil } ?? false
            touch.parts.insert(isWhole ? .otherManifest : .manifest)
        case .journalHeader, .sealed: touch.parts.insert(.resized)
        case .checkpoint:
            touch.parts.insert(.checkpoint)
            if let place = checkpointPaths.firstIndex(of: path) { touch.checkpoints.insert(place) }
        default: touch.parts.insert(.meaningless)
        }
    }

    // MARK: - What must come of it

    /// The outcomes that the table of the format allows; one, but where several files are at fault.
    func allowed(_ touch: SweepTouch) -> Set<SweepOutcome> {
        let parts = touch.parts
        if parts.contains(.otherManifest) {
            return [.refused(Self.missing), .refused("journal header or file"), .refused("manifest")]
        }
        var refusals: Set<SweepOutcome> = []
        if parts.contains(.manifest) { refusals.insert(.refused("manifest")) }
        if parts.contains(.journalHeader) { refusals.insert(.refused("journal header or file")) }
        if parts.contains(.resized) { refusals.insert(.refused(Self.missing)) }
        if parts.contains(.vouchedFrame) { refusals.insert(.refused(Self.belowWatermark)) }
        if parts.contains(.zerosBeyondBound) { refusals.insert(.refused(Self.beyondBound)) }
        if !refusals.isEmpty { return refusals }
        let usable = suffices.indices.first { !touch.checkpoints.contains($0) }
        guard let usable, suffices[usable] else { return [.refused("no checkpoint")] }
        let isCut = parts.contains(.lastFrame)
        // Of a frame whose header is gone as a whole, nothing is left in a recycled file to tell it by.
        let isTorn = parts.contains(.zerosWithinBound) || isCut && (touch.lastFrameIsClaimed || isFirstUse)
        let row = isTorn ? Self.tornTail : Self.cleanEnd
        if parts.contains(.sealed) { return [.unreadable(row: row, kind: "sealed segment")] }
        return [.opened(row: row, passedOverCheckpoint: usable > 0, cutRecords: isCut && !isClosed ? 1 : 0)]
    }
}
