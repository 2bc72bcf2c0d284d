// `holdfast edit` and `holdfast move`: jobs that wait, changed.

import ArgumentParser
import Holdfast
import HoldfastEngine

struct EditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "edit",
        abstract: "Changes jobs that wait.",
        discussion: """
            What is not named stays as it is. A job that runs just now is not changed: cancel it, or wait until it \
            waits again; a dead one has to be redriven first. One that can't be changed keeps none of the others from \
            it; the exit code is 1 then.

              holdfast edit /tmp/store 17 18 --priority 10 --delay 0
              holdfast edit /tmp/store 17 --payload 'to=b@example.com'
            """)

    @OptionGroup var store: StoreArgument

    @Option(
        name: [.short, .long], parsing: .unconditional, help: "Higher runs first; -128 to 127.",
        transform: Values.number(-128...127))
    var priority: Int?

    @Option(
        help: ArgumentHelp("Wait so long from now on; 0 for not at all.", valueName: "time"), transform: Values.time)
    var delay: TimeSpan?

    @Option(
        help: ArgumentHelp("How often it is tried before it is dead.", valueName: "count"),
        transform: Values.number(1...Int(RecordLimits.maxAttemptsMax)))
    var maxAttempts: Int?

    @Option(help: ArgumentHelp("What it is about instead.", valueName: "text"))
    var payload: String?

    @Option(
        name: [.customLong("header")],
        help: ArgumentHelp("Travels with it; those it had do not.", valueName: "name=value"), transform: Values.header)
    var headers: [JobHeader] = []

    @Option(
        name: [.short, .long], help: ArgumentHelp("Move it into this queue.", valueName: "name"),
        transform: Values.name)
    var queue: String?

    @Argument(help: ArgumentHelp("The jobs' ids.", valueName: "id"), transform: Values.id)
    var ids: [UInt64]

    func validate() throws {
        let isNothing = priority == nil && delay == nil && maxAttempts == nil && payload == nil && queue == nil
        if isNothing && headers.isEmpty {
            throw ValidationError(
                "say what to change: --priority, --delay, --max-attempts, --payload, --header or --queue")
        }
    }

    func run() throws {
        try StoreAccess.with(store.directory) { access in
            try forEach(ids) { id in
                _ = try access.request("edit") { writer in
                    writer.field("id", id)
                    if let priority { writer.field("priority", priority) }
                    if let delay { writer.field("delay_ms", delay.milliseconds) }
                    if let maxAttempts { writer.field("max_attempts", maxAttempts) }
                    if let payload { writer.field("payload", payload) }
                    if !headers.isEmpty { writer.field("headers", headers) }
                    if let queue { writer.field("queue", queue) }
                }
            }
        }
    }
}

struct MoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "move",
        abstract: "Moves jobs that wait into another queue.",
        discussion: """
            Jobs keep their ids, and so their places among jobs of the same priority. One that can't be moved keeps \
            none of the others from it; the exit code is 1 then.
            """)

    @OptionGroup var store: StoreArgument
    @OptionGroup var queue: QueueArgument

    @Argument(help: ArgumentHelp("The jobs' ids.", valueName: "id"), transform: Values.id)
    var ids: [UInt64]

    func run() throws {
        let name = queue.name
        try StoreAccess.with(store.directory) { access in
            try forEach(ids) { id in
                _ = try access.request("edit") {
                    $0.field("id", id)
                    $0.field("queue", name)
                }
            }
        }
    }
}
