// `holdfast cursors` and `holdfast cursor`: the consumers of a store's log.

import ArgumentParser
import Holdfast

struct CursorsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cursors",
        abstract: "Shows how far each consumer of the log has come.",
        discussion: """
            Works on a store in use and a closed one, and changes nothing. A cursor keeps what its consumer has not \
            seen from being dropped, as long as that is within the cursor's limits.
            """)

    @OptionGroup var store: StoreArgument

    @Flag(help: "One JSON object, as the shell's operation cursors replies.")
    var json = false

    func run() throws {
        try StorePath.requireStore(store.directory)
        let cursors = try StoreReport.of(store.directory).cursors
        if json {
            var writer = JSONWriter()
            writer.beginObject()
            writer.field("cursors", cursors)
            writer.endObject()
            writer.endLine()
            return try Terminal.write(writer.bytes)
        }
        for line in CursorRow.lines(cursors) { try Terminal.print(line) }
    }
}

struct CursorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cursor",
        abstract: "Removes a cursor, or sends its consumer elsewhere.",
        subcommands: [CursorRemoveCommand.self, CursorResetCommand.self])
}

struct CursorRemoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Forgets a cursor: it keeps nothing from being dropped any more.")

    @OptionGroup var store: StoreArgument
    @Argument(help: ArgumentHelp("The cursor.", valueName: "name"), transform: Values.name)
    var name: String

    func run() throws {
        _ = try StoreAccess.with(store.directory) { try $0.request("cursor_remove") { $0.field("cursor", name) } }
    }
}

struct CursorResetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reset",
        abstract: "Sends a consumer elsewhere, forward or back.",
        discussion: "Prints the sequence number at which it goes on.")

    @OptionGroup var store: StoreArgument
    @Argument(help: ArgumentHelp("The cursor.", valueName: "name"), transform: Values.name)
    var name: String
    @Option(
        help: ArgumentHelp("now, oldest, or a sequence number.", valueName: "now|oldest|number"),
        transform: TailCommand.Start.init(argument:))
    var to: TailCommand.Start

    func run() throws {
        let reply = try StoreAccess.with(store.directory) { access in
            try access.request("cursor_reset") {
                $0.field("cursor", name)
                $0.field("to", to)
            }
        }
        try Terminal.print("\(reply["next"]?.integer ?? 0)")
    }
}

extension JSONWriter {
    /// Writes a place in the log.
    mutating func field(_ name: StaticString, _ start: TailCommand.Start) {
        switch start {
        case .now: field(name, "now")
        case .oldest: field(name, "oldest")
        case .number(let number): field(name, max(number, 1))
        }
    }
}

/// The consumer that `tail --cursor` is.
struct TailCursor {
    let directory: String
    let name: String
    private(set) var next: SequenceNumber

    /// Goes on where it left off, or begins.
    init(
        _ directory: String, name: String, from start: TailCommand.Start, bytesCap: Int?, ageCap: TimeSpan?
    ) throws {
        (self.directory, self.name) = (directory, name)
        let reply = try StoreAccess.with(directory) { access in
            try access.request("cursor_open") {
                $0.field("cursor", name)
                $0.field("from", start)
                if let bytesCap { $0.field("bytes_cap", bytesCap) }
                if let ageCap { $0.field("age_cap_ms", ageCap.milliseconds) }
            }
        }
        next = SequenceNumber(UInt64(max(1, reply["next"]?.integer ?? 1)))
    }

    /// Notes that everything before `next` was printed.
    mutating func commit(_ next: SequenceNumber) throws {
        _ = try StoreAccess.with(directory) { access in
            try access.request("cursor_advance") {
                $0.field("cursor", name)
                $0.field("to", next.rawValue)
            }
        }
        self.next = next
    }
}
