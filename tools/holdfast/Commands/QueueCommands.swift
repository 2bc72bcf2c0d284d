// The commands that are one request to a store, wherever it is open: `checkpoint`, `pause`, `resume`, `redrive`,
// `cancel`, `purge`.

import ArgumentParser
import Holdfast

/// Which queue is meant.
struct QueueArgument: ParsableArguments {
    @Option(name: [.customShort("q"), .customLong("queue")], help: ArgumentHelp("The queue.", valueName: "name"))
    var name: String
}

struct CheckpointCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkpoint",
        abstract: "Writes the state as of now, so that opening the store replays less.",
        discussion: "Prints the sequence number up to which the checkpoint reaches.")

    @OptionGroup var store: StoreArgument

    func run() throws {
        let reply = try StoreAccess.with(store.directory) { try $0.request("checkpoint") }
        Terminal.print("\(reply["seq"]?.integer ?? 0)")
    }
}

struct PauseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Lets a queue lease nothing until it is resumed; enqueue goes on.")

    @OptionGroup var store: StoreArgument
    @OptionGroup var queue: QueueArgument

    func run() throws {
        _ = try StoreAccess.with(store.directory) { try $0.request("pause") { $0.field("queue", queue.name) } }
    }
}

struct ResumeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Lets a paused queue lease again.")

    @OptionGroup var store: StoreArgument
    @OptionGroup var queue: QueueArgument

    func run() throws {
        _ = try StoreAccess.with(store.directory) { try $0.request("resume") { $0.field("queue", queue.name) } }
    }
}

struct CancelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel",
        abstract: "Cancels jobs, wherever they are in their life.",
        discussion: "A job that runs just now is cancelled too: its worker learns of it at its next heartbeat.")

    @OptionGroup var store: StoreArgument

    @Argument(help: "The jobs' ids.")
    var ids: [UInt64]

    func run() throws {
        try StoreAccess.with(store.directory) { access in
            for id in ids { _ = try access.request("cancel") { $0.field("id", id) } }
        }
    }
}

struct RedriveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "redrive",
        abstract: "Makes dead jobs ready again, their attempts counted from zero.",
        discussion: """
            Give the jobs' ids, or a queue for all of its dead jobs. A job whose unique key another job holds by now \
            stays dead. Prints how many are ready again.
            """)

    @OptionGroup var store: StoreArgument

    @Option(name: [.short, .long], help: ArgumentHelp("Redrive this queue's dead jobs.", valueName: "name"))
    var queue: String?

    @Option(help: ArgumentHelp("With --queue: so many at most (all).", valueName: "count"))
    var limit: Int?

    @Argument(help: "The jobs' ids.")
    var ids: [UInt64] = []

    private static let requestMax = 10_000

    func validate() throws {
        guard ids.isEmpty != (queue == nil) else {
            throw ValidationError("give either the ids of jobs, or --queue")
        }
        if let limit, limit < 1 { throw ValidationError("--limit is \(limit); give 1 or more") }
    }

    func run() throws {
        let (count, skipped) = try StoreAccess.with(store.directory) { access in
            var (count, skipped) = (0, 0)
            for id in ids {
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
        Terminal.print("\(count)")
        if skipped > 0 {
            Descriptor.standardError.writeText("holdfast: \(skipped) left dead: other jobs hold their unique keys\n")
        }
    }
}

struct PurgeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "purge",
        abstract: "Cancels all dead jobs of a queue.",
        discussion: "Asks before it does, unless --yes is given. Prints how many were cancelled.")

    @OptionGroup var store: StoreArgument
    @OptionGroup var queue: QueueArgument

    @Flag(help: "Do not ask.")
    var yes = false

    func run() throws {
        let reply = try StoreAccess.with(store.directory) { access in
            if !yes { try confirm(access) }
            return try access.request("purge") { $0.field("queue", queue.name) }
        }
        Terminal.print("\(reply["count"]?.integer ?? 0)")
    }

    private func confirm(_ access: StoreAccess) throws {
        guard Descriptor.standardInput.isTerminal else {
            throw CommandFailure("purge asks on a terminal, and there is none; add --yes if you are sure")
        }
        let reply = try access.request("stats")
        let counts = reply["queues"]?.fields?.first { $0.name.string == queue.name }?.value
        let total = counts?["dead"]?.integer ?? 0
        Descriptor.standardError.writeText("Cancel all \(total) dead jobs of \(queue.name)? [y/N] ")
        var reader = LineReader(.standardInput, lineBytesMax: 1024)
        let event = try failing { try reader.next() }
        guard case .line(let answer) = event,
            ["y", "yes"].contains(String(decoding: answer, as: UTF8.self).lowercased())
        else { throw CommandFailure("nothing was cancelled") }
    }
}
