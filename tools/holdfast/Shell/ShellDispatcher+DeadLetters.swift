// The operations on dead letters by filter, and on results.

import Holdfast
import HoldfastBytes

extension ShellDispatcher {
    /// Submits an operation on dead letters or results; `nil` when `name` is none.
    func deadLetterOperation(_ name: String, _ fields: RequestFields) throws(JobStoreError) -> PendingReply.Body? {
        switch name {
        case "dead_jobs":
            let (queue, filter) = (try fields.requiredText("queue"), try fields.deadFilter() ?? .all)
            let (limit, after) = (Int(try fields.integer("limit") ?? 100), try fields.jobID("after"))
            return finished { () throws(JobStoreError) in
                let jobs = try store.blocking.deadJobs(queue: queue, where: filter, limit: limit, after: after)
                return { $0.field("jobs", jobs) }
            }
        case "result":
            let id = try fields.id()
            let result = store.submitResult(of: id)
            return { writer throws(JobStoreError) in
                guard let result = try result.valueBlocking() else {
                    throw JobStoreError(
                        .notFound,
                        "there is no result of job \(id): it has not been acked, gave none, or that was kept for its "
                            + "time; ask for the `job`")
                }
                writer.beginReply(isOK: true)
                writer.field("result", given: result.value)
                writer.field("until_ms", optional: result.keptUntil)
            }
        default: return nil
        }
    }

    /// Submits a redrive of a queue that says more than how many.
    func redriveWhere(_ fields: RequestFields) throws(JobStoreError) -> PendingReply.Body {
        let (queue, filter) = (try fields.requiredText("queue"), try fields.deadFilter() ?? .all)
        let (limit, speed) = (try fields.integer("limit"), try fields.integer("per_second"))
        let isDryRun = try fields.flag("dry_run") ?? false
        return finished { () throws(JobStoreError) in
            let report = try store.blocking.redrive(
                queue: queue, where: filter, limit: limit.map { Int($0) } ?? .max, perSecond: speed.map { Int($0) },
                isDryRun: isDryRun)
            return { writer in
                writer.fields(of: report, isDryRun: isDryRun)
                writer.field("skipped", report.skipped)
                if let last = report.lastRunAt { writer.field("last_run_at_ms", last.milliseconds) }
            }
        }
    }

    /// Submits a purge of some of a queue's dead letters.
    func purgeWhere(_ fields: RequestFields) throws(JobStoreError) -> PendingReply.Body {
        let (queue, filter) = (try fields.requiredText("queue"), try fields.deadFilter() ?? DeadFilter())
        guard try fields.purgedStates() == [.dead] else {
            throw JobStoreError(.badRequest, "`where` names dead letters; leave `states` out, or give [\"dead\"]")
        }
        guard !fields.has("labels"), !fields.has("owner") else {
            throw JobStoreError(.badRequest, "`where` does not go with `labels` or `owner`; give one of them")
        }
        let (limit, isDryRun) = (try fields.integer("limit"), try fields.flag("dry_run") ?? false)
        return finished { () throws(JobStoreError) in
            let report = try store.blocking.purge(
                queue: queue, where: filter, limit: limit.map { Int($0) } ?? .max, isDryRun: isDryRun)
            return { writer in
                writer.fields(of: report, isDryRun: isDryRun)
                writer.field("dead", report.count)
            }
        }
    }
}

extension RequestFields {
    fileprivate func jobID(_ name: StaticString) throws(JobStoreError) -> JobID? {
        try count(name).map { JobID(UInt64($0)) }
    }

    /// The fields of `where`. One of them misspelt would name other jobs than those that are meant.
    private static let filterFields: Set = [
        "all", "reasons", "error_contains", "group", "died_from_ms", "died_before_ms", "attempts_min", "first_id",
        "last_id",
    ]

    /// Reads `where`, which dead letters are meant.
    func deadFilter() throws(JobStoreError) -> DeadFilter? {
        guard let fields = try fields("where") else { return nil }
        let names = (fields.object.fields ?? []).map { $0.name.string ?? "" }
        if let stranger = names.first(where: { !Self.filterFields.contains($0) }) {
            let known = Self.filterFields.sorted().joined(separator: ", ")
            throw JobStoreError(.badRequest, "`where` has \"\(stranger.prefix(40))\"; give some of \(known)")
        }
        if try fields.flag("all") == true {
            guard names.count == 1 else {
                throw JobStoreError(.badRequest, "`where` has `all` beside other fields; give `all` alone, or them")
            }
            return .all
        }
        return DeadFilter(
            reasons: try fields.reasons(), errorContains: try fields.text("error_contains"),
            group: try fields.text("group"),
            diedFrom: try fields.count("died_from_ms").map { Timestamp(milliseconds: $0) },
            diedBefore: try fields.count("died_before_ms").map { Timestamp(milliseconds: $0) },
            attemptsMin: try fields.integer("attempts_min").map { Int($0) }, firstID: try fields.jobID("first_id"),
            lastID: try fields.jobID("last_id"))
    }

    private func reasons() throws(JobStoreError) -> Set<JobInfo.DeadReason> {
        guard let value = object["reasons"] else { return [] }
        let words = JobInfo.DeadReason.allCases.map(\.rawValue).joined(separator: ", ")
        guard let elements = value.elements, !elements.isEmpty else {
            throw JobStoreError(.badRequest, "`reasons` is no list with something in it; give some of \(words)")
        }
        var reasons: Set<JobInfo.DeadReason> = []
        for element in elements {
            guard let reason = element.string.flatMap(JobInfo.DeadReason.init) else {
                let given = String(decoding: element.raw.prefix(40), as: UTF8.self)
                throw JobStoreError(.badRequest, "`reasons` has \(given); give some of \(words)")
            }
            reasons.insert(reason)
        }
        return reasons
    }
}

extension JSONWriter {
    /// How many, for which reasons, and of a dry run which first.
    fileprivate mutating func fields(of report: DeadLetterReport, isDryRun: Bool) {
        field("count", report.count)
        key("reasons")
        beginObject()
        for reason in JobInfo.DeadReason.allCases {
            guard let count = report.reasons[reason] else { continue }
            key(dynamic: reason.rawValue)
            value(count)
        }
        endObject()
        guard isDryRun else { return }
        field("dry_run", true)
        key("ids")
        beginArray()
        for id in report.firstIDs { value(id.rawValue) }
        endArray()
    }
}
