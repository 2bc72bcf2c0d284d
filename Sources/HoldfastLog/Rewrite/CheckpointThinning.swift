// Which checkpoints stay. The newest two are recovery's. Older ones are there for who asks for the state as it was: a
// state is exact where an image lies before it and no record in between was dropped. So of the kept history there is
// always an image at or before its start, and a few more are spread over its bytes, so that none takes long to reach.

package import HoldfastBytes

/// Which part of the log is kept for its own sake.
package struct KeptHistory: Hashable, Sendable {
    /// Records from it on are kept.
    package var start: SequenceNumber
    /// What images besides the newest two may take of the disk.
    package var imageBytesMax: Int

    /// Creates a description of what is kept.
    package init(start: SequenceNumber, imageBytesMax: Int) {
        self.start = start
        self.imageBytesMax = imageBytesMax
    }
}

/// Picks the checkpoints that stay. Pure: it sees the manifest alone.
package enum CheckpointThinning {
    /// What recovery may need: one of them may be damaged.
    package static let recoveryCount = 2
    /// At most so many altogether.
    package static let keptCountMax = 8

    /// Returns those of the checkpoints of `manifest` that stay, newest first.
    ///
    /// - Parameter history: What is kept; `nil` when nothing is, and then only recovery's stay.
    package static func kept(of manifest: Manifest, history: KeptHistory?) -> [Manifest.Checkpoint] {
        let all = manifest.checkpoints
        guard let history, all.count > recoveryCount else { return Array(all.prefix(recoveryCount)) }
        var kept = all.enumerated().filter { index, checkpoint in
            index < recoveryCount || checkpoint.sequence >= manifest.compactedThrough
        }.map(\.element)
        if let base = kept.firstIndex(where: { $0.sequence <= history.start }) {
            // What lies behind the start of the history leads to no state that is kept.
            kept.removeLast(kept.count - max(base + 1, recoveryCount))
        }
        let places = kept.map { manifest.rawBytes(through: $0.sequence) }
        return thinned(Array(zip(kept, places)), imageBytesMax: history.imageBytesMax)
    }

    /// Takes away, one by one, the image whose neighbours lie closest together; the oldest goes last.
    private static func thinned(
        _ checkpoints: [(checkpoint: Manifest.Checkpoint, place: Int)], imageBytesMax: Int
    ) -> [Manifest.Checkpoint] {
        var rest = checkpoints
        func isTooMuch() -> Bool {
            let bytes = rest.dropFirst(recoveryCount).reduce(0) { $0 + $1.checkpoint.bytes * $1.checkpoint.copies }
            return rest.count > keptCountMax || bytes > imageBytesMax
        }
        while rest.count > recoveryCount, isTooMuch() {
            var (victim, gap) = (rest.count - 1, Int.max)
            for index in rest.indices.dropFirst(recoveryCount).dropLast() {
                let merged = rest[index - 1].place - rest[index + 1].place
                if merged < gap { (victim, gap) = (index, merged) }
            }
            rest.remove(at: victim)
        }
        return rest.map(\.checkpoint)
    }
}

extension Manifest {
    /// The checkpoints on which records may be replayed, newest first: none behind them was dropped.
    package var replayBases: [Checkpoint] { checkpoints.filter { $0.sequence >= compactedThrough } }

    /// The oldest sequence number whose state is known, or 0 where the log is complete.
    package var oldestState: SequenceNumber? { compactedThrough == .zero ? .zero : replayBases.last?.sequence }

    /// About how many bytes of records in sealed segments have numbers up to `sequence`.
    func rawBytes(through sequence: SequenceNumber) -> Int {
        var bytes = 0.0
        for segment in sealed where segment.firstSequence <= sequence {
            let (first, last) = (segment.firstSequence.rawValue, segment.lastSequence.rawValue)
            let covered = min(sequence.rawValue, last) - first + 1
            bytes += Double(segment.rawBytes) * Double(covered) / Double(last - first + 1)
        }
        return Int(bytes)
    }
}

/// Keeps, besides what `policy` keeps, every record behind the image from which the kept history is replayed.
struct ReplayableRetention: RetentionPolicy {
    let policy: any RetentionPolicy
    let base: SequenceNumber

    /// - Parameter history: What is kept; where no image lies at or before its start, nothing is added.
    init?(_ policy: any RetentionPolicy, history: KeptHistory?, in manifest: Manifest) {
        guard let history else { return nil }
        let bases = manifest.replayBases.map(\.sequence) + (manifest.compactedThrough == .zero ? [.zero] : [])
        guard let base = bases.first(where: { $0 <= history.start }) else { return nil }
        self.policy = policy
        self.base = base
    }

    func mustKeep(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> Bool {
        sequence > base || policy.mustKeep(sequence: sequence, kind: kind, body: body)
    }

    func keptCountMax(in range: ClosedRange<SequenceNumber>) -> Int {
        let (first, last) = (range.lowerBound, range.upperBound)
        if first > base { return Int(last.rawValue - first.rawValue) + 1 }
        if last <= base { return policy.keptCountMax(in: range) }
        return policy.keptCountMax(in: first...base) + Int(last.rawValue - base.rawValue)
    }
}
