// `holdfast enqueue`: payloads in, ids out, as fast as a pipe delivers them.

import ArgumentParser
import Holdfast
import HoldfastEngine

struct EnqueueCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enqueue",
        abstract: "Puts jobs in a queue and prints their ids.",
        discussion: """
            The payloads are the arguments, or, without any, the lines of standard input (with -0: what NUL bytes \
            separate). An id is printed once its job survives power loss; ids come in the order of the payloads. A \
            missing store is created. If another holdfast process owns the store, the jobs go to it.

              holdfast enqueue /tmp/store --queue mail hello world
              find . -name '*.jpg' -print0 | holdfast enqueue /tmp/store --queue thumbs -0 --max-attempts 3

            If an enqueue is refused, those before it stand; the exit code is 1.
            """)

    @OptionGroup var store: StoreArgument
    @OptionGroup var queue: QueueArgument

    @Option(
        name: [.short, .long], parsing: .unconditional, help: "Higher runs first; -128 to 127.",
        transform: Values.number(-128...127))
    var priority = 0

    @Option(
        help: ArgumentHelp("Wait so long before the first attempt.", valueName: "time"), transform: Values.time)
    var delay: TimeSpan?

    @Option(
        help: ArgumentHelp("How often a job is tried before it is dead.", valueName: "count"),
        transform: Values.number(1...Int(RecordLimits.maxAttemptsMax)))
    var maxAttempts = 5

    @Option(
        help: ArgumentHelp(
            """
            While a live job holds this key, enqueue nothing and print that job's id; {} stands for the payload.
            """, valueName: "key"), transform: Values.name)
    var uniqueKey: String?

    @Option(
        help: ArgumentHelp("Hold the unique key for so long, even past the job's end.", valueName: "time"),
        transform: Values.positiveTime)
    var uniqueFor: TimeSpan?

    @Option(
        help: ArgumentHelp("Hold the unique key while the job is unfinished, or queued.", valueName: "scope"),
        transform: Values.word)
    var uniqueScope: UniqueScope?

    @Option(
        help: ArgumentHelp(
            """
            When another job holds the key: existing prints its id, reject fails, replace lets it take over this \
            one's payload, headers, priority and delay, postpone the delay, if it waits.
            """, valueName: "action"), transform: Values.word)
    var onCollision: UniqueCollision?

    @Option(help: ArgumentHelp("Groups of a queue share in turn.", valueName: "name"), transform: Values.name)
    var group: String?

    @Option(
        help: ArgumentHelp("With --group: turns of the group where one of weight 1 has one (1).", valueName: "count"),
        transform: Values.number(1...Int(RecordLimits.weightMax)))
    var weight: Int?

    @Option(
        name: [.customLong("header")], help: ArgumentHelp("Travels with the job.", valueName: "name=value"),
        transform: Values.header)
    var headers: [JobHeader] = []

    @Option(
        help: ArgumentHelp("A job not begun within so long is dead.", valueName: "time"),
        transform: Values.positiveTime)
    var ttl: TimeSpan?

    @Option(
        help: ArgumentHelp("Let no attempt take longer, whatever its heartbeats say.", valueName: "time"),
        transform: Values.positiveTime)
    var timeLimit: TimeSpan?

    @Option(
        help: ArgumentHelp(
            "The job is dead once so many of its attempts ended without a report.", valueName: "count"),
        transform: Values.number(1...JobTerms.crashesMax))
    var crashes: Int?

    @Option(
        help: ArgumentHelp("How long it waits after a failure, as for configure.", valueName: "policy"),
        transform: ConfigureCommand.growth)
    var retry: RetryPolicy?

    @Option(
        name: [.customLong("final-error")],
        help: ArgumentHelp("It is not tried again after an error of this class.", valueName: "class"),
        transform: Values.name)
    var finalErrors: [String] = []

    @OptionGroup var dependencies: DependencyOptions

    @Option(
        name: [.customLong("label")], help: ArgumentHelp("Finds the job; may be repeated.", valueName: "name=value"),
        transform: Values.header)
    var labels: [JobHeader] = []

    @Option(help: ArgumentHelp("Who the job belongs to.", valueName: "name"), transform: Values.name)
    var owner: String?

    @Flag(help: "Show the payload to workers alone.")
    var secret = false

    @Option(
        help: ArgumentHelp(
            "Wait so long for room in a full queue or store, if another process has it.", valueName: "time"),
        transform: Values.positiveTime)
    var wait: TimeSpan?

    @Flag(name: [.customShort("0"), .customLong("null")], help: "Payloads in standard input end with NUL.")
    var isNullSeparated = false

    @Flag(help: "Print no ids.")
    var quiet = false

    @Flag(help: #"Print {"id":N,"duplicate":false} for each job."#)
    var json = false

    @Argument(help: "What the jobs are about.")
    var payloads: [String] = []

    /// The longest payload a store takes by default.
    private static let payloadBytesMax = 16 << 20

    func validate() throws {
        let bytes = headers.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count }
        if headers.count > RecordLimits.headersCountMax || bytes > RecordLimits.headersBytesMax {
            throw ValidationError(
                "--header is given \(headers.count) times with \(bytes) bytes; give at most "
                    + "\(RecordLimits.headersCountMax) with \(RecordLimits.headersBytesMax) bytes")
        }
        if Set(finalErrors).count > ErrorClasses.countMax {
            throw ValidationError(
                "--final-error is given \(finalErrors.count) times; give at most \(ErrorClasses.countMax)")
        }
        if let timeLimit, timeLimit.milliseconds > JobTerms.timeLimitMax {
            throw ValidationError("--time-limit is longer than 366 days; give a shorter time")
        }
        if weight != nil && group == nil { throw ValidationError("--weight needs --group") }
        if secret && uniqueKey?.contains("{}") == true {
            throw ValidationError("--unique-key with {} shows the payload that --secret hides; leave one out")
        }
        if uniqueFor != nil && uniqueKey == nil { throw ValidationError("--unique-for needs --unique-key") }
        if uniqueKey == nil && (uniqueScope != nil || onCollision != nil) {
            throw ValidationError("--unique-scope and --on-collision need --unique-key")
        }
        if uniqueFor != nil && uniqueScope == .queued {
            throw ValidationError("--unique-for holds the key for a time; leave it or --unique-scope queued out")
        }
        if isNullSeparated && !payloads.isEmpty {
            throw ValidationError("-0 is about standard input; leave it or the payloads out")
        }
    }

    func run() throws {
        let template = EnqueueTemplate(queue: queue.name, uniqueKey: uniqueKey, options: options, wait: wait?.duration)
        let access = try StoreAccess.open(store.directory, createIfMissing: true)
        let pipeline = try EnqueuePipeline(
            access, template, output: quiet ? .nothing : json ? .json : .ids)
        do {
            if payloads.isEmpty {
                try failing { try readPayloads(into: pipeline) }
            } else {
                for payload in payloads { try failing { try pipeline.submit([UInt8](payload.utf8)) } }
            }
        } catch {
            _ = try? pipeline.finish()
            try? access.close()
            throw error
        }
        let started = pipeline.started
        let summary = try pipeline.finish()
        do {
            try access.close()
        } catch {
            if summary.failure == nil { throw error }
        }
        if let failure = summary.failure {
            // What the command line alone can be blamed for was refused before; this is about one of the payloads.
            let isStoreFailure = failure.code == .ioError
            throw CommandFailure(
                failure.message,
                exitCode: isStoreFailure ? CommandFailure.storeFailedCode : CommandFailure.refusedCode)
        }
        if let failure = summary.outputFailure {
            throw CommandFailure("\(Terminal.count(summary.count, "job")) enqueued, but \(failure.message)")
        }
        report(summary, since: started)
    }

    private var options: EnqueueOptions {
        var options = EnqueueOptions()
        options.priority = priority
        options.delay = delay?.duration
        options.maxAttempts = maxAttempts
        options.uniqueFor = uniqueFor?.duration
        options.uniqueScope = uniqueScope ?? .unfinished
        options.onCollision = onCollision ?? .returnExisting
        options.group = group
        options.weight = weight ?? 1
        options.timeToLive = ttl?.duration
        options.headers = headers
        options.timeLimit = timeLimit?.duration
        options.crashMax = crashes
        options.retry = retry.map { QueueConfiguration.Retry($0) }
        options.finalErrors = finalErrors
        dependencies.apply(to: &options)
        options.labels = Values.labels(labels)
        options.owner = owner
        options.isSecret = secret
        return options
    }

    private func readPayloads(into pipeline: EnqueuePipeline) throws {
        if Descriptor.standardInput.isTerminal {
            Descriptor.standardError.writeText("One payload a line; Ctrl-D ends.\n")
        }
        var reader = LineReader(
            .standardInput, separator: isNullSeparated ? 0 : 0x0A, lineBytesMax: Self.payloadBytesMax)
        while !pipeline.hasFailed {
            if reader.mustWait { try pipeline.flush() }
            switch try reader.next() {
            case .end: return
            case .line(let payload): try pipeline.submit(payload)
            case .tooLong:
                throw CommandFailure(
                    "payload \(pipeline.submittedCount + 1) is longer than \(Self.payloadBytesMax) bytes; "
                        + "store it elsewhere and enqueue its name")
            }
        }
    }

    private func report(_ summary: EnqueuePipeline.Summary, since started: ContinuousClock.Instant) {
        guard Descriptor.standardError.isTerminal else { return }
        let elapsed = ContinuousClock.now - started
        var text = "\(Terminal.count(summary.count, "job")) in \((elapsed).words)"
        if summary.duplicates > 0 { text += ", \(Terminal.grouped(summary.duplicates)) of them there already" }
        Descriptor.standardError.writeText(text + "\n")
    }
}
