// `holdfast purge`: empties a queue. What is cancelled stays so if it is killed half way; running it again goes on.

import ArgumentParser
import Holdfast

struct PurgeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "purge",
        abstract: "Cancels the ready, scheduled and dead jobs of a queue, or those with a label.",
        discussion: """
            Running jobs are left to their workers. Asks before it does it, unless --yes is given, and prints how many \
            jobs of each state were cancelled.

              holdfast purge /tmp/store --queue mail --dry-run
              holdfast purge /tmp/store --queue mail --state dead --yes
              holdfast purge /tmp/store --queue mail --state dead --reason ttl_expired --died-before 7d --dry-run
              holdfast purge /tmp/store --label tenant=acme --yes

            Filters narrow what is cancelled of the dead jobs, and go with --state dead.
            """)

    @OptionGroup var store: StoreArgument

    @Option(
        name: [.short, .long], help: ArgumentHelp("The queue.", valueName: "name"), transform: Values.name)
    var queue: String?

    @OptionGroup var labelled: LabelOptions

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
        if queue == nil && labelled.isEmpty { throw ValidationError("give --queue, --label or --owner") }
        if !filter.isEmpty, chosen != [.dead] {
            throw ValidationError("filters are of dead jobs; add --state dead, and no other state")
        }
        if !filter.isEmpty, queue == nil || !labelled.isEmpty {
            throw ValidationError("filters of dead jobs go with --queue, and not with --label or --owner")
        }
    }

    /// Cancels some of the dead jobs.
    private func purgePart() throws {
        let reply = try StoreAccess.with(store.directory) { access in
            func request(isDryRun: Bool) throws -> JSONValue {
                try access.request("purge") { writer in
                    if let queue { writer.field("queue", queue) }
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
            if dryRun { return try waiting(access, states) }
            if !yes { try confirm(try waiting(access, states), states) }
            return try access.request("purge") { writer in
                if let queue { writer.field("queue", queue) }
                labelled.write(to: &writer)
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

    /// Returns how many jobs of each state there are: what `stats` says of the queue, or, by labels, a count.
    private func waiting(_ access: StoreAccess, _ states: [JobInfo.State]) throws -> JSONValue? {
        if labelled.isEmpty {
            return try access.request("stats")["queues"]?.fields?.first { $0.name.string == queue }?.value
        }
        var writer = JSONWriter()
        writer.beginObject()
        for state in states {
            writer.key(dynamic: state.rawValue)
            writer.value(try count(of: state, access))
        }
        writer.endObject()
        return try ShellConnection.parse(writer.bytes)
    }

    private func count(of state: JobInfo.State, _ access: StoreAccess) throws -> Int {
        var (count, last) = (0, Int64(0))
        while true {
            let reply = try access.request("jobs") { writer in
                if let queue { writer.field("queue", queue) }
                labelled.write(to: &writer)
                writer.field("state", state.rawValue)
                writer.field("after", last)
                writer.field("limit", Limits.countMax)
            }
            let jobs = reply["jobs"]?.elements ?? []
            count += jobs.count
            guard jobs.count == Limits.countMax, let next = jobs.last?["id"]?.integer else { return count }
            last = next
        }
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
        Descriptor.standardError.writeText(
            "Cancel \(Self.sentence(counts, states))\(queue.map { " of \($0)" } ?? "")? [y/N] ")
        var reader = LineReader(.standardInput, lineBytesMax: 1024)
        let event = try failing { try reader.next() }
        guard case .line(let answer) = event,
            ["y", "yes"].contains(String(decoding: answer, as: UTF8.self).lowercased())
        else { throw CommandFailure("nothing was cancelled") }
    }
}
