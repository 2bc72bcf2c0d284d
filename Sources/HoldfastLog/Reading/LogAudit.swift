// The head of the audit chain: what is known of it from the manifest, and the records behind that, which are in the
// journal as a rule.
//
// An owner goes on meanwhile. What it seals keeps its records; what compaction drops moves the chain's anchor, and by
// that it is noticed that some may have been missed.

package import HoldfastBytes

extension WriteAheadLog {
    private static let auditAttemptsMax = 10

    /// Returns the head of the chain after the last record that is durable. Blocks for as long as reading what is not
    /// sealed, or was appended since the last call, takes. The caller does not hold the lock.
    ///
    /// - Throws: `.corrupt`, `.ioFailed`, `.closed` or what poisoned the log.
    package func auditHead(key: AuditKey?) throws(LogError) -> AuditHead {
        let last = try awaitSyncedSequence()
        var failure: LogError?
        for _ in 0..<Self.auditAttemptsMax {
            let (manifest, known) = lock.withLock { (self.manifest, auditKnown) }
            guard let audit = manifest.audit, var point = manifest.auditEnd else {
                preconditionFailure("a log that was started has an audit chain")
            }
            let sealed = point.through
            if let known, known.through > sealed, known.through <= last { point = known }
            do throws(LogError) {
                try forEachEntry(after: point.through) { (entry, _) throws(LogError) in
                    guard entry.sequence <= last else { return false }
                    point.append(entry)
                    return true
                }
            } catch {
                failure = error
                continue
            }
            let isWhole = lock.withLock {
                let anchor = self.manifest.audit?.anchor.through ?? .zero
                guard anchor <= max(sealed, audit.anchor.through) else { return false }
                auditKnown = point
                return true
            }
            if isWhole { return audit.head(at: point, key: key) }
        }
        throw failure ?? LogError(.ioFailed, "the log was rewritten on every attempt to read it: try again")
    }

    /// Returns the last record that was released to its caller, once it is durable in the weaker modes, too.
    private func awaitSyncedSequence() throws(LogError) -> SequenceNumber {
        lock.lock()
        defer { lock.unlock() }
        let (target, last) = (durablePosition, durableSequence)
        if case .failed(let error) = state.phase { throw error }
        if options.durability == .commit || Safeguard.auditedDurability.isOff { return last }
        while syncedPosition < target {
            if case .failed(let error) = state.phase { throw error }
            if isCommitterStopping { throw LogError(.closed, "the store is being closed: open it again") }
            isSyncWanted = true
            workSignal.notifyOne()
            // Not the maintenance thread's signal: a wake-up that is meant for that must not be taken from it.
            _ = requestSignal.wait(lock, milliseconds: 5)
        }
        return last
    }
}

extension LogReader {
    /// Returns the head of the chain after the last record that is known to be durable. This reader must not follow the
    /// owner. What a crash left in the page cache only, nobody vouches for, until the store was opened again.
    ///
    /// - Throws: `.corrupt` for damage behind the sealed segments, or where the store has no chain yet; `.ioFailed`.
    package func auditHead(key: AuditKey?) throws(LogError) -> AuditHead {
        guard let audit = manifest.audit, var point = manifest.auditEnd else {
            throw LogError(
                .unsupportedFormat,
                "this store was last written by a version without an audit chain: open it once for writing, such as by "
                    + "holdfast checkpoint \(layout.root)",
                file: "MANIFEST")
        }
        let bound = durableEnd
        var reader = self
        try reader.forEachFrame(from: point.through.next) { (source, frame) throws(LogError) in
            guard frame.header.recordCount > 0 else { return true }
            guard source.header.role == .sealed || frame.header.position < bound else { return false }
            return try frame.forEachEntry(file: source.name) { (entry, _) throws(LogError) in
                point.append(entry)
                return true
            }
        }
        return audit.head(at: point, key: key)
    }
}
