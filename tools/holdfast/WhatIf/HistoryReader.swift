// A range of a store's log as a history that can be driven again. Reads the files, beside an owner or without one;
// what is there before the range is the state as it was. Of a damaged store it takes what stands before the damage.

import Holdfast
import HoldfastEngine
import HoldfastLog
import HoldfastWhatIf

/// Reads histories.
struct HistoryReader {
    /// What was read.
    struct Result {
        let history: RecordedHistory
        let measurement: RunMeasurement
        let first: SequenceNumber
        let last: SequenceNumber
        /// Whether the range begins where it does because what was before it was dropped.
        let isCutOff: Bool
        /// What kept it from reading on.
        let damage: LogError?
    }

    let directory: String
    let from: StoreMoment?
    let to: StoreMoment?

    /// Reads the range.
    ///
    /// - Parameter progress: Gets the count of records, now and then.
    func read(progress: (Int) -> Void) throws(CommandFailure) -> Result {
        var damage: LogError?
        while true {
            let outcome: Outcome
            do throws(LogError) {
                outcome = try LogReader.compute(directory: directory, fileSystem: POSIXFileSystem()) {
                    (reader) throws(LogError) in try read(FileRecords(reader), upTo: damage, progress)
                }
            } catch {
                // A second time: what stands before the damage. A range that can't even begin is refused.
                guard error.code == .corrupt, damage == nil else {
                    throw CommandFailure(reading: directory, error)
                }
                damage = error
                continue
            }
            if case .read(let result) = outcome { return result }
            throw CommandFailure(Self.sentence(outcome))
        }
    }

    /// Whether `error`, met when reading a second time, is the damage that was met the first time.
    static func isSame(_ error: LogError, as damage: LogError?) -> Bool {
        guard let damage else { return false }
        return error.code == damage.code && error.file == damage.file && error.offset == damage.offset
    }

    private static let bounds = RecordedHistory.Bounds()

    private enum Outcome {
        case read(Result)
        case dropped(oldest: SequenceNumber?)
        case tooMany
    }

    private static func sentence(_ outcome: Outcome) -> String {
        switch outcome {
        case .read: ""
        case .dropped(let oldest?):
            "the range begins before the kept history: the oldest that is available is --from \(oldest.next); "
                + "a store opened with more history keeps more"
        case .dropped: "compaction has dropped what the range needs, and no older state is left"
        case .tooMany:
            "the range is too long: there is room for \(bounds.jobs) jobs, \(bounds.attempts) attempts and "
                + "\(bounds.inputs) cancels, redrives and pauses; narrow it with --from and --to"
        }
    }

    private func read(
        _ records: FileRecords, upTo damage: LogError?, _ progress: (Int) -> Void
    ) throws(LogError) -> Outcome {
        let manifest = records.manifest
        let isCutOff = from == nil && manifest.compactedThrough > .zero
        let oldest = manifest.oldestState
        guard let oldest else { return .dropped(oldest: nil) }
        let base: PastOutcome
        let replay = PastReplay(records, last: .max)
        switch from {
        case nil: base = try replay.state(asOf: .sequence(oldest))
        case .sequence(let number):
            base = try replay.state(asOf: .sequence(SequenceNumber(max(number.rawValue, 1) - 1)))
        case .time(let time):
            base = try replay.state(asOf: .time(time.advanced(byMilliseconds: -1)))
        }
        guard case .found(let state) = base else { return .dropped(oldest: oldest) }
        var start: Timestamp?
        if case .time(let time) = from, state.lastSequence > .zero { start = time }
        var builder = HistoryBuilder(after: state, from: start, bounds: Self.bounds)
        var (first, last) = (SequenceNumber.zero, state.lastSequence)
        var hasRoom = true
        var count = 0
        var end = SequenceNumber.max
        if case .sequence(let number) = to { end = number }
        // Whether all of the range was read. What is behind it is of no concern, though it may be damaged: a number
        // that compaction has dropped shows only by the next one.
        var isWhole = false
        do throws(LogError) {
            try records.forEachEntry(after: state.lastSequence, through: .max) { (entry) throws(LogError) in
                isWhole = entry.sequence >= end
                guard entry.sequence <= end else { return false }
                guard let record = try Record.decode(entry, "of \(directory)") else { return !isWhole }
                if case .time(let time) = to, record.time > time {
                    isWhole = true
                    return false
                }
                if first == .zero { first = record.sequence }
                last = record.sequence
                hasRoom = builder.add(record)
                count += 1
                if count.isMultiple(of: 4096) { progress(count) }
                return hasRoom && !isWhole
            }
        } catch {
            guard isWhole || !hasRoom || Self.isSame(error, as: damage) else { throw error }
        }
        guard hasRoom else { return .tooMany }
        let (history, measurement) = builder.finish()
        return .read(
            Result(
                history: history, measurement: measurement, first: first, last: last, isCutOff: isCutOff,
                damage: isWhole ? nil : damage))
    }
}
