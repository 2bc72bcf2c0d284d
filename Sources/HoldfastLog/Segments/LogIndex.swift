// Where each record lies: segments by sequence number, and in a segment frames by their first one. Recently written
// and recently read frames are kept decoded, in bounded memory, so that a job leased soon after its enqueue costs no
// read, and jobs leased in order cost one read a frame.
//
// Readers take a location under the lock and read outside it. A journal file may be recycled meanwhile: its new salt
// makes the old location fail its checksum, and the reader looks the location up again.

internal import HoldfastBytes

/// Finds and reads single records. Thread-safe.
final class LogIndex: @unchecked Sendable {
    // SENDABLE: all mutable state is guarded by `lock`.
    private let lock = CallerLock()
    private let fileSystem: any FileSystem
    private let layout: StoreLayout
    /// Says whose segments are the store's.
    private let manifest: Manifest
    private var sealed: [Manifest.Sealed] = []
    private var seals: [SegmentID: (source: SegmentSource, seal: SealFrame)] = [:]
    private var journals: [JournalIndex] = []
    private var blocks: BlockCache
    /// The frame found last, where the next record is likely to be.
    private var recent: DecodedBlock?
    /// Beyond the cache's bound at most this is kept.
    private static let recentBytesMax = 256 << 10

    /// The frames of one journal segment.
    struct JournalIndex {
        var header: SegmentHeader
        var path: String
        var name: String
        var frames: [(first: SequenceNumber, offset: Int)] = []
        var lastSequence = SequenceNumber.zero
        var end = SegmentHeader.byteCount

        var source: SegmentSource { SegmentSource(header: header, path: path, name: name, end: end) }
    }

    private enum Location {
        case block(DecodedBlock)
        case frame(SegmentSource, offset: Int)
        case unread(Manifest.Sealed)
        case absent
    }

    /// Creates an index of nothing.
    ///
    /// - Parameter manifest: Of the store as it is opened.
    /// - Parameter cachedBytesMax: How much is kept in memory of what was written or read lately.
    init(fileSystem: any FileSystem, layout: StoreLayout, manifest: Manifest, cachedBytesMax: Int) {
        blocks = BlockCache(byteCountMax: cachedBytesMax)
        self.fileSystem = fileSystem
        self.layout = layout
        self.manifest = manifest
    }

    // MARK: - Keeping it true

    /// Names the sealed segments; `removed` journal segments became some of them, in the same instant for readers.
    func setSealed(_ segments: [Manifest.Sealed], removingJournals removed: Set<SegmentID> = []) {
        let gone = lock.withLock {
            let gone = journals.filter { removed.contains($0.header.id) }
            journals.removeAll { removed.contains($0.header.id) }
            sealed = segments
            // What it holds may have been dropped.
            recent = nil
            let kept = Set(segments.map(\.id))
            for id in seals.keys where !kept.contains(id) { seals[id] = nil }
            return gone
        }
        for journal in gone { letGo(journal) }
    }

    /// Lets go of what is in memory of a segment that is no more: in steps, and freed behind the lock, or commits would
    /// wait for all of it.
    private func letGo(_ journal: JournalIndex) {
        for start in stride(from: 0, to: journal.frames.count, by: 16) {
            let part = journal.frames[start..<min(start + 16, journal.frames.count)]
            let removed = lock.withLock { part.map { blocks.remove(id: journal.header.id, offset: $0.offset) } }
            withExtendedLifetime(removed) {}
            DedicatedThread.giveWay()
        }
    }

    /// How many bytes of frames are in memory.
    var cachedBytes: Int { lock.withLock { blocks.byteCount } }

    func addJournal(_ journal: JournalIndex) { lock.withLock { journals.append(journal) } }

    /// Whether a segment is still part of the log.
    func isCurrent(_ id: SegmentID) -> Bool { lock.withLock { holds(id) } }

    /// Notes a group that has been written at `offset` of the newest journal segment.
    func committed(_ group: borrowing CommitGroup, at offset: Int) {
        lock.lock()
        defer { lock.unlock() }
        guard let last = journals.indices.last else { preconditionFailure("a group is written to a journal segment") }
        let id = journals[last].header.id
        for frame in group.frames where frame.recordCount > 0 {
            journals[last].frames.append((frame.firstSequence, offset + frame.start))
            journals[last].lastSequence = SequenceNumber(
                frame.firstSequence.rawValue + UInt64(frame.recordCount) - 1)
            let written = group.bytes.bytes.extracting(frame.start..<frame.end)
            blocks.insert(
                DecodedBlock(written: written, first: frame.firstSequence), id: id, offset: offset + frame.start)
        }
        journals[last].end = offset + group.byteCount
    }

    // MARK: - Reading

    /// Returns the frame at `offset` of a journal segment if it was written lately.
    func frameAtHand(_ segment: SegmentHeader, at offset: Int) -> Frame? {
        lock.withLock({ blocks.find(id: segment.id, offset: offset) })?.frame(at: offset, in: segment)
    }

    /// Returns the record if it is in memory.
    func entryAtHand(_ sequence: SequenceNumber) -> StoredEntry? {
        lock.withLock { if case .block(let block) = locate(sequence) { block.entry(sequence) } else { nil } }
    }

    /// Returns the record, or `nil` when the log does not hold it.
    func entry(_ sequence: SequenceNumber) throws(LogError) -> StoredEntry? {
        if let entry = entryAtHand(sequence) { return entry }
        // A journal segment can be sealed and recycled between look-up and read; the second look-up finds the seal.
        for _ in 0..<8 {
            switch lock.withLock({ locate(sequence) }) {
            case .absent:
                return nil
            case .block(let block):
                return lock.withLock { block.entry(sequence) }
            case .unread(let segment):
                do { try loadSeal(segment) } catch { if lock.withLock({ holds(segment.id) }) { throw error } }
            case .frame(let source, let offset):
                do {
                    let frame = try source.frame(fileSystem, at: offset)
                    let block = DecodedBlock(raw: frame.raw, first: frame.header.firstSequence)
                    return lock.withLock {
                        if holds(source.header.id) { blocks.insert(block, id: source.header.id, offset: offset) }
                        return block.entry(sequence)
                    }
                } catch {
                    if lock.withLock({ holds(source.header.id) }) { throw error }
                }
            }
        }
        throw LogError(.ioFailed, "record \(sequence) moved on every attempt to read it: try again")
    }

    /// The sources that may hold records of `key` from `sequence` on, oldest first.
    func sources(key: UInt64?, from sequence: SequenceNumber) throws(LogError) -> [SegmentSource] {
        let (segments, open) = lock.withLock { (sealed, journals) }
        var result: [SegmentSource] = []
        for segment in segments where segment.lastSequence >= sequence {
            let loaded = try loadSeal(segment)
            if let key, !loaded.seal.filter.mayContain(key) { continue }
            var source = loaded.source
            if let entry = loaded.seal.index.last(where: { $0.firstSequence <= sequence }) {
                source.start = entry.offset
            }
            result.append(source)
        }
        for journal in open where journal.lastSequence >= sequence {
            var source = journal.source
            let frame = journal.frames.partitioningIndex { $0.first > sequence } - 1
            if frame >= 0 { source.start = journal.frames[frame].offset }
            result.append(source)
        }
        return result
    }

    /// The sources of these sealed segments.
    func sources(of segments: [Manifest.Sealed]) throws(LogError) -> [SegmentSource] {
        var result: [SegmentSource] = []
        for segment in segments { result.append(try loadSeal(segment).source) }
        return result
    }

    /// Reads the seal of a segment that the manifest names.
    func seal(of segment: Manifest.Sealed) throws(LogError) -> SealFrame { try loadSeal(segment).seal }

    @discardableResult
    private func loadSeal(_ segment: Manifest.Sealed) throws(LogError) -> (source: SegmentSource, seal: SealFrame) {
        if let known = lock.withLock({ seals[segment.id] }) { return known }
        let path = layout.path(segment)
        let loaded = try SealedSegment.read(
            fileSystem, path: path, name: layout.relative(path), size: segment.bytes)
        // A file of the right size may still be another segment, or one of another store.
        let isTheOne =
            loaded.source.header.id == segment.id && manifest.mayHold(segment, of: loaded.source.header.store)
            && loaded.seal.chain == segment.chain
            && loaded.seal.lastSequence == segment.lastSequence
        guard isTheOne || Safeguard.sealedIdentity.isOff else {
            throw LogError(
                .corrupt,
                "\(layout.relative(path)) is not the segment that the manifest names: put the right file back",
                file: layout.relative(path), offset: 0, sequences: segment.firstSequence...segment.lastSequence)
        }
        lock.withLock { if holds(segment.id) { seals[segment.id] = loaded } }
        return loaded
    }

    private func holds(_ id: SegmentID) -> Bool {
        journals.contains { $0.header.id == id } || sealed.contains { $0.id == id }
    }

    private func locate(_ sequence: SequenceNumber) -> Location {
        if let recent, recent.holds(sequence) { return .block(recent) }
        let location = search(sequence)
        if case .block(let block) = location { recent = block.byteCount <= Self.recentBytesMax ? block : nil }
        return location
    }

    private func search(_ sequence: SequenceNumber) -> Location {
        if let journal = journals.last(where: { ($0.frames.first?.first ?? .max) <= sequence }) {
            guard sequence <= journal.lastSequence else { return .absent }
            let index = journal.frames.partitioningIndex { $0.first > sequence } - 1
            return location(journal.source, offset: journal.frames[index].offset)
        }
        let index = sealed.partitioningIndex { $0.firstSequence > sequence } - 1
        guard index >= 0, sequence <= sealed[index].lastSequence else { return .absent }
        guard let known = seals[sealed[index].id] else { return .unread(sealed[index]) }
        let frame = known.seal.index.partitioningIndex { $0.firstSequence > sequence } - 1
        guard frame >= 0 else { return .absent }
        return location(known.source, offset: known.seal.index[frame].offset)
    }

    private func location(_ source: SegmentSource, offset: Int) -> Location {
        if let block = blocks.find(id: source.header.id, offset: offset) { return .block(block) }
        return .frame(source, offset: offset)
    }
}

extension Array {
    /// Returns the index of the first element for which `isAfter` holds, in an array partitioned by it.
    func partitioningIndex(where isAfter: (Element) -> Bool) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if isAfter(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
