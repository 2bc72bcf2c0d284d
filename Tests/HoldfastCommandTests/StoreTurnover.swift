// What a store in another process did to its files, as its manifests tell: that a run was one of rolls, seals and
// rewrites is counted, not believed. Each look counts one of a kind at most, so these are lower bounds.

import HoldfastBytes
import HoldfastLog

/// Looks at a store's files, again and again.
struct StoreTurnover: Sendable {
    /// How often a look found new sealed segments, for each of which the journal rolled.
    private(set) var seals = 0
    /// How often one found that records had been dropped.
    private(set) var compactions = 0
    /// How often one found a new checkpoint.
    private(set) var checkpoints = 0
    /// How often one found files that no manifest names: whoever wrote them died over it.
    private(set) var leftovers = 0
    private var sealedThrough = SequenceNumber.zero
    private var compactedThrough = SequenceNumber.zero
    private var checkpoint = SequenceNumber.zero

    /// Looks; there may be no store yet.
    ///
    /// - Parameter isDead: Whether nobody writes to it now.
    mutating func look(at store: String, isDead: Bool) throws {
        let files = POSIXFileSystem()
        let reader: LogReader
        do throws(LogError) { reader = try LogReader.open(directory: store, fileSystem: files) } catch {
            if error.code == .notAStore { return }
            throw error
        }
        let manifest = reader.manifest
        if Self.raise(&sealedThrough, to: manifest.sealed.last?.lastSequence) { seals += 1 }
        if Self.raise(&compactedThrough, to: manifest.compactedThrough) { compactions += 1 }
        if Self.raise(&checkpoint, to: manifest.checkpoints.first?.sequence) { checkpoints += 1 }
        guard isDead else { return }
        let layout = reader.layout
        let known = Set(
            manifest.sealed.map(layout.path) + manifest.journals.map(layout.path)
                + manifest.checkpoints.flatMap { one in (0..<one.copies).map { layout.path(one, copy: $0) } })
        let found = try [layout.segmentsDirectory, layout.journalDirectory, layout.checkpointsDirectory].flatMap {
            directory in try files.list(directory).map { directory + "/" + $0 }
        }
        let isUnfinished = try files.status(of: layout.manifestTemporary) != nil
        if isUnfinished || !known.isSuperset(of: found) { leftovers += 1 }
    }

    /// Adds what another run did.
    mutating func add(_ other: Self) {
        seals += other.seals
        compactions += other.compactions
        checkpoints += other.checkpoints
        leftovers += other.leftovers
    }

    private static func raise(_ mark: inout SequenceNumber, to found: SequenceNumber?) -> Bool {
        guard let found, found > mark else { return false }
        mark = found
        return true
    }
}
