// The state of a store at an earlier point, from its files: the newest checkpoint that is not after the point, and the
// records between the two. Compaction drops records up to `compactedThrough` only, and a checkpoint before that is of
// no use; so what can be reached begins at the oldest checkpoint from there on, or with nothing where none is gone.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// Rebuilds the states of a store.
struct PastState {
    private let reader: LogReader

    init(_ reader: LogReader) { self.reader = reader }

    /// Whether the log goes back to the first record.
    var isComplete: Bool { reader.manifest.compactedThrough == .zero }

    /// The checkpoints that records may be replayed on, newest first.
    var checkpoints: [Manifest.Checkpoint] {
        reader.manifest.checkpoints.filter { $0.sequence >= reader.manifest.compactedThrough }
    }

    /// The first sequence number whose state can be had.
    var oldestSequence: SequenceNumber { isComplete ? .zero : checkpoints.last?.sequence ?? .max }

    /// Returns the state at `oldestSequence`.
    func oldest() throws(LogError) -> QueueState {
        if isComplete { return QueueState() }
        guard let oldest = checkpoints.last else {
            throw LogError(.corrupt, "the store names no checkpoint, and needs one: run: holdfast salvage STORE NEW")
        }
        return try state(of: oldest)
    }

    /// Returns the state that a checkpoint holds, from whichever of its copies is intact.
    func state(of checkpoint: Manifest.Checkpoint) throws(LogError) -> QueueState {
        var failure: LogError?
        for copy in 0..<max(checkpoint.copies, 1) {
            let path = reader.layout.path(checkpoint, copy: copy)
            let name = reader.layout.relative(path)
            do throws(LogError) {
                let file = try CheckpointFile(
                    reader.fileSystem, path: path, name: name, store: reader.manifest.store,
                    sequence: checkpoint.sequence)
                return try Self.decode(file, name)
            } catch {
                failure = failure ?? error
            }
        }
        throw failure ?? LogError(.corrupt, "the checkpoint at \(checkpoint.sequence) has no file")
    }

    private static func decode(_ file: CheckpointFile, _ name: String) throws(LogError) -> QueueState {
        do throws(EngineError) {
            let state = try QueueState(image: file.image.span)
            guard state.lastSequence == file.sequence else {
                throw EngineError(.corrupt, "it is of \(state.lastSequence)")
            }
            return state
        } catch {
            let code: LogError.Code = error.code == .unsupportedFormat ? .unsupportedFormat : .corrupt
            throw LogError(code, "\(name) holds no state (\(error.message))", file: name, offset: 0)
        }
    }

    // MARK: - The state at a point

    /// Returns the state at `point`.
    ///
    /// - Throws: `.beyondHistory` when the records needed for it are gone, or it has not come; `.corrupt`.
    func state(at point: StorePoint) throws(LogError) -> QueueState {
        guard var state = try start(before: point) else { throw refusal(point) }
        var isReached = false
        var walker = reader
        try walker.forEachFrame(from: state.lastSequence.next) { (source, frame) throws(LogError) in
            guard frame.header.recordCount > 0 else { return true }
            return try frame.forEachEntry(file: source.name) { (entry, _) throws(LogError) in
                guard entry.sequence > state.lastSequence else { return true }
                let record = try Record(checking: entry.sequence, kind: entry.kind, body: entry.body)
                guard let record else { return true }
                isReached = point.isBefore(record.sequence, record.time)
                if !isReached { try Self.apply(record, to: &state) }
                return !isReached
            }
        }
        if case .sequence(let wanted) = point, !isReached, wanted > state.lastSequence {
            throw LogError(
                .beyondHistory,
                "\(reader.layout.root) holds no record \(wanted) yet: its newest is \(state.lastSequence)")
        }
        return state
    }

    /// Returns the state to replay on: of the newest checkpoint not after `point` that can be read.
    private func start(before point: StorePoint) throws(LogError) -> QueueState? {
        var failure: LogError?
        for checkpoint in checkpoints {
            if case .sequence(let wanted) = point, checkpoint.sequence > wanted { continue }
            do throws(LogError) {
                let state = try state(of: checkpoint)
                if !point.isBefore(state.lastSequence, state.latestTime) { return state }
            } catch {
                failure = failure ?? error
            }
        }
        if isComplete { return QueueState() }
        if let failure { throw failure }
        return nil
    }

    private func refusal(_ point: StorePoint) -> LogError {
        let wanted =
            switch point {
            case .newest: "its newest record"
            case .sequence(let sequence): "sequence number \(sequence)"
            case .time(let time): "the time \(time.milliseconds) ms"
            }
        let oldest = oldestSequence
        return LogError(
            .beyondHistory,
            "the history that \(reader.layout.root) keeps does not reach back to \(wanted): the oldest sequence number "
                + "available is \(oldest)",
            sequences: oldest...SequenceNumber.max)
    }

    // MARK: - Records

    /// Applies a record of the log after checking that it may follow; one that may be skipped changes nothing.
    static func apply(_ entry: borrowing EntryView, to state: inout QueueState) throws(LogError) {
        guard let record = try Record(checking: entry.sequence, kind: entry.kind, body: entry.body) else { return }
        try apply(record, to: &state)
    }

    private static func apply(_ record: Record, to state: inout QueueState) throws(LogError) {
        do throws(EngineError) { try state.validate(record) } catch { throw LogError(error, at: record.sequence) }
        state.apply(record)
    }
}

extension StorePoint {
    /// Whether it lies before a record.
    fileprivate func isBefore(_ sequence: SequenceNumber, _ time: Timestamp) -> Bool {
        switch self {
        case .newest: false
        case .sequence(let wanted): sequence > wanted
        case .time(let wanted): time > wanted
        }
    }
}
