// When jobs were enqueued, by their ids, about: both only grow, so a sample now and then is enough. Kept of queues
// whose priorities age, and of no others; made by enqueue records alone, so that every store that has applied the same
// records knows the same.
//
// Samples are in tiers of so many. One that is full hands its two oldest on as one, so each tier is half as dense as
// the one before, and how far a time is off stays in proportion to how long ago it was: at most a sixteenth or so where
// jobs come evenly. That is bounded: 32 tiers of 32 samples reach back 2^36 enqueues. A job whose own sample is gone
// takes the time of the next: behind a pause it would look as old as that, and one that looks too young waits longer.

internal import HoldfastBytes

/// Sparse samples of ids and times.
struct EnqueueTimes: Hashable, Sendable {
    struct Sample: Hashable, Sendable {
        let job: UInt64
        /// Milliseconds.
        let time: Int64
    }

    static let samplesMax = 32
    static let tiersMax = 32

    /// Oldest first in each; those of later tiers are older.
    private(set) var tiers: [[Sample]] = []

    /// Notes that a job was enqueued, or, of an earlier one, that it waited already then.
    ///
    /// - Complexity: O(1) amortised.
    mutating func note(_ job: UInt64, at time: Timestamp) {
        if tiers.isEmpty { tiers.append([]) }
        // The first job of an instant says enough.
        if let last = tiers[0].last, last.time == time.milliseconds || last.job >= job { return }
        tiers[0].append(Sample(job: job, time: time.milliseconds))
        var tier = 0
        while tier < tiers.count, tiers[tier].count > Self.samplesMax {
            let older = tiers[tier][0]
            tiers[tier].removeFirst(2)
            tier += 1
            guard tier < Self.tiersMax else { break }
            if tier == tiers.count { tiers.append([]) }
            tiers[tier].append(older)
        }
    }

    /// About when the job was enqueued, rather too late than too early, or when the samples begin; `nil` without any.
    ///
    /// - Complexity: O(log n).
    func time(of job: UInt64) -> Timestamp? {
        for (number, tier) in tiers.enumerated() {
            guard let first = tier.first, first.job <= job else { continue }
            var (low, high) = (0, tier.count)
            while high - low > 1 {
                let middle = (low + high) / 2
                if tier[middle].job <= job { low = middle } else { high = middle }
            }
            // The first tier lacks only those that came at the instant of the sample before.
            guard number > 0, tier[low].job < job else { return Timestamp(milliseconds: tier[low].time) }
            let next = high < tier.count ? tier[high] : tiers[..<number].last { !$0.isEmpty }?.first
            return Timestamp(milliseconds: (next ?? tier[low]).time)
        }
        return tiers.last { !$0.isEmpty }?.first.map { Timestamp(milliseconds: $0.time) }
    }

    func encode(into writer: inout ByteWriter) {
        writer.append(varint: UInt64(tiers.count))
        for tier in tiers {
            writer.append(varint: UInt64(tier.count))
            for sample in tier {
                writer.append(varint: sample.job)
                writer.append(varint: UInt64(sample.time))
            }
        }
    }

    /// Reads samples; in what order they are is for the caller to check.
    init(from reader: inout ByteReader) throws(ByteReaderError) {
        for _ in 0..<(try reader.varint(atMost: UInt64(Self.tiersMax))) {
            var tier: [Sample] = []
            for _ in 0..<(try reader.varint(atMost: UInt64(Self.samplesMax))) {
                let job = try reader.varint()
                let time = Int64(try reader.varint(atMost: UInt64(Timestamp.max.milliseconds)))
                tier.append(Sample(job: job, time: time))
            }
            tiers.append(tier)
        }
    }

    /// No samples.
    init() {}

    /// Whether the samples are in order, and none is later than `last` and `latest`.
    func isInOrder(upTo last: UInt64, at latest: Timestamp) -> Bool {
        let all = tiers.reversed().flatMap(\.self)
        let isOrdered = zip(all, all.dropFirst()).allSatisfy { $0.job < $1.job && $0.time < $1.time }
        return isOrdered && all.last.map { $0.job <= last && $0.time <= latest.milliseconds } ?? true
    }
}
