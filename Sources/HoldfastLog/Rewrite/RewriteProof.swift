// Proving a compaction before it is in force: the state is replayed from the segments as they are, and from those that
// would take their place, and must be the same. What the records mean only the layer above knows, so it does the
// replaying; here is what it reads. Nothing is removed before, so a proof that fails costs nothing.

package import HoldfastBytes

/// What replaying a store before and after a rewrite came to.
package struct RewriteProof: Hashable, Sendable {
    /// The states are those after this record.
    package var sequence: SequenceNumber
    /// The state's digest by the segments as they are, and by those that would take their place.
    package var before: String
    package var after: String
    /// What is wrong besides; `nil` when nothing is.
    package var problem: String?

    package init(sequence: SequenceNumber, before: String, after: String, problem: String? = nil) {
        self.sequence = sequence
        self.before = before
        self.after = after
        self.problem = problem
    }

    /// Whether the rewrite may be installed.
    package var holds: Bool { before == after && problem == nil }

    /// Why it may not. In the background nobody waits for the answer, so there it is the end of the log.
    func failure(inBackground isBackground: Bool) -> LogError {
        LogError(
            isBackground ? .poisoned : .corrupt,
            "compaction would have changed the store (the state after record \(sequence) is \(before), and would have "
                + "been \(after)" + (problem.map { "; \($0)" } ?? "") + "): nothing was changed; keep the store as it "
                + "is, run: holdfast verify STORE, and report this")
    }
}

/// A rewrite that is not in force yet. Read on the maintenance thread, which meanwhile serves others.
package struct ProposedRewrite {
    let log: WriteAheadLog
    let isBackground: Bool
    /// The segments as they are.
    package let before: Manifest
    /// The segments as they would be.
    package let after: Manifest

    /// Everything up to it is durable, and read from either.
    package var last: SequenceNumber {
        max(before.sealed.last?.lastSequence ?? .zero, after.checkpoints.first?.sequence ?? .zero)
    }

    /// Reads the image of a checkpoint. To be done before any record is read: others may remove it then.
    package func image(of checkpoint: Manifest.Checkpoint) throws(LogError) -> ArraySlice<UInt8> {
        try log.image(of: checkpoint)
    }

    /// Calls `body` with every record up to `last` of the segments of `manifest`, one of the two, and behind them.
    package func forEachEntry(
        of manifest: Manifest, _ body: (borrowing EntryView) throws(LogError) -> Void
    ) throws(LogError) {
        let last = last
        for source in try log.index.sources(of: manifest.sealed) {
            try source.forEachFrame(log.fileSystem) { (frame) throws(LogError) in
                guard frame.header.recordCount > 0 else { return true }
                _ = try frame.forEachEntry(file: source.name) { (entry, _) throws(LogError) in
                    try body(entry)
                    return true
                }
                try log.breathe(after: frame.header.rawBytes, isBackground: isBackground)
                return true
            }
        }
        try log.forEachEntry(after: before.sealed.last?.lastSequence ?? .zero) { (entry, _) throws(LogError) in
            guard entry.sequence <= last else { return false }
            try body(entry)
            return true
        }
    }
}

extension WriteAheadLog {
    /// Has it proved that `made` may take the place of `old`; else removes it again.
    ///
    /// - Throws: `.corrupt` when it may not, `.poisoned` in the background.
    func prove(
        _ made: [Manifest.Sealed], inPlaceOf old: Range<Int>, droppedThrough: SequenceNumber, isBackground: Bool
    ) throws(LogError) -> RewriteProof? {
        var after = manifest
        after.sealed.replaceSubrange(old, with: made)
        after.compactedThrough = max(after.compactedThrough, droppedThrough)
        let proposed = ProposedRewrite(log: self, isBackground: isBackground, before: manifest, after: after)
        do throws(LogError) {
            let proof = try lock.withLock({ delegate })?.prove(proposed)
            if let proof, !proof.holds { throw proof.failure(inBackground: isBackground) }
            return proof
        } catch {
            for segment in made { try? fileSystem.unlinkIfPresent(layout.path(segment)) }
            throw error
        }
    }
}
