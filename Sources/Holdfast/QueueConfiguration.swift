// What a queue does with its jobs beyond what each job says: how many it takes, how many run at once, how long failed
// ones wait. Set while the store is in use, recorded like everything else, and part of its state from then on.

package import HoldfastEngine

/// The settings of a queue.
public struct QueueConfiguration: Hashable, Sendable {
    /// How long a job waits after a failed attempt, unless whoever gives it back says so.
    public enum Retry: Hashable, Sendable {
        /// attempt^4 seconds, at most a day, give or take a tenth.
        case standard
        /// Always the same time.
        case fixed(Duration, jitterPercent: Int = 0)
        /// `first`, then each time `factor` times as long (1.01 to 1000, to thousandths), at most `most`.
        case exponential(first: Duration, factor: Double = 2, most: Duration = .seconds(86_400), jitterPercent: Int = 0)
        /// A time for each attempt, 64 at most; the last holds for all further ones.
        case listed([Duration], jitterPercent: Int = 0)
    }

    /// How many jobs may wait and run in it; an enqueue beyond is refused as `.queueFull`. Dead jobs do not count, and
    /// redriving is not refused. `nil` for any number.
    public var capacity: Int?
    /// How many of its jobs may be leased at once, by whatever workers; `nil` for any number. Counted from the leases
    /// that there are: one that ends, however, makes room.
    public var runningMax: Int?
    /// How many jobs of one group may be leased at once; `nil` for any number. A group that runs so many is passed
    /// over, and costs those that lease nothing meanwhile. Jobs without a group are not concerned.
    public var groupRunningMax: Int?
    /// In which order the jobs of one group run.
    public var groupOrder: GroupOrder
    /// How often jobs are leased; `nil` for as often as workers ask.
    public var rate: Rate?
    /// How often jobs of each group are leased; `nil` for as often as workers ask. A group that may lease none now is
    /// passed over, and costs those that lease nothing meanwhile. Jobs without a group are not concerned.
    public var groupRate: Rate?
    /// Slots that the queue shares with others; `nil` for none.
    public var limiter: Limiter?
    /// How long failed jobs wait. Times are whole milliseconds and at most 366 days; with jitter they are that many
    /// percent shorter or longer at most, by a hash of job and attempt.
    public var retry: Retry
    /// After so many attempts that ended without a report, such as those of a worker that crashed, a job is dead as
    /// `.poison`, whatever its attempts: 1 to 1,000,000. `nil` for any number.
    public var crashMax: Int?
    /// The classes of errors after which a job is not tried again; 16 at most.
    public var finalErrors: [String]
    /// How many dead letters it keeps, 1 to 2^40: beyond that, those that died first go for good, with a record that
    /// says so. One that jobs wait for counts, but stays as long as they do. `nil` for any number.
    public var deadMax: Int?
    /// How long it keeps a dead letter, in whole milliseconds; then that goes for good, with a record that says so,
    /// or, when jobs wait for it, as soon as none does any more. `nil` for ever.
    public var deadAge: Duration?
    /// How long it keeps a result, in whole milliseconds, whatever is kept of history, where the ack says nothing of
    /// that. `nil` for as long as history.
    public var resultRetention: Duration?
    /// After each so long that a job waited since it was enqueued it counts for one priority more, so that lower ones
    /// do not wait for ever; 1 ms to 366 days, or `nil` for never. Where jobs come evenly, times are known to a
    /// sixteenth or so; one from before a pause may count from the end of that. Which priority is served is decided
    /// once for each lease. Jobs that wait when this is set begin to age then.
    public var ageing: Duration?

    /// Settings of a queue; as they are, those of one about which nothing was said.
    public init(
        capacity: Int? = nil, runningMax: Int? = nil, groupRunningMax: Int? = nil, groupOrder: GroupOrder = .free,
        rate: Rate? = nil, limiter: Limiter? = nil, retry: Retry = .standard, crashMax: Int? = nil,
        finalErrors: [String] = [], deadMax: Int? = nil, deadAge: Duration? = nil, resultRetention: Duration? = nil,
        groupRate: Rate? = nil, ageing: Duration? = nil
    ) {
        self.capacity = capacity
        self.runningMax = runningMax
        self.groupRunningMax = groupRunningMax
        self.groupOrder = groupOrder
        self.rate = rate
        self.limiter = limiter
        self.retry = retry
        self.crashMax = crashMax
        self.finalErrors = finalErrors
        self.deadMax = deadMax
        self.deadAge = deadAge
        self.resultRetention = resultRetention
        self.groupRate = groupRate
        self.ageing = ageing
    }

    /// What the state says of a queue.
    package init(_ terms: QueueTerms) {
        self.init(
            capacity: terms.capacity, runningMax: terms.runningMax, groupRunningMax: terms.sharing.groupRunningMax,
            groupOrder: GroupOrder(terms.sharing.order), rate: terms.sharing.rate.map { Rate($0) },
            limiter: terms.sharing.limiter.map { Limiter(name: $0.name, size: $0.size) }, retry: Retry(terms.retry),
            crashMax: terms.crashMax, finalErrors: terms.finalErrors.names, deadMax: terms.retention.deadMax,
            deadAge: terms.retention.deadAge.map { .milliseconds($0) },
            resultRetention: terms.retention.results.map { .milliseconds($0) },
            groupRate: terms.sharing.groupRate.map { Rate($0) }, ageing: terms.ageing.map { .milliseconds($0) })
    }
}

extension StoreStats.Queue {
    init(_ name: String, _ counts: QueueCounts, _ terms: QueueTerms, held: Int) {
        self.init(
            name: name, ready: counts.ready, scheduled: counts.scheduled, leased: counts.leased, dead: counts.dead,
            held: held, terms: terms)
    }
}

extension QueueConfiguration.Retry {
    /// What a record says.
    package init(_ policy: RetryPolicy) {
        let jitter = Int(policy.jitterPercent)
        switch policy.growth {
        case .quartic: self = .standard
        case .fixed(let delay): self = .fixed(.milliseconds(delay), jitterPercent: jitter)
        case .exponential(let first, let factor, let most):
            self = .exponential(
                first: .milliseconds(first), factor: Double(factor) / 1000, most: .milliseconds(most),
                jitterPercent: jitter)
        case .listed(let list): self = .listed(list.map { .milliseconds($0) }, jitterPercent: jitter)
        }
    }

    /// What a record says of it.
    ///
    /// - Throws: `.badRequest` for what is out of bounds.
    package func policy() throws(JobStoreError) -> RetryPolicy {
        let policy: RetryPolicy
        switch self {
        case .standard: return .standard
        case .fixed(let delay, let jitter):
            policy = RetryPolicy(.fixed(Self.milliseconds(delay)), jitterPercent: Self.percent(jitter))
        case .exponential(let first, let factor, let most, let jitter):
            let thousandths = (factor * 1000).rounded()
            let growth = RetryPolicy.Growth.exponential(
                first: Self.milliseconds(first), factor: UInt32(exactly: thousandths) ?? 0,
                most: Self.milliseconds(most))
            policy = RetryPolicy(growth, jitterPercent: Self.percent(jitter))
        case .listed(let list, let jitter):
            policy = RetryPolicy(.listed(list.map(Self.milliseconds)), jitterPercent: Self.percent(jitter))
        }
        guard policy.isValid else { throw Self.refusal }
        return policy
    }

    /// What is no such number is out of bounds, too.
    private static func milliseconds(_ duration: Duration) -> Int64 { duration.wholeMilliseconds ?? -1 }
    private static func percent(_ percent: Int) -> UInt8 { UInt8(exactly: percent) ?? .max }

    static var refusal: JobStoreError {
        JobStoreError(
            .badRequest,
            "`retry` is out of bounds: give times of 0 to 366 days, the first no longer than the most, a factor of "
                + "1.01 to 1000, 1 to \(RetryPolicy.listMax) times in a list, and 0 to 100 percent of jitter")
    }
}

extension JobStore {
    /// Gives a queue these settings, all of them; pausing is apart from that. Nothing is recorded when it has them.
    ///
    /// Jobs that are there already stay, even when they are more than the new capacity; a time that a failed job waits
    /// for was chosen when it failed, and stays, too.
    ///
    /// - Throws: `.badRequest` for a limit outside 1 to 2^40 or a retry out of its bounds; `.noSpace`, `.closed` or the
    ///   store's failure.
    public func configure(_ queue: String, _ configuration: QueueConfiguration) async throws(JobStoreError) {
        _ = try await core.submitAsync(ConfigureOperation(queue: queue, configuration)).value
    }

    /// Decides a change of settings. Blocks only for room in the journal.
    package func submitConfigure(_ settings: QueueSettings) -> Pending<QueueTerms> {
        core.submit(ConfigureOperation(settings))
    }

    /// Decides new settings. Blocks only for room in the journal.
    package func submitConfigure(_ queue: String, _ configuration: QueueConfiguration) -> Pending<QueueTerms> {
        core.submit(ConfigureOperation(queue: queue, configuration))
    }
}

extension BlockingJobStore {
    /// Gives a queue these settings, all of them; pausing is apart from that.
    public func configure(_ queue: String, _ configuration: QueueConfiguration) throws(JobStoreError) {
        _ = try store.submitConfigure(queue, configuration).valueBlocking()
    }
}

/// Changes a queue's settings.
private struct ConfigureOperation: StoreOperation {
    private let settings: Result<QueueSettings, JobStoreError>

    var access: OperationAccess { .changes }
    var bytes: Int {
        let classes = (try? settings.get())?.finalErrors?.names ?? []
        return classes.reduce(0) { $0 + $1.utf8.count + Limits.listedBytesMax }
    }

    init(_ settings: QueueSettings) { self.settings = .success(settings) }

    init(queue: String, _ configuration: QueueConfiguration) {
        settings = Result { () throws(JobStoreError) in
            let limits = [
                (configuration.capacity, "capacity"), (configuration.runningMax, "running_max"),
                (configuration.groupRunningMax, "group_running_max"), (configuration.deadMax, "dead_max"),
            ]
            for (limit, name) in limits {
                // A record says 0 for none.
                if limit == 0 { throw Self.refusal(of: 0, name) }
            }
            if let crashMax = configuration.crashMax { try Limits.checkCrashes(crashMax) }
            return QueueSettings(
                queue: queue, capacity: configuration.capacity ?? 0, runningMax: configuration.runningMax ?? 0,
                retry: try configuration.retry.policy(), crashMax: configuration.crashMax ?? 0,
                finalErrors: try Limits.errorClasses(configuration.finalErrors), sharing: try configuration.sharing(),
                retention: try configuration.retention(),
                // A record says 0 for none.
                ageing: configuration.ageing.map { max($0.wholeMilliseconds ?? 0, 0) }.map { $0 == 0 ? -1 : $0 } ?? 0)
        }
    }

    func validate(_ options: JobStoreOptions) throws(JobStoreError) {
        let settings = try settings.get()
        try Limits.checkName(settings.queue, "queue")
        let limits = [
            (settings.capacity, "capacity"), (settings.runningMax, "running_max"),
            (settings.sharing.groupRunningMax, "group_running_max"), (settings.retention.deadMax, "dead_max"),
        ]
        for (limit, name) in limits {
            guard let limit, !(0...QueueTerms.limitMax).contains(limit) else { continue }
            throw Self.refusal(of: limit, name)
        }
        try settings.retention.validate()
        guard settings.retry?.isValid ?? true else { throw QueueConfiguration.Retry.refusal }
        if let crashMax = settings.crashMax, crashMax != 0 { try Limits.checkCrashes(crashMax) }
        if let ageing = settings.ageing, !(0...QueueTerms.ageingMax).contains(ageing) {
            throw JobStoreError(.badRequest, "`ageing` is out of bounds; give 1 ms to 366 days, or nothing for never")
        }
        if let classes = settings.finalErrors { _ = try Limits.errorClasses(classes.names) }
        for rate in [settings.sharing.rate, settings.sharing.groupRate].compactMap(\.self)
        where rate != .none && !rate.isValid {
            throw QueueConfiguration.Rate.refusal
        }
        if let limiter = settings.sharing.limiter, limiter != .none, !limiter.isValid {
            throw QueueConfiguration.Limiter.refusal
        }
    }

    private static func refusal(of limit: Int, _ name: String) -> JobStoreError {
        JobStoreError(.badRequest, "`\(name)` is \(limit); give 1 to 2^40, or nothing for no limit")
    }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<QueueTerms> {
        let settings = try settings.get()
        _ = try core.perform(.configure(settings), at: now)
        return .value(core.state.terms(of: settings.queue))
    }
}
