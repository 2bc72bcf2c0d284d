// Reads and replaces the manifest. Replacement is the one commit point for everything that is not a journal frame:
//
//  1. MANIFEST.tmp is written and synced. A crash leaves the old manifest and a leftover.
//  2. It is renamed over MANIFEST. A crash leaves the old or the new one, each whole.
//  3. The directory is synced. Only then may what the old one named be recycled or unlinked.

internal import HoldfastBytes

package struct ManifestStore: Sendable {
    let layout: StoreLayout
    let fileSystem: any FileSystem

    package init(layout: StoreLayout, fileSystem: any FileSystem) {
        self.layout = layout
        self.fileSystem = fileSystem
    }

    /// Reads the manifest, or returns `nil` when there is none.
    ///
    /// - Parameter forWriting: True for who will change the store, and so must know what only readers may ignore.
    package func read(forWriting: Bool = false) throws(LogError) -> Manifest? {
        do {
            guard let status = try fileSystem.status(of: layout.manifest) else { return nil }
            guard status.kind == .file, status.bytes <= Manifest.byteCountMax else {
                throw LogError(
                    .corrupt,
                    "MANIFEST is no file of a sensible size: restore it from a backup, or run: "
                        + "holdfast salvage STORE NEW",
                    file: "MANIFEST", offset: 0)
            }
            let bytes = try fileSystem.contents(of: layout.manifest)
            return try Manifest(bytes.span, forWriting: forWriting)
        } catch let failure as IOFailure {
            throw LogError(failure, doing: "reading the manifest")
        } catch let error as LogError {
            throw error
        } catch {
            preconditionFailure("only typed errors are thrown above: \(error)")
        }
    }

    /// Replaces the manifest durably.
    ///
    /// - Complexity: Two syncs.
    package func replace(with manifest: Manifest) throws(IOFailure) {
        try prepare(manifest)
        try switchOver()
    }

    /// Writes the new manifest beside the old one. When it fails, the old one is in force.
    func prepare(_ manifest: Manifest) throws(IOFailure) {
        var writer = ByteWriter()
        manifest.encode(into: &writer)
        if try fileSystem.status(of: layout.manifestTemporary) != nil {
            try fileSystem.unlink(layout.manifestTemporary)
        }
        try fileSystem.createDurably(layout.manifestTemporary, writer.bytes, guardedBy: .manifestSync)
    }

    /// Puts the new manifest in the place of the old one. When it fails, either may be found after a crash.
    func switchOver() throws(IOFailure) {
        try fileSystem.rename(layout.manifestTemporary, to: layout.manifest)
        if Safeguard.manifestNameSync.isOn { try fileSystem.syncDirectory(layout.root) }
    }
}

extension FileSystem {
    /// Reads a whole file.
    package func contents(of path: String) throws(IOFailure) -> [UInt8] {
        let file = try open(path, .read)
        defer { file.close() }
        let size = try file.size()
        var failure: IOFailure?
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: size) { buffer, initialized in
            // SAFETY: the span is gone before the buffer is; what was read is what counts as initialised.
            var span = unsafe MutableSpan(_unsafeElements: buffer)
            do throws(IOFailure) { initialized = try file.read(into: &span, at: 0) } catch { failure = error }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Creates a file with synced content; its name is not durable before its directory is synced.
    func createDurably(
        _ path: String, _ bytes: Span<UInt8>, guardedBy safeguard: Safeguard
    ) throws(IOFailure) {
        let file = try open(path, .create)
        defer { file.close() }
        try file.write(bytes, at: 0)
        if safeguard.isOn { try file.sync() }
    }

    /// Creates a directory that another process may be creating too.
    func createDirectoryIfMissing(_ path: String) throws(IOFailure) {
        do { try createDirectory(path) } catch { if error.kind != .exists { throw error } }
    }

    /// Unlinks a file that may be gone already.
    func unlinkIfPresent(_ path: String) throws(IOFailure) {
        if try status(of: path) != nil { try unlink(path) }
    }
}
