// The journal's segments: one being written, spares ready to be switched to, full ones waiting to be sealed. Files are
// written whole with zeros once and recycled ever after, because a sync into blocks that exist costs half of one that
// must allocate them. Making, recycling and dropping files is the maintenance thread's work; the committer only takes
// a spare.

internal import CHoldfast
internal import HoldfastBytes

/// One journal segment opened for writing. Used by the committer alone once it is active.
final class JournalSegment: Sendable {
    let journal: Manifest.Journal
    let header: SegmentHeader
    let path: String
    let name: String
    let file: any File

    init(journal: Manifest.Journal, header: SegmentHeader, path: String, name: String, file: any File) {
        self.journal = journal
        self.header = header
        self.path = path
        self.name = name
        self.file = file
    }

    var capacity: Int { journal.bytes }
}

/// A full segment with what sealing needs to know.
struct FullSegment: Sendable {
    let journal: Manifest.Journal
    let source: SegmentSource
    /// The link that the next segment's first frame stores.
    let link: UInt32
}

/// Makes and recycles journal files.
struct JournalFiles: Sendable {
    let layout: StoreLayout
    let fileSystem: any FileSystem
    let store: StoreIdentity
    let epoch: Epoch
    let durability: DurabilityMode

    static let zeroBytes = 1 << 20

    /// The most bytes that may be unacknowledged in a segment of that size: its torn region after a crash.
    static func inFlightBytesMax(capacity: Int, isOversized: Bool) -> Int {
        if isOversized { return capacity }
        return min(4 << 20, (capacity / 2) & ~(FrameFormat.journalAlignment - 1))
    }

    /// Writes a file of zeros under the journal's name, which is durable then. The zeros become so with the header,
    /// whose
    /// sync comes before anything relies on either.
    func create(_ journal: Manifest.Journal) throws(IOFailure) {
        let path = layout.path(journal)
        try fileSystem.unlinkIfPresent(path)
        let file = try fileSystem.open(path, .create)
        defer { file.close() }
        let zeros = [UInt8](repeating: 0, count: min(Self.zeroBytes, journal.bytes))
        var offset = 0
        while offset < journal.bytes {
            let count = min(zeros.count, journal.bytes - offset)
            try file.write(zeros.span.extracting(0..<count), at: offset)
            offset += count
        }
        if Safeguard.journalNameSync.isOn { try fileSystem.syncDirectory(layout.journalDirectory) }
    }

    /// Gives a file a new header, synced, and so a new use: nothing that it held is valid any more.
    func writeHeader(_ journal: Manifest.Journal, wasRecycled: Bool, now: Timestamp) throws(IOFailure) -> SegmentHeader
    {
        var header = SegmentHeader(
            role: .journal, store: store, id: journal.id, salt: Safeguard.segmentSalt.isOn ? Randomness.word() : 1,
            epoch: epoch, created: now)
        header.base = journal.base
        header.allocatedBytes = journal.bytes
        header.inFlightBytesMax = Self.inFlightBytesMax(capacity: journal.bytes, isOversized: journal.isOversized)
        header.wasRecycled = wasRecycled
        var page = ByteWriter()
        header.encode(into: &page)
        let file = try fileSystem.open(layout.path(journal), .readWrite)
        defer { file.close() }
        try file.write(page.bytes, at: 0)
        if Safeguard.journalHeaderSync.isOn { try file.sync() }
        return header
    }

    func openForWriting(_ journal: Manifest.Journal, header: SegmentHeader) throws(IOFailure) -> JournalSegment {
        let path = layout.path(journal)
        let file = try fileSystem.open(path, durability == .commit && Safeguard.commitSync.isOn ? .commit : .readWrite)
        return JournalSegment(
            journal: journal, header: header, path: path, name: layout.relative(path), file: file)
    }
}

/// Bytes from the system's random source, or from the schedule that the calling thread is under.
enum Randomness {
    static func bytes(_ count: Int) -> [UInt8] {
        if let schedule = ThreadSeat.schedule { return schedule.randomBytes(count) }
        return unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            // SAFETY: the buffer holds `count` bytes.
            unsafe holdfast_random(buffer.baseAddress, count)
            filled = count
        }
    }

    /// A random word that is not zero.
    static func word() -> UInt32 {
        while true {
            let value = UInt32(littleEndianBytes: bytes(4).span, at: 0)
            if value != 0 { return value }
        }
    }
}
