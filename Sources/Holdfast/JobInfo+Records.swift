// What inspection shows, put together from the state's entry of a job and its records.

internal import HoldfastBytes
package import HoldfastEngine
internal import HoldfastLog

extension JobInfo {
    /// A job as its enqueue record describes it.
    init(_ id: JobID, _ enqueue: Enqueue, enqueuedAt: Timestamp, state: State) {
        self.init(id: id, queue: enqueue.lane.queue, state: state)
        take(enqueue.lane)
        take(enqueue, enqueuedAt)
    }

    /// A ready job of which nothing but its place is known.
    init(_ id: JobID, _ lane: Lane) {
        self.init(id: id, queue: lane.queue, state: .ready)
        take(lane)
    }

    /// A job that has an entry. What can't be read of it is left out.
    init(
        _ id: JobID, _ status: JobStatus, _ enqueued: (Enqueue, Timestamp)?, from records: any PastRecords
    ) throws(LogError) {
        self.init(id: id, queue: status.lane.queue, state: State(status.state))
        take(status.lane)
        if let (enqueue, time) = enqueued { take(enqueue, time) }
        if let sequence = status.payloadSequence { payload = try records.edit(sequence)?.payload }
        if let sequence = status.headersSequence {
            headers = try records.edit(sequence)?.headers.map(JobHeader.list) ?? []
        }
        attempt = Int(status.attempt)
        crashes = Int(status.crashes)
        dependencies = status.dependencies.map { Dependencies($0) }
        if state == .scheduled { runAt = status.runAt }
        if state == .leased {
            deadline = status.deadline
            token = status.token
            mustEndBy = status.mustEndBy
            worker = status.worker
        }
        if state == .dead {
            finishedAt = status.diedAt
            deadReason = status.deadReason.map(DeadReason.init)
        }
        if let sequence = status.lastErrorSequence { lastError = try records.record(sequence)?.mutation.failureText }
        if let sequence = status.progressSequence,
            case .heartbeat(let heartbeat) = try records.record(sequence)?.mutation
        {
            progress = heartbeat.progress
        }
    }

    /// A job that the state does not know (any more), as its records tell; `nil` when they don't say how it ended.
    init?(_ id: JobID, _ enqueue: Enqueue, enqueuedAt: Timestamp, finishedBy records: [Record]) {
        self.init(id, enqueue, enqueuedAt: enqueuedAt, state: .completed)
        for record in records {
            switch record.mutation {
            case .lease(let grant): attempt = Int(grant.attempt)
            case .requeue(let requeue) where !requeue.countsAttempt: attempt = max(attempt - 1, 0)
            case .redrive: (attempt, crashes) = (0, 0)
            case .expire(.lease): crashes += 1
            case .edit(let edit):
                take(edit.to)
                payload = edit.payload ?? payload
                headers = edit.headers.map(JobHeader.list) ?? headers
            case .heartbeat(let heartbeat): progress = heartbeat.progress ?? progress
            case .ack(let ack):
                (state, result, finishedAt) = (.completed, ack.result, record.time)
                resultKeptUntil = ack.until
            case .cancel: (state, finishedAt) = (.cancelled, record.time)
            default: break
            }
            lastError = record.mutation.failureText ?? lastError
        }
        if finishedAt == nil { return nil }
    }

    private mutating func take(_ lane: Lane) {
        queue = lane.queue
        priority = Int(lane.priority)
        maxAttempts = Int(lane.maxAttempts)
        group = lane.group.isEmpty ? nil : lane.group
        weight = Int(lane.weight)
    }

    private mutating func take(_ enqueue: Enqueue, _ time: Timestamp) {
        enqueuedAt = time
        uniqueKey = enqueue.uniqueKey
        headers = JobHeader.list(enqueue.headers)
        payload = enqueue.payload
        isSecret = enqueue.isSecret
        labels = [String: String](enqueue.labels)
        owner = enqueue.labels.owner
    }
}

extension JobInfo.DeadReason {
    package init(_ reason: DeadReason) {
        switch reason {
        case .attemptsUsedUp: self = .attemptsUsedUp
        case .startByPassed: self = .ttlExpired
        case .buried: self = .buried
        case .unreadable: self = .unreadable
        case .poison: self = .poison
        case .finalError: self = .finalError
        case .dependency: self = .dependency
        }
    }
}

extension JobHeader {
    static func list(_ headers: [Enqueue.Header]) -> [JobHeader] {
        headers.map { JobHeader(name: $0.name, value: $0.value) }
    }
}

extension PastRecords {
    /// Returns the edit record at `sequence`; `nil` when it is not there (any more).
    fileprivate func edit(_ sequence: SequenceNumber) throws(LogError) -> Edit? {
        guard case .edit(let edit) = try record(sequence)?.mutation else { return nil }
        return edit
    }
}

extension HistoryRecord {
    /// Shows a record.
    package init(_ record: Record) {
        sequence = record.sequence
        time = record.time
        var list = FieldList()
        kind = Self.describe(record.mutation, &list)
        fields = list.fields
    }

    /// Collects the fields that are there.
    private struct FieldList {
        var fields: [Field] = []

        mutating func add(_ name: String, _ value: Int64) { fields.append(Field(name: name, value: .integer(value))) }
        mutating func add(_ name: String, _ value: LeaseToken) { add(name, Int64(clamping: value.rawValue)) }
        mutating func add(_ name: String, _ value: Timestamp?) { if let value { add(name, value.milliseconds) } }
        mutating func add(_ name: String, _ value: Bool) { fields.append(Field(name: name, value: .flag(value))) }
        mutating func add(_ name: String, _ value: String?) {
            if let value, !value.isEmpty { fields.append(Field(name: name, value: .text(value))) }
        }
        mutating func add(_ name: String, _ value: [UInt8]?) {
            if let value { fields.append(Field(name: name, value: .bytes(value))) }
        }
    }

    private static func describe(_ mutation: Mutation, _ list: inout FieldList) -> String {
        switch mutation {
        case .enqueue(let enqueue):
            describe(enqueue, &list)
            return "enqueue"
        case .lease(let grant):
            list.add("attempt", Int64(grant.attempt))
            list.add("deadline_ms", grant.deadline)
            list.add("worker", grant.worker)
            return "lease"
        case .heartbeat(let heartbeat):
            list.add("token", heartbeat.token)
            list.add("deadline_ms", heartbeat.deadline)
            list.add("progress", heartbeat.progress)
            return "heartbeat"
        case .ack(let ack):
            list.add("token", ack.token)
            list.add("until_ms", ack.until)
            list.add("result", ack.result)
            return "ack"
        case .requeue(let requeue):
            describe(requeue, &list)
            return "requeue"
        case .expire(let expire):
            describe(expire, &list)
            return "expire"
        case .bury(let bury):
            list.add("token", bury.token)
            list.add("reason", bury.reason == .unreadable ? "unreadable" : "buried")
            list.add("error", bury.error)
            return "bury"
        case .redrive(let redrive):
            list.add("run_at_ms", redrive.runAt)
            return "redrive"
        case .cancel: return "cancel"
        case .edit(let edit):
            describe(edit, &list)
            return "edit"
        case .release: return "release"
        case .effect(let effect):
            list.add("scope", effect.scope)
            list.add("key", effect.key)
            list.add("tag", effect.tag)
            if effect.isFailure { list.add("failed", true) }
            list.add("until_ms", effect.until)
            list.add("value", effect.value)
            return "effect"
        case .effectRemove(let remove):
            list.add("scope", remove.scope)
            list.add("key", remove.key)
            return "effect_remove"
        case .queueSettings(let settings):
            describe(settings, &list)
            return "queue_settings"
        case .clock: return "clock"
        case .cursorSet(let set):
            list.add("cursor", set.name)
            list.add("next", Int64(clamping: set.cursor.next.rawValue))
            return "cursor_set"
        case .cursorRemove(let remove):
            list.add("cursor", remove.name)
            return "cursor_remove"
        case .storeSettings(let settings):
            if let jobs = settings.jobs { list.add("jobs", Int64(jobs)) }
            if let bytes = settings.payloadBytes { list.add("payload_bytes", Int64(bytes)) }
            return "store_settings"
        }
    }

    private static func describe(_ settings: QueueSettings, _ list: inout FieldList) {
        list.add("queue", settings.queue)
        if let isPaused = settings.isPaused { list.add("paused", isPaused) }
        if let capacity = settings.capacity { list.add("capacity", Int64(capacity)) }
        if let runningMax = settings.runningMax { list.add("running_max", Int64(runningMax)) }
        if let retry = settings.retry { list.add("retry", retry.description) }
        if let crashMax = settings.crashMax { list.add("crash_max", Int64(crashMax)) }
        if let errors = settings.finalErrors {
            list.add("final_errors", errors.isEmpty ? "none" : errors.names.joined(separator: ", "))
        }
        if let most = settings.sharing.groupRunningMax { list.add("group_running_max", Int64(most)) }
        if let order = settings.sharing.order { list.add("group_order", order.name) }
        if let rate = settings.sharing.rate { list.add("rate", rate.description) }
        if let ageing = settings.ageing { list.add("ageing_ms", ageing) }
        if let rate = settings.sharing.groupRate { list.add("group_rate", rate.description) }
        if let limiter = settings.sharing.limiter { list.add("limiter", limiter.description) }
        if let deadMax = settings.retention.deadMax { list.add("dead_max", Int64(deadMax)) }
        if let deadAge = settings.retention.deadAge { list.add("dead_age_ms", deadAge) }
        if let retention = settings.retention.results { list.add("result_retention_ms", retention) }
    }

    private static func describe(_ enqueue: Enqueue, _ list: inout FieldList) {
        list.add("queue", enqueue.lane.queue)
        list.add("priority", Int64(enqueue.lane.priority))
        list.add("max_attempts", Int64(enqueue.lane.maxAttempts))
        list.add("group", enqueue.lane.group)
        if enqueue.lane.weight != 1 { list.add("weight", Int64(enqueue.lane.weight)) }
        list.add("run_at_ms", enqueue.runAt)
        list.add("unique_key", enqueue.uniqueKey)
        list.add("unique_until_ms", enqueue.uniqueUntil)
        if enqueue.isKeyFreedByLease { list.add("unique_scope", UniqueScope.queued.rawValue) }
        list.add("start_by_ms", enqueue.startBy)
        if let terms = enqueue.terms { describe(terms, &list) }
        if let dependencies = enqueue.dependencies { describe(dependencies, &list) }
        list.add("owner", enqueue.labels.owner)
        if !enqueue.labels.named.isEmpty {
            list.add("labels", enqueue.labels.named.map { "\($0.name)=\($0.value)" }.joined(separator: ", "))
        }
        if enqueue.isSecret { list.add("secret", true) }
        list.add("payload_bytes", Int64(enqueue.payload.count))
    }

    private static func describe(_ terms: JobTerms, _ list: inout FieldList) {
        if let limit = terms.timeLimit { list.add("time_limit_ms", limit) }
        if let crashMax = terms.crashMax { list.add("crash_max", Int64(crashMax)) }
        if let retry = terms.retry { list.add("retry", retry.description) }
        list.add("final_errors", terms.finalErrors.names.joined(separator: ", "))
    }

    private static func describe(_ dependencies: EnqueueDependencies, _ list: inout FieldList) {
        if !dependencies.after.isEmpty {
            let first = dependencies.after.prefix(DependencyStatus.listMax).map { "\($0)" }
            let more = dependencies.after.count - first.count
            list.add("after", first.joined(separator: ", ") + (more > 0 ? " and \(more) more" : ""))
        }
        if dependencies.policy != .wait { list.add("if_one_fails", DependencyFailure(dependencies.policy).rawValue) }
        if dependencies.isHeld { list.add("hold", true) }
        if let before = dependencies.before { list.add("before", Int64(clamping: before.rawValue)) }
    }

    private static func describe(_ edit: Edit, _ list: inout FieldList) {
        let (from, to) = (edit.from, edit.to)
        if to.queue != from.queue { list.add("queue", to.queue) }
        if to.priority != from.priority { list.add("priority", Int64(to.priority)) }
        if to.maxAttempts != from.maxAttempts { list.add("max_attempts", Int64(to.maxAttempts)) }
        list.add("run_at_ms", edit.runAt)
        if let headers = edit.headers { list.add("headers", Int64(headers.count)) }
        if let payload = edit.payload { list.add("payload_bytes", Int64(payload.count)) }
    }

    private static func describe(_ requeue: Requeue, _ list: inout FieldList) {
        list.add("token", requeue.token)
        switch requeue.outcome {
        case .ready: list.add("state", "ready")
        case .scheduled(let runAt):
            list.add("state", "scheduled")
            list.add("run_at_ms", runAt)
        case .dead: list.add("state", "dead")
        }
        list.add("counts", requeue.countsAttempt)
        list.add("error", requeue.error)
        list.add("error_class", requeue.errorClass)
    }

    private static func describe(_ expire: Expire, _ list: inout FieldList) {
        switch expire {
        case .lease(_, let token, let isDead):
            list.add("reason", "lease expired")
            list.add("token", token)
            list.add("state", isDead ? "dead" : "ready")
        case .timeLimit(_, let token, let isDead):
            list.add("reason", "time limit passed")
            list.add("token", token)
            list.add("state", isDead ? "dead" : "ready")
        case .startBy:
            list.add("reason", "ttl expired")
            list.add("state", "dead")
        case .dependency(_, let failed):
            list.add("reason", "dependency failed")
            list.add("dependency", Int64(clamping: failed.rawValue))
            list.add("state", "dead")
        case .uniqueKey(_, let key, _):
            list.add("reason", "unique key released")
            list.add("unique_key", key)
        case .effect(let scope, let key):
            list.add("reason", "effect forgotten")
            list.add("scope", scope)
            list.add("key", key)
        case .deadLetter: list.add("reason", "dead letter dropped")
        case .result: list.add("reason", "result forgotten")
        }
    }
}
