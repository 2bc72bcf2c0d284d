// How long a queue keeps what has ended, for people, and as an owner of the store answers it.

import Holdfast
import HoldfastEngine

extension RetentionTerms {
    /// Takes them from what an owner says of a queue.
    init(reply: JSONValue) {
        self.init()
        deadMax = reply["dead_max"]?.integer.map { Int($0) }
        deadAge = reply["dead_age_ms"]?.integer
        results = reply["result_retention_ms"]?.integer
    }

    /// What was set; `nil` when nothing was.
    var words: String? {
        let parts = [
            deadMax.map { "keeps \(Terminal.count($0, "dead job"))" },
            deadAge.map { "keeps dead jobs for \(Duration.milliseconds($0).words)" },
            results.map { "keeps results for \(Duration.milliseconds($0).words)" },
        ].compactMap(\.self)
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }
}
