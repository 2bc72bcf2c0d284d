// The state as it was: the newest image at or before the moment, and every record from there to it. It is exact as long
// as no record behind the image was dropped, which the manifest tells: `compactedThrough` is the last one that was.
// What would be inexact is refused.
//
// Compaction goes on meanwhile. Records are dropped only after a manifest says so; so when it does not say so
// afterwards, none that was needed had gone.

package import HoldfastBytes
package import HoldfastEngine
package import HoldfastLog

/// A moment in a store's past.
public enum StoreMoment: Hashable, Sendable {
    /// After the record with this number.
    case sequence(SequenceNumber)
    /// After the last record that is not later.
    case time(Timestamp)
}

/// What looking back came to.
package enum PastOutcome: Sendable {
    /// The state after the moment's last record.
    case found(QueueState)
    /// Records before the moment were dropped; the oldest state that is still known, if any.
    case dropped(oldest: SequenceNumber?)
    /// The last record is before the moment.
    case future(last: SequenceNumber)
}

/// Rebuilds states from images and records.
package struct PastReplay {
    private let records: any PastRecords
    /// The last record that may be shown.
    private let last: SequenceNumber
    /// What hides the records after that, if anything does.
    private let damage: LogError?

    private static let attemptsMax = 8

    /// Looks back into `records`, from `last` on.
    ///
    /// - Parameter damage: What hides the records after `last`, if anything does.
    package init(_ records: any PastRecords, last: SequenceNumber, damage: LogError? = nil) {
        self.records = records
        self.last = last
        self.damage = damage
    }

    /// Returns the state as it was.
    ///
    /// - Throws: `.corrupt` when a record or the image it takes is damaged, `.ioFailed`.
    /// - Complexity: Reads one image and the records from there to the moment.
    package func state(asOf moment: StoreMoment) throws(LogError) -> PastOutcome {
        var attempts = 0
        while true {
            let before = records.manifest
            do throws(LogError) {
                let outcome = try attempt(moment, before)
                if records.manifest.compactedThrough == before.compactedThrough { return outcome }
            } catch {
                // A file may have been removed while it was read; damage stays, that passes.
                if records.manifest == before { throw error }
            }
            attempts += 1
            guard attempts < Self.attemptsMax else {
                throw LogError(.ioFailed, "the log was compacted on every attempt to replay it: try again")
            }
        }
    }

    private func attempt(_ moment: StoreMoment, _ manifest: Manifest) throws(LogError) -> PastOutcome {
        let target: SequenceNumber
        switch moment {
        case .sequence(let sequence):
            guard sequence <= last else {
                if let damage { throw damage }
                return .future(last: last)
            }
            target = sequence
        case .time(let time):
            target = try self.target(time)
            // Those that are hidden may be no later, either.
            if target == last, let damage { throw damage }
        }
        guard var state = try base(target, manifest) else { return .dropped(oldest: manifest.oldestState) }
        // Between the records around a time, dropped ones may have been, of which only an image tells.
        if case .time(let time) = moment, state.latestTime > time {
            return .dropped(oldest: manifest.oldestState)
        }
        try records.forEachEntry(after: state.lastSequence, through: target) { (entry) throws(LogError) in
            try state.replay(entry)
            return true
        }
        return .found(state)
    }

    /// Returns the last number before the first record that is later than `time`.
    private func target(_ time: Timestamp) throws(LogError) -> SequenceNumber {
        var target = last
        try records.forEachEntry(after: try records.sequence(through: time), through: last) {
            (entry) throws(LogError) in
            let record = try Record(checking: entry.sequence, kind: entry.kind, body: entry.body)
            guard let record, record.time > time else { return true }
            target = SequenceNumber(entry.sequence.rawValue - 1)
            return false
        }
        return target
    }

    /// Returns the newest state at or before `target` from which replay is exact; `nil` when there is none.
    private func base(_ target: SequenceNumber, _ manifest: Manifest) throws(LogError) -> QueueState? {
        var failure: LogError?
        for checkpoint in manifest.replayBases where checkpoint.sequence <= target {
            do throws(LogError) { return try records.state(at: checkpoint) } catch { failure = failure ?? error }
        }
        if manifest.compactedThrough == .zero { return QueueState() }
        if let failure { throw failure }
        return nil
    }

}

extension PastRecords {
    /// Returns the state that a checkpoint holds, from whichever of its copies is intact.
    ///
    /// - Throws: `.corrupt` when none is, or it holds another state; `.unsupportedFormat`, `.ioFailed`.
    package func state(at checkpoint: Manifest.Checkpoint) throws(LogError) -> QueueState {
        let image = try image(of: checkpoint)
        do throws(EngineError) {
            let state = try QueueState(image: image.span)
            guard state.lastSequence == checkpoint.sequence else {
                throw EngineError(.corrupt, "it is of \(state.lastSequence)")
            }
            return state
        } catch {
            let code: LogError.Code = error.code == .unsupportedFormat ? .unsupportedFormat : .corrupt
            throw LogError(code, "the checkpoint at \(checkpoint.sequence) holds no state (\(error.message))")
        }
    }

    /// Returns the oldest state from which every later record is there.
    ///
    /// - Throws: `.corrupt` when its checkpoint is damaged or missing; `.ioFailed`.
    package func oldestState() throws(LogError) -> QueueState {
        let manifest = manifest
        if manifest.compactedThrough == .zero { return QueueState() }
        guard let oldest = manifest.replayBases.last else {
            throw LogError(.corrupt, "the store names no checkpoint, and needs one: run: holdfast salvage STORE NEW")
        }
        return try state(at: oldest)
    }
}

extension FileRecords {
    /// Returns the state after the last record: what an owner would find if it opened the store now. Where the journal
    /// is damaged, that before the damage, and what is damaged.
    ///
    /// - Throws: `.corrupt` when no checkpoint can be read and records are gone, or a record before the last is
    ///   damaged; `.ioFailed`.
    package func newestState() throws(LogError) -> (state: QueueState, damage: LogError?) {
        let (last, damage) = try soundEnd()
        guard case .found(let state) = try PastReplay(self, last: last).state(asOf: .sequence(last)) else {
            throw LogError(.corrupt, "the store names no checkpoint, and needs one: run: holdfast salvage STORE NEW")
        }
        return (state, damage)
    }
}

extension QueueState {
    /// Applies a record from the log after checking that it may follow; returns whether it was of a known kind.
    @discardableResult
    package mutating func replay(_ entry: borrowing EntryView) throws(LogError) -> Bool {
        guard let record = try Record(checking: entry.sequence, kind: entry.kind, body: entry.body) else {
            return false
        }
        guard record.sequence > lastSequence else {
            throw LogError(
                .corrupt,
                "record \(record.sequence) comes after record \(lastSequence); restore the store from a backup",
                sequences: record.sequence...record.sequence)
        }
        do { if Safeguard.replayValidation.isOn { try validate(record) } } catch {
            throw LogError(error, at: record.sequence)
        }
        apply(record)
        return true
    }
}
