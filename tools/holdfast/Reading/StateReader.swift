// The state of a store as its files tell it, without owning it: the newest checkpoint that can be read, and every
// record after it. It is what an owner would find if it opened the store now.

import HoldfastBytes
import HoldfastEngine
import HoldfastLog

/// Rebuilds states from files.
struct StateReader {
    let reader: LogReader

    /// Whether the records go back to the first one, so that a replay needs no checkpoint.
    var isComplete: Bool { reader.manifest.compactedThrough == .zero }

    /// Returns the checkpoints that records may be replayed on, newest first.
    var checkpoints: [Manifest.Checkpoint] { reader.manifest.replayBases }

    /// Reads a checkpoint's state from whichever of its copies is intact.
    func state(at checkpoint: Manifest.Checkpoint) throws(LogError) -> QueueState {
        let file = try CheckpointFile.read(
            checkpoint, layout: reader.layout, fileSystem: reader.fileSystem, store: reader.manifest.store)
        return try Self.decode(file, reader.layout.relative(reader.layout.path(checkpoint, copy: 0)))
    }

    private static func decode(_ file: CheckpointFile, _ name: String) throws(LogError) -> QueueState {
        do throws(EngineError) {
            return try QueueState(image: file.image.span)
        } catch {
            let code: LogError.Code = error.code == .unsupportedFormat ? .unsupportedFormat : .corrupt
            throw LogError(code, "\(name) holds no state (\(error.message))", file: name, offset: 0)
        }
    }

    /// Returns the state as of the last record.
    func latest() throws(LogError) -> QueueState {
        var state = QueueState()
        var failure: LogError?
        var isFound = false
        for checkpoint in checkpoints where !isFound {
            do throws(LogError) {
                state = try self.state(at: checkpoint)
                isFound = true
            } catch {
                failure = failure ?? error
            }
        }
        if !isFound, !isComplete { throw failure ?? LogError(.corrupt, "the store names no checkpoint, and needs one") }
        try RecordSource.store(reader).forEachRecord(from: state.lastSequence.next) { (record) throws(LogError) in
            try Self.apply(record, to: &state)
            return true
        }
        return state
    }

    /// Applies a record after checking that it may follow.
    static func apply(_ record: Record, to state: inout QueueState) throws(LogError) {
        do throws(EngineError) {
            try state.validate(record)
        } catch {
            throw LogError(
                .corrupt, "record \(record.sequence) can't follow the ones before it (\(error.message))",
                sequences: record.sequence...record.sequence)
        }
        state.apply(record)
    }
}
