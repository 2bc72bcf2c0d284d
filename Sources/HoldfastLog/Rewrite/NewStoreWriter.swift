// Builds a new store in a directory of its own, from records that were kept (salvage) or from another store's (fork):
// sealed segments, linked or written, checkpoints of the states they lead to, and, last of all, the manifest. Until
// that is there the directory is no store, so an interrupted work leaves nothing that opens.
//
//  1. Segments and checkpoints are written and synced, or linked, then their directories are synced.
//  2. Whoever builds the store may read it as it will be, and give it up.
//  3. The manifest is installed, and the new directory's own name synced.
//
// The new store's lock is held meanwhile, so that nobody else makes a store there.

package import HoldfastBytes

/// Writes a new store, segment by segment and record by record.
package struct NewStoreWriter: ~Copyable {
    private let layout: StoreLayout
    private let fileSystem: any FileSystem
    private let lock: any FileLock
    private var manifest: Manifest
    private var writer: SealedSegmentWriter?
    private var file: (any File)?
    private var chain = [UInt8](repeating: 0, count: 32)
    /// The audit chain's value after the last record that the new store has.
    private var audit: AuditPoint
    /// What is removed again when the work is given up.
    private var paths: [String] = []
    /// How much of it the new store has for itself.
    package private(set) var writtenBytes = 0

    static let rawBytesTarget = WriteAheadLog.sealedRawBytesTarget

    /// Makes the directories of a new store, with an identity of its own, at a path that is free, an empty directory,
    /// or the remains of a creation that did not come further than that.
    ///
    /// - Parameters:
    ///   - source: The store that a fork goes on from, in its numbers of epochs and segments and in its audit chain.
    ///   - last: The last record that the fork takes over. Where the source's chain can't be computed up to there, the
    ///     fork begins one of its own behind it.
    /// - Throws: `.notAStore` when the directory holds anything, `.locked`; `.noSpace`, `.permission`, `.ioFailed`.
    package init(
        directory: String, fileSystem: any FileSystem, continuing source: Manifest? = nil,
        through last: SequenceNumber = .zero
    ) throws(LogError) {
        let layout = StoreLayout(root: directory)
        lock = try Self.prepare(layout, fileSystem)
        self.layout = layout
        self.fileSystem = fileSystem
        (manifest, audit) = Self.beginning(continuing: source, through: last)
    }

    /// What the new store begins with.
    private static func beginning(
        continuing source: Manifest?, through last: SequenceNumber
    ) -> (manifest: Manifest, audit: AuditPoint) {
        var manifest = Manifest(store: StoreIdentity(bytes: Randomness.bytes(StoreIdentity.byteCount)))
        var audit = Manifest.Audit(store: manifest.store, origin: last)
        if let source {
            manifest.epoch = source.epoch
            manifest.nextSegment = source.nextSegment
            if let inherited = source.audit, inherited.anchor.through <= last { audit = inherited }
        }
        manifest.audit = audit
        return (manifest, audit.anchor)
    }

    /// Makes the directories and returns the new store's lock.
    private static func prepare(
        _ layout: StoreLayout, _ fileSystem: any FileSystem
    ) throws(LogError) -> any FileLock {
        do { try fileSystem.createDirectoryIfMissing(layout.root) } catch {
            throw LogError(error, doing: "creating \(layout.root)")
        }
        // Before the lock file is made, in a directory that may be somebody else's; and again when nobody else can
        // make a store there any more.
        try requireFree(layout, fileSystem)
        let lock = try takeLock(layout, fileSystem)
        do {
            try requireFree(layout, fileSystem)
            try makeDirectories(layout, fileSystem)
        } catch {
            lock.release()
            throw error
        }
        return lock
    }

    private static func requireFree(_ layout: StoreLayout, _ fileSystem: any FileSystem) throws(LogError) {
        let isTaken: Bool
        do throws(IOFailure) {
            let own = layout.directories.map(layout.relative)
            var names = try fileSystem.list(layout.root)
            names.removeAll { $0 == layout.relative(layout.lock) }
            var found = names.contains { !own.contains($0) }
            for name in names where !found && own.contains(name) {
                found = try !fileSystem.list(layout.root + "/" + name).isEmpty
            }
            isTaken = found
        } catch {
            throw LogError(error, doing: "looking at \(layout.root)")
        }
        if isTaken {
            throw LogError(.notAStore, "\(layout.root) is not empty: choose a path that does not exist yet")
        }
    }

    private static func takeLock(
        _ layout: StoreLayout, _ fileSystem: any FileSystem
    ) throws(LogError) -> any FileLock {
        let outcome: LockOutcome
        do { outcome = try fileSystem.lock(layout.lock, note: ProcessNote.current(now: .zero)) } catch {
            throw LogError(error, doing: "locking the new store")
        }
        switch outcome {
        case .acquired(let lock): return lock
        case .heldByOther(let holder):
            throw LogError(
                .locked, "\(layout.root) is in use by \(ProcessNote.holder(in: holder)): choose another path",
                file: "LOCK")
        }
    }

    private static func makeDirectories(_ layout: StoreLayout, _ fileSystem: any FileSystem) throws(LogError) {
        do throws(IOFailure) {
            for directory in layout.directories { try fileSystem.createDirectoryIfMissing(directory) }
            if Safeguard.salvagedDirectoriesSync.isOn { try fileSystem.syncDirectory(layout.root) }
        } catch {
            throw LogError(error, doing: "creating \(layout.root)")
        }
    }

    // MARK: - Segments

    /// Adds a sealed segment of an ancestor as it is: by another name for its file, or a copy where there can be none.
    /// Segments come in order, and before records.
    ///
    /// - Returns: Whether it shares the ancestor's file.
    /// - Throws: `.corrupt` when the file is not there; `.noSpace`, `.ioFailed`.
    package mutating func adopt(_ segment: Manifest.Sealed, from path: String) throws(LogError) -> Bool {
        precondition(writer == nil, "segments are adopted before records are written")
        let target = layout.path(segment)
        let isLinked: Bool
        do throws(IOFailure) {
            isLinked = try fileSystem.link(path, to: target)
            if isLinked { paths.append(target) } else { try copy(path, to: target) }
        } catch {
            if error.kind == .notFound { throw LogError(error, reading: path) }
            throw LogError(error, doing: "adding \(layout.relative(target))")
        }
        var segment = segment
        if manifest.audit?.store == manifest.store { segment.audit = nil }
        if let point = segment.auditPoint, point.through > audit.through { audit = point }
        manifest.sealed.append(segment)
        chain = segment.lineage.chain
        return isLinked
    }

    private mutating func copy(_ path: String, to target: String) throws(IOFailure) {
        let source = try fileSystem.open(path, .read)
        defer { source.close() }
        let file = try fileSystem.open(target, .create)
        defer { file.close() }
        paths.append(target)
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        var offset = 0
        while true {
            let count = try source.read(into: &buffer, at: offset)
            if count == 0 { break }
            try file.write(buffer.span.extracting(0..<count), at: offset)
            offset += count
        }
        if Safeguard.copiedSegmentSync.isOn { try file.sync() }
        writtenBytes += offset
    }

    /// Adds a record; sequence numbers ascend.
    package mutating func append(_ entry: borrowing EntryView, time: Timestamp, key: UInt64?) throws(LogError) {
        do {
            if writer == nil { try begin(at: entry.sequence, time: time) }
            try writer?.append(entry, time: time, key: key)
            audit.append(entry)
            if let raw = writer?.rawByteCount, raw >= Self.rawBytesTarget { try endSegment() }
        } catch {
            throw LogError(error, doing: "writing a sealed segment")
        }
    }

    private mutating func begin(at first: SequenceNumber, time: Timestamp) throws(IOFailure) {
        let id = manifest.nextSegment
        manifest.nextSegment = id.next
        var header = SegmentHeader(
            role: .sealed, store: manifest.store, id: id, salt: Randomness.word(), epoch: manifest.epoch, created: time)
        header.firstSequence = first
        header.predecessorChain = chain
        let path = layout.segmentsDirectory + "/" + StoreLayout.sealedName(first: first, id: id)
        let created = try fileSystem.open(path, .create)
        paths.append(path)
        file = created
        writer = SealedSegmentWriter(file: created, header: header, usesHighCompression: false)
    }

    private mutating func endSegment() throws(IOFailure) {
        guard let writer = writer.take() else { return }
        var sealed = try writer.finish()
        if audit.through == sealed.lastSequence { sealed.audit = audit.hash }
        manifest.sealed.append(sealed)
        writtenBytes += sealed.bytes
        chain = sealed.chain
        file?.close()
        file = nil
    }

    // MARK: - The end

    /// Adds a checkpoint; the newest comes last.
    package mutating func addCheckpoint(
        _ sequence: SequenceNumber, image: Span<UInt8>, copies: Int
    ) throws(LogError) {
        var checkpoint = Manifest.Checkpoint(sequence: sequence, bytes: 0, copies: copies)
        do throws(IOFailure) {
            for copy in 0..<copies {
                let path = layout.path(checkpoint, copy: copy)
                paths.append(path)
                checkpoint.bytes = try CheckpointFile.write(
                    fileSystem, path: path, store: manifest.store, sequence: sequence, durable: .zero, image: image)
                writtenBytes += checkpoint.bytes
            }
        } catch {
            throw LogError(error, doing: "writing a checkpoint")
        }
        manifest.checkpoints.insert(checkpoint, at: 0)
    }

    /// Makes segments and checkpoints durable and returns a reader of the store as it will be.
    ///
    /// - Parameters:
    ///   - reserved: Nothing below it is ever given out by the new store.
    ///   - compactedThrough: The last record that may be missing.
    ///   - ancestors: Whose segments it holds, or is made from, and up to where.
    package mutating func complete(
        reserved: SequenceNumber, compactedThrough: SequenceNumber, ancestors: [Manifest.Ancestor]
    ) throws(LogError) -> LogReader {
        do throws(IOFailure) {
            try endSegment()
            if Safeguard.salvagedSegmentsSync.isOn { try fileSystem.syncDirectory(layout.segmentsDirectory) }
            if !manifest.checkpoints.isEmpty, Safeguard.salvagedCheckpointsSync.isOn {
                try fileSystem.syncDirectory(layout.checkpointsDirectory)
            }
        } catch {
            throw LogError(error, doing: "writing the new store")
        }
        manifest.compactedThrough = compactedThrough
        manifest.reserved = reserved
        manifest.ancestors = ancestors
        return try LogReader(sealedOnly: manifest, layout: layout, fileSystem: fileSystem)
    }

    /// Makes it a store, durably. Where that fails before it is one, what was written is removed again; where only the
    /// sync of its directory's name fails, it is one that may not outlive the power.
    package consuming func install() throws(LogError) {
        do throws(IOFailure) {
            try ManifestStore(layout: layout, fileSystem: fileSystem).replace(with: manifest)
            if Safeguard.salvagedNameSync.isOn { try fileSystem.syncParent(layout) }
        } catch {
            giveUp()
            throw LogError(error, doing: "writing the new store")
        }
        lock.release()
    }

    /// Removes what was written, as far as that goes, and leaves empty directories. A store that is there stays.
    package consuming func giveUp() {
        file?.close()
        if (try? fileSystem.status(of: layout.manifest)) == .some(nil) {
            for path in paths + [layout.manifestTemporary] { try? fileSystem.unlinkIfPresent(path) }
        }
        lock.release()
    }
}
