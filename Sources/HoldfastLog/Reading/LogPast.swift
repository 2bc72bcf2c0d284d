// What an open log offers to those who look back or follow it: images of earlier states, where a time lies, and word
// of new records. Files may be replaced while they are read; whoever computes something from an image and the records
// behind it compares the manifest before and after.

package import HoldfastBytes

extension WriteAheadLog {
    /// What the log consists of now.
    package var currentManifest: Manifest { lock.withLock { manifest } }

    /// What checkpoints besides recovery's take of the disk.
    package var historyImageBytes: Int {
        currentManifest.checkpoints.dropFirst(CheckpointThinning.recoveryCount).reduce(0) { $0 + $1.bytes * $1.copies }
    }

    /// Reads the image of a checkpoint that the manifest names.
    ///
    /// - Throws: `.corrupt` or `.ioFailed`, also when it was removed meanwhile.
    package func image(of checkpoint: Manifest.Checkpoint) throws(LogError) -> ArraySlice<UInt8> {
        try CheckpointFile.read(checkpoint, layout: layout, fileSystem: fileSystem, store: files.store).image
    }

    /// Returns a sequence number up to which no record is later than `time`, near to the last such one.
    ///
    /// - Throws: `.corrupt` or `.ioFailed`, also when a segment was removed meanwhile.
    package func sequence(through time: Timestamp) throws(LogError) -> SequenceNumber {
        try currentManifest.sequence(through: time) { (segment) throws(LogError) in try index.seal(of: segment) }
    }

    // MARK: - Following: the caller does not hold `lock`

    /// Returns once a record behind `sequence` is durable (in the weaker modes: written), and also when the log fails
    /// or closes, when the task is cancelled, or for no reason.
    package func waitForRecord(after sequence: SequenceNumber) async {
        _ = await withTaskCancellationHandler {
            await Waiter.suspend { waiter in
                let mustWait = lock.withLock {
                    // A task is marked before its handler runs, which takes the lock: none is missed.
                    guard durableSequence <= sequence, !isClosing, !Task.isCancelled, case .open = state.phase else {
                        return false
                    }
                    followers.append(waiter)
                    return true
                }
                if !mustWait { waiter.resume() }
            }
        } onCancel: {
            resume(lock.withLock { takeFollowers() })
        }
    }

    /// The caller holds the lock, and resumes what it gets after releasing it.
    func takeFollowers() -> [Waiter] {
        if followers.isEmpty { return [] }
        let waiters = followers
        followers.removeAll(keepingCapacity: true)
        return waiters
    }
}

extension CheckpointFile {
    /// Reads a checkpoint from whichever of its copies is intact.
    ///
    /// - Throws: What is wrong with the first, when none is.
    package static func read(
        _ checkpoint: Manifest.Checkpoint, layout: StoreLayout, fileSystem: any FileSystem, store: StoreIdentity
    ) throws(LogError) -> CheckpointFile {
        var failure: LogError?
        for copy in 0..<checkpoint.copies {
            let path = layout.path(checkpoint, copy: copy)
            do throws(LogError) {
                return try CheckpointFile(
                    fileSystem, path: path, name: layout.relative(path), store: store, sequence: checkpoint.sequence)
            } catch { failure = failure ?? error }
        }
        throw failure ?? LogError(.corrupt, "the checkpoint at \(checkpoint.sequence) has no file")
    }
}

extension Manifest {
    /// Returns a sequence number up to which no record in a sealed segment is later than `time`, near to the last such
    /// one. Times never go back, so few seals are read for it.
    package func sequence(
        through time: Timestamp, seal: (Sealed) throws(LogError) -> SealFrame
    ) throws(LogError) -> SequenceNumber {
        var (low, high) = (0, sealed.count)
        while low < high {
            let middle = (low + high) / 2
            if try seal(sealed[middle]).lastTime <= time { low = middle + 1 } else { high = middle }
        }
        guard low < sealed.count else { return sealed.last?.lastSequence ?? .zero }
        let later = try seal(sealed[low]).index.first { $0.time > time }
        guard let later else { return low > 0 ? sealed[low - 1].lastSequence : .zero }
        return SequenceNumber(later.firstSequence.rawValue - 1)
    }
}
