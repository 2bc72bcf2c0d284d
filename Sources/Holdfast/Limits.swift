// What the store accepts. Each check names the field, what was given and what to give instead; nothing that fails one
// reaches the state. The limits on records are the engine's; those on requests are the line protocol's.

internal import HoldfastBytes
internal import HoldfastEngine

/// The limits on requests.
package enum Limits {
    /// The most jobs one call leases, lists or redrives.
    package static let countMax = 10_000
    /// The most operations in a batch.
    package static let batchOperationsMax = 10_000
    /// The most bytes of payloads, values and results in a batch.
    package static let batchBytesMax = 64 << 20
    /// The most bytes of payloads that one call leases, unless the first payload alone is longer.
    package static let leasedBytesMax = 32 << 20
    /// The most that a record takes that names jobs and nothing else.
    static let shortRecordBytesMax = 32
    /// The most that a record takes without a value: two names, and what says which jobs it is about.
    static let namedRecordBytesMax = 2 * RecordLimits.nameBytesMax + 64
    /// The most that priority, attempts, times and such add to a record, and the lengths of its names.
    static let optionBytesMax = 64
    /// The most that an element of a list takes beside its text: two lengths, or a number of milliseconds.
    static let listedBytesMax = 6
    /// The most that the record of a lease takes: queue, group and worker.
    static let leaseRecordBytesMax = 3 * RecordLimits.nameBytesMax + optionBytesMax
    /// The longest lease.
    package static let leaseMillisecondsMax: Int64 = 7 * 24 * 3600 * 1000
    /// The most that `resultBytesMax` can be set to.
    package static let resultBytesMax = RecordLimits.valueBytesMax
    /// The most that `payloadBytesMax` can be set to.
    package static let payloadBytesMax = RecordLimits.payloadBytesMax

    static func checkName(_ name: String, _ field: String) throws(JobStoreError) {
        let count = name.utf8.count
        guard (1...RecordLimits.nameBytesMax).contains(count) else {
            throw JobStoreError(
                .badRequest,
                "`\(field)` is \(count) bytes long; give a name of 1 to \(RecordLimits.nameBytesMax) bytes")
        }
    }

    static func checkWorker(_ worker: String) throws(JobStoreError) {
        guard worker.utf8.count <= RecordLimits.nameBytesMax else {
            throw JobStoreError(
                .badRequest,
                "`worker` is \(worker.utf8.count) bytes long; shorten it to \(RecordLimits.nameBytesMax) bytes")
        }
    }

    static func checkCrashes(_ count: Int) throws(JobStoreError) {
        guard (1...JobTerms.crashesMax).contains(count) else {
            throw JobStoreError(.badRequest, "`crash_max` is \(count); give 1 to \(JobTerms.crashesMax)")
        }
    }

    static func errorClasses(_ names: [String]) throws(JobStoreError) -> ErrorClasses {
        for name in names { try checkName(name, "final_errors") }
        let classes = ErrorClasses(names)
        guard classes.isValid else {
            throw JobStoreError(
                .badRequest,
                "`final_errors` names \(classes.names.count) classes; give at most \(ErrorClasses.countMax)")
        }
        return classes
    }

    static func checkCount(_ count: Int, _ field: String) throws(JobStoreError) {
        guard (1...countMax).contains(count) else {
            throw JobStoreError(.badRequest, "`\(field)` is \(count); give 1 to \(countMax)")
        }
    }

    static func checkValue(_ bytes: [UInt8]?, _ field: String) throws(JobStoreError) {
        try checkValueBytes(bytes?.count ?? 0, field)
    }

    static func checkValue(_ text: String?, _ field: String) throws(JobStoreError) {
        try checkValueBytes(text?.utf8.count ?? 0, field)
    }

    private static func checkValueBytes(_ count: Int, _ field: String) throws(JobStoreError) {
        guard count <= RecordLimits.valueBytesMax else {
            throw JobStoreError(
                .tooLarge, "`\(field)` is \(count) bytes long; shorten it to \(RecordLimits.valueBytesMax) bytes")
        }
    }

    static func checkHeaders(_ headers: [JobHeader]) throws(JobStoreError) {
        guard !headers.isEmpty else { return }
        guard headers.count <= RecordLimits.headersCountMax else {
            throw JobStoreError(
                .badRequest, "`headers` holds \(headers.count) pairs; give at most \(RecordLimits.headersCountMax)")
        }
        var count = 0
        for header in headers { count += header.name.utf8.count + header.value.utf8.count }
        guard count <= RecordLimits.headersBytesMax else {
            throw JobStoreError(
                .badRequest, "`headers` is \(count) bytes long; give at most \(RecordLimits.headersBytesMax)")
        }
    }

    static func checkPayload(_ payload: [UInt8], _ store: JobStoreOptions) throws(JobStoreError) {
        try checkPayloadBytes(payload.count, store)
        guard !PayloadEnvelope.isMarked(payload) else {
            throw JobStoreError(
                .badRequest, "`payload` begins like one that is encoded; put another byte in front of it")
        }
    }

    static func checkPayloadBytes(_ count: Int, _ store: JobStoreOptions) throws(JobStoreError) {
        guard count <= store.payloadBytesMax else {
            throw JobStoreError(
                .tooLarge, "`payload` is \(count) bytes long; shorten it to \(store.payloadBytesMax) bytes")
        }
    }

    /// The beginning of a text that others wrote, such as a codec's error: the store records no more of it.
    static func shortened(_ text: String) -> String {
        guard text.utf8.count > textBytesMax else { return text }
        var (short, bytes) = (String.UnicodeScalarView(), 0)
        for scalar in text.unicodeScalars {
            bytes += UTF8.width(scalar)
            guard bytes <= textBytesMax else { break }
            short.append(scalar)
        }
        return String(short) + "..."
    }

    private static let textBytesMax = 1 << 10

    static func checkPriority(_ priority: Int) throws(JobStoreError) {
        guard Int8(exactly: priority) != nil else {
            throw JobStoreError(.badRequest, "`priority` is \(priority); give -128 to 127")
        }
    }

    static func checkMaxAttempts(_ count: Int) throws(JobStoreError) {
        guard (1...Int(RecordLimits.maxAttemptsMax)).contains(count) else {
            throw JobStoreError(
                .badRequest, "`max_attempts` is \(count); give 1 to \(RecordLimits.maxAttemptsMax)")
        }
    }

    /// Returns when a job may run that is to wait for an instant, or for a time from `now` on; `nil` when it is to wait
    /// for neither.
    static func runAt(
        _ instant: Timestamp?, after delay: Duration?, at now: Timestamp
    ) throws(JobStoreError) -> Timestamp? {
        if let delay { return try self.instant(now, plus: delayMilliseconds(delay, "delay_ms"), "delay_ms") }
        guard let instant else { return nil }
        guard instant <= .max else {
            throw JobStoreError(.badRequest, "`run_at_ms` is \(instant), after the year 9999; give an earlier time")
        }
        return instant
    }

    /// Returns a lease's length in milliseconds.
    static func leaseMilliseconds(_ duration: Duration) throws(JobStoreError) -> Int64 {
        guard let milliseconds = duration.wholeMilliseconds, (1...leaseMillisecondsMax).contains(milliseconds) else {
            throw JobStoreError(.badRequest, "`lease_ms` is \(duration); give 1 ms to 7 days")
        }
        return milliseconds
    }

    /// Returns a delay in milliseconds.
    static func delayMilliseconds(
        _ duration: Duration, _ field: String, atLeast minimum: Int64 = 0
    ) throws(JobStoreError) -> Int64 {
        guard let milliseconds = duration.wholeMilliseconds, milliseconds >= minimum else {
            throw JobStoreError(
                .badRequest, "`\(field)` is \(duration); give \(minimum) ms or more, ending before the year 10000")
        }
        return milliseconds
    }

    /// Returns the instant `milliseconds` after `now`.
    static func instant(
        _ now: Timestamp, plus milliseconds: Int64, _ field: String
    ) throws(JobStoreError) -> Timestamp {
        let (sum, overflow) = now.milliseconds.addingReportingOverflow(milliseconds)
        guard !overflow, sum <= Timestamp.max.milliseconds else {
            throw JobStoreError(.badRequest, "`\(field)` ends after the year 9999; give a shorter time")
        }
        return Timestamp(milliseconds: sum)
    }
}

extension Duration {
    /// This duration in milliseconds, rounded down; `nil` when that overflows.
    var wholeMilliseconds: Int64? {
        let (seconds, attoseconds) = components
        let (product, productOverflow) = seconds.multipliedReportingOverflow(by: 1000)
        let (fraction, remainder) = attoseconds.quotientAndRemainder(dividingBy: 1_000_000_000_000_000)
        let (sum, sumOverflow) = product.addingReportingOverflow(remainder < 0 ? fraction - 1 : fraction)
        return productOverflow || sumOverflow ? nil : sum
    }
}
