// Rates and shared slots in words.

package import HoldfastEngine

extension RateLimit: CustomStringConvertible {
    /// For people.
    package var description: String {
        if count == 0 { return "none" }
        let at = burst == count ? "" : ", \(burst) at once"
        return "\(count) in \(periodMilliseconds) ms\(at)"
    }
}

extension SharedLimiter: CustomStringConvertible {
    /// For people.
    package var description: String { size == 0 ? "none" : "\(size) of \(name)" }
}
