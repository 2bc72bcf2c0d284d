// Numbers of a lane in one: how often its jobs are tried, and what they weigh.

extension Lane {
    private static let attemptsBits: UInt32 = 20

    /// The most attempts and the weight less 1, in one number: equal to the attempts alone for a weight of 1, so that
    /// lanes in images are as they were before there were weights.
    var terms: UInt32 { maxAttempts | (weight &- 1) << Self.attemptsBits }

    /// The largest that terms can be.
    static let termsMax = RecordLimits.weightMax << attemptsBits

    static func maxAttempts(ofTerms terms: UInt32) -> UInt32 { terms & (1 << attemptsBits - 1) }

    static func weight(ofTerms terms: UInt32) -> UInt32 { terms >> attemptsBits + 1 }
}
