// `holdfast configure`: what a queue takes, how many of its jobs run at once, how long failed ones wait.

import ArgumentParser
import Holdfast
import HoldfastEngine

struct ConfigureCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "configure",
        abstract: "Sets how many jobs a queue takes and runs at once, and how long failed ones wait.",
        discussion: """
            What is not named stays as it is; without any option it says what is set. The settings are part of the \
            store from then on. A time that a failed job waits for already stays.

              holdfast configure /tmp/store -q mail --capacity 10000 --running 4
              holdfast configure /tmp/store -q mail --retry '1s*2..1h' --jitter 20
              holdfast configure /tmp/store -q mail --crashes 3 --final-error exit-65
              holdfast configure /tmp/store -q mail --dead-max 100000 --dead-age 90d --result-retention 1d

            --retry takes default (attempt^4 seconds, at most a day, give or take a tenth), a time such as 30s, \
            several such as 1s,10s,1m (the last holds for all further attempts), or a time, a factor and the longest \
            time, as above.

            --group-order strict keeps the jobs of a group in the order of their ids, one at a time; a job that waits \
            for its retry keeps the others waiting. With parking they go on meanwhile.
            """)

    @OptionGroup var store: StoreArgument
    @OptionGroup var queue: QueueArgument

    @Option(
        help: ArgumentHelp("Refuse more than so many jobs that wait or run; none for no limit.", valueName: "count"),
        transform: ConfigureCommand.limit)
    var capacity: Int?

    @Option(
        help: ArgumentHelp("Let so many of its jobs run at once; none for no limit.", valueName: "count"),
        transform: ConfigureCommand.limit)
    var running: Int?

    @Option(
        help: ArgumentHelp("How long failed jobs wait.", valueName: "policy"), transform: ConfigureCommand.growth)
    var retry: RetryPolicy?

    @Option(
        help: ArgumentHelp("With --retry: so much shorter or longer at most (0).", valueName: "percent"),
        transform: Values.number(0...100))
    var jitter: Int?

    @Option(
        help: ArgumentHelp(
            "A job is dead once so many of its attempts ended without a report; none for no limit.",
            valueName: "count"), transform: ConfigureCommand.crashes)
    var crashes: Int?

    @Option(
        name: [.customLong("final-error")],
        help: ArgumentHelp(
            "A job is not tried again after an error of this class, such as exit-65 of a command that holdfast work "
                + "runs; may be given several times; none for no class.", valueName: "class"),
        transform: Values.name)
    var finalErrors: [String] = []

    @Option(
        help: ArgumentHelp("Let so many jobs of one group run at once; none for no limit.", valueName: "count"),
        transform: ConfigureCommand.limit)
    var groupRunning: Int?

    @Option(
        help: ArgumentHelp(
            "Run the jobs of a group one at a time in order: strict, parking, or free.", valueName: "order"),
        transform: ConfigureCommand.order)
    var groupOrder: GroupOrder?

    @Option(
        help: ArgumentHelp(
            "Lease so many jobs in such a time, as 10/1s, or 10/1s+50 for 50 at once; none.", valueName: "rate"),
        transform: ConfigureCommand.rate)
    var rate: RateLimit?

    @Option(
        help: ArgumentHelp("Lease so many jobs of each group in such a time, as 10/1s+50; none.", valueName: "rate"),
        transform: ConfigureCommand.rate)
    var groupRate: RateLimit?

    @Option(
        help: ArgumentHelp(
            "Count a job for one priority more after each so long that it waited; none.", valueName: "time"),
        transform: ConfigureCommand.ageing)
    var ageing: Int64?

    @Option(
        help: ArgumentHelp("Share so many slots with other queues, as gpu:4; none.", valueName: "name:size"),
        transform: ConfigureCommand.limiter)
    var limiter: SharedLimiter?

    @Option(
        help: ArgumentHelp(
            "Keep so many dead jobs, those that died last; the others go for good. none for any number.",
            valueName: "count"),
        transform: ConfigureCommand.limit)
    var deadMax: Int?

    @Option(
        help: ArgumentHelp(
            "Keep a dead job for so long, such as 30d; then it goes for good. none for ever.", valueName: "time"),
        transform: ConfigureCommand.span)
    var deadAge: Int64?

    @Option(
        help: ArgumentHelp(
            "Keep results for so long, whatever is kept of history, where an ack says nothing else; none.",
            valueName: "time"),
        transform: ConfigureCommand.span)
    var resultRetention: Int64?

    @Flag(help: "One JSON object.")
    var json = false

    func validate() throws {
        if finalErrors.count > 1 && finalErrors.contains("none") {
            throw ValidationError("--final-error none stands alone; leave it or the others out")
        }
        if Set(finalErrors).count > ErrorClasses.countMax {
            throw ValidationError(
                "--final-error is given \(finalErrors.count) times; give at most \(ErrorClasses.countMax)")
        }
        guard jitter != nil else { return }
        guard let retry else { throw ValidationError("--jitter goes with --retry; give both") }
        if retry == .standard { throw ValidationError("the default has its own jitter; leave --jitter out") }
    }

    func run() throws {
        let name = queue.name
        let reply = try StoreAccess.with(store.directory) { access in
            try access.request("configure") { writer in
                writer.field("queue", name)
                if let capacity { Self.field("capacity", capacity, &writer) }
                if let running { Self.field("running_max", running, &writer) }
                if let crashes { Self.field("crash_max", crashes, &writer) }
                if !finalErrors.isEmpty { writer.field("final_errors", finalErrors == ["none"] ? [] : finalErrors) }
                if let groupRunning { Self.field("group_running_max", groupRunning, &writer) }
                if let rate { writer.field("rate", rate) }
                if let groupRate { writer.field("group_rate", groupRate) }
                if let ageing { Self.field("ageing_ms", Int(ageing), &writer) }
                if let limiter { Self.field(limiter, &writer) }
                if let groupOrder { writer.field("group_order", groupOrder.name) }
                if let deadMax { Self.field("dead_max", deadMax, &writer) }
                if let deadAge { Self.field("dead_age_ms", Int(deadAge), &writer) }
                if let resultRetention { Self.field("result_retention_ms", Int(resultRetention), &writer) }
                if var policy = retry {
                    if let jitter { policy.jitterPercent = UInt8(jitter) }
                    writer.key("retry")
                    writer.value(policy)
                }
            }
        }
        let terms = QueueTerms(reply: reply)
        if json {
            var writer = JSONWriter()
            writer.beginObject()
            writer.field("queue", name)
            writer.fields(of: terms)
            writer.endObject()
            writer.endLine()
            return try Terminal.write(writer.bytes)
        }
        let paused = terms.isPaused ? ", paused" : ""
        try Terminal.print("\(name): \(terms.words ?? "no limits, default retries")\(paused)")
    }

    /// Writes a limit; `null` for 0.
    private static func field(_ name: StaticString, _ limit: Int, _ writer: inout JSONWriter) {
        writer.field(name, optional: limit == 0 ? nil : limit)
    }

    /// Reads a limit; 0 for none.
    @Sendable private static func limit(_ text: String) throws -> Int {
        if text == "none" { return 0 }
        if let limit = Int(text), (1...QueueTerms.limitMax).contains(limit) { return limit }
        throw ValidationError("give 1 or more, or none")
    }

    /// Reads a length of time in milliseconds; 0 for none.
    @Sendable private static func span(_ text: String) throws -> Int64 {
        text == "none" ? 0 : try Values.positiveTime(text).milliseconds
    }

    /// Reads how long a step of ageing is; 0 for none.
    @Sendable private static func ageing(_ text: String) throws -> Int64 {
        if text == "none" { return 0 }
        if let span = TimeSpan(argument: text), (1...QueueTerms.ageingMax).contains(span.milliseconds) {
            return span.milliseconds
        }
        throw ValidationError("give a time of 1ms to 366d, such as 10m, or none")
    }

    /// Reads how many crashes; 0 for any number.
    @Sendable private static func crashes(_ text: String) throws -> Int {
        text == "none" ? 0 : try Values.number(1...JobTerms.crashesMax)(text)
    }

    private static func field(_ limiter: SharedLimiter, _ writer: inout JSONWriter) {
        writer.key("limiter")
        if limiter == .none { return writer.null() }
        writer.beginObject()
        writer.field("name", limiter.name)
        writer.field("size", limiter.size)
        writer.endObject()
    }

    /// Reads a rate.
    @Sendable private static func rate(_ text: String) throws -> RateLimit {
        if text == "none" { return .none }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        let times = parts.last?.split(separator: "+", omittingEmptySubsequences: false) ?? []
        if parts.count == 2, (1...2).contains(times.count), let count = Int(parts[0]),
            let period = TimeSpan(argument: String(times[0])), let burst = times.count == 2 ? Int(times[1]) : count
        {
            let limit = RateLimit(count: count, periodMilliseconds: period.milliseconds, burst: burst)
            if limit.isValid { return limit }
        }
        throw ValidationError("give a rate such as 10/1s or 10/1s+50, counts up to 1000000, or none")
    }

    /// Reads a limiter.
    @Sendable private static func limiter(_ text: String) throws -> SharedLimiter {
        if text == "none" { return .none }
        if let colon = text.lastIndex(of: ":"), let size = Int(text[text.index(after: colon)...]) {
            let limiter = SharedLimiter(name: String(text[..<colon]), size: size)
            if limiter.isValid { return limiter }
        }
        throw ValidationError("give a name and a size such as gpu:4, or none")
    }

    /// Reads the order of groups.
    @Sendable private static func order(_ text: String) throws -> GroupOrder {
        if let order = QueueConfiguration.GroupOrder(rawValue: text) { return order.engineOrder }
        throw ValidationError("give strict, parking or free")
    }

    /// Reads a policy without jitter, but for the default.
    @Sendable static func growth(_ text: String) throws -> RetryPolicy {
        if text == "default" { return .standard }
        let policy: RetryPolicy?
        if let star = text.firstIndex(of: "*") {
            policy = exponential(text[..<star], text[text.index(after: star)...])
        } else {
            let parts = text.split(separator: ",", omittingEmptySubsequences: false)
            let delays = parts.compactMap { TimeSpan(argument: String($0))?.milliseconds }
            let growth: RetryPolicy.Growth = delays.count == 1 ? .fixed(delays[0]) : .listed(delays)
            policy = delays.count == parts.count ? RetryPolicy(growth, jitterPercent: 0) : nil
        }
        if let policy, policy.isValid { return policy }
        throw ValidationError(
            "give default, a time such as 30s, up to \(RetryPolicy.listMax) such as 1s,10s,1m, or 1s*2..1h with a "
                + "factor of 1.01 to 1000 and the longest time, 366 days at most")
    }

    private static func exponential(_ first: Substring, _ rest: Substring) -> RetryPolicy? {
        let parts = rest.split(separator: "..", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let first = TimeSpan(argument: String(first)),
            let most = TimeSpan(argument: String(parts[1])), let factor = Double(parts[0]),
            let thousandths = UInt32(exactly: (factor * 1000).rounded())
        else { return nil }
        return RetryPolicy(
            .exponential(first: first.milliseconds, factor: thousandths, most: most.milliseconds), jitterPercent: 0)
    }
}
