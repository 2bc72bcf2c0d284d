// Which sealed segments to rewrite next, decided from counts alone.
//
//  - A segment of which less than half is needed is rewritten with its neighbours of that kind. So what is on disk is
//    at most twice what is needed, and every byte written takes the place of at least one that goes: rewriting for
//    space writes no more in all than was ever appended.
//  - Neighbours that are small become one, so that a trickle of commits does not leave thousands of files. A record
//    ends up in a segment eight times larger at least, so this happens to it a few times only.
//  - What is rewritten lies on the disk twice for a while. So one rewrite makes an eighth of what there is, or as much
//    as there is always room for.
//
// How many records are needed is known from memory. How many bytes they have is not: the segment is read for that,
// and read again once that number has fallen by a quarter, or fallen at all while the log grew by half.

/// A sealed segment as the policy sees it.
package struct CompactionCandidate: Hashable, Sendable {
    /// What was found by reading it.
    package struct Measurement: Hashable, Sendable {
        /// How many records at most were needed then.
        package var needed: Int
        /// Raw bytes of the records that were.
        package var bytes: Int
        /// The record bytes of the whole log by then.
        package var logBytes: UInt64

        package init(needed: Int, bytes: Int, logBytes: UInt64) {
            self.needed = needed
            self.bytes = bytes
            self.logBytes = logBytes
        }
    }
    /// Bytes of the file, and of its records before compression.
    package var bytes: Int
    package var rawBytes: Int
    /// How many records it holds, and how many of them are needed at most.
    package var records: Int
    package var needed: Int
    /// Whether checkpoints cover it, so that what is not needed may be dropped.
    package var isCovered: Bool
    /// Whether it is not to be touched: it could not be read, or there is no space.
    package var staysAsItIs = false
    package var measurement: Measurement?

    package init(
        bytes: Int, rawBytes: Int, records: Int, needed: Int, isCovered: Bool, measurement: Measurement? = nil
    ) {
        self.bytes = bytes
        self.rawBytes = rawBytes
        self.records = records
        self.needed = needed
        self.isCovered = isCovered
        self.measurement = measurement
    }

    /// Raw bytes of what is needed: as measured, scaled by what became of the number since.
    package var neededBytes: Int {
        if needed == 0 { return 0 }
        guard let measurement, measurement.needed > 0 else { return rawBytes }
        return Int(Double(measurement.bytes) * Double(min(needed, measurement.needed)) / Double(measurement.needed))
    }

    /// Whether less than half of it is needed.
    package var isWasteful: Bool { isCovered && !staysAsItIs && (needed == 0 || neededBytes < rawBytes / 2) }

    /// Whether it is worth reading to see how much of it is needed.
    package func isToBeMeasured(logBytes: UInt64, growth: UInt64) -> Bool {
        guard isCovered, !staysAsItIs, needed > 0, needed < records else { return false }
        guard let measurement else { return true }
        if needed * 4 <= measurement.needed * 3 { return true }
        return needed < measurement.needed && logBytes - measurement.logBytes >= growth
    }
}

/// What to do next.
package enum CompactionStep: Hashable, Sendable {
    /// Read it to see how much of it is needed.
    case measure(Int)
    /// Rewrite these neighbours into as few segments as they need.
    case rewrite(Range<Int>)
}

package enum CompactionPolicy {
    /// How many small neighbours become one, at least and at most.
    package static let mergeCount = 16
    package static let mergeCountMax = 64
    /// What they make is larger than each of them by this factor at least.
    package static let mergeGrowth = 8
    /// What one rewrite reads at most, in raw bytes, unless a single segment has more.
    package static let readBytesMax = 256 << 20

    /// Returns the next step, or `nil` when all is as it should be.
    ///
    /// - Parameter logBytes: Bytes of all records ever appended, as far as is known: only differences count.
    /// - Parameter roomBytes: What a rewrite may always take of the disk until what it replaces is gone.
    package static func next(
        _ candidates: [CompactionCandidate], logBytes: UInt64, roomBytes: Int
    ) -> CompactionStep? {
        let total = candidates.reduce(0) { $0 + $1.rawBytes }
        let growth = UInt64(total / 2)
        let madeBytesMax = min(WriteAheadLog.sealedRawBytesTarget, max(roomBytes, total / 8))
        if let index = candidates.firstIndex(where: { $0.isToBeMeasured(logBytes: logBytes, growth: growth) }) {
            return .measure(index)
        }
        // With all of them judged, neighbours go together.
        if let run = wastefulRun(candidates, madeBytesMax: madeBytesMax) { return .rewrite(run) }
        return smallRun(candidates, madeBytesMax: madeBytesMax).map { .rewrite($0) }
    }

    /// The oldest wasteful segment with those behind it, as long as not too much of them is needed.
    private static func wastefulRun(_ candidates: [CompactionCandidate], madeBytesMax: Int) -> Range<Int>? {
        guard let start = candidates.firstIndex(where: \.isWasteful) else { return nil }
        var end = start
        var (needed, read) = (0, 0)
        while end < candidates.count, candidates[end].isWasteful, needed < madeBytesMax, read < readBytesMax {
            needed += candidates[end].neededBytes
            read += candidates[end].needed > 0 ? candidates[end].rawBytes : 0
            end += 1
        }
        return start..<end
    }

    /// The newest neighbours that are enough, and of which none is much larger than the others.
    private static func smallRun(_ candidates: [CompactionCandidate], madeBytesMax: Int) -> Range<Int>? {
        for end in stride(from: candidates.count, through: mergeCount, by: -1) {
            var (start, total, largest, raw) = (end, 0, 0, 0)
            while start > 0, end - start < mergeCountMax, !candidates[start - 1].staysAsItIs {
                start -= 1
                total += candidates[start].bytes
                largest = max(largest, candidates[start].bytes)
                raw += candidates[start].rawBytes
                // What does not fit into one segment would be as many as before.
                if raw > madeBytesMax { break }
                if end - start >= mergeCount, largest * mergeGrowth <= total { return start..<end }
            }
        }
        return nil
    }
}
