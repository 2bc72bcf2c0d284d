// A store that holds every structure of the format, for damaging it: segment headers, raw and LZ4 frames, marks, rolls,
// a close frame, seals, a compacted segment with gaps, two checkpoints, recycled journal files, and saved bytes in
// lost/.

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
        if recycles { #expect(manifest.checkpoints.count == 2 && manifest.sealed.count > 1) }
        #expect(tail.wasRecycled == recycles)
    }

    private static func make(
        _ end: End, seed: UInt64, recycles: Bool
    ) throws -> (disk: SimulatedFileSystem, older: [String: [UInt8]], expected: [Record]) {
        let first = SimulatedFileSystem()
        let journalist = Journalist()
        var store = try CrashStore(first, journalist)
        var random = SeedableBytes(seed)
        for number in 0..<16 {
            let bytes = number.isMultiple(of: 2) ? random.bytes(7_000) : body(number, bytes: 7_000)
            try store.commit([bytes, body(number, bytes: 90)], kind: number.isMultiple(of: 3) ? 2 : 1)
        }
        _ = try store.log.checkpoint()
        if recycles { _ = try store.log.compact() }
        try store.commit([body(100, bytes: 500)])
        // Power is lost during the next commit: its frame is there in part.
        let image = first.crashImage(.everythingPending)
        try store.log.close()
        let older = image.snapshotFiles()
        try tear(image)
        store = try CrashStore(image, journalist)
        #expect(!image.saved.isEmpty)
        for number in 0..<(recycles ? 12 : 1) { try store.commit([random.bytes(9_000), body(number)]) }
        for number in 0..<3 { try store.commit([body(200 + number, bytes: 700), body(number)]) }
        _ = try store.log.checkpoint()
        for number in 0..<2 { try store.commit([body(300 + number, bytes: 700)]) }
        let crashed = image.crashImage(.everythingPending)
        try store.log.close()
        let expected = journalist.all.filter { $0.kind == 1 && $0.isAcknowledged }.flatMap { batch in
            batch.bodies.enumerated().map {
                Record(sequence: batch.first.advanced(by: UInt64($0.offset)), body: $0.element)
            }
        }
        return (end == .closed ? image.crashImage(.nothingPending) : crashed, older, expected)
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
