// Which dead letters a command means, and how it tells what became of them.

import ArgumentParser
import Holdfast

/// A filter of dead letters.
struct DeadLetterOptions: ParsableArguments {
    @Option(
        name: [.customLong("reason")],
        help: ArgumentHelp(
            "Only those dead for this reason: attempts_used_up, ttl_expired, buried, unreadable, poison, "
                + "final_error or dependency; may be given several times.", valueName: "reason"),
        transform: Values.word)
    var reasons: [JobInfo.DeadReason] = []

    @Option(
        help: ArgumentHelp("Only those whose last error has this in it.", valueName: "text"),
        transform: DeadLetterOptions.part)
    var errorContains: String?

    @Option(help: ArgumentHelp("Only those of this group.", valueName: "name"), transform: Values.name)
    var group: String?

    @Option(
        help: ArgumentHelp("Only those that died then or later; a time, or 10m for so long ago.", valueName: "time"),
        transform: Values.instant)
    var diedAfter: Timestamp?

    @Option(
        help: ArgumentHelp("Only those that died before then.", valueName: "time"), transform: Values.instant)
    var diedBefore: Timestamp?

    @Option(
        help: ArgumentHelp("Only those with at least so many attempts.", valueName: "count"),
        transform: Values.number(0...1_000_000))
    var attemptsMin: Int?

    @Option(help: ArgumentHelp("Only those with this id or a greater one.", valueName: "id"), transform: Values.id)
    var firstID: UInt64?

    @Option(help: ArgumentHelp("Only those with this id or a lower one.", valueName: "id"), transform: Values.id)
    var lastID: UInt64?

    @Sendable private static func part(_ text: String) throws -> String {
        if text.isEmpty { throw ValidationError("give a part of the text") }
        return text
    }

    /// Whether nothing is said.
    var isEmpty: Bool {
        reasons.isEmpty && errorContains == nil && group == nil && diedAfter == nil && diedBefore == nil
            && attemptsMin == nil && firstID == nil && lastID == nil
    }

    /// Writes `where`: what is said, or that all are meant.
    func write(into writer: inout JSONWriter) {
        writer.key("where")
        writer.beginObject()
        if isEmpty { writer.field("all", true) }
        if !reasons.isEmpty { writer.field("reasons", reasons.map(\.rawValue)) }
        if let errorContains { writer.field("error_contains", errorContains) }
        if let group { writer.field("group", group) }
        if let diedAfter { writer.field("died_from_ms", diedAfter.milliseconds) }
        if let diedBefore { writer.field("died_before_ms", diedBefore.milliseconds) }
        if let attemptsMin { writer.field("attempts_min", attemptsMin) }
        if let firstID { writer.field("first_id", firstID) }
        if let lastID { writer.field("last_id", lastID) }
        writer.endObject()
    }

    /// Prints what a reply says was done, or would be.
    static func print(_ reply: JSONValue, asJSON: Bool) throws {
        if asJSON {
            var writer = JSONWriter()
            writer.beginObject()
            for field in reply.fields ?? [] where field.name.string != "ok" {
                writer.key(dynamic: field.name.string ?? "")
                writer.value(raw: field.value.raw)
            }
            writer.endObject()
            writer.endLine()
            return try Terminal.write(writer.bytes)
        }
        try Terminal.print("\(Columns.right("jobs", 10))  dead because")
        for reason in reply["reasons"]?.fields ?? [] {
            let count = Terminal.grouped(reason.value.integer ?? 0)
            try Terminal.print("\(Columns.right(count, 10))  \(reason.name.string ?? "")")
        }
        try Terminal.print("\(Columns.right(Terminal.grouped(reply["count"]?.integer ?? 0), 10))  in all")
        if let ids = reply["ids"]?.elements, !ids.isEmpty {
            try Terminal.print("the first: " + ids.compactMap { $0.integer.map(String.init) }.joined(separator: " "))
        }
        if let last = reply["last_run_at_ms"]?.integer {
            try Terminal.print("the last may run at \(CalendarTime.text(Timestamp(milliseconds: last)))")
        }
    }
}

struct DeadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dead",
        abstract: "Lists the dead jobs of a queue.",
        discussion: """
            What is said narrows the list: a job is shown when all of it fits.

              holdfast dead /tmp/store -q mail --error-contains timeout --died-after 1h
            """)

    @OptionGroup var store: StoreArgument
    @OptionGroup var queue: QueueArgument
    @OptionGroup var filter: DeadLetterOptions

    @Option(help: ArgumentHelp("So many at most (all).", valueName: "count"), transform: Values.count)
    var limit: Int?

    @Flag(help: "One JSON object a line.")
    var json = false

    private static let pageCount = 1000

    func run() throws {
        try StoreAccess.with(store.directory) { access in
            if !json { try Terminal.print(Self.title) }
            var (rest, last) = (limit ?? Int.max, Int64(0))
            while rest > 0 {
                let count = min(rest, Self.pageCount)
                let reply = try access.request("dead_jobs") { writer in
                    writer.field("queue", queue.name)
                    filter.write(into: &writer)
                    writer.field("limit", count)
                    writer.field("after", last)
                }
                let jobs = reply["jobs"]?.elements ?? []
                let bytes = json ? jobs.flatMap { [UInt8]($0.raw) + [0x0A] } : jobs.flatMap(Self.row)
                guard try Terminal.isRead(after: bytes) else { return }
                rest -= jobs.count
                last = jobs.last?["id"]?.integer ?? last
                if jobs.count < count { return }
            }
        }
    }

    private static let title =
        Columns.right("id", 10) + "  " + Columns.left("reason", 16) + "  attempt  " + Columns.left("died", 20)
        + "  last error"

    private static func row(_ job: JSONValue) -> [UInt8] {
        let died = job["finished_at_ms"]?.integer.map { CalendarTime.text(Timestamp(milliseconds: $0)) } ?? ""
        var line = Columns.right(job["id"]?.integer.map(String.init) ?? "", 10) + "  "
        line += Columns.left(job["dead_reason"]?.string ?? "", 16) + "  "
        line += Columns.right("\(job["attempt"]?.integer ?? 0)/\(job["max_attempts"]?.integer ?? 0)", 7) + "  "
        line += died
        if let error = job["last_error"]?.string, !error.isEmpty { line += "  " + Terminal.firstLine(error) }
        return [UInt8](line.utf8) + [0x0A]
    }
}
