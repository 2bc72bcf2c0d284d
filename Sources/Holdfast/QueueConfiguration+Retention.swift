// How long a queue keeps what has ended.

package import HoldfastEngine

extension QueueConfiguration {
    /// The part of a change of settings that is about that.
    ///
    /// - Throws: `.badRequest` for a time out of bounds.
    package func retention() throws(JobStoreError) -> RetentionSettings {
        RetentionSettings(
            deadMax: deadMax ?? 0, deadAge: try Self.milliseconds(deadAge, "dead_age_ms"),
            results: try Self.milliseconds(resultRetention, "result_retention_ms"))
    }

    /// Returns a length of time; 0 for none.
    private static func milliseconds(_ duration: Duration?, _ field: String) throws(JobStoreError) -> Int64 {
        guard let duration else { return 0 }
        guard let milliseconds = duration.wholeMilliseconds, (1...RetentionTerms.longest).contains(milliseconds) else {
            throw RetentionSettings.refusal(of: "\(duration)", field)
        }
        return milliseconds
    }
}

extension RetentionSettings {
    func validate() throws(JobStoreError) {
        for (span, field) in [(deadAge, "dead_age_ms"), (results, "result_retention_ms")] {
            guard let span, !(0...RetentionTerms.longest).contains(span) else { continue }
            throw Self.refusal(of: "\(span)", field)
        }
    }

    fileprivate static func refusal(of span: String, _ field: String) -> JobStoreError {
        JobStoreError(.badRequest, "`\(field)` is \(span); give 1 ms to 365,000 days, or nothing for no limit")
    }
}
