// Who appends faster than segments are sealed has to wait. Without a pace all would run into the end of the journal,
// and wait there until a whole segment is sealed; with it they go on in steps, as sealing does.

/// How much of the journal's room is kept from callers while a segment is sealed.
struct SealingPace {
    /// What a step seals. It is about what a thousand small records take: to wake all who wait for less would be in
    /// vain for most.
    static let stepBytes = 256 << 10
    /// The share of a segment that is given away step by step; the rest is for when the sealed one is installed and
    /// its file made ready, which takes syncs and has no steps.
    private static let steppedShare = 0.8

    /// Whether the ring is one to keep a pace in: a segment is many steps, and there are more of them than the one that
    /// is written, the one that is sealed, and the one that is left to what frees space.
    let isKept: Bool
    private var total = 1
    /// What is yet to be sealed, and at what step this was told last.
    private var left = 0
    private var told = 0
    private(set) var withheldShare = 0.0

    init(segmentBytes: Int, segmentCount: Int) { isKept = segmentCount > 3 && segmentBytes >= 8 * Self.stepBytes }

    /// Begins to seal that many bytes.
    mutating func begin(bytes: Int) {
        guard isKept else { return }
        (total, left, told) = (bytes, bytes, bytes)
        withheldShare = 1
    }

    /// A frame with that many bytes of records has been sealed.
    mutating func advance(_ bytes: Int) {
        guard withheldShare > 0 else { return }
        left = max(left - FrameFormat.aligned(FrameFormat.headerBytes + bytes, to: FrameFormat.journalAlignment), 0)
        guard told - left >= Self.stepBytes else { return }
        told = left
        withheldShare = 1 - Self.steppedShare * (1 - Double(left) / Double(total))
    }

    /// All of it is sealed, or could not be.
    mutating func end() { withheldShare = 0 }
}
