// How long a failed job waits. Integers only, and the jitter is a hash of (id, attempt): a replay, a follower and a
// test on any machine come to the same delay. The time that was chosen is in the requeue record, so a policy that
// changes later changes nothing that has happened.
//
//     policy     u8(jitter, percent) · u8(growth) · of it:
//                0 quartic       nothing
//                1 fixed         varint(delay, ms)
//                2 exponential   varint(first, ms) · varint(factor, thousandths) · varint(most, ms)
//                3 listed        varint(count) · varint(delay, ms) ...

package import HoldfastBytes

/// The delay before a failed attempt is tried again.
package struct RetryPolicy: Hashable, Sendable {
    /// How delays grow with the number of the attempt that failed. All in milliseconds.
    package enum Growth: Hashable, Sendable {
        /// attempt^4 seconds, at most a day.
        case quartic
        /// Always the same.
        case fixed(Int64)
        /// `first` after the first attempt, then `factor` thousandths of the one before, at most `most`.
        case exponential(first: Int64, factor: UInt32, most: Int64)
        /// One for each attempt; the last holds for all further ones.
        case listed([Int64])
    }
    package var growth: Growth
    /// A delay is this part of itself longer or shorter at most, in percent.
    package var jitterPercent: UInt8

    package init(_ growth: Growth, jitterPercent: UInt8) {
        self.growth = growth
        self.jitterPercent = jitterPercent
    }

    /// attempt^4 seconds, at most a day, give or take a tenth.
    package static let standard = RetryPolicy(.quartic, jitterPercent: 10)

    /// The most that `quartic` waits.
    package static let quarticMillisecondsMax: Int64 = 24 * 60 * 60 * 1000
    /// The longest delay that a policy may name: a year.
    package static let delayMillisecondsMax: Int64 = 366 * 24 * 60 * 60 * 1000
    /// The delays that a list may hold.
    package static let listMax = 64
    /// Factors of 1.01 to 1000, in thousandths.
    package static let factors: ClosedRange<UInt32> = 1_010...1_000_000
    /// From 1 ms to a year by the least factor: 100 steps of 1 ms each, then some 2,000.
    private static let growthStepsMax: UInt32 = 4_000

    /// Whether every part is within its bounds.
    package var isValid: Bool {
        let delays = 0...Self.delayMillisecondsMax
        guard jitterPercent <= 100 else { return false }
        switch growth {
        case .quartic: return self == .standard
        case .fixed(let delay): return delays.contains(delay)
        case .exponential(let first, let factor, let most):
            return delays.contains(first) && delays.contains(most) && first <= most && Self.factors.contains(factor)
        case .listed(let list): return (1...Self.listMax).contains(list.count) && list.allSatisfy(delays.contains)
        }
    }

    /// Returns how long `job` waits after attempt number `attempt` failed.
    ///
    /// - Complexity: O(1) without allocation; for an exponential one O(attempt), a few thousand steps at most.
    package func delayMilliseconds(job: JobID, attempt: UInt32) -> Int64 {
        let (delay, most) = unspread(attempt)
        let reach = delay * Int64(jitterPercent) / 100
        guard reach > 0 else { return delay }
        let jitter = Int64(Self.hash(job.rawValue, attempt) % UInt64(2 * reach + 1)) - reach
        assert((-reach...reach).contains(jitter), "jitter stays within its bound")
        return min(delay + jitter, most)
    }

    /// The delay before jitter, and the most that it may be with it.
    private func unspread(_ attempt: UInt32) -> (delay: Int64, most: Int64) {
        switch growth {
        case .quartic:
            // 18^4 s already exceeds a day, so that the fourth power of what is left can't overflow.
            let base = Int64(min(attempt, 18))
            return (min(base * base * base * base * 1000, Self.quarticMillisecondsMax), Self.quarticMillisecondsMax)
        case .fixed(let delay): return (delay, .max)
        case .exponential(let first, let factor, let most):
            guard first > 0 else { return (0, most) }
            var delay = first
            var step: UInt32 = 1
            while step < min(attempt, Self.growthStepsMax), delay < most {
                // A year times a million is far from overflowing.
                delay = min(max(delay * Int64(factor) / 1000, delay + 1), most)
                step += 1
            }
            return (delay, most)
        case .listed(let list):
            let index = min(max(Int(attempt), 1), list.count) - 1
            return (list[index], .max)
        }
    }

    /// The finaliser of SplitMix64 over both numbers: every bit of each reaches every bit of the hash.
    private static func hash(_ job: UInt64, _ attempt: UInt32) -> UInt64 {
        var bits = job &+ 0x9E37_79B9_7F4A_7C15 &* (UInt64(attempt) &+ 1)
        bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
        return bits ^ (bits >> 31)
    }
}

extension RetryPolicy: CustomStringConvertible {
    /// In words, for people.
    package var description: String {
        let jitter = jitterPercent == 0 ? "" : ", give or take \(jitterPercent) %"
        return switch growth {
        case .quartic: "attempt^4 s, at most a day\(jitter)"
        case .fixed(let delay): Self.time(delay) + jitter
        case .exponential(let first, let factor, let most):
            "\(Self.time(first)), each time \(Self.decimal(factor)) times as long, at most \(Self.time(most))\(jitter)"
        case .listed(let list): list.map(Self.time).joined(separator: ", ") + jitter
        }
    }

    private static func time(_ milliseconds: Int64) -> String {
        milliseconds.isMultiple(of: 1000) ? "\(milliseconds / 1000) s" : "\(milliseconds) ms"
    }

    /// A factor as a decimal fraction.
    package static func decimal(_ thousandths: UInt32) -> String {
        var fraction = "\(1000 + thousandths % 1000)".dropFirst()
        while fraction.last == "0" { fraction.removeLast() }
        return "\(thousandths / 1000)" + (fraction.isEmpty ? "" : "." + fraction)
    }
}

// MARK: - Bytes

extension RetryPolicy {
    func encode(into writer: inout ByteWriter) {
        writer.append(jitterPercent)
        switch growth {
        case .quartic: writer.append(0 as UInt8)
        case .fixed(let delay):
            writer.append(1 as UInt8)
            writer.append(varint: UInt64(delay))
        case .exponential(let first, let factor, let most):
            writer.append(2 as UInt8)
            writer.append(varint: UInt64(first))
            writer.append(varint: UInt64(factor))
            writer.append(varint: UInt64(most))
        case .listed(let list):
            writer.append(3 as UInt8)
            writer.append(varint: UInt64(list.count))
            for delay in list { writer.append(varint: UInt64(delay)) }
        }
    }

    /// Reads what `encode` wrote.
    ///
    /// - Throws: `.unsupported` for a growth of a later version, `.notCanonical` or `.tooLong` for what is out of
    ///   bounds.
    init(from reader: inout ByteReader) throws(ByteReaderError) {
        let start = reader.offset
        let jitter = try reader.u8()
        let growth = try reader.u8()
        func delay(_ reader: inout ByteReader) throws(ByteReaderError) -> Int64 {
            Int64(try reader.varint(atMost: UInt64(Self.delayMillisecondsMax)))
        }
        switch growth {
        case 0: self.init(.quartic, jitterPercent: jitter)
        case 1: self.init(.fixed(try delay(&reader)), jitterPercent: jitter)
        case 2:
            let first = try delay(&reader)
            let factor = UInt32(try reader.varint(atMost: UInt64(Self.factors.upperBound)))
            self.init(
                .exponential(first: first, factor: factor, most: try delay(&reader)), jitterPercent: jitter)
        case 3:
            var list: [Int64] = []
            for _ in 0..<(try reader.varint(atMost: UInt64(Self.listMax))) { list.append(try delay(&reader)) }
            self.init(.listed(list), jitterPercent: jitter)
        default: throw ByteReaderError(.unsupported, at: start)
        }
        guard isValid else { throw ByteReaderError(.notCanonical, at: start) }
    }
}
