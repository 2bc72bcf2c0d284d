// How long a failed job waits. Integers only, and the jitter is a hash of (id, attempt): a replay, a follower and a
// test on any machine come to the same delay.

package import HoldfastBytes

/// The default delay before a failed attempt is tried again: attempt^4 seconds, at most a day, give or take a tenth.
package enum RetryPolicy {
    /// The most a job waits before jitter.
    package static let delayMillisecondsMax: Int64 = 24 * 60 * 60 * 1000
    /// Jitter is at most this part of the delay, either way.
    package static let jitterDivisor: Int64 = 10

    /// Returns how long `job` waits after attempt number `attempt` failed.
    ///
    /// - Complexity: O(1), without allocation.
    package static func delayMilliseconds(job: JobID, attempt: UInt32) -> Int64 {
        // 18^4 s already exceeds a day, so that the fourth power of what is left can't overflow.
        let base = Int64(min(attempt, 18))
        let delay = min(base * base * base * base * 1000, delayMillisecondsMax)
        let reach = delay / jitterDivisor
        guard reach > 0 else { return delay }
        let jitter = Int64(hash(job.rawValue, attempt) % UInt64(2 * reach + 1)) - reach
        assert((-reach...reach).contains(jitter), "jitter stays within its bound")
        return min(delay + jitter, delayMillisecondsMax)
    }

    /// The finaliser of SplitMix64 over both numbers: every bit of each reaches every bit of the hash.
    private static func hash(_ job: UInt64, _ attempt: UInt32) -> UInt64 {
        var bits = job &+ 0x9E37_79B9_7F4A_7C15 &* (UInt64(attempt) &+ 1)
        bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
        return bits ^ (bits >> 31)
    }
}
