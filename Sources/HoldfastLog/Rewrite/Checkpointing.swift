// Checkpoints: the state of the layer above, installed by the manifest once the log is durable past it. A checkpoint
// that claimed records which a crash then took away would bring back acknowledged-looking state from nothing.

package import HoldfastBytes

extension WriteAheadLog {
    /// Writes and installs an image, in `copies` files. Returns the sequence number it stands for.
    ///
    /// - Parameter isUrgent: Whether it is written as fast as it can be; otherwise commits hardly notice.
    func installCheckpoint(
        copies: Int, unlessStarving: Bool = false, isUrgent: Bool = true
    ) throws(LogError) -> SequenceNumber {
        guard let delegate = lock.withLock({ delegate }) else { return .zero }
        let (counted, last, imageBytes) = lock.withLock { (pacing.take(), next.rawValue - 1, pacing.imageBytes) }
        var isInstalled = false
        defer { if !isInstalled { lock.withLock { pacing.giveBack(counted) } } }
        // Nothing was appended since: that needs no image.
        if let newest = manifest.checkpoints.first, newest.sequence.rawValue == last, newest.copies >= copies {
            isInstalled = true
            return newest.sequence
        }
        var image = ByteWriter(capacity: max(64 << 10, imageBytes + imageBytes / 8))
        let (sequence, ticket) = delegate.writeCheckpointImage(into: &image)
        if let newest = manifest.checkpoints.first, newest.sequence == sequence, newest.copies >= copies {
            isInstalled = true
            return sequence
        }
        if Safeguard.checkpointCommitWait.isOn {
            guard try awaitDurable(ticket, unlessStarving: unlessStarving) else { return .zero }
        }
        if options.durability != .commit, Safeguard.checkpointSyncWait.isOn {
            guard try syncForCheckpoint(unlessStarving: unlessStarving) else { return .zero }
        }
        let durable = lock.withLock { durablePosition }
        var resumed = PaceClock.now
        var checkpoint = Manifest.Checkpoint(sequence: sequence, bytes: 0, copies: copies)
        // A copy that the manifest names is never written again: a crash would leave it in pieces.
        let present = manifest.checkpoints.first { $0.sequence == sequence }?.copies ?? 0
        do {
            for copy in present..<copies {
                checkpoint.bytes = try CheckpointFile.write(
                    fileSystem, path: layout.path(checkpoint, copy: copy), store: files.store, sequence: sequence,
                    durable: durable, image: image.bytes
                ) {
                    if !isUrgent { rest(since: resumed) }
                    resumed = PaceClock.now
                }
            }
            if Safeguard.checkpointNameSync.isOn { try fileSystem.syncDirectory(layout.checkpointsDirectory) }
        } catch {
            for copy in present..<copies { try? fileSystem.unlinkIfPresent(layout.path(checkpoint, copy: copy)) }
            throw Self.writeFailure(error, doing: "writing a checkpoint")
        }
        var changed = manifest
        changed.checkpoints.removeAll { $0.sequence == sequence }
        changed.checkpoints.insert(checkpoint, at: 0)
        let obsolete = thin(&changed, delegate)
        do { try install(changed) } catch {
            // Where the disk is full, an image that is not in force must not take space from try to try.
            if error.code == .noSpace {
                for copy in present..<copies { try? fileSystem.unlinkIfPresent(layout.path(checkpoint, copy: copy)) }
            }
            throw error
        }
        isInstalled = true
        lock.withLock {
            pacing.imageBytes = image.count
            counters.imageBytes += UInt64(image.count * (copies - present))
            isCompactionDue = true
        }
        do {
            for old in obsolete {
                for copy in 0..<old.copies { try fileSystem.unlinkIfPresent(layout.path(old, copy: copy)) }
            }
        } catch {
            throw Self.writeFailure(error, doing: "removing an old checkpoint")
        }
        return sequence
    }

    /// Leaves the device to commits for several times as long as it was used, unless somebody waits for this thread.
    private func rest(since start: ContinuousClock.Instant) {
        let end = PaceClock.now + (PaceClock.now - start) * Self.restFactor
        lock.lock()
        defer { lock.unlock() }
        while !isClosing, requests.isEmpty, !isStarving, !isTight, !hasUrgentWork {
            if case .failed = state.phase { return }
            let left = (end - PaceClock.now) / .milliseconds(1)
            guard left > 0 else { return }
            _ = maintenanceSignal.wait(lock, milliseconds: max(1, Int(left)))
        }
    }

    private static let restFactor = 4

    /// Takes out of `changed` the checkpoints that nobody needs, and returns them. On a full disk recovery's are
    /// enough.
    private func thin(_ changed: inout Manifest, _ delegate: any LogDelegate) -> [Manifest.Checkpoint] {
        let all = changed.checkpoints
        let history = lock.withLock { isDiskFull || isReserveSpent } ? nil : history(from: delegate)
        changed.checkpoints = CheckpointThinning.kept(of: changed, history: history)
        let kept = Set(changed.checkpoints)
        return all.filter { !kept.contains($0) }
    }

    /// Asks what is kept. Where damage hides it, that is taken for everything.
    func history(from delegate: any LogDelegate) -> KeptHistory? {
        do { return try delegate.keptHistory() } catch {
            return KeptHistory(start: .zero, imageBytesMax: historyImageBytes)
        }
    }

    /// Waits on the maintenance thread, serving the committer meanwhile; false when it gives way to a starving one.
    func awaitDurable(_ ticket: CommitTicket, unlessStarving: Bool) throws(LogError) -> Bool {
        lock.lock()
        while true {
            if let outcome = state.outcome(of: ticket) {
                lock.unlock()
                try outcome.get()
                return true
            }
            if isStarving {
                let asksForMore = requests.contains { $0.isOversized }
                lock.unlock()
                if unlessStarving && !asksForMore { return false }
                try serveCommitter()
                lock.lock()
            }
            _ = maintenanceSignal.wait(lock, milliseconds: 5)
        }
    }

    /// Does what the committer waits for, so that the maintenance thread may wait for the committer.
    func serveCommitter() throws(LogError) {
        let oversized: Int? = lock.withLock {
            guard let position = requests.firstIndex(where: { $0.isOversized }),
                case .oversized(let bytes) = requests.remove(at: position)
            else { return nil }
            return bytes
        }
        if let oversized {
            try addOversized(oversized)
        } else if lock.withLock({ isStarving && spares.isEmpty }) {
            try sealSome()
            try fillRing()
        }
    }

    /// In the weaker modes records may be written and not synced; an image must not outlive them.
    func syncForCheckpoint(unlessStarving: Bool) throws(LogError) -> Bool {
        lock.lock()
        defer { lock.unlock() }
        let target = durablePosition
        isSyncWanted = true
        workSignal.notifyOne()
        while syncedPosition < target {
            if case .failed(let error) = state.phase { throw error }
            if isCommitterStopping { throw LogError(.closed, "the store is being closed: no checkpoint is written") }
            if isStarving {
                // Inside a sealing, another one would take the same segments.
                if unlessStarving { return false }
                lock.unlock()
                defer { lock.lock() }
                try serveCommitter()
            }
            _ = maintenanceSignal.wait(lock, milliseconds: 5)
        }
        return true
    }

    // MARK: - What callers ask

    /// Writes and installs an image that the delegate makes. Returns its sequence number.
    ///
    /// - Throws: `.noSpace`, `.poisoned`, `.closed`; earlier checkpoints stay in force.
    package func checkpoint() throws(LogError) -> SequenceNumber { try checkpoint(seals: false) }

    /// As `checkpoint()`; with `seals`, what is in the journal is sealed first if it is much.
    func checkpoint(seals: Bool) throws(LogError) -> SequenceNumber {
        let answer = MaintenanceRequest.Answer<SequenceNumber>()
        return try ask(.checkpoint(answer, seals: seals), answer)
    }

    /// Seals the journal and rewrites the sealed segments without what is no longer needed.
    ///
    /// - Throws: `.noSpace`, `.corrupt`, `.poisoned`, `.closed`; the segments stay as they were.
    ///
    /// - Parameter proving: Whether the store is replayed before and after, and installed only if nothing changed.
    package func compact(proving: Bool = false) throws(LogError) -> CompactionResult {
        let answer = MaintenanceRequest.Answer<CompactionResult>()
        return try ask(.compact(answer, proves: proving), answer)
    }

    private func ask<Value>(
        _ request: MaintenanceRequest, _ answer: MaintenanceRequest.Answer<Value>
    ) throws(LogError) -> Value {
        lock.lock()
        defer { lock.unlock() }
        switch state.phase {
        case .open: break
        case .failed(let error): throw error
        case .closing, .closed: throw LogError(.closed, "the store is closed: open it again")
        }
        requests.append(request)
        maintenanceSignal.notifyOne()
        while true {
            if let outcome = answer.outcome { return try outcome.get() }
            requestSignal.wait(lock)
        }
    }

    /// What the log counts about itself.
    package var statistics: LogStatistics {
        lock.withLock {
            var result = counters
            result.sealedSegments = manifest.sealed.count
            result.journalSegments = manifest.journals.count
            result.sealedBytes = manifest.sealed.reduce(0) { $0 + $1.bytes }
            result.journalBytes = manifest.journals.reduce(0) { $0 + $1.bytes }
            result.checkpointBytes = manifest.checkpoints.reduce(0) { $0 + $1.bytes * $1.copies }
            result.logBytes = result.sealedBytes + result.journalBytes + result.checkpointBytes
            return result
        }
    }
}
