// How the store's values look in replies: the other half of the line protocol's table.

import Holdfast
import HoldfastEngine

extension JSONWriter {
    mutating func beginReply(isOK: Bool) {
        beginObject()
        key("ok")
        value(isOK)
    }

    mutating func endReply(request: [UInt8]?) {
        if let request {
            key("req")
            value(raw: request)
        }
        endObject()
    }

    // MARK: - Single fields

    mutating func field<Number: BinaryInteger>(_ name: StaticString, _ number: Number) {
        key(name)
        value(number)
    }

    mutating func field(_ name: StaticString, _ text: String) {
        key(name)
        value(text)
    }

    mutating func field(_ name: StaticString, _ flag: Bool) {
        key(name)
        value(flag)
    }

    /// Writes `null` for nothing.
    mutating func field(_ name: StaticString, optional text: String?) {
        key(name)
        if let text { value(text) } else { null() }
    }

    /// Writes `null` for nothing.
    mutating func field(_ name: StaticString, optional number: Int?) {
        key(name)
        if let number { value(number) } else { null() }
    }

    /// Writes `null` for nothing.
    mutating func field(_ name: StaticString, optional time: Timestamp?) {
        key(name)
        if let time { value(time.milliseconds) } else { null() }
    }

    /// Writes a value that a caller gave: JSON as it was sent. A program that embeds the store may have recorded other
    /// bytes: those come as a string, or as base 64 in a field named so.
    mutating func field(_ name: String, given bytes: [UInt8]?) {
        guard let bytes else {
            key(dynamic: name)
            return null()
        }
        if JSONDocument.isValid(bytes) {
            key(dynamic: name)
            value(raw: bytes)
        } else {
            text(name, bytes)
        }
    }

    /// Writes bytes as a string, or, when they are no UTF-8, as base 64 in a field named so.
    mutating func text(_ name: String, _ bytes: [UInt8]) {
        if String(validating: bytes.span) != nil {
            key(dynamic: name)
            value(utf8: bytes)
        } else {
            key(dynamic: name + "_b64")
            value(utf8: Base64.encode(bytes))
        }
    }

    mutating func field(_ name: StaticString, _ headers: [JobHeader]) {
        key(name)
        beginObject()
        for header in headers {
            key(dynamic: header.name)
            value(header.value)
        }
        endObject()
    }

    // MARK: - Fields of replies

    mutating func fields(of result: EnqueueResult) {
        field("id", result.id.rawValue)
        field("duplicate", result.isDuplicate)
        if result.isUpdated { field("updated", true) }
    }

    mutating func fields(of outcome: RequeueOutcome) {
        field("state", outcome.state.rawValue)
        field("run_at_ms", optional: outcome.runAt)
    }

    mutating func fields(of terms: QueueTerms) {
        field("paused", terms.isPaused)
        field("capacity", optional: terms.capacity)
        field("running_max", optional: terms.runningMax)
        key("retry")
        value(terms.retry)
        if let crashMax = terms.crashMax { field("crash_max", crashMax) }
        if let ageing = terms.ageing { field("ageing_ms", ageing) }
        if !terms.finalErrors.isEmpty { field("final_errors", terms.finalErrors.names) }
        fields(of: terms.sharing)
        if let deadMax = terms.retention.deadMax { field("dead_max", deadMax) }
        if let deadAge = terms.retention.deadAge { field("dead_age_ms", deadAge) }
        if let retention = terms.retention.results { field("result_retention_ms", retention) }
    }

    mutating func field(_ name: StaticString, _ texts: [String]) {
        key(name)
        beginArray()
        for text in texts { value(text) }
        endArray()
    }

    /// What is said of groups, where anything is.
    mutating func fields(of sharing: SharingTerms) {
        if let most = sharing.groupRunningMax { field("group_running_max", most) }
        if sharing.order != .free { field("group_order", sharing.order.name) }
        if let rate = sharing.rate { field("rate", rate) }
        if let rate = sharing.groupRate { field("group_rate", rate) }
        if let limiter = sharing.limiter {
            key("limiter")
            beginObject()
            field("name", limiter.name)
            field("size", limiter.size)
            endObject()
        }
    }

    mutating func field(_ name: StaticString, _ rate: RateLimit) {
        key(name)
        if rate == .none { return null() }
        beginObject()
        field("count", rate.count)
        field("period_ms", rate.periodMilliseconds)
        field("burst", rate.burst)
        endObject()
    }

    mutating func fields(of reply: BatchReply) {
        switch reply {
        case .enqueued(let result): fields(of: result)
        case .requeued(let outcome): fields(of: outcome)
        case .effect(let effect): fields(of: effect)
        case .done: break
        }
    }

    mutating func fieldsOfCancelled() { field("state", JobInfo.State.cancelled.rawValue) }

    mutating func fields(of summary: CompactionSummary) {
        field("bytes_before", summary.bytesBefore)
        field("bytes_after", summary.bytesAfter)
        field("segments_before", summary.segmentsBefore)
        field("segments_after", summary.segmentsAfter)
        guard let proof = summary.proof else { return }
        key("proof")
        beginObject()
        field("seq", proof.sequence.rawValue)
        field("digest_before", proof.before)
        field("digest_after", proof.after)
        endObject()
    }

    mutating func fields(of stats: StoreStats) {
        field("seq", stats.sequence.rawValue)
        key("queues")
        beginObject()
        for queue in stats.queues {
            key(dynamic: queue.name)
            beginObject()
            field("ready", queue.ready)
            field("scheduled", queue.scheduled)
            field("leased", queue.leased)
            field("dead", queue.dead)
            if queue.held > 0 { field("held", queue.held) }
            fields(of: queue.terms)
            endObject()
        }
        endObject()
        field("completed", stats.completed)
        field("unreadable", stats.unreadable)
        field("log_bytes", stats.logBytes)
        field("segments", stats.segments)
        field("sealed_segments", stats.sealedSegments)
        field("journal_segments", stats.journalSegments)
        field("commits", stats.commits)
        field("syncs", stats.syncs)
        field("stalls", stats.stalls)
    }

    mutating func field(_ name: StaticString, _ leases: [Lease]) {
        key(name)
        beginArray()
        for lease in leases { object(lease) }
        endArray()
    }

    mutating func field(_ name: StaticString, _ jobs: [JobInfo]) {
        key(name)
        beginArray()
        for job in jobs { object(job, withPayload: false) }
        endArray()
    }

    mutating func field(_ name: StaticString, _ records: [HistoryRecord]) {
        key(name)
        beginArray()
        for record in records { object(record) }
        endArray()
    }

    // MARK: - Objects

    mutating func object(_ error: JobStoreError) {
        beginObject()
        field("code", error.code.protocolName)
        field("message", error.message)
        if let index = error.index { field("index", index) }
        if let job = error.job { field("id", job.rawValue) }
        if let lost = error.lostLease { field("lease", lost) }
        endObject()
    }

    mutating func object(_ lease: Lease) {
        beginObject()
        field("id", lease.id.rawValue)
        field("token", lease.token.rawValue)
        field("attempt", lease.attempt)
        field("queue", lease.queue)
        field("priority", lease.priority)
        text("payload", lease.payload)
        field("headers", lease.headers)
        field("group", optional: lease.group)
        field("enqueued_at_ms", lease.enqueuedAt.milliseconds)
        field("deadline_ms", lease.deadline.milliseconds)
        if let end = lease.mustEndBy { field("must_end_by_ms", end.milliseconds) }
        field("last_error", optional: lease.lastError)
        fields(ofLabels: lease.labels, owner: lease.owner)
        if lease.isSecret { field("secret", true) }
        endObject()
    }

    mutating func object(_ job: JobInfo, withPayload: Bool) {
        beginObject()
        field("id", job.id.rawValue)
        field("queue", job.queue)
        field("state", job.state.rawValue)
        field("attempt", job.attempt)
        field("max_attempts", job.maxAttempts)
        if job.crashes > 0 { field("crashes", job.crashes) }
        field("priority", job.priority)
        field("group", optional: job.group)
        if job.weight != 1 { field("weight", job.weight) }
        field("enqueued_at_ms", optional: job.enqueuedAt)
        field("run_at_ms", optional: job.runAt)
        field("deadline_ms", optional: job.deadline)
        key("token")
        if let token = job.token { value(token.rawValue) } else { null() }
        field("worker", optional: job.worker)
        if let end = job.mustEndBy { field("must_end_by_ms", end.milliseconds) }
        if let reason = job.deadReason { field("dead_reason", reason.rawValue) }
        field("last_error", optional: job.lastError)
        field("progress", given: job.progress)
        field("result", given: job.result)
        if let until = job.resultKeptUntil { field("result_until_ms", until.milliseconds) }
        field("finished_at_ms", optional: job.finishedAt)
        if let dependencies = job.dependencies { fields(of: dependencies) }
        field("unique_key", optional: job.uniqueKey)
        field("headers", job.headers)
        fields(ofLabels: job.labels, owner: job.owner)
        if job.isSecret { field("secret", true) }
        if let key = job.payloadKeyID { field("payload_key", key) }
        if let error = job.payloadError { field("payload_error", error.message) }
        if withPayload {
            if let payload = job.payload {
                text("payload", payload)
            } else if job.isSecret || job.payloadKeyID != nil {
                key("payload")
                null()
            }
        }
        endObject()
    }

    /// Writes labels and owner, where there are any.
    private mutating func fields(ofLabels labels: [String: String], owner: String?) {
        if !labels.isEmpty { field("labels", labels: labels) }
        if let owner { field("owner", owner) }
    }

    mutating func field(_ name: StaticString, labels: [String: String]) {
        key(name)
        beginObject()
        for (name, text) in labels.sorted(by: { $0.key < $1.key }) {
            key(dynamic: name)
            value(text)
        }
        endObject()
    }

    mutating func object(_ record: HistoryRecord) {
        beginObject()
        fieldsOfHead(record)
        fields(of: record)
        endObject()
    }

    mutating func fieldsOfHead(_ record: HistoryRecord) {
        field("seq", record.sequence.rawValue)
        field("at_ms", record.time.milliseconds)
        field("kind", record.kind)
    }

    mutating func fields(of record: HistoryRecord) {
        for entry in record.fields {
            switch entry.value {
            case .bytes(let bytes) where entry.name == "payload": text("payload", bytes)
            case .bytes(let bytes): field(entry.name, given: bytes)
            case .integer(let number):
                key(dynamic: entry.name)
                value(number)
            case .text(let string):
                key(dynamic: entry.name)
                value(string)
            case .flag(let flag):
                key(dynamic: entry.name)
                value(flag)
            }
        }
    }
}

extension JobStoreError.Code {
    /// The code in the line protocol, whose list is closed: what the library tells apart beyond it is one of these.
    var protocolName: String {
        switch self {
        case .notAStore: Self.unsupportedFormat.name
        case .permissionDenied: Self.ioError.name
        case .beyondHistory: Self.notFound.name
        case .effectMismatch, .versionConflict, .payloadCodec: Self.invalidState.name
        default: name
        }
    }
}
