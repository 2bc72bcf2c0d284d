// Reads the fields of a request. Each refusal names the field, what was given and what to give instead; limits on
// lengths and ranges that the store itself keeps are left to it.

import Holdfast
import HoldfastEngine

/// The fields of one request.
struct RequestFields {
    let object: JSONValue

    /// Takes an object apart.
    ///
    /// - Throws: `bad_request` when `value` is something else.
    init(_ value: JSONValue) throws(JobStoreError) {
        guard value.kind == .object else {
            throw JobStoreError(.badRequest, "a request is an object with a field `op`; this is \(value.kind.name)")
        }
        object = value
    }

    func has(_ name: StaticString) -> Bool { object[name] != nil }

    func text(_ name: StaticString) throws(JobStoreError) -> String? {
        guard let value = object[name] else { return nil }
        guard let text = value.string else { throw wrongType(name, value, "a string") }
        return text
    }

    func requiredText(_ name: StaticString) throws(JobStoreError) -> String {
        guard let text = try text(name) else { throw missing(name, "a string") }
        return text
    }

    func integer(_ name: StaticString) throws(JobStoreError) -> Int64? {
        guard let value = object[name] else { return nil }
        guard let integer = value.integer else { throw wrongType(name, value, "a whole number below 2^63") }
        return integer
    }

    /// Reads a whole number that is not negative.
    func count(_ name: StaticString) throws(JobStoreError) -> Int64? {
        guard let value = try integer(name) else { return nil }
        guard value >= 0 else { throw JobStoreError(.badRequest, "`\(name)` is \(value); give 0 or more") }
        return value
    }

    func requiredCount(_ name: StaticString) throws(JobStoreError) -> Int64 {
        guard let value = try count(name) else { throw missing(name, "a whole number") }
        return value
    }

    func milliseconds(_ name: StaticString) throws(JobStoreError) -> Duration? {
        try integer(name).map { .milliseconds($0) }
    }

    func flag(_ name: StaticString) throws(JobStoreError) -> Bool? {
        guard let value = object[name] else { return nil }
        guard let flag = value.bool else { throw wrongType(name, value, "true or false") }
        return flag
    }

    /// Returns a field of any kind, as it was sent.
    func raw(_ name: StaticString) -> [UInt8]? { object[name].map { [UInt8]($0.raw) } }

    func requiredRaw(_ name: StaticString) throws(JobStoreError) -> [UInt8] {
        guard let raw = raw(name) else { throw missing(name, "any JSON value") }
        return raw
    }

    // MARK: - Fields that several requests share

    func id() throws(JobStoreError) -> JobID { JobID(UInt64(try requiredCount("id"))) }

    func identity() throws(JobStoreError) -> LeaseIdentity {
        let id = try id()
        return LeaseIdentity(id: id, token: LeaseToken(UInt64(try requiredCount("token"))))
    }

    /// Reads a limit of a queue; 0 for `null`, which takes the limit away.
    func limit(_ name: StaticString) throws(JobStoreError) -> Int? {
        guard let value = object[name] else { return nil }
        if value.kind == .null { return 0 }
        guard let limit = value.integer, (1...Int64(QueueTerms.limitMax)).contains(limit) else {
            throw wrongType(name, value, "a whole number from 1 to 2^40, or null for no limit")
        }
        return Int(limit)
    }

    /// Reads `retry`, a retry policy.
    func retry() throws(JobStoreError) -> RetryPolicy? {
        guard let value = object["retry"] else { return nil }
        do throws(RetryJSONError) { return try RetryPolicy(value) } catch {
            let given = String(decoding: error.value.raw.prefix(60), as: UTF8.self)
            throw JobStoreError(.badRequest, "`retry\(error.place)` is \(given); give \(error.wanted)")
        }
    }

    /// Reads what is to be said of a queue's groups.
    func sharing() throws(JobStoreError) -> SharingSettings {
        SharingSettings(
            groupRunningMax: try limit("group_running_max"), order: try groupOrder(), rate: try rate("rate"),
            limiter: try limiter(), groupRate: try rate("group_rate"))
    }

    /// Reads how long a queue keeps what has ended.
    func retention() throws(JobStoreError) -> RetentionSettings {
        RetentionSettings(
            deadMax: try limit("dead_max"), deadAge: try span("dead_age_ms"), results: try span("result_retention_ms"))
    }

    /// Reads a length of time; 0 for `null`, which takes it away.
    private func span(_ name: StaticString) throws(JobStoreError) -> Int64? {
        guard let value = object[name] else { return nil }
        if value.kind == .null { return 0 }
        guard let span = value.integer, (1...RetentionTerms.longest).contains(span) else {
            throw wrongType(name, value, "a whole number of milliseconds, 1 to 365,000 days, or null for no limit")
        }
        return span
    }

    private func rate(_ name: StaticString) throws(JobStoreError) -> RateLimit? {
        guard let value = object[name] else { return nil }
        if value.kind == .null { return RateLimit.none }
        let wanted = "an object of count, period_ms and, if it is another, burst, or null for no limit"
        guard let count = value["count"]?.integer, let period = value["period_ms"]?.integer,
            let burst = value["burst"].map({ $0.integer }) ?? count
        else { throw wrongType(name, value, wanted) }
        let limit = RateLimit(count: Int(count), periodMilliseconds: period, burst: Int(burst))
        guard limit.isValid else { throw wrongType(name, value, wanted + ", all in their bounds") }
        return limit
    }

    private func limiter() throws(JobStoreError) -> SharedLimiter? {
        guard let value = object["limiter"] else { return nil }
        if value.kind == .null { return SharedLimiter.none }
        guard let name = value["name"]?.string, let size = value["size"]?.integer,
            SharedLimiter(name: name, size: Int(size)).isValid
        else { throw wrongType("limiter", value, "an object of name and size, or null for none") }
        return SharedLimiter(name: name, size: Int(size))
    }

    private func groupOrder() throws(JobStoreError) -> GroupOrder? {
        guard let name = try text("group_order") else { return nil }
        if let order = QueueConfiguration.GroupOrder(rawValue: name) { return order.engineOrder }
        let names = QueueConfiguration.GroupOrder.allCases.map(\.rawValue).joined(separator: ", ")
        throw JobStoreError(.badRequest, "`group_order` is \"\(name.prefix(40))\"; give one of \(names)")
    }

    /// Reads what a lease asks for.
    func lease() throws(JobStoreError) -> NextLease {
        let limit = Int(try integer("limit") ?? 1)
        let duration = try milliseconds("lease_ms") ?? .seconds(30)
        let worker = try text("worker") ?? ""
        if let shares = try shares() { return NextLease(from: shares, limit: limit, for: duration, worker: worker) }
        return NextLease(from: try queues(), limit: limit, for: duration, worker: worker)
    }

    /// Reads `queue` where it is an object of names and weights.
    private func shares() throws(JobStoreError) -> [QueueShare]? {
        guard let value = object["queue"], let fields = value.fields else { return nil }
        var shares: [QueueShare] = []
        for field in fields {
            guard let weight = field.value.integer else { throw wrongType("queue", field.value, "numbers as weights") }
            shares.append(QueueShare(field.name.string ?? "", weight: Int(clamping: weight)))
        }
        return shares
    }

    /// Reads a field that is an object of fields.
    func fields(_ name: StaticString) throws(JobStoreError) -> RequestFields? {
        guard let value = object[name] else { return nil }
        guard value.kind == .object else { throw wrongType(name, value, "an object") }
        return try RequestFields(value)
    }

    private static let queueForms = "a name, a list of names, or an object of names and weights"

    /// Reads `queue`, a name or a list of names.
    func queues() throws(JobStoreError) -> [String] {
        guard let value = object["queue"] else { throw missing("queue", Self.queueForms) }
        if let name = value.string { return [name] }
        guard let elements = value.elements else { throw wrongType("queue", value, Self.queueForms) }
        if elements.isEmpty { throw JobStoreError(.badRequest, "`queue` is an empty list; give at least one name") }
        var names: [String] = []
        for element in elements {
            guard let name = element.string else { throw wrongType("queue", element, "names in the list") }
            names.append(name)
        }
        return names
    }

    /// Reads `payload` or `payload_b64`.
    func payload() throws(JobStoreError) -> [UInt8] {
        switch (object["payload"], object["payload_b64"]) {
        case (.some, .some):
            throw JobStoreError(.badRequest, "`payload` and `payload_b64` are both there; give one of them")
        case (nil, nil):
            throw JobStoreError(.badRequest, "there is no payload; give `payload` (text) or `payload_b64` (base 64)")
        case (let value?, nil):
            guard let bytes = value.stringBytes else { throw wrongType("payload", value, "a string") }
            return bytes
        case (nil, let value?):
            guard let text = value.stringBytes else { throw wrongType("payload_b64", value, "a string") }
            guard let bytes = Base64.decode(text) else {
                throw JobStoreError(
                    .badRequest, "`payload_b64` is not base 64; use the standard alphabet, with padding, without spaces"
                )
            }
            return bytes
        }
    }

    /// Reads `headers`, an object of strings.
    func headers() throws(JobStoreError) -> [JobHeader] {
        guard let value = object["headers"] else { return [] }
        guard let fields = value.fields else { throw wrongType("headers", value, "an object of strings") }
        var headers: [JobHeader] = []
        for (name, value) in fields {
            guard let text = value.string else { throw wrongType("headers", value, "an object of strings") }
            headers.append(JobHeader(name: name.string ?? "", value: text))
        }
        return headers
    }

    /// Reads `labels`, an object of strings.
    func labels() throws(JobStoreError) -> [String: String] {
        guard let value = object["labels"] else { return [:] }
        guard let fields = value.fields else { throw wrongType("labels", value, "an object of strings") }
        var labels: [String: String] = [:]
        for (name, value) in fields {
            guard let text = value.string else { throw wrongType("labels", value, "an object of strings") }
            labels[name.string ?? ""] = text
        }
        return labels
    }

    /// Reads what an edit changes.
    func jobEdit() throws(JobStoreError) -> JobEdit {
        var edit = JobEdit()
        edit.queue = try text("queue")
        edit.priority = try integer("priority").map { Int($0) }
        edit.maxAttempts = try integer("max_attempts").map { Int($0) }
        edit.delay = try milliseconds("delay_ms")
        edit.runAt = try count("run_at_ms").map { Timestamp(milliseconds: $0) }
        if has("payload") || has("payload_b64") { edit.payload = try payload() }
        if has("headers") { edit.headers = try headers() }
        return edit
    }

    /// Reads one of several words.
    func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ name: StaticString
    ) throws(JobStoreError) -> Choice? {
        guard let text = try text(name) else { return nil }
        if let choice = Choice(rawValue: text) { return choice }
        let words = Choice.allCases.map(\.rawValue).joined(separator: ", ")
        throw JobStoreError(.badRequest, "`\(name)` is \"\(text.prefix(40))\"; give one of \(words)")
    }

    /// Most jobs say nothing else, and to look for each option takes longer than to parse them.
    private static let fieldsOfAnyJob: [StaticString] = ["op", "queue", "payload", "payload_b64", "req", "wait_ms"]

    /// Reads what an enqueue says besides queue and payload.
    func enqueueOptions() throws(JobStoreError) -> EnqueueOptions {
        var options = EnqueueOptions()
        if !object.hasField(besides: Self.fieldsOfAnyJob) { return options }
        if let priority = try integer("priority") { options.priority = Int(priority) }
        if let attempts = try integer("max_attempts") { options.maxAttempts = Int(attempts) }
        if has("delay_ms") && has("run_at_ms") {
            throw JobStoreError(.badRequest, "`delay_ms` and `run_at_ms` are both there; give one of them")
        }
        options.delay = try milliseconds("delay_ms")
        options.runAt = try count("run_at_ms").map { Timestamp(milliseconds: $0) }
        // What is not given is not set: that would cost as much as setting it.
        try uniqueness(into: &options)
        options.group = try text("group")
        if let weight = try integer("weight") { options.weight = Int(weight) }
        options.headers = try headers()
        if let time = try milliseconds("ttl_ms") { options.timeToLive = time }
        if let time = try milliseconds("time_limit_ms") { options.timeLimit = time }
        if let crashMax = try integer("crash_max") { options.crashMax = Int(crashMax) }
        if let retry = try retry() { options.retry = QueueConfiguration.Retry(retry) }
        if let classes = try finalErrors() { options.finalErrors = classes }
        try dependencies(into: &options)
        if has("labels") { options.labels = try labels() }
        if let owner = try text("owner") { options.owner = owner }
        if let isSecret = try flag("secret") { options.isSecret = isSecret }
        return options
    }

    private func uniqueness(into options: inout EnqueueOptions) throws(JobStoreError) {
        if let key = try text("unique_key") { options.uniqueKey = key }
        if let window = try milliseconds("unique_for_ms") {
            guard has("unique_key") else {
                throw JobStoreError(
                    .badRequest, "`unique_for_ms` is there without `unique_key`; give both or neither")
            }
            options.uniqueFor = window
        }
        if let scope: UniqueScope = try choice("unique_scope") { options.uniqueScope = scope }
        if let collision: UniqueCollision = try choice("on_collision") { options.onCollision = collision }
    }

    /// Reads `final_errors`, a list of error classes; an empty one for `null`.
    func finalErrors() throws(JobStoreError) -> [String]? {
        guard let value = object["final_errors"] else { return nil }
        if value.kind == .null { return [] }
        guard let elements = value.elements else { throw wrongType("final_errors", value, "a list of names") }
        var names: [String] = []
        for element in elements {
            guard let name = element.string else { throw wrongType("final_errors", element, "names in the list") }
            names.append(name)
        }
        return names
    }

    /// Reads `states`, a list of the states whose jobs a purge cancels; dead ones when there is none.
    func purgedStates() throws(JobStoreError) -> [JobInfo.State] {
        guard let value = object["states"] else { return [.dead] }
        guard let elements = value.elements else { throw wrongType("states", value, "a list of states") }
        var states: Set<JobInfo.State> = []
        for element in elements {
            guard let name = element.string else { throw wrongType("states", element, "names in the list") }
            states.insert(try Self.state(name, "states", oneOf: PurgeStates.named))
        }
        return PurgeStates.named.filter(states.contains)
    }

    /// Returns the state called `name`.
    static func state(
        _ name: String, _ field: StaticString, oneOf states: [JobInfo.State]
    ) throws(JobStoreError) -> JobInfo.State {
        if let state = JobInfo.State(rawValue: name), states.contains(state) { return state }
        let names = states.map(\.rawValue).joined(separator: ", ")
        throw JobStoreError(.badRequest, "`\(field)` is \"\(name.prefix(40))\"; give one of \(names)")
    }

    // MARK: - Refusals

    private func missing(_ name: StaticString, _ wanted: String) -> JobStoreError {
        JobStoreError(.badRequest, "`\(name)` is missing; give \(wanted)")
    }

    func wrongType(_ name: StaticString, _ value: JSONValue, _ wanted: String) -> JobStoreError {
        let given =
            value.kind == .number ? String(decoding: value.raw.prefix(40), as: UTF8.self) : value.kind.name
        return JobStoreError(.badRequest, "`\(name)` is \(given); give \(wanted)")
    }
}
