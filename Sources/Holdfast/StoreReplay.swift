// Opening: the newest checkpoint that can be read, and every record after it, each checked against the transition
// table before it is applied. A checkpoint that is damaged costs nothing as long as an earlier one, or the whole log,
// is there.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// The state that a log amounts to.
struct StoreReplay {
    var state = QueueState()
    /// The latest time of any record or frame.
    var latestTime = Timestamp.zero
    /// The checkpoint that was loaded.
    var checkpoint: SequenceNumber?
    var recordCount: UInt64 = 0
    /// Bytes of the records that were replayed.
    var bytes = 0
    /// What was wrong with images that were passed over.
    var passedOver: [String] = []

    /// Replays the log.
    static func run(_ log: WriteAheadLog) throws(LogError) -> StoreReplay {
        var replay = StoreReplay()
        let start = try replay.loadCheckpoint(log)
        try log.forEachEntry(after: start) { (entry, frameTime) throws(LogError) in
            replay.latestTime = max(replay.latestTime, frameTime)
            try replay.take(entry)
            return true
        }
        replay.latestTime = max(replay.latestTime, replay.state.latestTime)
        return replay
    }

    /// Returns the sequence number that replay goes on after.
    private mutating func loadCheckpoint(_ log: WriteAheadLog) throws(LogError) -> SequenceNumber {
        while let checkpoint = log.nextCheckpoint() {
            // Behind a checkpoint that old, compaction has dropped records.
            guard checkpoint.sequence >= log.compactedThrough || Safeguard.agedCheckpoint.isOff else { break }
            do throws(EngineError) {
                state = try QueueState(image: checkpoint.image.span)
                guard state.lastSequence == checkpoint.sequence || Safeguard.checkpointContent.isOff else {
                    throw EngineError(.corrupt, "it holds the state at \(state.lastSequence)")
                }
                self.checkpoint = checkpoint.sequence
                return checkpoint.sequence
            } catch {
                guard error.code != .unsupportedFormat else { throw LogError(error, at: checkpoint.sequence) }
                passedOver.append("checkpoint \(checkpoint.sequence): \(error.message)")
            }
        }
        guard log.isComplete || Safeguard.completeLog.isOff else {
            let reason = passedOver.last ?? log.passedOverCheckpoints.last ?? "there is none"
            throw LogError(
                .corrupt,
                "no checkpoint can be read (\(reason)) and the log does not go back to its first record; restore the "
                    + "store from a backup")
        }
        state = QueueState()
        return .zero
    }

    private mutating func take(_ entry: borrowing EntryView) throws(LogError) {
        guard try state.replay(entry) else { return }
        recordCount += 1
        bytes += entry.body.count
    }
}
