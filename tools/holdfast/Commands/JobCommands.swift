// `holdfast job` and `holdfast jobs`: one job's life, and lists of jobs.

import ArgumentParser
import Holdfast

struct JobCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "job",
        abstract: "Shows what is known of a job, and what happened to it when.")

    @OptionGroup var store: StoreArgument

    @Argument(help: "The job's id.", transform: Values.id)
    var id: UInt64

    @OptionGroup var past: AsOfOption

    @Flag(help: "Show the payload of a secret job, too.")
    var showSecrets = false

    @Flag(help: "One JSON object: job, and records.")
    var json = false

    func run() throws {
        let (job, history) = try StoreAccess.with(store.directory, asOf: past.moment) { access in
            let job = try access.request("job") {
                $0.field("id", id)
                if showSecrets { $0.field("show_secrets", true) }
            }
            return (job, try access.request("history") { $0.field("id", id) })
        }
        guard let fields = job["job"]?.fields, let records = history["records"]?.elements else {
            throw CommandFailure("the store's owner sent an answer without a job")
        }
        if json {
            var writer = JSONWriter()
            writer.beginObject()
            writer.key("job")
            if let raw = job["job"]?.raw { writer.value(raw: raw) }
            writer.key("records")
            if let raw = history["records"]?.raw { writer.value(raw: raw) }
            writer.endObject()
            writer.endLine()
            return try Terminal.write(writer.bytes)
        }
        for (name, value) in fields where value.kind != .null && !Self.isEmpty(value) {
            try Terminal.print("\(Columns.left(name.string ?? "", 16))\(FieldText.text(name.string ?? "", value))")
        }
        try Terminal.print("")
        var previous: Int64?
        for record in records {
            let time = record["at_ms"]?.integer ?? 0
            let gap = previous.map { "+" + Duration.milliseconds(time - $0).words } ?? ""
            previous = time
            let details = (record.fields ?? []).filter { field in
                !["seq", "at_ms", "kind"].contains(field.name.string)
            }
            try Terminal.print(
                "\(CalendarTime.text(Timestamp(milliseconds: time)))  \(Columns.right(gap, 10))  "
                    + Columns.left(record["kind"]?.string ?? "", 9)
                    + details.map { "  \($0.name.string ?? "")=\(FieldText.text($0.name.string ?? "", $0.value))" }
                    .joined())
        }
    }

    private static func isEmpty(_ value: JSONValue) -> Bool { value.kind == .object && value.fields?.isEmpty == true }
}

struct JobsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobs",
        abstract: "Lists jobs in the order of their ids.",
        discussion: "Finished jobs are listed as long as the log holds them. States: scheduled, ready, leased, "
            + "completed, cancelled, dead.")

    @OptionGroup var store: StoreArgument

    @Option(
        name: [.short, .long], help: ArgumentHelp("Only this queue's.", valueName: "name"), transform: Values.name)
    var queue: String?

    @Option(
        name: [.short, .long], help: ArgumentHelp("Only those in this state.", valueName: "state"),
        transform: Values.state(oneOf: JobInfo.State.allCases))
    var state: JobInfo.State?

    @Option(help: ArgumentHelp("Only those with a greater id.", valueName: "id"), transform: Values.sequence)
    var after: UInt64?

    @Option(help: ArgumentHelp("So many at most (all).", valueName: "count"), transform: Values.count)
    var limit: Int?

    @OptionGroup var labelled: LabelOptions
    @OptionGroup var past: AsOfOption

    @Flag(help: "One JSON object a line.")
    var json = false

    private static let pageCount = 1000
    /// A page of the past is computed from the beginning.
    private static let pastPageCount = 10_000

    func run() throws {
        try StoreAccess.with(store.directory, asOf: past.moment) { access in
            let pageCount = past.moment == nil ? Self.pageCount : Self.pastPageCount
            var rest = limit ?? Int.max
            var last = after
            if !json { try Terminal.print(Self.title) }
            while rest > 0 {
                let count = min(rest, pageCount)
                let reply = try access.request("jobs") { writer in
                    if let queue { writer.field("queue", queue) }
                    if let state { writer.field("state", state.rawValue) }
                    if let last { writer.field("after", last) }
                    labelled.write(to: &writer)
                    writer.field("limit", count)
                }
                let jobs = reply["jobs"]?.elements ?? []
                guard try Terminal.isRead(after: json ? jobs.flatMap(Self.line) : jobs.flatMap(Self.row)) else {
                    return
                }
                rest -= jobs.count
                last = jobs.last?["id"]?.integer.map { UInt64($0) }
                if jobs.count < count { return }
            }
        }
    }

    private static let title =
        Columns.right("id", 10) + "  " + Columns.left("state", 9) + "  " + Columns.left("queue", 16) + "  attempt  "
        + "since"

    private static func line(_ job: JSONValue) -> [UInt8] { [UInt8](job.raw) + [0x0A] }

    private static func row(_ job: JSONValue) -> [UInt8] {
        let time = job["finished_at_ms"]?.integer ?? job["enqueued_at_ms"]?.integer
        var line = Columns.right(job["id"]?.integer.map(String.init) ?? "", 10) + "  "
        line += Columns.left(job["state"]?.string ?? "", 9) + "  " + Columns.left(job["queue"]?.string ?? "", 16) + "  "
        line += Columns.right("\(job["attempt"]?.integer ?? 0)/\(job["max_attempts"]?.integer ?? 0)", 7) + "  "
        line += time.map { CalendarTime.text(Timestamp(milliseconds: $0)) } ?? ""
        if let error = job["last_error"]?.string, !error.isEmpty { line += "  " + Terminal.firstLine(error) }
        return [UInt8](line.utf8) + [0x0A]
    }
}

/// How a field of a reply reads on a terminal.
enum FieldText {
    static func text(_ name: String, _ value: JSONValue) -> String {
        if name.hasSuffix("_ms"), let time = value.integer { return CalendarTime.text(Timestamp(milliseconds: time)) }
        if let string = value.string, !string.isEmpty, string.allSatisfy({ $0 > " " && $0 != "\"" }) { return string }
        return String(decoding: value.raw, as: UTF8.self)
    }
}
