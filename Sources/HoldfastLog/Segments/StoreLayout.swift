// The names in a store's directory. They say what a file is to a person; what it is to the store, the manifest says.

package import HoldfastBytes

package struct StoreLayout: Sendable {
    package let root: String

    package init(root: String) {
        self.root = root.count > 1 && root.hasSuffix("/") ? String(root.dropLast()) : root
    }

    package var parent: String {
        guard let slash = root.lastIndex(of: "/") else { return "." }
        return slash == root.startIndex ? "/" : String(root[..<slash])
    }
    package var lock: String { root + "/LOCK" }
    package var manifest: String { root + "/MANIFEST" }
    package var manifestTemporary: String { root + "/MANIFEST.tmp" }
    /// Space kept for a full disk.
    package var reserve: String { root + "/RESERVE" }
    package var journalDirectory: String { root + "/journal" }
    package var segmentsDirectory: String { root + "/segments" }
    package var checkpointsDirectory: String { root + "/checkpoints" }
    package var lostDirectory: String { root + "/lost" }
    package var directories: [String] { [journalDirectory, segmentsDirectory, checkpointsDirectory, lostDirectory] }

    package static func journalName(slot: UInt64) -> String { padded(slot, 8) + ".jnl" }
    package static func sealedName(first: SequenceNumber, id: SegmentID) -> String {
        padded(first.rawValue, 20) + "-" + padded(id.rawValue, 8) + ".seg"
    }
    package static func checkpointName(_ sequence: SequenceNumber, copy: Int) -> String {
        padded(sequence.rawValue, 20) + (copy == 0 ? ".ckpt" : ".copy.ckpt")
    }

    package func journalPath(slot: UInt64) -> String { journalDirectory + "/" + Self.journalName(slot: slot) }
    package func path(_ journal: Manifest.Journal) -> String { journalPath(slot: journal.slot) }
    package func path(_ sealed: Manifest.Sealed) -> String {
        segmentsDirectory + "/" + Self.sealedName(first: sealed.firstSequence, id: sealed.id)
    }
    package func path(_ checkpoint: Manifest.Checkpoint, copy: Int) -> String {
        checkpointsDirectory + "/" + Self.checkpointName(checkpoint.sequence, copy: copy)
    }

    /// The path as an operator sees it inside the store.
    package func relative(_ path: String) -> String {
        path.hasPrefix(root + "/") ? String(path.dropFirst(root.count + 1)) : path
    }

    static func padded(_ value: UInt64, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}

extension FileSystem {
    /// Makes the name of a store's directory durable. Who may use the directory above but not read it can't sync it,
    /// and does without.
    func syncParent(_ layout: StoreLayout) throws(IOFailure) {
        do throws(IOFailure) { try syncDirectory(layout.parent) } catch {
            guard error.kind == .permission else { throw error }
        }
    }
}
