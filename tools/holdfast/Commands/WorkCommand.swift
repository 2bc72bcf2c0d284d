// `holdfast work`: xargs that can be killed.

import ArgumentParser
import Holdfast

struct WorkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "work",
        abstract: "Runs a command for each job of a queue or several, surviving crashes of both.",
        discussion: """
            For each job the command runs once, with {} replaced by the payload; without {} it reads the payload from \
            standard input. When it exits with 0 the job is done, and the end of its output is the job's result. \
            Otherwise it is tried again later, each time waiting longer, and is dead after its last attempt, with \
            exit code and error output kept.

              holdfast work /tmp/store --queue thumbs -j 8 -- convert {} -resize 200x {}.png
              holdfast work /tmp/store --queue sums --until-empty -- sh -c 'sha256sum "$1"' sum {}
              holdfast work /tmp/store --queue mail=3 --queue sms -- ./send {}

            Kill it and run it again: no job is lost, and none that was done runs again. A job that was running runs \
            again at once, if the worker's name is the same. SIGTERM or Ctrl-C let running commands finish within the \
            grace time and end them otherwise, which costs them no attempt; the second time ends them at once.

            The command finds HOLDFAST_STORE, HOLDFAST_QUEUE, HOLDFAST_JOB, HOLDFAST_TOKEN and HOLDFAST_ATTEMPT in its \
            environment. The token grows with each attempt at any job: hand it on to what must refuse a worker that \
            came back late. With `holdfast effect run` what a step gives is recorded once.

            Meanwhile `holdfast enqueue` and the other commands reach the store as always. Exit codes: 0 all is done, \
            or asked to stop; 1 jobs died, or the command could not be started; 2 the store can't be opened; 3 the \
            store failed while open.
            """)

    @OptionGroup var store: StoreArgument
    @OptionGroup var queues: QueuesArgument

    @Option(
        name: [.customShort("j"), .customLong("jobs")],
        help: ArgumentHelp(
            "How many commands run at a time (as many as there are processors).", valueName: "count"),
        transform: Values.number(1...1024))
    var jobs: Int?

    @Option(
        help: ArgumentHelp(
            "A running job belongs to nobody else for so long; it is renewed while it runs.", valueName: "time"),
        transform: Values.lease)
    var lease = TimeSpan(seconds: 30)

    @Flag(help: "End when no job is ready, scheduled or running but what waits for a dead or held one.")
    var untilEmpty = false

    @Option(help: ArgumentHelp("The name under which jobs are leased.", valueName: "name"), transform: Values.name)
    var worker = "work"

    @Option(
        help: ArgumentHelp("How long running commands may go on when asked to stop.", valueName: "time"),
        transform: Values.time)
    var grace = TimeSpan(seconds: 10)

    @Option(
        help: ArgumentHelp(
            "How long a failed job waits (attempt^4 seconds, at most a day).", valueName: "time"),
        transform: Values.time)
    var retryDelay: TimeSpan?

    @Flag(name: .customLong("print"), help: "Print what commands that succeed say (the last 64 KiB of each).")
    var printsOutput = false

    @Flag(
        name: [.short, .long],
        help: "Say on standard error why jobs fail, also when that is no terminal.")
    var verbose = false

    @OptionGroup var opening: OpenOptions

    @Argument(parsing: .postTerminator, help: "The command and its arguments, after --.")
    var command: [String] = []

    func validate() throws {
        if let refusal = queues.refusal { throw ValidationError(refusal) }
        if command.isEmpty { throw ValidationError("give the command after --, such as: -- echo {}") }
    }

    func run() throws {
        try StorePath.requireStore(store.directory)
        let signals = try failing { try SignalWatch() }
        let owned: OwnedStore
        do throws(JobStoreError) {
            var options = opening.storeOptions
            options.createIfMissing = false
            owned = try OwnedStore(directory: store.directory, options: options)
        } catch {
            throw CommandFailure(opening: store.directory, error)
        }
        let started = ContinuousClock.now
        let outcome = Result { try failing { try work(on: owned.store, signals) } }
        let closingFailure = owned.close()
        let counts = try outcome.get()
        if let closingFailure { throw CommandFailure(closingFailure) }
        Descriptor.standardError.writeText("\(Self.sentence(counts)) in \((.now - started).words)\n")
        if counts.unreadable > 0 {
            Descriptor.standardError.writeText(
                "holdfast: \(Terminal.count(counts.unreadable, "job")) could not be read and died; to see what is "
                    + "damaged: holdfast verify \(store.directory)\n")
        }
        if counts.stuck > 0 {
            Descriptor.standardError.writeText(
                "holdfast: \(Terminal.count(counts.stuck, "job")) left waiting for a dead or held one, to be redriven "
                    + "or released\n")
        }
        let dead = counts.dead + counts.unreadable
        if dead > 0 {
            let only = queues.names.count == 1 ? "--queue \(queues.text) " : ""
            throw CommandFailure(
                "\(Terminal.count(dead, "job")) died; see "
                    + "`holdfast jobs \(store.directory) \(only)--state dead`, then redrive or purge")
        }
        if counts.undecodable > 0 {
            throw CommandFailure(
                "\(Terminal.count(counts.undecodable, "job")) left whose payload was encoded: only a program with the "
                    + "codec and its key can do such a job")
        }
    }

    private func work(on store: JobStore, _ signals: SignalWatch) throws -> WorkPool.Counts {
        let failures = FailureLog(isShown: verbose || Descriptor.standardError.isTerminal)
        let pool = WorkPool(
            store: store,
            settings: WorkSettings(
                directory: SingleCommand.absolutePath(self.store.directory), queues: queues.names,
                weights: queues.weights, command: CommandTemplate(command), workers: jobs ?? Terminal.processors,
                lease: lease.duration, grace: grace.duration, retryDelay: retryDelay?.duration, untilEmpty: untilEmpty,
                name: worker, printsOutput: printsOutput),
            signals: signals, failures: failures)
        let orphans = try pool.recoverOrphans()
        if orphans > 0 {
            Descriptor.standardError.writeText(
                orphans == 1
                    ? "1 job was running when the last worker died; it runs again\n"
                    : "\(Terminal.grouped(orphans)) jobs were running when the last worker died; they run again\n")
        }
        for status in try store.blocking.stats().queues where status.isPaused && queues.names.contains(status.name) {
            Descriptor.standardError.writeText(
                "holdfast: \(status.name) is paused; to go on: holdfast resume \(self.store.directory) "
                    + "-q \(status.name)\n"
            )
        }
        var progress = ProgressLine()
        defer {
            progress.clear()
            for line in failures.summary { Descriptor.standardError.writeText(line + "\n") }
        }
        var counts = try pool.run { counts in
            progress.update(Self.sentence(counts) + (counts.running > 0 ? ", \(counts.running) running" : ""))
        }
        counts.unreadable = try store.blocking.stats().unreadable
        return counts
    }

    private static func sentence(_ counts: WorkPool.Counts) -> String {
        var parts = ["\(Terminal.grouped(counts.done)) done"]
        if counts.failed > 0 { parts.append(Terminal.count(counts.failed, "failed attempt")) }
        if counts.dead > 0 { parts.append("\(Terminal.grouped(counts.dead)) dead") }
        if counts.givenBack > 0 { parts.append("\(Terminal.grouped(counts.givenBack)) given back") }
        if counts.lost > 0 { parts.append("\(Terminal.grouped(counts.lost)) taken away") }
        return parts.joined(separator: ", ")
    }
}
