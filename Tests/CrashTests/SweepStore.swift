// A store that holds every structure of the format, for damaging it: segment headers, raw and LZ4 frames, marks, rolls,
// close frames, seals with their index, a compacted segment with gaps, two checkpoints, recycled journal files, and
// saved bytes in lost/. That it does is checked by walking it.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

/// The disk of such a store, and what is known of it.
struct SweepStore: Sendable {
    /// How its last owner left it.
    enum End: String, CaseIterable, Sendable {
        case closed, crashed
    }
    struct Record: Sendable {
        let sequence: SequenceNumber
        let body: [UInt8]
    }
    let end: End
    let disk: SimulatedFileSystem
    let files: [String: [UInt8]]
    /// What the files held at some earlier time.
    let older: [String: [UInt8]]
    /// The files of another store that was used alike.
    let foreign: [String: [UInt8]]
    let records: [Record]
    /// How many of the records something vouches for: all but the last group of a store that crashed.
    let vouched: Int
    /// The segment in which the journal ends, and where it ends.
    let tail: (path: String, end: Int, bound: Int, wasRecycled: Bool)
    /// What each byte is for.
    let map: SweepMap

    /// What every such store holds; besides these a roll when it crashed, a close frame when it was closed.
    private static let structures: Set<String> = [
        "segment header", "raw journal frame", "mark", "raw sealed frame", "lz4 sealed frame", "seal",
        "footer",
        "sparse index of several frames", "segment with gaps", "recycled journal", "manifest", "checkpoint",
        "saved bytes",
    ]
    static let bytesMin = 256 << 10

    init(_ end: End, recycles: Bool = true) throws {
        self.end = end
        let made = try Self.make(end, seed: 1, recycles: recycles)
        (disk, older) = (made.disk, made.older)
        files = disk.snapshotFiles()
        foreign = try Self.make(end, seed: 2, recycles: recycles).disk.snapshotFiles()
        let found = try CrashStore(opening: disk.crashImage(.nothingPending))
        try found.log.close()
        records = found.replayed.map { Record(sequence: $0.sequence, body: $0.body) }
        for record in made.expected where !records.contains(where: { $0.sequence == record.sequence }) {
            Issue.record("record \(record.sequence) was lost before any damage")
        }
        vouched = end == .closed ? records.count : records.count - 1
        let layout = StoreLayout(root: CrashStore.path)
        let manifest = try #require(try ManifestStore(layout: layout, fileSystem: disk).read())
        let scan = try JournalScan(manifest, layout: layout, fileSystem: disk)
        let segment = scan.segments[scan.tail]
        tail = (
            layout.path(segment.journal), segment.end, segment.end + segment.header.inFlightBytesMax,
            segment.header.wasRecycled
        )
        map = try SweepMap(disk, isClosed: end == .closed)
        #expect(tail.wasRecycled == recycles && map.last.path == tail.path)
        guard recycles else { return }
        #expect(manifest.checkpoints.count == 2 && manifest.sealed.count > 1)
        let missing = Self.structures.union(end == .crashed ? ["roll"] : ["close"]).subtracting(map.structures)
        #expect(missing.isEmpty, "the \(end) store lacks \(missing), it holds \(map.structures)")
        #expect(files.values.reduce(0) { $0 + $1.count } >= Self.bytesMin)
    }

    private static func make(
        _ end: End, seed: UInt64, recycles: Bool
    ) throws -> (disk: SimulatedFileSystem, older: [String: [UInt8]], expected: [Record]) {
        let first = SimulatedFileSystem()
        let journalist = Journalist()
        var store = try CrashStore(first, journalist)
        var random = SeedableBytes(seed)
        for number in 0..<(recycles ? 36 : 16) {
            let bytes = number.isMultiple(of: 4) ? random.bytes(7_000) : body(number, bytes: 7_000)
            try store.commit([bytes, body(number, bytes: 90)], kind: number.isMultiple(of: 3) ? 2 : 1)
        }
        _ = try store.log.checkpoint()
        if recycles { _ = try store.log.compact() }
        try store.commit([body(100, bytes: 500)])
        // Power is lost during the next commit: its frame is there in part.
        var disk = first.crashImage(.everythingPending)
        try store.log.close()
        let older = disk.snapshotFiles()
        try tear(disk)
        store = try CrashStore(disk, journalist)
        #expect(!disk.saved.isEmpty)
        for number in 0..<(recycles ? 12 : 1) { try store.commit([random.bytes(9_000), body(number)]) }
        for number in 0..<3 { try store.commit([body(200 + number, bytes: 700), body(number)]) }
        _ = try store.log.checkpoint()
        if recycles {
            try recycle(store, disk, &random)
            try store.log.close()
            disk = try withMarks(disk, journalist)
            store = try CrashStore(disk, journalist)
        }
        let sealing = CallerLock()
        sealing.lock()
        if recycles, end == .crashed { try roll(store, disk, &random, sealing) }
        for number in 0..<2 { try store.commit([body(300 + number, bytes: 700)]) }
        let crashed = disk.crashImage(.everythingPending)
        sealing.unlock()
        try store.log.close()
        let expected = journalist.all.filter { $0.kind == 1 && $0.isAcknowledged }.flatMap { batch in
            batch.bodies.enumerated().map {
                Record(sequence: batch.first.advanced(by: UInt64($0.offset)), body: $0.element)
            }
        }
        return (end == .closed ? disk.crashImage(.nothingPending) : crashed, older, expected)
    }

    /// Commits until nothing waits to be sealed and every file of the ring has been used before: which ones have
    /// depends on how soon full ones were sealed.
    private static func recycle(
        _ store: CrashStore, _ disk: SimulatedFileSystem, _ random: inout SeedableBytes
    ) throws {
        while true {
            let (manifest, scan) = try scan(disk.crashImage(.nothingPending))
            guard scan.tail == 0, manifest.journals.count == CrashStore.options().journalSegmentCount else { continue }
            if scan.segments.allSatisfy(\.header.wasRecycled) { return }
            try store.commit([random.bytes(9_000)])
        }
    }

    /// Commits to a log that confirms each commit with a mark once it is idle, and loses power.
    private static func withMarks(_ disk: SimulatedFileSystem, _ journalist: Journalist) throws -> SimulatedFileSystem {
        let store = try CrashStore(disk, journalist, options: CrashStore.options(idleMarkMilliseconds: 1))
        var marks = 0
        while marks < 2 {
            try store.commit([body(250, bytes: 700)])
            while true {
                let scan = try scan(disk.crashImage(.nothingPending)).scan
                let segment = scan.segments[scan.tail]
                // A mark raises the watermark over the last group.
                if scan.watermark > segment.header.base.advanced(by: segment.frames.last?.offset ?? 0) {
                    marks += 1
                    break
                }
                // None is worth a new segment: behind one that is exactly full the walk is in the next, which is empty.
                if segment.frames.isEmpty {
                    marks = 0
                    break
                }
            }
        }
        let marked = disk.crashImage(.everythingPending)
        try store.log.close()
        return marked
    }

    /// Commits until the journal goes on in another segment, which stays so: nothing is sealed while the caller holds
    /// `sealing`.
    private static func roll(
        _ store: CrashStore, _ disk: SimulatedFileSystem, _ random: inout SeedableBytes, _ sealing: CallerLock
    ) throws {
        // What was full is sealed first, and its file ready to be used again.
        while true {
            let (manifest, scan) = try scan(disk.crashImage(.nothingPending))
            guard scan.tail == 0, manifest.journals.count == CrashStore.options().journalSegmentCount else { continue }
            // A segment that is exactly full would end without a roll frame.
            let blocks = (scan.segments[0].journal.bytes - scan.segments[0].end) / FrameFormat.journalAlignment
            if blocks.isMultiple(of: 3) { try store.commit([body(260, bytes: 700)]) }
            break
        }
        disk.whileSyncing { path in
            if path.contains("/segments/") { sealing.withLock {} }
        }
        repeat {
            try store.commit([random.bytes(9_000)])
        } while try scan(disk.crashImage(.nothingPending)).scan.tail == 0
    }

    private static func scan(_ disk: SimulatedFileSystem) throws -> (manifest: Manifest, scan: JournalScan) {
        let layout = StoreLayout(root: CrashStore.path)
        let manifest = try #require(try ManifestStore(layout: layout, fileSystem: disk).read())
        return (manifest, try JournalScan(manifest, layout: layout, fileSystem: disk))
    }

    /// Writes half of a frame behind the journal's end.
    private static func tear(_ disk: SimulatedFileSystem) throws {
        let layout = StoreLayout(root: CrashStore.path)
        let manifest = try #require(try ManifestStore(layout: layout, fileSystem: disk).read())
        let scan = try JournalScan(manifest, layout: layout, fileSystem: disk)
        let segment = scan.segments[scan.tail]
        var bytes = segment.bytes
        let frame = try #require(segment.frames.last)
        // The last frame once more, where the next one belongs: its header is that of a frame cut short elsewhere.
        for index in 0..<600 { bytes[segment.end + index] = bytes[frame.offset + index] }
        let page = segment.bytes.span.extracting(frame.offset..<(frame.offset + FrameFormat.headerBytes))
        guard var header = FrameHeader(page, salt: segment.header.salt) else { return }
        header.position = segment.header.base.advanced(by: segment.end)
        var writer = ByteWriter()
        writer.append(zeros: FrameFormat.headerBytes)
        header.payloadChecksum ^= 1
        header.store(into: &writer, at: 0, salt: segment.header.salt)
        bytes.replaceSubrange(
            segment.end..<(segment.end + FrameFormat.headerBytes), with: [UInt8](copying: writer.bytes))
        disk.replace(layout.path(segment.journal), with: bytes)
    }
}
