// Who appends faster than segments are sealed has to wait. Without a pace all would run into the end of the journal,
// and wait there until a whole segment is sealed; with it they go on in steps, as sealing does.

/// How much of a journal segment is kept from callers while one is sealed.
struct SealingPace {
    /// What a step seals. In steps of half the size all who wait are woken where there is room for few of them, in vain
    /// for most of a thousand; in steps of twice the size the slowest of 64 wait longer.
    static let stepBytes = 128 << 10
    /// The share that is given away step by step; the rest is for when the sealed segment is installed and its file
    /// made ready, which takes syncs and has no steps.
    private static let steppedShare = 0.8

    private let total: Int
    /// What is yet to be sealed, and at the last step.
    private var left: Int
    private var leftThen: Int
    private(set) var withheldShare = 1.0

    /// Begins to seal that many bytes.
    init(bytes: Int) { (total, left, leftThen) = (bytes, bytes, bytes) }

    /// A frame with that many bytes of records has been sealed. Returns whether that was a step.
    mutating func advance(_ bytes: Int) -> Bool {
        left = max(left - FrameFormat.aligned(FrameFormat.headerBytes + bytes, to: FrameFormat.journalAlignment), 0)
        guard leftThen - left >= Self.stepBytes else { return false }
        leftThen = left
        withheldShare = 1 - Self.steppedShare * (1 - Double(left) / Double(total))
        return true
    }

    /// Whether a ring is one to keep a pace in: a segment is many steps, and there are more of them than the one that
    /// is written, the one that is sealed, and the one that is left to what frees space.
    static func isKept(_ options: LogOptions) -> Bool {
        options.journalSegmentCount > 3 && options.journalSegmentBytes >= 8 * stepBytes
    }
}
