// The commands that are one request to a store, wherever it is open: `checkpoint`, `pause`, `resume`, `redrive`,
// `cancel`.

import ArgumentParser
import Holdfast

struct CheckpointCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkpoint",
        abstract: "Writes the state as of now, so that opening the store replays less.",
        discussion: "Prints the sequence number up to which the checkpoint reaches.")

    @OptionGroup var store: StoreArgument

    func run() throws {
        let reply = try StoreAccess.with(store.directory) { try $0.request("checkpoint") }
        try Terminal.print("\(reply["seq"]?.integer ?? 0)")
    }
}

struct PauseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Lets a queue lease nothing until it is resumed; enqueue goes on.")

    @OptionGroup var store: StoreArgument
    @OptionGroup var queue: QueueArgument

    func run() throws {
        try queue.request("pause", of: store)
    }
}

struct ResumeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Lets a paused queue lease again.")

    @OptionGroup var store: StoreArgument
    @OptionGroup var queue: QueueArgument

    func run() throws {
        try queue.request("resume", of: store)
    }
}

extension QueueArgument {
    /// Sends a request that names this queue and nothing else.
    fileprivate func request(_ operation: StaticString, of store: StoreArgument) throws {
        _ = try StoreAccess.with(store.directory) { try $0.request(operation) { $0.field("queue", name) } }
    }
}

struct CancelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel",
        abstract: "Cancels jobs, wherever they are in their life.",
        discussion: """
            A job that runs just now is cancelled too: its worker learns of it at its next heartbeat. One that \
            can't be cancelled keeps none of the others from it; the exit code is 1 then.
            """)

    @OptionGroup var store: StoreArgument

    @Argument(help: ArgumentHelp("The jobs' ids.", valueName: "id"), transform: Values.id)
    var ids: [UInt64]

    func run() throws {
        try StoreAccess.with(store.directory) { access in
            try forEach(ids) { id in _ = try access.request("cancel") { $0.field("id", id) } }
        }
    }
}

struct RedriveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "redrive",
        abstract: "Makes dead jobs ready again, their attempts counted from zero.",
        discussion: """
            Give the jobs' ids, or a queue for all of its dead jobs, or for those that all the filters name. A job \
            whose unique key another job holds by now stays dead. Prints how many are ready again.

              holdfast redrive /tmp/store -q mail --error-contains timeout --died-before 10m --dry-run
              holdfast redrive /tmp/store -q mail --reason poison --per-second 5
            """)

    @OptionGroup var store: StoreArgument

    @Option(
        name: [.short, .long], help: ArgumentHelp("Redrive this queue's dead jobs.", valueName: "name"),
        transform: Values.name)
    var queue: String?

    @Option(
        help: ArgumentHelp("With --queue: so many at most (all).", valueName: "count"), transform: Values.count)
    var limit: Int?

    @OptionGroup var filter: DeadLetterOptions

    @Option(
        help: ArgumentHelp("With --queue: so many a second, each at its own time (all at once).", valueName: "count"),
        transform: Values.number(1...1_000_000))
    var perSecond: Int?

    @Flag(help: "With --queue: only tell what would be done.")
    var dryRun = false

    @Flag(help: "With --queue: one JSON object.")
    var json = false

    @Argument(help: ArgumentHelp("The jobs' ids.", valueName: "id"), transform: Values.id)
    var ids: [UInt64] = []

    private static let requestMax = 10_000

    func validate() throws {
        guard ids.isEmpty != (queue == nil) else {
            throw ValidationError("give either the ids of jobs, or --queue")
        }
        if limit != nil && queue == nil { throw ValidationError("--limit goes with --queue; leave it out") }
        if saysMore && queue == nil {
            throw ValidationError("filters, --per-second, --dry-run and --json go with --queue; leave them out")
        }
    }

    private var saysMore: Bool { !filter.isEmpty || perSecond != nil || dryRun || json }

    /// Redrives a part of a queue, or spreads it over time, and tells of it in a table.
    private func redrivePart(of queue: String) throws {
        let reply = try StoreAccess.with(store.directory) { access in
            try access.request("redrive") { writer in
                writer.field("queue", queue)
                filter.write(into: &writer)
                if let limit { writer.field("limit", limit) }
                if let perSecond { writer.field("per_second", perSecond) }
                if dryRun { writer.field("dry_run", true) }
            }
        }
        try DeadLetterOptions.print(reply, asJSON: json)
        Self.printSkipped(Int(reply["skipped"]?.integer ?? 0))
    }

    private static func printSkipped(_ count: Int) {
        guard count > 0 else { return }
        Descriptor.standardError.writeText("holdfast: \(count) left dead: other jobs hold their unique keys\n")
    }

    func run() throws {
        if let queue, saysMore { return try redrivePart(of: queue) }
        let (count, skipped) = try StoreAccess.with(store.directory) { access in
            var (count, skipped) = (0, 0)
            try forEach(ids) { id in
                _ = try access.request("redrive") { $0.field("id", id) }
                count += 1
            }
            if let queue {
                var rest = limit ?? Int.max
                while rest > 0 {
                    let reply = try access.request("redrive") {
                        $0.field("queue", queue)
                        $0.field("limit", min(rest, Self.requestMax))
                    }
                    let redriven = Int(reply["count"]?.integer ?? 0)
                    skipped = Int(reply["skipped"]?.integer ?? 0)
                    count += redriven
                    rest -= redriven
                    if redriven == 0 || redriven < min(rest + redriven, Self.requestMax) { break }
                }
            }
            return (count, skipped)
        }
        try Terminal.print("\(count)")
        Self.printSkipped(skipped)
    }
}

/// Calls `body` with each id, also after a refusal; refusals are printed but for the last, which is thrown at the end.
func forEach(_ ids: [UInt64], _ body: (UInt64) throws -> Void) throws {
    var refusal: CommandFailure?
    for id in ids {
        do {
            try body(id)
        } catch let failure as CommandFailure where failure.exitCode == CommandFailure.refusedCode {
            if let refusal { Descriptor.standardError.writeText("holdfast: \(refusal.message)\n") }
            refusal = failure
        }
    }
    if let refusal { throw refusal }
}
