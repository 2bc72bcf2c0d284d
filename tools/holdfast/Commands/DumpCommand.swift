// `holdfast dump`: the log as text.

import ArgumentParser
import Holdfast
import HoldfastEngine
import HoldfastLog

struct DumpCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dump",
        abstract: "Prints the records of a store, or of one segment file.",
        discussion: """
            Works on a store in use, a closed one and a damaged one, and changes nothing. In a store in use it shows \
            what is known to be durable. At damage it stops, says where it is, and exits with 4.

              holdfast dump /tmp/store --since 10m --kind requeue
              holdfast dump /tmp/store --job 17 --payloads
              holdfast dump /tmp/store --follow --json | jq -r .kind

            Times are such as 2026-11-21 or 2026-11-21T02:31:18Z, Unix milliseconds, or so long ago: 90s, 10m, 2h, 7d.
            """)

    @Argument(help: ArgumentHelp("A store's directory or a segment's file.", valueName: "store|segment"))
    var path: String

    @Option(help: ArgumentHelp("From this sequence number on.", valueName: "number"), transform: Values.sequence)
    var fromSeq: UInt64?

    @Option(help: ArgumentHelp("Up to this sequence number.", valueName: "number"), transform: Values.sequence)
    var toSeq: UInt64?

    @OptionGroup var past: AsOfOption

    @Option(help: ArgumentHelp("From this time on.", valueName: "time"))
    var since: String?

    @Option(help: ArgumentHelp("Up to this time.", valueName: "time"))
    var until: String?

    @Option(
        name: [.short, .long], help: ArgumentHelp("Only records of this queue's jobs.", valueName: "name"),
        transform: Values.name)
    var queue: String?

    @Option(help: ArgumentHelp("Only records of this job.", valueName: "id"), transform: Values.id)
    var job: UInt64?

    @Option(
        help: ArgumentHelp(
            "Only this kind: \(Values.recordKinds); may be repeated.", valueName: "kind"),
        transform: Values.recordKind)
    var kind: [String] = []

    @Flag(help: "One JSON object a line.")
    var json = false

    @Flag(help: "Show frames (the units of checksum and commit) instead of records.")
    var frames = false

    @Flag(help: "Show payloads, but those of secret jobs.")
    var payloads = false

    @Flag(help: "With --payloads: those of secret jobs, too.")
    var showSecrets = false

    @Flag(help: "Go on as records are added, until interrupted.")
    var follow = false

    /// How often `--follow` looks for more.
    private static let followMilliseconds = 200

    func validate() throws {
        if frames && (queue != nil || job != nil || !kind.isEmpty || payloads) {
            throw ValidationError("--frames shows no records; leave out --queue, --job, --kind and --payloads")
        }
        if showSecrets && !payloads { throw ValidationError("--show-secrets goes with --payloads; give both") }
        for text in [since, until].compactMap(\.self) where CalendarTime.parse(text, now: .zero) == nil {
            throw ValidationError(
                "\(text) is no time; give one such as 2026-11-21T02:31:18Z, Unix milliseconds, or 10m")
        }
    }

    func run() throws {
        let now = SystemClock().wallNow()
        let isFile = try StorePath.examine(path) == .file
        if !isFile { try StorePath.requireStore(path) }
        let first = SequenceNumber(fromSeq ?? 0)
        var last = min(SequenceNumber(toSeq ?? .max), .max)
        if let moment = past.moment {
            // A state that is still known says up to where; what is not known any more is refused.
            last = min(
                last,
                try PastStore(directory: path, moment: moment).read { (snapshot, _) throws(LogError) in
                    snapshot.sequence
                })
        }
        guard first <= last else { return }
        var dump = RecordDump(
            filter: RecordFilter(
                sequences: first...last,
                since: since.flatMap { CalendarTime.parse($0, now: now) },
                until: until.flatMap { CalendarTime.parse($0, now: now) }, queue: queue, job: job.map { JobID($0) },
                kinds: Set(kind)),
            format: json ? .json : .text, showsPayloads: payloads, showsSecrets: showSecrets)
        do {
            repeat {
                let source = try RecordSource(path)
                if frames { try dump.printFrames(of: source) } else { try dump.printRecords(of: source) }
                dump.flush()
                if let failure = dump.failure { throw failure }
                if dump.isOver { return }
                if follow { try failing { try Poll.wait(for: [], milliseconds: Self.followMilliseconds) } }
            } while follow
        } catch let error as LogError {
            dump.flush()
            if isFile && error.code == .corrupt && !Self.hasSegmentName(path) {
                throw CommandFailure(
                    "\(path) is neither a store's directory nor a segment file (.jnl or .seg); "
                        + "check the path", exitCode: CommandFailure.notOpenedCode)
            }
            throw CommandFailure(reading: path, error)
        }
    }

    /// Whether `path` is called as the store calls a segment: what holds none then is damage.
    private static func hasSegmentName(_ path: String) -> Bool { path.hasSuffix(".jnl") || path.hasSuffix(".seg") }
}
