// Reading a store without owning it: dump, verify and stat work on a live store, a closed one and a damaged one, and
// never write a byte. Beside a living owner the reader stops at the highest position that the files vouch for, so it
// never shows what a crash could still take back. Where the owner recycles or rewrites a segment under its hands, it
// reads the manifest again and goes on by sequence number; damage is only what the manifest still names.

package import HoldfastBytes

package struct LogReader: Sendable {
    package let layout: StoreLayout
    package let fileSystem: any FileSystem
    package private(set) var manifest: Manifest
    package private(set) var scan: JournalScan
    /// The owner's note, when the store is open somewhere.
    package private(set) var holder: String?
    /// Whether it goes on with a new manifest where the owner has replaced files. What is computed from a checkpoint
    /// and the records after it must not.
    package var followsOwner = true
    /// What the owner itself says is durable, to whom it can say so; the files vouch for it a moment later.
    package var knownDurable = LogPosition.zero

    /// How often in a row the owner may be ahead.
    package static let attemptsMax = 10

    /// Opens a store for reading.
    ///
    /// - Throws: `.notAStore`, `.corrupt`, `.unsupportedFormat`, `.permission`, `.ioFailed`.
    package static func open(directory: String, fileSystem: any FileSystem) throws(LogError) -> LogReader {
        let layout = StoreLayout(root: directory)
        var holder = try owner(layout, fileSystem)
        let (manifest, scan) = try load(layout, fileSystem)
        // One that came meanwhile may have been writing what was scanned.
        if holder == nil { holder = try owner(layout, fileSystem) }
        return LogReader(layout: layout, fileSystem: fileSystem, manifest: manifest, scan: scan, holder: holder)
    }

    private init(
        layout: StoreLayout, fileSystem: any FileSystem, manifest: Manifest, scan: JournalScan, holder: String?
    ) {
        self.layout = layout
        self.fileSystem = fileSystem
        self.manifest = manifest
        self.scan = scan
        self.holder = holder
    }

    /// Opens a store and computes something from it, anew when that fails because the owner has replaced files.
    ///
    /// - Parameter body: Gets a reader that does not follow the owner.
    /// - Throws: As `open`, and what `body` throws.
    package static func compute<R>(
        directory: String, fileSystem: any FileSystem, _ body: (LogReader) throws(LogError) -> R
    ) throws(LogError) -> R {
        var attempts = 0
        while true {
            var reader = try open(directory: directory, fileSystem: fileSystem)
            reader.followsOwner = false
            do throws(LogError) { return try body(reader) } catch {
                attempts += 1
                let now = try open(directory: directory, fileSystem: fileSystem)
                guard attempts < attemptsMax, now.manifest != reader.manifest else { throw error }
            }
        }
    }

    /// Reads a store that is being made: its manifest, which names no journal, is not in place yet.
    init(sealedOnly manifest: Manifest, layout: StoreLayout, fileSystem: any FileSystem) throws(LogError) {
        precondition(manifest.journals.isEmpty, "a store that is being made has no journal")
        self.init(
            layout: layout, fileSystem: fileSystem, manifest: manifest,
            scan: try JournalScan(manifest, layout: layout, fileSystem: fileSystem), holder: nil)
    }

    private static func owner(_ layout: StoreLayout, _ fileSystem: any FileSystem) throws(LogError) -> String? {
        do { return try fileSystem.lockHolder(layout.lock) } catch {
            guard error.kind == .notFound else { throw LogError(error, doing: "looking for the store's owner") }
            return nil
        }
    }

    private static func load(
        _ layout: StoreLayout, _ fileSystem: any FileSystem
    ) throws(LogError) -> (Manifest, JournalScan) {
        let manifests = ManifestStore(layout: layout, fileSystem: fileSystem)
        var attempts = 0
        while true {
            guard let manifest = try manifests.read() else {
                throw LogError(
                    .notAStore, "\(layout.root) is no store: it does not exist or has no MANIFEST; check the path",
                    file: "MANIFEST")
            }
            attempts += 1
            do {
                var scan = try JournalScan(manifest, layout: layout, fileSystem: fileSystem)
                if scan.finding.isBelowWatermark {
                    // The owner may have gone on between two reads. What was durable then is there now, or is damaged.
                    scan = try JournalScan(
                        manifest, layout: layout, fileSystem: fileSystem, vouchedBefore: scan.watermark)
                }
                let mayBeDamaged = scan.finding.isBelowWatermark && attempts < attemptsMax
                if mayBeDamaged, try manifests.read() != manifest { continue }
                for number in scan.segments.indices { scan.segments[number].bytes = [] }
                return (manifest, scan)
            } catch {
                // The owner may have recycled a segment in between: then the manifest is a new one.
                guard attempts < attemptsMax, try manifests.read() != manifest else { throw error }
            }
        }
    }

    /// Whether the store still has the manifest that this reader goes by.
    package func isUpToDate() throws(LogError) -> Bool {
        try ManifestStore(layout: layout, fileSystem: fileSystem).read() == manifest
    }

    // MARK: - What there is

    /// The position up to which this reader shows records.
    package var end: LogPosition {
        let known = max(scan.watermark, knownDurable)
        return holder == nil || Safeguard.readerWatermark.isOff ? scan.tailPosition : min(scan.tailPosition, known)
    }

    /// The position up to which the log vouches for itself, whoever owns it.
    var durableEnd: LogPosition {
        scan.closedEpoch == manifest.epoch ? end : min(end, max(scan.watermark, knownDurable))
    }

    /// The journal segments with frames to show, oldest first.
    package var journalSources: [SegmentSource] {
        scan.segments.prefix(scan.tail + 1).compactMap { segment in
            let path = layout.path(segment.journal)
            let limit = end > segment.header.base ? Int(end.rawValue - segment.header.base.rawValue) : 0
            let last = min(segment.end, limit)
            guard last > SegmentHeader.byteCount else { return nil }
            return SegmentSource(header: segment.header, path: path, name: layout.relative(path), end: last)
        }
    }

    /// Opens the sealed segment that the manifest lists as `segment`.
    package func sealedSource(
        _ segment: Manifest.Sealed
    ) throws(LogError) -> (source: SegmentSource, seal: SealFrame) {
        let path = layout.path(segment)
        let name = layout.relative(path)
        let loaded = try SealedSegment.read(fileSystem, path: path, name: name, size: segment.bytes)
        let isTheOne =
            loaded.source.header.id == segment.id && manifest.mayHold(segment, of: loaded.source.header.store)
            && loaded.seal.chain == segment.chain && loaded.seal.lastSequence == segment.lastSequence
        guard isTheOne || Safeguard.readSealedIdentity.isOff else {
            throw LogError(
                .corrupt,
                "\(name) is not the segment that the manifest names (it is segment \(loaded.source.header.id) of store "
                    + "\(loaded.source.header.store)): put the right file back, or run: holdfast salvage STORE NEW",
                file: name, offset: 0)
        }
        return loaded
    }

    /// What keeps the journal from being read to its end, if anything does.
    package var journalDamage: LogError? {
        let row = RecoveryDecision.row(for: scan.finding)
        guard case .refuse = row.verdict, !scan.segments.isEmpty, Safeguard.readerDamage.isOn else { return nil }
        // Beside a living owner, what lies above the watermark is still moving.
        if holder != nil && !scan.finding.isBelowWatermark { return nil }
        let name = layout.relative(layout.path(scan.segments[scan.tail].journal))
        return LogError(
            .corrupt,
            "\(name) is damaged at offset \(scan.stopOffset) (\(row.name)): records from sequence number "
                + "\(scan.nextSequence) on can't be read; restore the file from a backup, or run: "
                + "holdfast salvage STORE NEW",
            file: name, offset: scan.stopOffset, sequences: scan.nextSequence...SequenceNumber.max)
    }

    // MARK: - Walking

    /// Calls `body` with each frame from the one that may hold `sequence` on, in order, until it returns false. A
    /// frame may be shown twice when its segment was rewritten meanwhile: go by sequence number.
    ///
    /// - Throws: `.corrupt` at the first damage, after everything before it was shown and unless that was enough.
    package mutating func forEachFrame(
        from sequence: SequenceNumber, _ body: (SegmentSource, Frame) throws(LogError) -> Bool
    ) throws(LogError) {
        var next = sequence
        var attempts = 0
        while true {
            let start = next
            do throws(LogError) {
                let goesOn = try walk(from: &next, body)
                if goesOn, let damage = journalDamage { throw damage }
                return
            } catch {
                attempts = next > start ? 1 : attempts + 1
                guard followsOwner, attempts < Self.attemptsMax else { throw error }
                let before = manifest
                self = try Self.open(directory: layout.root, fileSystem: fileSystem)
                guard manifest != before, let file = error.file, !keeps(file, of: before) else { throw error }
            }
        }
    }

    private func walk(
        from next: inout SequenceNumber, _ body: (SegmentSource, Frame) throws(LogError) -> Bool
    ) throws(LogError) -> Bool {
        var goesOn = true
        for segment in manifest.sealed where goesOn && segment.lastSequence >= next {
            var (source, seal) = try sealedSource(segment)
            let wanted = next
            if let entry = seal.index.last(where: { $0.firstSequence <= wanted }) { source.start = entry.offset }
            try show(source, from: &next, goesOn: &goesOn, body)
        }
        let known = Dictionary(scan.segments.map { ($0.header.id, $0.frames) }, uniquingKeysWith: { first, _ in first })
        for var source in journalSources where goesOn {
            let wanted = next
            if let frames = known[source.header.id], let frame = frames.last(where: { $0.first <= wanted }) {
                source.start = frame.offset
            }
            try show(source, from: &next, goesOn: &goesOn, body)
        }
        return goesOn
    }

    private func show(
        _ source: SegmentSource, from next: inout SequenceNumber, goesOn: inout Bool,
        _ body: (SegmentSource, Frame) throws(LogError) -> Bool
    ) throws(LogError) {
        var reached = next
        var going = true
        try source.forEachFrame(fileSystem) { (frame) throws(LogError) in
            let header = frame.header
            let last = header.firstSequence.rawValue + UInt64(header.recordCount)
            if header.recordCount > 0 && source.header.role == .journal && last <= reached.rawValue { return true }
            going = try body(source, frame)
            if header.recordCount > 0 { reached = max(reached, header.firstSequence) }
            return going
        }
        next = reached
        goesOn = going
    }

    /// Whether the manifest names `file`, by whichever path, for the very thing that the manifest `before` named by it:
    /// the journal's files are used again.
    package func keeps(_ file: String, of before: Manifest) -> Bool {
        func isFile(_ path: String) -> Bool { file == path || file == layout.relative(path) }
        return manifest.sealed.contains { isFile(layout.path($0)) && before.sealed.contains($0) }
            || manifest.journals.contains { isFile(layout.path($0)) && before.journals.contains($0) }
            || manifest.checkpoints.contains { checkpoint in
                before.checkpoints.contains(checkpoint)
                    && (0..<checkpoint.copies).contains { isFile(layout.path(checkpoint, copy: $0)) }
            }
    }

    /// Opens one segment file on its own, sealed or journal.
    ///
    /// - Throws: `.corrupt` when it has no valid header or seal, `.unsupportedFormat`, `.ioFailed`.
    package static func openSegment(_ path: String, fileSystem: any FileSystem) throws(LogError) -> SegmentSource {
        let header: SegmentHeader
        let size: Int
        do {
            let file = try fileSystem.open(path, .read)
            defer { file.close() }
            size = try file.size()
            header = try SegmentHeader.read(file, name: path)
        } catch let failure as IOFailure {
            throw LogError(failure, doing: "reading \(path)")
        } catch let error as LogError {
            throw error
        } catch {
            preconditionFailure("only typed errors are thrown above: \(error)")
        }
        if header.role == .sealed,
            let sealed = try? SealedSegment.read(
                fileSystem, path: path, name: path, size: nil)
        {
            return sealed.source
        }
        let end = header.role == .journal ? try journalEnd(path, header, size, fileSystem) : size
        return SegmentSource(header: header, path: path, name: path, end: end)
    }

    /// Where the frames of a journal file end: the first block that holds none of this use. A broken frame is no end.
    private static func journalEnd(
        _ path: String, _ header: SegmentHeader, _ size: Int, _ fileSystem: any FileSystem
    ) throws(LogError) -> Int {
        do throws(IOFailure) {
            let file = try fileSystem.open(path, .read)
            defer { file.close() }
            var offset = SegmentHeader.byteCount
            while offset < size {
                switch try Frame.read(file, at: offset, segment: header) {
                case .success(let frame): offset = frame.nextOffset(alignment: header.alignment)
                case .failure(let error): return error.defect == .noHeader ? offset : size
                }
            }
            return size
        } catch {
            throw LogError(error, doing: "reading \(path)")
        }
    }
}
