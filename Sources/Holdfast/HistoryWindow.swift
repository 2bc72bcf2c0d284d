// How far back history is kept. The log drops what nobody needs; of finished jobs it keeps the newest records, up to a
// number of bytes. Which sequence number that reaches back to is found from coarse marks of how much had been recorded
// by then. What was there before the store was opened is taken to be spread evenly within each segment, so there the
// limit is approximate.

internal import HoldfastBytes
internal import HoldfastLog

/// Finds the oldest sequence number whose record still counts as history.
struct HistoryWindow: Sendable {
    private struct Mark: Sendable {
        let sequence: UInt64
        /// All that was recorded up to and including `sequence`.
        let bytes: Int
    }
    private var marks: [Mark]
    private var bytes: Int
    private var last: UInt64

    private static let markBytes = 1 << 20
    private static let marksMax = 4096

    /// - Parameters:
    ///   - last: The last record.
    ///   - sealed: The segments that hold what was recorded longest ago.
    ///   - bytes: What was recorded behind them, as far as is known.
    init(last: SequenceNumber, sealed: [Manifest.Sealed], bytes: Int) {
        self.last = last.rawValue
        marks = [Mark(sequence: 0, bytes: 0)]
        var total = 0
        for segment in sealed where segment.lastSequence <= last {
            total += segment.bytes
            marks.append(Mark(sequence: segment.lastSequence.rawValue, bytes: total))
        }
        self.bytes = total + bytes
        while marks.count > Self.marksMax / 2 { thin() }
        marks.append(Mark(sequence: last.rawValue, bytes: self.bytes))
    }

    /// Counts a record.
    mutating func note(_ sequence: SequenceNumber, bytes count: Int) {
        assert(sequence.rawValue > last, "records come in order")
        bytes += count
        last = sequence.rawValue
        guard bytes - marks[marks.count - 1].bytes >= Self.markBytes else { return }
        if marks.count == Self.marksMax { thin() }
        marks.append(Mark(sequence: last, bytes: bytes))
    }

    /// Returns the sequence number from which on about `limit` bytes were recorded.
    func start(keeping limit: Int) -> SequenceNumber {
        let target = bytes - limit
        guard target > 0 else { return .zero }
        // The first mark that reaches `target`; the last one may lie before it.
        var (low, high) = (0, marks.count)
        while low < high {
            let middle = (low + high) / 2
            if marks[middle].bytes < target { low = middle + 1 } else { high = middle }
        }
        let after = low < marks.count ? marks[low] : Mark(sequence: last, bytes: bytes)
        let before = marks[max(low - 1, 0)]
        guard after.bytes > before.bytes, after.sequence > before.sequence else {
            return SequenceNumber(after.sequence)
        }
        let share = Double(target - before.bytes) / Double(after.bytes - before.bytes)
        let offset = Double(after.sequence - before.sequence) * min(max(share, 0), 1)
        return SequenceNumber(before.sequence + UInt64(offset))
    }

    /// Returns about how many bytes were recorded from `sequence` on.
    func bytes(from sequence: SequenceNumber) -> Int {
        let target = sequence.rawValue - min(sequence.rawValue, 1)
        guard target < last else { return 0 }
        var (low, high) = (0, marks.count)
        while low < high {
            let middle = (low + high) / 2
            if marks[middle].sequence < target { low = middle + 1 } else { high = middle }
        }
        let after = low < marks.count ? marks[low] : Mark(sequence: last, bytes: bytes)
        let before = marks[max(low - 1, 0)]
        guard after.sequence > before.sequence, target > before.sequence else { return bytes - before.bytes }
        let share = Double(target - before.sequence) / Double(after.sequence - before.sequence)
        return bytes - before.bytes - Int(Double(after.bytes - before.bytes) * min(share, 1))
    }

    /// Drops every other mark.
    private mutating func thin() {
        var kept: [Mark] = []
        kept.reserveCapacity(marks.count / 2 + 1)
        for (index, mark) in marks.enumerated() where index % 2 == 0 || index == marks.count - 1 { kept.append(mark) }
        marks = kept
    }
}
