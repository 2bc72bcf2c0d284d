// Builds a store from records that were kept: sealed segments, a checkpoint of the state they lead to, and, last of
// all, the manifest. Until that is there the directory is no store, so an interrupted salvage leaves nothing that
// opens.

package import HoldfastBytes

/// Writes a new store, record by record.
package struct SalvageWriter: ~Copyable {
    private let layout: StoreLayout
    private let fileSystem: any FileSystem
    private var manifest: Manifest
    private var writer: SealedSegmentWriter?
    private var file: (any File)?
    private var chain = [UInt8](repeating: 0, count: 32)

    static let rawBytesTarget = WriteAheadLog.sealedRawBytesTarget

    /// Makes the directories of a new store, with an identity of its own, at a path that is free or an empty directory.
    ///
    /// - Throws: `.notAStore` when the directory holds anything; `.noSpace`, `.permission`, `.ioFailed`.
    package init(directory: String, fileSystem: any FileSystem) throws(LogError) {
        layout = StoreLayout(root: directory)
        self.fileSystem = fileSystem
        manifest = Manifest(store: StoreIdentity(bytes: Randomness.bytes(StoreIdentity.byteCount)))
        manifest.epoch = Epoch(1)
        let isTaken: Bool
        do throws(IOFailure) {
            try fileSystem.createDirectoryIfMissing(layout.root)
            isTaken = try !fileSystem.list(layout.root).isEmpty
            if !isTaken {
                for directory in layout.directories { try fileSystem.createDirectory(directory) }
                if Safeguard.salvagedDirectoriesSync.isOn { try fileSystem.syncDirectory(layout.root) }
            }
        } catch {
            throw LogError(error, doing: "creating \(directory)")
        }
        if isTaken {
            throw LogError(.notAStore, "\(directory) is not empty: choose a path that does not exist yet")
        }
    }

    /// Adds a record; sequence numbers ascend.
    package mutating func append(_ entry: borrowing EntryView, time: Timestamp, key: UInt64?) throws(LogError) {
        do {
            if writer == nil { try begin(at: entry.sequence, time: time) }
            try writer?.append(entry, time: time, key: key)
            if let raw = writer?.rawByteCount, raw >= Self.rawBytesTarget { try endSegment() }
        } catch {
            throw LogError(error, doing: "writing a sealed segment")
        }
    }

    /// Writes the checkpoint and the manifest, durably. Nothing below `reserved` is ever given out by the new store.
    ///
    /// - Parameter ancestor: The store that the records come from.
    package consuming func finish(
        sequence: SequenceNumber, image: Span<UInt8>, reserved: SequenceNumber, ancestors: [Manifest.Ancestor]
    ) throws(LogError) {
        do throws(IOFailure) {
            try endSegment()
            if Safeguard.salvagedSegmentsSync.isOn { try fileSystem.syncDirectory(layout.segmentsDirectory) }
            if sequence > .zero {
                // Records before it may be gone, so the state is all there is of them: it is kept twice.
                var checkpoint = Manifest.Checkpoint(sequence: sequence, bytes: 0, copies: 2)
                for copy in 0..<checkpoint.copies {
                    checkpoint.bytes = try CheckpointFile.write(
                        fileSystem, path: layout.path(checkpoint, copy: copy), store: manifest.store,
                        sequence: sequence, durable: .zero, image: image)
                }
                if Safeguard.salvagedCheckpointsSync.isOn { try fileSystem.syncDirectory(layout.checkpointsDirectory) }
                manifest.checkpoints = [checkpoint]
                manifest.compactedThrough = sequence
            }
            manifest.reserved = max(reserved, sequence.next)
            manifest.ancestors = ancestors
            try ManifestStore(layout: layout, fileSystem: fileSystem).replace(with: manifest)
            if Safeguard.salvagedNameSync.isOn { try fileSystem.syncDirectory(layout.parent) }
        } catch {
            throw LogError(error, doing: "writing the new store")
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
        file = created
        writer = SealedSegmentWriter(file: created, header: header, usesHighCompression: false)
    }

    private mutating func endSegment() throws(IOFailure) {
        guard let writer = writer.take() else { return }
        let sealed = try writer.finish()
        manifest.sealed.append(sealed)
        chain = sealed.chain
        file?.close()
        file = nil
    }
}
