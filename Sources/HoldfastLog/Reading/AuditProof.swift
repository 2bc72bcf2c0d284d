// Proving published heads. The chain is computed anew from the records, from its anchor on; where a head's record has
// passed, its hash must be the chain's value. The values that the manifest kept are compared on the way: that finds
// whoever changed records but not the manifest. Whoever changed both consistently is found by the heads alone.
//
// Below the anchor records were dropped, and nothing can be computed. A value that is only carried there is never
// called proved, even where it is the published one. Records that were kept there, because somebody needs them, are
// read and can't be proved: how many there are is said, lest a forger hide among them.

package import HoldfastBytes

/// What the records say of one published head.
package struct AuditFinding: Hashable, Sendable {
    package enum Verdict: Hashable, Sendable {
        /// The records from the first of these to the head's are those that were published.
        case proved(from: SequenceNumber)
        /// The log is another one. Up to `sound` a head proves otherwise; the records behind it, up to the head's, are
        /// in `files`.
        case differs(sound: SequenceNumber, files: [String])
        /// There is no such record, but later ones.
        case noRecord
        /// The log ends before it, at this record.
        case beyondEnd(SequenceNumber)
        /// The store is in use, and known to be durable up to this record only.
        case beyondDurable(SequenceNumber)
        /// The manifest carries the very hash, but records behind it were dropped.
        case carried
        /// Records up to this one were dropped, or are older than the chain.
        case dropped(through: SequenceNumber)
        /// The store was written by a version without a chain.
        case noChain
        /// Damage hides records behind it or before.
        case damaged
        /// The owner replaced files faster than they could be read.
        case replaced
    }

    package let head: AuditHead
    package let verdict: Verdict
    /// Records that are in the log and at or below the chain's anchor: no head proves anything of them.
    package let unproved: UInt64

    package init(head: AuditHead, verdict: Verdict, unproved: UInt64) {
        self.head = head
        self.verdict = verdict
        self.unproved = unproved
    }
}

/// Computes the chain while records are read, and judges heads by it.
package struct AuditProof {
    private let audit: Manifest.Audit?
    private let sealed: [Manifest.Sealed]
    private let key: AuditKey?
    private let isInUse: Bool
    private let heads: [AuditHead]
    private var point: AuditPoint?
    /// Places in `heads`, the lowest sequence number last.
    private var pending: [Int]
    private var verdicts: [AuditFinding.Verdict?]
    private var isBroken = false
    private var hasDiffered = false
    /// The last record up to which a head is proved, or the chain's anchor.
    private var sound: SequenceNumber
    /// The files with records behind it.
    private var files: [String] = []
    /// Records at or below the anchor.
    private var unproved: UInt64 = 0

    /// Begins a proof.
    ///
    /// - Parameters:
    ///   - key: That with which the heads were made, if any.
    ///   - isInUse: Whether an owner may be ahead of what can be read.
    package init(_ manifest: Manifest, heads: [AuditHead], key: AuditKey?, isInUse: Bool) {
        self.isInUse = isInUse
        audit = manifest.audit
        sealed = manifest.sealed
        self.key = key
        self.heads = heads
        point = manifest.audit?.anchor
        sound = manifest.audit?.anchor.through ?? .zero
        verdicts = Array(repeating: nil, count: heads.count)
        pending = heads.indices.sorted { heads[$0].sequence > heads[$1].sequence }
        while let next = pending.last, heads[next].sequence <= sound {
            verdicts[next] = verdictAtAnchor(on: heads[next])
            pending.removeLast()
        }
    }

    /// Takes the next record.
    package mutating func take(_ entry: borrowing EntryView, file: String) {
        guard let covered = point?.through, entry.sequence > covered else {
            if let audit, entry.sequence <= audit.anchor.through { unproved += 1 }
            return
        }
        while let next = pending.last, heads[next].sequence < entry.sequence { judgeNext(isAtEnd: false) }
        if files.last != file { files.append(file) }
        point?.append(entry)
    }

    /// Compares with what the manifest kept of a sealed segment, all of whose records were taken.
    ///
    /// - Returns: Whether this is the first one that does not agree, as far as can be said.
    package mutating func isFirstToDiffer(_ segment: Manifest.Sealed) -> Bool {
        guard let point, let kept = segment.auditPoint, let audit, !isBroken, !hasDiffered else { return false }
        // Where nothing behind the anchor was taken yet, the anchor says more.
        guard segment.lineage.through > audit.anchor.through else { return false }
        hasDiffered = kept != point
        return hasDiffered
    }

    /// Notes that records could not be read.
    package mutating func skipDamage() {
        // What was taken up to there stands.
        while let next = pending.last, let covered = point?.through, heads[next].sequence <= covered {
            judgeNext(isAtEnd: false)
        }
        isBroken = true
    }

    /// Returns what is found of each head, in their order.
    package mutating func finish() -> [AuditFinding] {
        while !pending.isEmpty { judgeNext(isAtEnd: true) }
        return zip(heads, verdicts).map { head, verdict in
            AuditFinding(head: head, verdict: verdict ?? .damaged, unproved: unproved)
        }
    }

    // MARK: - Judging

    /// Judges the head at or behind which the chain now stands, or beyond the last record.
    private mutating func judgeNext(isAtEnd: Bool) {
        guard let next = pending.popLast() else { return }
        let verdict = verdict(on: heads[next], isAtEnd: isAtEnd)
        verdicts[next] = verdict
        if case .proved = verdict {
            sound = heads[next].sequence
            files.removeAll()
        }
    }

    private func verdict(on head: AuditHead, isAtEnd: Bool) -> AuditFinding.Verdict {
        guard let audit, let point else { return .noChain }
        if isBroken, Safeguard.auditedDamage.isOn { return .damaged }
        if isAtEnd, head.sequence > point.through, Safeguard.expectedEnd.isOn {
            return isInUse ? .beyondDurable(point.through) : .beyondEnd(point.through)
        }
        if !isAtEnd, head.sequence != point.through, Safeguard.expectedRecord.isOn { return .noRecord }
        guard audit.head(at: point, key: key).hash == head.hash || Safeguard.expectedHash.isOff else {
            return .differs(sound: sound, files: files)
        }
        return .proved(from: audit.anchor.through.next)
    }

    private func verdictAtAnchor(on head: AuditHead) -> AuditFinding.Verdict {
        guard let audit else { return .noChain }
        let points = sealed.compactMap(\.auditPoint) + [audit.anchor]
        guard let known = points.first(where: { $0.through == head.sequence }) else {
            return .dropped(through: audit.anchor.through)
        }
        guard audit.head(at: known, key: key).hash == head.hash || Safeguard.expectedHash.isOff else {
            return .differs(sound: .zero, files: [])
        }
        // The chain's first value follows from what the store is; any other is only carried.
        let isComputed = audit.origin == .zero && head.sequence == .zero
        return isComputed || Safeguard.provedFromRecords.isOff ? .proved(from: SequenceNumber(1)) : .carried
    }
}
