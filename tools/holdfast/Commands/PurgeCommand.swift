// `holdfast purge`: empties a queue. What is cancelled stays so if it is killed half way; running it again goes on.

import ArgumentParser
import Holdfast

struct PurgeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "purge",
        abstract: "Cancels the ready, scheduled and dead jobs of a queue.",
        discussion: """
            Running jobs are left to their workers. Asks before it does it, unless --yes is given, and prints how many \
            jobs of each state were cancelled.

              holdfast purge /tmp/store --queue mail --dry-run
              holdfast purge /tmp/store --queue mail --state dead --yes
              holdfast purge /tmp/store --queue mail --state dead --reason ttl_expired --died-before 7d --dry-run

            Filters narrow what is cancelled of the dead jobs, and go with --state dead.
            """)

    @OptionGroup var store: StoreArgument
    @OptionGroup var queue: QueueArgument

    @Option(
        name: [.customShort("s"), .customLong("state")],
        help: ArgumentHelp("Only these: ready, scheduled or dead; may be repeated (all three).", valueName: "state"),
        transform: Values.state(oneOf: PurgeStates.named))
    var chosen: [JobInfo.State] = []

    @OptionGroup var filter: DeadLetterOptions

    @Flag(help: "Do not ask.")
    var yes = false

    @Flag(help: "Only count.")
    var dryRun = false

    @Flag(help: #"Print {"ready":N,"scheduled":N,"dead":N}."#)
    var json = false

    func validate() throws {
        if !filter.isEmpty, chosen != [.dead] {
            throw ValidationError("filters are of dead jobs; add --state dead, and no other state")
        }
    }

    /// Cancels some of the dead jobs.
    private func purgePart() throws {
        let reply = try StoreAccess.with(store.directory) { access in
            func request(isDryRun: Bool) throws -> JSONValue {
                try access.request("purge") { writer in
                    writer.field("queue", queue.name)
                    filter.write(into: &writer)
                    if isDryRun { writer.field("dry_run", true) }
                }
            }
            if dryRun { return try request(isDryRun: true) }
            if !yes { try confirm(try request(isDryRun: true), [.dead]) }
            return try request(isDryRun: false)
        }
        try DeadLetterOptions.print(reply, asJSON: json)
    }

    func run() throws {
        if !filter.isEmpty { return try purgePart() }
        let states = PurgeStates.named.filter { chosen.isEmpty || chosen.contains($0) }
        let reply = try StoreAccess.with(store.directory) { access in
            if dryRun { return try waiting(access) }
            if !yes { try confirm(try waiting(access), states) }
            return try access.request("purge") { writer in
                writer.field("queue", queue.name)
                writer.key("states")
                writer.beginArray()
                for state in states { writer.value(state.rawValue) }
                writer.endArray()
            }
        }
        if json {
            var writer = JSONWriter()
            writer.beginObject()
            for state in states {
                writer.key(dynamic: state.rawValue)
                writer.value(Self.count(of: state, in: reply))
            }
            writer.endObject()
            writer.endLine()
            return try Terminal.write(writer.bytes)
        }
        try Terminal.print("\(dryRun ? "would cancel" : "cancelled") \(Self.sentence(reply, states))")
    }

    /// Returns what `stats` says of the queue.
    private func waiting(_ access: StoreAccess) throws -> JSONValue? {
        try access.request("stats")["queues"]?.fields?.first { $0.name.string == queue.name }?.value
    }

    private static func count(of state: JobInfo.State, in counts: JSONValue?) -> Int64 {
        counts?.fields?.first { $0.name.string == state.rawValue }?.value.integer ?? 0
    }

    private static func sentence(_ counts: JSONValue?, _ states: [JobInfo.State]) -> String {
        states.map { "\(Terminal.grouped(count(of: $0, in: counts))) \($0.rawValue)" }.joined(separator: ", ") + " jobs"
    }

    private func confirm(_ counts: JSONValue?, _ states: [JobInfo.State]) throws {
        guard Descriptor.standardInput.isTerminal else {
            throw CommandFailure("purge asks on a terminal, and there is none; add --yes if you are sure")
        }
        Descriptor.standardError.writeText("Cancel \(Self.sentence(counts, states)) of \(queue.name)? [y/N] ")
        var reader = LineReader(.standardInput, lineBytesMax: 1024)
        let event = try failing { try reader.next() }
        guard case .line(let answer) = event,
            ["y", "yes"].contains(String(decoding: answer, as: UTF8.self).lowercased())
        else { throw CommandFailure("nothing was cancelled") }
    }
}
