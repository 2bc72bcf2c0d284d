// Opening: from a directory to a journal that can be written again.
//
//  1. The directory is missing, empty, the remains of an interrupted creation, a store, or something else; something
//     else is not touched.
//  2. The lock is taken, then the manifest is read: nobody changes it from here on.
//  3. The journal is walked, and what stopped the walk is judged by the table in RecoveryDecision. The records are
//     replayed next, by whoever knows what they mean. Whatever is refused up to here leaves the files as they were.
//  4. What was torn is copied to lost/, synced, and only then zeroed, synced: a crash in between finds it again.
//  5. What is kept above the watermark is written again and synced, a close frame too. After a crash, or a sync that
//     failed, the page cache may hold bytes that never reached the disk and are marked clean; nothing is trusted
//     before this.
//  6. A manifest with the next epoch is installed. From then on a writer of an earlier epoch is superseded.

internal import HoldfastBytes

struct LogRecovery {
    let layout: StoreLayout
    let fileSystem: any FileSystem
    var report = RecoveryReport()

    struct Opened {
        var manifest: Manifest
        var scan: JournalScan
        var next: SequenceNumber
        var repair: Repair
        var lock: any FileLock
    }

    /// What the end of the journal needs before anything is written behind it.
    enum Repair {
        /// There is no journal yet.
        case none
        /// Steps 4 and 5.
        case cut(RecoveryDecision.Row)
        /// Step 5.
        case rewrite
    }

    /// Runs steps 1 to 3; on failure the lock is released and no file of a store has changed.
    mutating func open(createIfMissing: Bool, now: Timestamp) throws(LogError) -> Opened {
        try examineDirectory(createIfMissing: createIfMissing)
        let lock = try takeLock(now: now)
        do {
            // Only now does nobody else change it: another process may just have created, or filled, the store.
            try examineDirectory(createIfMissing: createIfMissing)
            var manifest: Manifest
            if let found = try manifests.read(forWriting: true) {
                manifest = found
            } else {
                manifest = Manifest(store: StoreIdentity(bytes: Randomness.bytes(StoreIdentity.byteCount)))
                try io("creating the store") { () throws(IOFailure) in try manifests.replace(with: manifest) }
                report.wasCreated = true
            }
            try checkSealedFiles(manifest)
            let scan = try JournalScan(manifest, layout: layout, fileSystem: fileSystem)
            try checkRoom(manifest, scan)
            let (next, repair) = try judge(scan, manifest: &manifest)
            return Opened(manifest: manifest, scan: scan, next: next, repair: repair, lock: lock)
        } catch {
            lock.release()
            throw error
        }
    }

    private var manifests: ManifestStore { ManifestStore(layout: layout, fileSystem: fileSystem) }

    // MARK: - Directory and lock

    /// Makes the directories when there is nothing; refuses what is neither a store nor may become one.
    private func examineDirectory(createIfMissing: Bool) throws(LogError) {
        let status = try io("looking at \(layout.root)") { () throws(IOFailure) in
            try fileSystem.status(of: layout.root)
        }
        guard let status else {
            guard createIfMissing else {
                throw LogError(.notAStore, "\(layout.root) does not exist: check the path, or let it be created")
            }
            do throws(IOFailure) { try fileSystem.createDirectoryIfMissing(layout.root) } catch {
                guard error.kind == .notFound else { throw LogError(error, doing: "creating \(layout.root)") }
                throw LogError(
                    .notAStore,
                    "\(layout.root) can't be created: the directory above it does not exist; make that first")
            }
            return try makeDirectories(existing: [])
        }
        guard status.kind == .directory else {
            throw LogError(.notAStore, "\(layout.root) is not a directory: a store is a directory")
        }
        let names = try io("listing \(layout.root)") { () throws(IOFailure) in try fileSystem.list(layout.root) }
        if names.contains("MANIFEST") { return }
        try refuseWithoutManifest(names, createIfMissing: createIfMissing)
        try makeDirectories(existing: names)
    }

    private func refuseWithoutManifest(_ names: [String], createIfMissing: Bool) throws(LogError) {
        let own: Set = ["LOCK", "MANIFEST.tmp", "RESERVE", "journal", "segments", "checkpoints", "lost"]
        if let stranger = names.first(where: { !own.contains($0) }), Safeguard.foreignDirectory.isOn {
            throw LogError(
                .notAStore,
                "\(layout.root) is not a store: it holds \(stranger) and no MANIFEST; choose an empty directory")
        }
        for directory in layout.directories where names.contains(layout.relative(directory)) {
            let files = try io("listing \(directory)") { () throws(IOFailure) in try fileSystem.list(directory) }
            if let file = files.first, Safeguard.lostManifest.isOn {
                throw LogError(
                    .corrupt,
                    "\(layout.root) holds \(layout.relative(directory))/\(file) but no MANIFEST: restore MANIFEST from "
                        + "a backup, or run: holdfast salvage STORE NEW",
                    file: "MANIFEST", offset: 0)
            }
        }
        guard createIfMissing else {
            throw LogError(.notAStore, "\(layout.root) holds no store: check the path, or let it be created")
        }
    }

    private func makeDirectories(existing: [String]) throws(LogError) {
        try io("creating the store's directories") { () throws(IOFailure) in
            for directory in layout.directories where !existing.contains(layout.relative(directory)) {
                try fileSystem.createDirectoryIfMissing(directory)
            }
            if Safeguard.storeDirectoriesSync.isOn { try fileSystem.syncDirectory(layout.root) }
            // The store's own name: whoever made the directory, an earlier try of ours too, may not have synced it.
            if Safeguard.storeNameSync.isOn { try fileSystem.syncParent(layout) }
        }
    }

    private func takeLock(now: Timestamp) throws(LogError) -> any FileLock {
        let note = ProcessNote.current(now: now)
        let outcome = try io("locking the store") { () throws(IOFailure) in
            try fileSystem.lock(layout.lock, note: note)
        }
        switch outcome {
        case .acquired(let lock): return lock
        case .heldByOther(let holder):
            throw LogError(
                .locked,
                "\(layout.root) is in use by \(ProcessNote.holder(in: holder)): \(ProcessNote.remedy(in: holder))",
                file: "LOCK")
        }
    }

    private func checkSealedFiles(_ manifest: Manifest) throws(LogError) {
        for segment in manifest.sealed {
            let path = layout.path(segment)
            let status = try io("looking at \(path)") { () throws(IOFailure) in try fileSystem.status(of: path) }
            guard status?.bytes == segment.bytes || Safeguard.sealedSizes.isOff else {
                throw LogError(
                    .corrupt,
                    "\(layout.relative(path)) is missing or does not have the \(segment.bytes) bytes that the manifest "
                        + "names: restore the file, or run: holdfast salvage STORE NEW",
                    file: layout.relative(path), offset: status?.bytes ?? 0,
                    sequences: segment.firstSequence...segment.lastSequence)
            }
        }
    }

    /// What a healthy store can never use up must not be near its end: a number like that is damage, and going on from
    /// it would end in a store that can't be opened again.
    private func checkRoom(_ manifest: Manifest, _ scan: JournalScan) throws(LogError) {
        let sequence = max(manifest.reserved, scan.nextSequence)
        let hasRoom =
            sequence.rawValue < SequenceNumber.max.rawValue - 1 << 48 && manifest.epoch.rawValue < UInt32.max - 1
            && max(manifest.nextBase.rawValue, manifest.nextSegment.rawValue, manifest.nextSlot) < 1 << 60
        guard hasRoom || Safeguard.numbersLeft.isOff else {
            throw LogError(
                .corrupt,
                "the store's next numbers are impossible (sequence number \(sequence), epoch \(manifest.epoch), "
                    + "segment \(manifest.nextSegment)): restore MANIFEST from a backup, or run: "
                    + "holdfast salvage STORE NEW",
                file: "MANIFEST", offset: 0)
        }
    }

    // MARK: - The tail

    /// Judges the end of the journal. Returns the sequence number to go on with, and what is to be repaired.
    private mutating func judge(
        _ scan: JournalScan, manifest: inout Manifest
    ) throws(LogError) -> (next: SequenceNumber, repair: Repair) {
        report.journalRecords = scan.recordCount
        if scan.segments.isEmpty { return (max(manifest.reserved, scan.nextSequence), .none) }
        let row = RecoveryDecision.row(for: scan.finding)
        report.row = row.name
        let isClosed = scan.closedEpoch == manifest.epoch || scan.closedEpoch != nil && Safeguard.latestClose.isOff
        let isClean = isClosed && row.verdict == .cleanEnd
        report.wasClosedCleanly = isClean || scan.epoch == Epoch(0)
        let repair: Repair
        switch row.verdict {
        case .refuse: throw refusal(row, scan)
        case .tornTail: repair = .cut(row)
        case .cleanEnd: repair = .rewrite
        }
        manifest.durable = max(scan.watermark, scan.tailPosition)
        if isClean { return (scan.nextSequence, repair) }
        let next = Safeguard.reservedNumbers.isOn ? max(manifest.reserved, scan.nextSequence) : scan.nextSequence
        report.skippedSequences = next.rawValue - scan.nextSequence.rawValue
        return (next, repair)
    }

    /// Runs steps 4 and 5.
    mutating func repair(_ scan: JournalScan, _ repair: Repair, now: Timestamp) throws(LogError) {
        switch repair {
        case .none: return
        case .cut(let row): try cutTail(scan, row: row, now: now)
        case .rewrite: break
        }
        try rewriteTail(scan)
    }

    private func refusal(_ row: RecoveryDecision.Row, _ scan: JournalScan) -> LogError {
        let segment = scan.segments[scan.tail]
        let name = layout.relative(layout.path(segment.journal))
        return LogError(
            .corrupt,
            "\(name) is damaged at offset \(scan.stopOffset) (\(row.name)): records from sequence number "
                + "\(scan.nextSequence) on can't be read, and the log vouches for everything below position "
                + "\(scan.watermark); restore the file from a backup, or run: holdfast salvage STORE NEW",
            file: name, offset: scan.stopOffset, sequences: scan.nextSequence...SequenceNumber.max)
    }

    /// Saves the torn bytes, then zeroes them.
    private mutating func cutTail(
        _ scan: JournalScan, row: RecoveryDecision.Row, now: Timestamp
    ) throws(LogError) {
        let segment = scan.segments[scan.tail]
        let start = segment.end
        let bound = min(segment.bytes.count, start + segment.header.inFlightBytesMax)
        let last = segment.bytes[start..<bound].lastIndex { $0 != 0 }
        let count = last.map { $0 + 1 - start } ?? 0
        let name = layout.relative(layout.path(segment.journal))
        let saved = try freeLostName(
            "\(StoreLayout.padded(segment.header.id.rawValue, 8))-\(StoreLayout.padded(UInt64(start), 12))"
                + "-\(StoreLayout.padded(UInt64(now.milliseconds), 14))")
        let sentence =
            "\(name): \(count) bytes from offset \(start) on were an unacknowledged write (\(row.name)); cut off and "
            + "saved as lost/\(saved).bin"
        try io("cutting a torn write off") { () throws(IOFailure) in
            if count > 0 {
                try fileSystem.createDurably(
                    layout.lostDirectory + "/\(saved).bin", segment.bytes.span.extracting(start..<(start + count)),
                    guardedBy: .lostBytesSync)
                try fileSystem.createDurably(
                    layout.lostDirectory + "/\(saved).txt", Array((sentence + "\n").utf8).span,
                    guardedBy: .lostNoteSync)
                if Safeguard.lostNameSync.isOn { try fileSystem.syncDirectory(layout.lostDirectory) }
            }
            let file = try fileSystem.open(layout.path(segment.journal), .readWrite)
            defer { file.close() }
            let zeros = [UInt8](repeating: 0, count: bound - start)
            if !zeros.isEmpty, Safeguard.tornTailZeroing.isOn { try file.write(zeros.span, at: start) }
            if Safeguard.tornTailSync.isOn { try file.sync() }
        }
        report.tornBytes = count
        report.findings.append(sentence)
    }

    /// Returns a name below `lost/` that is not taken. A recovery that was itself cut short may have saved what it then
    /// began to zero, so nothing there is ever replaced.
    private func freeLostName(_ stem: String) throws(LogError) -> String {
        let taken = try io("listing \(layout.lostDirectory)") { () throws(IOFailure) in
            Set(try fileSystem.list(layout.lostDirectory))
        }
        var name = stem
        var number = 1
        while taken.contains(name + ".bin") || taken.contains(name + ".txt") {
            number += 1
            name = stem + "-\(number)"
        }
        return name
    }

    /// Writes what is kept above the watermark again, and syncs it.
    private func rewriteTail(_ scan: JournalScan) throws(LogError) {
        for segment in scan.segments[...scan.tail] where segment.end > SegmentHeader.byteCount {
            let base = segment.header.base
            guard base.advanced(by: segment.end) > scan.watermark else { continue }
            let below = scan.watermark > base ? Int(scan.watermark.rawValue - base.rawValue) : 0
            let start = max(SegmentHeader.byteCount, below & ~(FrameFormat.journalAlignment - 1))
            guard Safeguard.keptTailRewrite.isOn else { continue }
            try io("making the end of the journal durable") { () throws(IOFailure) in
                let file = try fileSystem.open(layout.path(segment.journal), .readWrite)
                defer { file.close() }
                try file.write(segment.bytes.span.extracting(start..<segment.end), at: start)
                if Safeguard.keptTailSync.isOn { try file.sync() }
            }
        }
    }

    private func io<R>(_ doing: String, _ body: () throws(IOFailure) -> R) throws(LogError) -> R {
        do { return try body() } catch { throw LogError(error, doing: doing) }
    }
}
