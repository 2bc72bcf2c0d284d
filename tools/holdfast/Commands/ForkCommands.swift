// `holdfast fork`, `backup` and `restore`: one store made out of another, as it was at some point. They are one thing
// under three names: a backup is a fork at the newest record, and restoring is forking the backup.

import ArgumentParser
import Holdfast

struct ForkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fork",
        abstract: "Makes a new store that is what a store was at some point.",
        discussion: """
            Reads the files of the store, which may be in use, and changes nothing of it. Sealed segments share their \
            files with it where both are on one file system. The new store is verified, and has jobs of its own from \
            then on: whoever works on both runs each job twice.

            \(PointArgument.discussion)
            """)

    @OptionGroup var store: StoreArgument
    @Argument(
        help: ArgumentHelp("Where the new store goes; nothing, or an empty directory.", valueName: "new"),
        completion: .directory)
    var target: String
    @OptionGroup var point: PointArgument
    @Flag(help: "One JSON object.")
    var json = false

    func run() throws {
        try ForkRun(source: store.directory, target: target, moment: point.at).run(json: json, "new store")
    }
}

struct BackupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Makes a verified copy of a store, also while it is in use.",
        discussion: """
            The copy is a store with its whole kept history: `holdfast restore` makes one out of it that is what the \
            store was at any point of that. Beside an owner it holds what the files show to be durable: all that was \
            answered up to some milliseconds before. On the same file system sealed segments share their files with \
            the store, which costs no space; against the loss of a disk, back up to another one.

            Each backup goes to a directory of its own.
            """)

    @OptionGroup var store: StoreArgument
    @Argument(
        help: ArgumentHelp("Where the backup goes; nothing, or an empty directory.", valueName: "dir"),
        completion: .directory)
    var target: String
    @Flag(help: "One JSON object.")
    var json = false

    func run() throws {
        try ForkRun(source: store.directory, target: target, moment: nil).run(json: json, "backup")
    }
}

struct RestoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Makes a store out of a backup, as of any point of its history.",
        discussion: """
            The backup is not changed. Leases that were running are running in the new store, until they expire.

            \(PointArgument.discussion)
            """)

    @Argument(help: ArgumentHelp("The backup's directory.", valueName: "dir"), completion: .directory)
    var source: String
    @Argument(
        help: ArgumentHelp("Where the store goes; nothing, or an empty directory.", valueName: "new"),
        completion: .directory)
    var target: String
    @OptionGroup var point: PointArgument
    @Flag(help: "One JSON object.")
    var json = false

    func run() throws {
        try ForkRun(source: source, target: target, moment: point.at).run(json: json, "restored store")
    }
}

/// At which point.
struct PointArgument: ParsableArguments {
    static let discussion = """
        Points: the number of a record, as `dump` and `stat` show it, or a time such as 2026-11-21T02:31:18Z, or 10m \
        for ten minutes ago. The point lies behind that record, or behind the last one that is not later. How far back \
        it may lie depends on the history that is kept; a point before that is refused with the oldest one there is.
        """

    @Option(
        help: ArgumentHelp("A sequence number or a time (the newest record).", valueName: "point"),
        transform: Values.moment)
    var at: StoreMoment?
}

/// What the three commands do.
struct ForkRun {
    let source: String
    let target: String
    /// By default the newest.
    let moment: StoreMoment?

    func run(json: Bool, _ noun: String) throws {
        try StorePath.requireStore(source)
        try StorePath.requireFree(target, outside: source)
        let summary: ForkSummary
        do throws(JobStoreError) {
            summary = try JobStore.forkBlocking(source, to: target, at: moment)
        } catch {
            let code =
                switch error.code {
                case .corrupt: CommandFailure.damagedCode
                case .beyondHistory: CommandFailure.refusedCode
                default: CommandFailure.notOpenedCode
                }
            throw CommandFailure(
                "made no \(noun): \(LogMessage.plain(error.message, store: source))", exitCode: code)
        }
        if json { return try Terminal.write(Self.json(summary)) }
        let time = summary.sequence > .zero ? ", of \(CalendarTime.text(summary.time))" : ""
        try Terminal.print(
            "\(noun) \(target): \(Terminal.count(summary.records, "record")) up to \(summary.sequence)\(time), verified"
        )
        try Terminal.print(
            "\(Terminal.bytes(summary.linkedBytes)) shared with \(source) "
                + "(\(Terminal.count(summary.linkedSegments, "segment"))), \(Terminal.bytes(summary.writtenBytes)) "
                + "written")
    }

    private static func json(_ summary: ForkSummary) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.field("seq", summary.sequence.rawValue)
        writer.field("at_ms", summary.time.milliseconds)
        writer.field("records", summary.records)
        writer.field("linked_segments", summary.linkedSegments)
        writer.field("linked_bytes", summary.linkedBytes)
        writer.field("written_bytes", summary.writtenBytes)
        writer.endObject()
        writer.endLine()
        return writer.bytes
    }
}
