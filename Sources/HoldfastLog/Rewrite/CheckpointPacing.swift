// When a checkpoint is due: once replaying what was recorded since the last one would take the time that recovery may
// take, but not before as much was recorded as the image weighs, so that images never cost more than the log.

/// Counts what was recorded since the newest image.
struct CheckpointPacing: Sendable {
    private let recordsMax: UInt64
    private let bytesMax: Int
    private let everyBytes: Int?
    /// Size of the newest image.
    var imageBytes: Int
    private var records: UInt64 = 0
    private var bytes = 0

    init(_ options: LogOptions, imageBytes: Int) {
        recordsMax = options.checkpointRecords
        bytesMax = options.journalSegmentBytes
        everyBytes = options.checkpointEveryBytes
        self.imageBytes = imageBytes
    }

    var isDue: Bool {
        if let everyBytes, bytes >= everyBytes { return true }
        return bytes >= imageBytes && (records >= recordsMax || bytes >= bytesMax)
    }

    /// So long due that sealing, which goes first otherwise, has to wait for it.
    var isOverdue: Bool { isDue && bytes / 4 >= max(imageBytes, bytesMax) }

    /// Counts records. Returns whether a checkpoint became due by them.
    mutating func note(records number: Int, bytes count: Int) -> Bool {
        let wasDue = isDue
        records += UInt64(number)
        bytes += count
        return !wasDue && isDue
    }

    /// Begins to count anew; returns what was counted, for `giveBack`.
    mutating func take() -> (records: UInt64, bytes: Int) {
        defer { (records, bytes) = (0, 0) }
        return (records, bytes)
    }

    /// The image that `take` was for was not written.
    mutating func giveBack(_ counted: (records: UInt64, bytes: Int)) {
        records += counted.records
        bytes += counted.bytes
    }
}
