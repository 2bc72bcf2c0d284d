// Whether a store is the same after a compaction. Two states are compared: that by the segments as they are, from the
// oldest image on which they can be replayed; and that by the new ones, from every image that could be taken then,
// the one that opening takes and the one where history begins. And record by record: each that the state needs, that
// history is replayed from or that a cursor holds must be there as it was.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// Replays a store as it is and as it would be.
struct CompactionProver {
    let rewrite: ProposedRewrite
    /// The records that the live state refers to.
    let needed: SequenceBitmap
    /// The first record that a cursor holds.
    let heldFrom: SequenceNumber?

    /// What one pass over the records gives.
    private struct Outcome {
        var states: [QueueState]
        /// Of every record that must be there.
        var fingerprint: UInt64 = 0xCBF2_9CE4_8422_2325
        var count = 0

        mutating func add(_ entry: borrowing EntryView) {
            count += 1
            let checksum = CRC32C.checksum(entry.body, seed: UInt32(entry.kind))
            for word in [entry.sequence.rawValue, UInt64(checksum), UInt64(entry.body.count)] {
                fingerprint = (fingerprint ^ word) &* 0x100_0000_01B3
                fingerprint ^= fingerprint >> 29
            }
        }
    }

    /// Compares the two.
    ///
    /// - Throws: `.corrupt` when the segments as they are can't be replayed.
    func run() throws(LogError) -> RewriteProof {
        let bases = rewrite.after.replayBases
        let first = bases.last?.sequence ?? .zero
        let keptFrom = min(first.next, heldFrom ?? .max)
        let oldStart = [try state(rewrite.before.replayBases.last, ofComplete: rewrite.before)]
        var newStarts = [try state(bases.last, ofComplete: rewrite.after)]
        if bases.count > 1 { newStarts.append(try state(bases.first, ofComplete: rewrite.after)) }
        let before = try replay(rewrite.before, oldStart, keptFrom)
        let digest = before.states[0].digest().description
        var proof = RewriteProof(sequence: rewrite.last, before: digest, after: "unknown")
        let after: Outcome
        do throws(LogError) { after = try replay(rewrite.after, newStarts, keptFrom) } catch {
            guard error.code == .corrupt else { throw error }
            proof.problem = error.message
            return proof
        }
        let digests = after.states.map { $0.digest().description }
        proof.after = digests.first { $0 != digest } ?? digest
        let whole = before.states[0].digest(withCursors: true)
        if after.states.contains(where: { $0.digest(withCursors: true) != whole }) {
            proof.problem = "cursors would be elsewhere"
        }
        if (after.count, after.fingerprint) != (before.count, before.fingerprint) {
            proof.problem = "of \(before.count) records that are needed it would have \(after.count)"
        }
        return proof
    }

    /// The state to replay on: of an image, or none where no record is missing.
    private func state(
        _ checkpoint: Manifest.Checkpoint?, ofComplete manifest: Manifest
    ) throws(LogError) -> QueueState {
        if manifest.compactedThrough == .zero { return QueueState() }
        guard let checkpoint else {
            throw LogError(.corrupt, "no checkpoint makes up for the records that were dropped")
        }
        let image = try rewrite.image(of: checkpoint)
        do throws(EngineError) { return try QueueState(image: image.span) } catch {
            throw LogError(error, at: checkpoint.sequence)
        }
    }

    private func replay(
        _ manifest: Manifest, _ starts: [QueueState], _ keptFrom: SequenceNumber
    ) throws(LogError) -> Outcome {
        var outcome = Outcome(states: starts)
        try rewrite.forEachEntry(of: manifest) { (entry) throws(LogError) in
            if entry.sequence >= keptFrom || needed.contains(entry.sequence.rawValue) { outcome.add(entry) }
            for index in outcome.states.indices where entry.sequence > outcome.states[index].lastSequence {
                _ = try outcome.states[index].replay(entry)
            }
        }
        return outcome
    }
}
