// Everything that verifies in a store, whether or not the store can be opened: with or without a manifest, beside
// missing files, damaged headers, frames and checkpoints. Nothing is written and no lock is taken.
//
// What counts as lost: each damaged place says which sequence numbers it may have held; those that another intact frame
// accounts for (an old file of the ring, a segment not yet removed) are taken off. A broken end of the journal that
// nothing vouches for is an unacknowledged write, as it is to recovery, and no loss.

package import HoldfastBytes

/// The intact content of a store.
package struct LogSalvage: Sendable {
    package let layout: StoreLayout
    package let fileSystem: any FileSystem
    /// `nil` when there is none that can be read.
    package private(set) var manifest: Manifest?
    /// The store that the files belong to.
    package private(set) var store = StoreIdentity(bytes: [UInt8](repeating: 0, count: StoreIdentity.byteCount))
    /// Every damaged place, also those that cost nothing.
    package private(set) var places: [DamagedPlace] = []
    /// Sequence numbers that are lost; the last range is open when it ends in `UInt64.max`.
    package private(set) var lost: [ClosedRange<UInt64>] = []
    /// Intact checkpoint files, newest first.
    package private(set) var checkpoints: [Checkpoint] = []
    /// The highest sequence number that anything tells of.
    package private(set) var highest: UInt64 = 0
    private var segments: [SalvagedSegment] = []
    private var coverage: [ClosedRange<UInt64>] = []
    private var watermark = LogPosition.zero

    package struct Checkpoint: Sendable {
        package let sequence: SequenceNumber
        package let path: String
        let store: StoreIdentity
    }

    /// Reads a store's directory.
    ///
    /// - Throws: `.locked` when the store is open somewhere, `.notAStore`, `.unsupportedFormat`, `.ioFailed`.
    package static func read(directory: String, fileSystem: any FileSystem) throws(LogError) -> LogSalvage {
        var salvage = LogSalvage(layout: StoreLayout(root: directory), fileSystem: fileSystem)
        try salvage.refuseOwner()
        try salvage.readManifest()
        try salvage.readSegments()
        try salvage.readCheckpoints()
        salvage.judgeJournals()
        salvage.findMissingFiles()
        salvage.sumUp()
        return salvage
    }

    private init(layout: StoreLayout, fileSystem: any FileSystem) {
        self.layout = layout
        self.fileSystem = fileSystem
    }

    // MARK: - Files

    private func refuseOwner() throws(LogError) {
        let holder: String?
        do { holder = try fileSystem.lockHolder(layout.lock) } catch {
            guard error.kind == .notFound else { throw LogError(error, doing: "looking for the store's owner") }
            holder = nil
        }
        if let holder {
            throw LogError(
                .locked, "\(layout.root) is in use by \(ProcessNote.holder(in: holder)): stop it first", file: "LOCK")
        }
    }

    private mutating func readManifest() throws(LogError) {
        do throws(LogError) {
            manifest = try ManifestStore(layout: layout, fileSystem: fileSystem).read()
            if manifest == nil {
                places.append(
                    DamagedPlace(file: "MANIFEST", offset: nil, what: "the file is missing", first: 1, last: 0))
            }
        } catch {
            guard error.code == .corrupt else { throw error }
            places.append(DamagedPlace(file: "MANIFEST", offset: 0, what: "no whole manifest", first: 1, last: 0))
        }
        if let manifest {
            store = manifest.store
            watermark = manifest.durable
            highest = max(manifest.sealed.last?.lastSequence.rawValue ?? 0, manifest.compactedThrough.rawValue)
        }
    }

    private func names(_ directory: String, _ suffix: String) throws(LogError) -> [String] {
        do throws(IOFailure) {
            return try fileSystem.list(directory).filter { $0.hasSuffix(suffix) }.map { directory + "/" + $0 }
        } catch {
            if error.kind == .notFound { return [] }
            throw LogError(error, doing: "listing \(directory)")
        }
    }

    private mutating func readSegments() throws(LogError) {
        let paths = try names(layout.journalDirectory, ".jnl") + names(layout.segmentsDirectory, ".seg")
        for path in paths {
            let name = layout.relative(path)
            let content: [UInt8]
            do { content = try fileSystem.contents(of: path) } catch { throw LogError(error, doing: "reading \(name)") }
            let role: SegmentRole = path.hasSuffix(".jnl") ? .journal : .sealed
            if let segment = try SalvagedSegment(content, path: path, name: name, role: role) {
                segments.append(segment)
            }
        }
        if manifest == nil,
            let first = segments.first(where: { $0.header.role == .journal && $0.isHeaderIntact })
                ?? segments.last(where: { $0.isHeaderIntact })
        {
            store = first.header.store
        }
        if let manifest {
            // A file that strayed in from another store is not this store's to keep.
            let known = Set(manifest.ancestors.map(\.store)).union([manifest.store])
            segments.removeAll { $0.isHeaderIntact && !known.contains($0.header.store) }
        }
    }

    private mutating func readCheckpoints() throws(LogError) {
        for path in try names(layout.checkpointsDirectory, ".ckpt") {
            let name = layout.relative(path)
            do throws(LogError) {
                let file = try CheckpointFile(fileSystem, path: path, name: name)
                let owner = try CheckpointFile.owner(fileSystem, path: path, name: name)
                if manifest != nil, owner != store { continue }
                checkpoints.append(Checkpoint(sequence: file.sequence, path: path, store: owner))
                watermark = max(watermark, file.durable)
                highest = max(highest, file.sequence.rawValue)
            } catch {
                guard error.code == .corrupt else { throw error }
                let isNamed = manifest?.checkpoints.contains { checkpoint in
                    (0..<checkpoint.copies).contains { layout.path(checkpoint, copy: $0) == path }
                }
                if isNamed ?? true {
                    places.append(
                        DamagedPlace(file: name, offset: 0, what: "a damaged checkpoint", first: 1, last: 0))
                }
            }
        }
        checkpoints.sort { $0.sequence > $1.sequence }
    }

    /// Returns the image of an intact checkpoint.
    package func image(of checkpoint: Checkpoint) throws(LogError) -> ArraySlice<UInt8> {
        try CheckpointFile(
            fileSystem, path: checkpoint.path, name: layout.relative(checkpoint.path), store: checkpoint.store,
            sequence: checkpoint.sequence
        ).image
    }

    // MARK: - What is lost

    private func isNamed(_ segment: SalvagedSegment) -> Bool {
        guard let manifest else { return true }
        return segment.header.role == .journal
            ? manifest.journals.contains { layout.path($0) == segment.path }
            : manifest.sealed.contains { layout.path($0) == segment.path }
    }

    /// Tells unacknowledged ends of the journal from damage, and drops the former.
    private mutating func judgeJournals() {
        for segment in segments { watermark = max(watermark, segment.durable) }
        let journals = segments.indices.filter { segments[$0].header.role == .journal }
        for index in journals {
            let segment = segments[index]
            let isFollowed = journals.contains { other in
                segments[other].header.base > segment.header.base && !segments[other].frames.isEmpty
            }
            let bound = segment.end + segment.header.inFlightBytesMax
            for place in segment.places {
                guard let offset = place.offset, offset >= SegmentHeader.byteCount else { continue }
                let hasFarFrames = segment.frames.contains { $0.offset >= max(bound, offset) }
                if segment.header.base.advanced(by: offset) >= watermark, !isFollowed, !hasFarFrames {
                    segments[index].places.removeAll { ($0.offset ?? 0) >= offset }
                    segments[index].frames.removeAll { $0.offset >= offset }
                    break
                }
            }
            let isFull = segment.end + FrameFormat.headerBytes > segment.bytes
            let end = segment.header.base.advanced(by: segment.end)
            if segment.places.isEmpty, !segment.endsInRoll, !isFull, end < watermark || isFollowed {
                segments[index].places.append(
                    DamagedPlace(
                        file: segment.name, offset: segment.end, what: "no valid frame header", first: segment.next,
                        last: nil))
            }
        }
    }

    private mutating func findMissingFiles() {
        guard let manifest else { return findBrokenChain() }
        let present = Set(segments.map(\.path))
        for sealed in manifest.sealed where !present.contains(layout.path(sealed)) {
            places.append(
                DamagedPlace(
                    file: layout.relative(layout.path(sealed)), offset: nil, what: "missing, or nothing in it intact",
                    first: sealed.firstSequence.rawValue, last: sealed.lastSequence.rawValue))
        }
        for journal in manifest.journals where !present.contains(layout.path(journal)) {
            let journals = segments.filter { $0.header.role == .journal && !$0.frames.isEmpty }
            let later = journals.filter { $0.header.base > journal.base }.compactMap { $0.frames.first?.first }.min()
            guard later != nil || journal.base < watermark else { continue }
            let before = segments.filter { $0.header.role == .sealed || $0.header.base < journal.base }
                .compactMap { $0.frames.last?.last }.max()
            places.append(
                DamagedPlace(
                    file: layout.relative(layout.path(journal)), offset: nil, what: "missing, or nothing in it intact",
                    first: max(before ?? 0, manifest.sealed.last?.lastSequence.rawValue ?? 0) + 1,
                    last: later.map { $0 - 1 }))
        }
        for checkpoint in manifest.checkpoints {
            for copy in 0..<checkpoint.copies {
                let path = layout.path(checkpoint, copy: copy)
                if (try? fileSystem.status(of: path)) == nil {
                    places.append(
                        DamagedPlace(
                            file: layout.relative(path), offset: nil, what: "the file is missing", first: 1, last: 0))
                }
            }
        }
    }

    /// Without a manifest: sealed segments name their predecessor, and the journal follows the last of them.
    private mutating func findBrokenChain() {
        let sealed = segments.filter { $0.header.role == .sealed }
        let chains = Set(sealed.compactMap(\.seal?.lineage.chain))
        let none = [UInt8](repeating: 0, count: 32)
        let isAnyOpen = sealed.contains { $0.seal == nil }
        let state = checkpoints.first?.sequence.rawValue ?? 0
        for segment in sealed where segment.isHeaderIntact && !isAnyOpen {
            let chain = segment.header.predecessorChain
            guard chain != none, !chains.contains(chain) else { continue }
            let first = segment.header.firstSequence.rawValue
            let before = segments.flatMap(\.frames).map(\.last).filter { $0 < first }.max() ?? 0
            places.append(
                DamagedPlace(
                    file: "segments", offset: nil, what: "the segment before \(segment.name) is missing",
                    first: before + 1, last: first - 1))
        }
        let oldest = segments.filter { $0.header.role == .journal && !$0.frames.isEmpty }
            .min { $0.header.base < $1.header.base }?.frames.first?.first
        let before = sealed.compactMap { $0.frames.last?.last }.max() ?? 0
        // What compaction left out at the end of the last segment looks the same, but a checkpoint covers that.
        if let oldest, oldest > before + 1, oldest - 1 > state {
            places.append(
                DamagedPlace(
                    file: "journal", offset: nil, what: "records before its oldest file are missing",
                    first: before + 1, last: oldest - 1))
        }
    }

    private mutating func sumUp() {
        let frames = segments.flatMap(\.frames).sorted { $0.first < $1.first }
        for segment in segments {
            coverage += segment.coverage
            highest = max(highest, segment.frames.last?.last ?? 0, (segment.next ?? 1) - 1)
            guard isNamed(segment) else { continue }
            places += segment.places
            let named = manifest?.sealed.first { layout.path($0) == segment.path }
            if let named, let place = places.last, place.file == segment.name, place.last == nil {
                places[places.count - 1].last = named.lastSequence.rawValue
            }
        }
        for index in places.indices {
            let place = places[index]
            if place.first == nil {
                let last = place.last ?? .max
                places[index].first = (frames.last { $0.last <= last }?.last ?? 0) + 1
            }
            if place.last == nil, let first = places[index].first {
                places[index].last = frames.first { $0.first >= first }.map { $0.first - 1 }
            }
        }
        let ranges = places.compactMap { place -> ClosedRange<UInt64>? in
            let (first, last) = (max(place.first ?? 1, 1), place.last ?? .max)
            return first <= last ? first...last : nil
        }
        lost = Self.subtract(coverage, from: ranges)
        for range in lost where range.upperBound < .max { highest = max(highest, range.upperBound) }
    }

    /// Returns what is in `ranges` and in none of `covered`, joined and in order.
    package static func subtract(
        _ covered: [ClosedRange<UInt64>], from ranges: [ClosedRange<UInt64>]
    ) -> [ClosedRange<UInt64>] {
        var result: [ClosedRange<UInt64>] = []
        let covered = covered.sorted { $0.lowerBound < $1.lowerBound }
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            var next = range.lowerBound
            if let last = result.last, last.upperBound >= next {
                guard last.upperBound < range.upperBound else { continue }
                next = last.upperBound + 1
            }
            var isOver = false
            for cover in covered where cover.upperBound >= next {
                if cover.lowerBound > range.upperBound { break }
                if cover.lowerBound > next { result.append(next...(cover.lowerBound - 1)) }
                next = cover.upperBound + 1
                if next > range.upperBound {
                    isOver = true
                    break
                }
            }
            if !isOver { result.append(next...range.upperBound) }
        }
        return result
    }

    /// Whether there is nothing to keep.
    package var isEmpty: Bool { manifest == nil && checkpoints.isEmpty && segments.allSatisfy { $0.frames.isEmpty } }

    /// The stores that a copy of the records up to `sequence` descends from.
    package func ancestors(through sequence: SequenceNumber) -> [Manifest.Ancestor] {
        let earlier = manifest?.ancestors.filter { $0.store != store } ?? []
        return earlier + [Manifest.Ancestor(store: store, through: sequence)]
    }

    // MARK: - Records

    /// Calls `body` with every intact record, each once, in order, with the time of its frame.
    package func forEachEntry(
        _ body: (borrowing EntryView, Timestamp) throws(LogError) -> Void
    ) throws(LogError) {
        struct Held {
            let kind: UInt8
            let body: [UInt8]
            let time: Timestamp
        }
        var held: [UInt64: Held] = [:]
        var latest = Timestamp.zero
        func release(below bound: UInt64) throws(LogError) {
            for sequence in held.keys.filter({ $0 < bound }).sorted() {
                guard let entry = held.removeValue(forKey: sequence) else { continue }
                latest = max(latest, entry.time)
                try body(
                    EntryView(sequence: SequenceNumber(sequence), kind: entry.kind, body: entry.body.span), latest)
            }
        }
        let frames = segments.indices.flatMap { number in segments[number].frames.map { (number, $0) } }
            .sorted { $0.1.first < $1.1.first }
        for (number, place) in frames {
            // Frames of two files may overlap; nothing before this one's first record comes any more.
            try release(below: place.first)
            let segment = segments[number]
            let source = SegmentSource(
                header: segment.header, path: segment.path, name: segment.name, end: segment.bytes)
            _ = try source.frame(fileSystem, at: place.offset).forEachEntry(file: segment.name) {
                (entry, time) throws(LogError) in
                if held[entry.sequence.rawValue] == nil {
                    held[entry.sequence.rawValue] = Held(
                        kind: entry.kind, body: [UInt8](copying: entry.body), time: time)
                }
                return true
            }
        }
        try release(below: .max)
    }
}

extension CheckpointFile {
    /// Reads and checks a checkpoint that nothing names.
    init(_ fileSystem: any FileSystem, path: String, name: String) throws(LogError) {
        let (store, sequence) = try Self.head(fileSystem, path: path, name: name)
        try self.init(fileSystem, path: path, name: name, store: store, sequence: sequence)
    }

    /// Returns the store that a checkpoint file says it belongs to.
    static func owner(_ fileSystem: any FileSystem, path: String, name: String) throws(LogError) -> StoreIdentity {
        try head(fileSystem, path: path, name: name).store
    }

    private static func head(
        _ fileSystem: any FileSystem, path: String, name: String
    ) throws(LogError) -> (store: StoreIdentity, sequence: SequenceNumber) {
        var bytes = [UInt8](repeating: 0, count: headBytes)
        let isShort: Bool
        do throws(IOFailure) {
            let file = try fileSystem.open(path, .read)
            defer { file.close() }
            isShort = try file.read(into: &bytes, at: 0) < headBytes
        } catch {
            throw LogError(error, reading: name)
        }
        if isShort { throw LogError(.corrupt, "\(name) is cut short", file: name, offset: 0) }
        return (
            StoreIdentity(bytes: Array(bytes[24..<40])), SequenceNumber(UInt64(littleEndianBytes: bytes.span, at: 40))
        )
    }
}
