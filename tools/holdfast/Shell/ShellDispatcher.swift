// From a line to an operation of the store: the table of the line protocol. Submitting decides an operation at once,
// in the order of the lines; the answer is waited for by whoever writes the replies, in the same order, so that all
// lines read meanwhile share a commit.

import Holdfast
import HoldfastEngine

/// Turns request lines into operations on one store.
struct ShellDispatcher: Sendable {
    let store: JobStore
    /// Whose enqueues wait, if it may go before its store does.
    var client: WaitingClient?

    /// Submits the request in `line`.
    ///
    /// - Complexity: Waits for room in the journal only, except for `checkpoint`, `compact` and the like, which run to
    ///   their end so that what follows happens after them.
    func submit(_ line: [UInt8]) -> PendingReply {
        let document: JSONDocument
        do throws(JSONError) {
            document = try JSONDocument(line)
        } catch {
            return PendingReply(refusal: JobStoreError(.badRequest, "the line is not valid JSON: \(error)"))
        }
        let root = document.root
        let request = root.kind == .object ? root["req"].map { [UInt8]($0.raw) } : nil
        do throws(JobStoreError) {
            let fields = try RequestFields(root)
            return PendingReply(request: request, waitsForRoom: fields.has("wait_ms"), body: try submit(fields))
        } catch {
            return PendingReply(refusal: error, request: request)
        }
    }

    private func submit(_ fields: RequestFields) throws(JobStoreError) -> PendingReply.Body {
        let name = try fields.requiredText("op")
        switch name {
        case "enqueue": return try enqueue(fields)
        case "lease": return try lease(fields)
        case "ack", "requeue", "bury": return try settle(name, fields)
        case "heartbeat": return try heartbeat(fields)
        case "cancel":
            return PendingReply.body(store.submitCancel(try fields.id())) { $1.fieldsOfCancelled() }
        case "edit":
            return PendingReply.body(store.submitEdit(try fields.id(), try fields.jobEdit())) { _, _ in }
        case "release": return PendingReply.body(store.submitRelease(try fields.id())) { _, _ in }
        case "batch": return try batch(fields)
        case "redrive": return try redrive(fields)
        case "purge": return try purge(fields)
        case "pause":
            return PendingReply.body(store.submitPause(try fields.requiredText("queue"))) { _, _ in }
        case "resume":
            return PendingReply.body(store.submitResume(try fields.requiredText("queue"))) { _, _ in }
        case "configure": return try configure(fields)
        case "configure_store": return try configureStore(fields)
        case "drain":
            return PendingReply.body(store.submitDrain(try fields.requiredText("queue"))) {
                $1.field("pending", $0.pending)
                $1.field("leased", $0.leased)
            }
        case "checkpoint": return maintenance(name, proves: false)
        case "compact": return maintenance(name, proves: try fields.flag("prove") ?? false)
        default: return try inspection(name, fields)
        }
    }

    // MARK: - Operations with more fields

    private func lease(_ fields: RequestFields) throws(JobStoreError) -> PendingReply.Body {
        PendingReply.body(store.submitLease(try fields.lease())) { $1.field("leases", $0) }
    }

    /// Settles a job, and with `then_lease` leases the next in the same commit.
    private func settle(_ name: String, _ fields: RequestFields) throws(JobStoreError) -> PendingReply.Body {
        let lease = try fields.identity()
        let next = try fields.fields("then_lease")?.lease()
        switch name {
        case "ack":
            let (result, keepFor) = (fields.raw("result"), try fields.milliseconds("keep_ms"))
            guard let next else {
                return PendingReply.body(store.submitAck(lease, result: result, keepFor: keepFor)) { _, _ in }
            }
            return PendingReply.body(store.submitAck(lease, result: result, keepFor: keepFor, thenLease: next)) {
                $1.field("leases", $0.leases)
            }
        case "bury":
            let error = try fields.text("error")
            guard let next else { return PendingReply.body(store.submitBury(lease, error: error)) { _, _ in } }
            return PendingReply.body(store.submitBury(lease, error: error, thenLease: next)) {
                $1.field("leases", $0.leases)
            }
        default:
            let (after, error) = (try fields.milliseconds("delay_ms"), try fields.text("error") ?? "")
            let (errorClass, counts) = (try fields.text("error_class"), try fields.flag("counts") ?? true)
            guard let next else {
                return PendingReply.body(
                    store.submitRequeue(
                        lease, after: after, error: error, errorClass: errorClass, countsAttempt: counts)
                ) { $1.fields(of: $0) }
            }
            return PendingReply.body(
                store.submitRequeue(
                    lease, after: after, error: error, errorClass: errorClass, countsAttempt: counts, thenLease: next)
            ) {
                $1.fields(of: $0.outcome)
                $1.field("leases", $0.leases)
            }
        }
    }

    private func heartbeat(_ fields: RequestFields) throws(JobStoreError) -> PendingReply.Body {
        let deadline = store.submitHeartbeat(
            try fields.identity(), for: try fields.milliseconds("lease_ms") ?? .seconds(30),
            progress: fields.raw("progress"))
        return PendingReply.body(deadline) { $1.field("deadline_ms", $0.milliseconds) }
    }

    private func configure(_ fields: RequestFields) throws(JobStoreError) -> PendingReply.Body {
        let settings = QueueSettings(
            queue: try fields.requiredText("queue"), capacity: try fields.limit("capacity"),
            runningMax: try fields.limit("running_max"), retry: try fields.retry(),
            crashMax: try fields.limit("crash_max"), finalErrors: try fields.finalErrors().map { ErrorClasses($0) },
            sharing: try fields.sharing(), retention: try fields.retention(),
            ageing: try fields.limit("ageing_ms").map { Int64($0) })
        return PendingReply.body(store.submitConfigure(settings)) { $1.fields(of: $0) }
    }

    private func redrive(_ fields: RequestFields) throws(JobStoreError) -> PendingReply.Body {
        switch (fields.has("id"), fields.has("queue")) {
        case (true, false):
            if let stray = (["where", "limit", "per_second", "dry_run"] as [StaticString]).first(where: fields.has) {
                throw JobStoreError(
                    .badRequest, "`\(stray)` goes with `queue`, and not with `id`; leave it out, or give the queue")
            }
            return PendingReply.body(store.submitRedrive(try fields.id())) {
                $1.field("count", 1)
                $1.field("skipped", 0)
            }
        case (false, true):
            if fields.has("where") || fields.has("per_second") || fields.has("dry_run") {
                return try redriveWhere(fields)
            }
            let limit = try fields.integer("limit") ?? 10_000
            return PendingReply.body(
                store.submitRedrive(queue: try fields.requiredText("queue"), limit: Int(limit))
            ) {
                $1.field("count", $0.count)
                $1.field("skipped", $0.skipped)
            }
        default:
            throw JobStoreError(.badRequest, "a redrive needs either `id`, or `queue` and `limit`; give one of them")
        }
    }

    private func purge(_ fields: RequestFields) throws(JobStoreError) -> PendingReply.Body {
        if fields.has("where") || fields.has("dry_run") { return try purgeWhere(fields) }
        if fields.has("limit") {
            throw JobStoreError(.badRequest, "`limit` goes with `where`; give that too, or leave it out to purge all")
        }
        let states = try fields.purgedStates()
        let purge =
            if fields.has("labels") || fields.has("owner") {
                store.submitCancelJobs(
                    labels: try fields.labels(), owner: try fields.text("owner"), queue: try fields.text("queue"),
                    states: PurgeStates(states))
            } else {
                store.submitPurge(queue: try fields.requiredText("queue"), states: PurgeStates(states))
            }
        return PendingReply.body(purge) {
            $1.field("count", $0.count)
            for state in states {
                $1.key(dynamic: state.rawValue)
                $1.value($0.count(of: state))
            }
        }
    }

    private func inspection(_ name: String, _ fields: RequestFields) throws(JobStoreError) -> PendingReply.Body {
        switch name {
        case "job":
            let id = try fields.id()
            let job = store.submitJob(id, showingSecrets: try fields.flag("show_secrets") ?? false)
            return { writer throws(JobStoreError) in
                guard let job = try job.valueBlocking() else {
                    throw JobStoreError(.notFound, "there is no job \(id), or compaction has dropped it; check `id`")
                }
                writer.beginReply(isOK: true)
                writer.key("job")
                writer.object(job, withPayload: true)
            }
        case "explain":
            let id = try fields.id()
            let explanation = store.submitExplain(id)
            return { writer throws(JobStoreError) in
                guard let explanation = try explanation.valueBlocking() else {
                    throw JobStoreError(.notFound, "there is no job \(id), or compaction has dropped it; check `id`")
                }
                writer.beginReply(isOK: true)
                writer.fields(of: explanation)
            }
        case "jobs": return PendingReply.body(store.submitJobs(try jobFilter(fields))) { $1.field("jobs", $0) }
        case "history": return history(of: try fields.id())
        case "stats": return PendingReply.body(store.submitStats()) { $1.fields(of: $0) }
        case "digest":
            return PendingReply.body(store.submitDigest()) {
                $1.field("seq", $0.sequence.rawValue)
                $1.field("digest", $0.hex)
            }
        case "now": return PendingReply.body(store.submitNow()) { $1.field("now_ms", $0.milliseconds) }
        case "advance":
            return PendingReply.body(store.submitAdvanceClock(by: try fields.requiredCount("ms"))) {
                $1.field("now_ms", $0.milliseconds)
            }
        default:
            if let body = try cursorOperation(name, fields) { return body }
            if let body = try effectOperation(name, fields) { return body }
            if let body = try deadLetterOperation(name, fields) { return body }
            throw JobStoreError(
                .badRequest, "`op` is \"\(name.prefix(40))\", which is no operation; see holdfast shell --help")
        }
    }

    private func history(of id: JobID) -> PendingReply.Body {
        let (records, stats) = (store.submitHistory(of: id), store.submitStats())
        return { writer throws(JobStoreError) in
            let records = try records.valueBlocking()
            // A job of which nothing is left has an empty history; one that never was has none.
            if records.isEmpty {
                let last = try stats.valueBlocking().sequence
                if id.sequence > last { throw JobStoreError(.notFound, "there is no job \(id) yet; check `id`") }
            }
            writer.beginReply(isOK: true)
            writer.field("records", records)
        }
    }

    private func jobFilter(_ fields: RequestFields) throws(JobStoreError) -> JobFilter {
        var filter = JobFilter()
        filter.queue = try fields.text("queue")
        filter.state = try fields.text("state").map { (name) throws(JobStoreError) in
            try RequestFields.state(name, "state", oneOf: JobInfo.State.allCases)
        }
        if let limit = try fields.integer("limit") { filter.limit = Int(limit) }
        filter.after = try fields.count("after").map { JobID(UInt64($0)) }
        (filter.labels, filter.owner) = (try fields.labels(), try fields.text("owner"))
        return filter
    }

    // MARK: - Batches

    /// How to write the reply to one operation of a batch.
    private struct BatchEntry: Sendable {
        let request: [UInt8]?
        let isCancel: Bool
    }

    private func batch(_ fields: RequestFields) throws(JobStoreError) -> PendingReply.Body {
        guard let elements = fields.object["ops"]?.elements else {
            throw JobStoreError(.badRequest, "`ops` is missing or no list; give a list of requests")
        }
        var operations: [BatchOperation] = []
        var entries: [BatchEntry] = []
        operations.reserveCapacity(elements.count)
        for (index, element) in elements.enumerated() {
            do throws(JobStoreError) {
                let fields = try RequestFields(element)
                let operation = try batchOperation(fields)
                operations.append(operation)
                if case .cancel = operation {
                    entries.append(BatchEntry(request: fields.raw("req"), isCancel: true))
                } else {
                    entries.append(BatchEntry(request: fields.raw("req"), isCancel: false))
                }
            } catch {
                throw error.at(index)
            }
        }
        let encode = { @Sendable [entries] (replies: [BatchReply], writer: inout JSONWriter) in
            writer.key("results")
            writer.beginArray()
            for (entry, reply) in zip(entries, replies) {
                writer.beginReply(isOK: true)
                if entry.isCancel { writer.fieldsOfCancelled() } else { writer.fields(of: reply) }
                writer.endReply(request: entry.request)
            }
            writer.endArray()
        }
        guard let wait = try fields.wait() else { return PendingReply.body(store.submitBatch(operations), encode) }
        return PendingReply.body(store.submitBatch(operations, waitingUpTo: wait, for: client), encode)
    }

    private func batchOperation(_ fields: RequestFields) throws(JobStoreError) -> BatchOperation {
        if fields.has("then_lease") {
            throw JobStoreError(.badRequest, "a batch can't lease; send the request with `then_lease` on its own")
        }
        switch try fields.requiredText("op") {
        case "enqueue":
            if fields.has("wait_ms") {
                throw JobStoreError(.badRequest, "a batch waits as a whole; put `wait_ms` beside `ops`")
            }
            return .enqueue(
                queue: try fields.requiredText("queue"), payload: try fields.payload(),
                options: try fields.enqueueOptions())
        case "ack":
            return .ack(
                try fields.identity(), result: fields.raw("result"), keepFor: try fields.milliseconds("keep_ms"))
        case "requeue":
            return .requeue(
                try fields.identity(), after: try fields.milliseconds("delay_ms"),
                error: try fields.text("error") ?? "", errorClass: try fields.text("error_class"),
                countsAttempt: try fields.flag("counts") ?? true)
        case "bury": return .bury(try fields.identity(), error: try fields.text("error"))
        case "cancel": return .cancel(try fields.id())
        case "edit": return .edit(try fields.id(), try fields.jobEdit())
        case "effect":
            if fields.has("failed") || fields.has("keep_ms") {
                throw JobStoreError(
                    .badRequest,
                    "a batch records values that last; send the effect with `failed` or `keep_ms` on its own")
            }
            return .effect(
                scope: try fields.requiredText("scope"), key: try fields.requiredText("key"),
                fencedBy: try fields.fence(), tag: try fields.text("tag") ?? "",
                value: try fields.requiredRaw("value"))
        case let name:
            throw JobStoreError(
                .badRequest,
                "`op` is \"\(name.prefix(40))\" in a batch; "
                    + "a batch takes enqueue, ack, requeue, bury, cancel, edit and effect"
            )
        }
    }

    // MARK: - Maintenance

    private func maintenance(_ name: String, proves: Bool) -> PendingReply.Body {
        finished { () throws(JobStoreError) in
            if name == "checkpoint" {
                let sequence = try store.blocking.checkpoint()
                return { $0.field("seq", sequence.rawValue) }
            }
            let summary = try store.blocking.compact(proving: proves)
            return { $0.fields(of: summary) }
        }
    }

    /// Runs `operation` to its end here, on the reader's thread: what follows in the stream must happen after it.
    ///
    /// - Parameter operation: Returns what writes the fields of the reply.
    func finished(
        _ operation: () throws(JobStoreError) -> @Sendable (inout JSONWriter) -> Void
    ) -> PendingReply.Body {
        let outcome: Result<@Sendable (inout JSONWriter) -> Void, JobStoreError>
        do throws(JobStoreError) {
            // Waiting for `now` waits for everything submitted before.
            _ = try store.submitNow().valueBlocking()
            outcome = .success(try operation())
        } catch {
            outcome = .failure(error)
        }
        return { writer throws(JobStoreError) in
            let fields = try outcome.get()
            writer.beginReply(isOK: true)
            fields(&writer)
        }
    }
}
