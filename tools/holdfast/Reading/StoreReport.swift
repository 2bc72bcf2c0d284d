// What a store holds, for `stat`: from its owner if that has a socket and answers, else from its files.

import Holdfast
import HoldfastEngine
import HoldfastLog

/// Counts of a store.
struct StoreReport {
    struct Queue {
        let name: String
        let ready: Int
        let scheduled: Int
        let leased: Int
        let dead: Int
        let terms: QueueTerms

        var total: Int { ready + scheduled + leased + dead }
    }

    let sequence: UInt64
    let queues: [Queue]
    let completed: UInt64
    let logBytes: Int
    let sealedSegments: Int
    let journalSegments: Int
    /// Who has it open, if anybody has.
    let owner: String?
    /// The consumers of its log.
    var cursors: [CursorRow]
    /// For a store as it was: when that was, and its fingerprint.
    let past: (time: Timestamp, digest: String)?
    /// What keeps it from being that of the last record, if anything does.
    private(set) var damage: LogError?

    /// Reads the report from the files of the store at `directory`.
    init(files directory: String) throws(LogError) {
        let (reader, newest) = try LogReader.compute(directory: directory, fileSystem: POSIXFileSystem()) {
            (reader) throws(LogError) in (reader, try FileRecords(reader).newestState())
        }
        let state = newest.state
        damage = newest.damage
        // Beside a manual clock the system's would count delays as over; the log's own time never does too early.
        let counts = state.queueCounts(at: max(state.latestTime, SystemClock().wallNow()))
        past = nil
        sequence = state.lastSequence.rawValue
        queues = counts.map { entry in
            Queue(
                name: entry.queue, ready: entry.counts.ready, scheduled: entry.counts.scheduled,
                leased: entry.counts.leased, dead: entry.counts.dead, terms: entry.terms)
        }
        completed = state.completedCount
        cursors = StoreCursor.read(reader, state, at: SystemClock().wallNow()).map(CursorRow.init)
        let manifest = reader.manifest
        logBytes = Self.bytes(manifest)
        sealedSegments = manifest.sealed.count
        journalSegments = manifest.journals.count
        owner = reader.holder.map(ProcessNote.holder)
    }

    /// Reads the report from the files of a store as it was. Files are counted as they are.
    private init(_ snapshot: StoreSnapshot, _ reader: LogReader) {
        let stats = snapshot.stats
        past = (stats.time, snapshot.digest().hex)
        sequence = stats.sequence.rawValue
        queues = stats.queues.map { queue in
            Queue(
                name: queue.name, ready: queue.ready, scheduled: queue.scheduled, leased: queue.leased,
                dead: queue.dead, terms: queue.terms)
        }
        completed = stats.completed
        cursors = snapshot.cursors.map(CursorRow.init)
        logBytes = Self.bytes(reader.manifest)
        sealedSegments = reader.manifest.sealed.count
        journalSegments = reader.manifest.journals.count
        owner = reader.holder.map(ProcessNote.holder)
    }

    private static func bytes(_ manifest: Manifest) -> Int {
        manifest.sealed.reduce(0) { $0 + $1.bytes } + manifest.journals.reduce(0) { $0 + $1.bytes }
            + manifest.checkpoints.reduce(0) { $0 + $1.bytes * $1.copies }
    }

    /// Takes the report from the reply to `stats`.
    init(reply: JSONValue) {
        func integer(_ value: JSONValue, _ name: StaticString) -> Int { Int(value[name]?.integer ?? 0) }
        past = nil
        sequence = UInt64(integer(reply, "seq"))
        queues = (reply["queues"]?.fields ?? []).map { name, value in
            Queue(
                name: name.string ?? "", ready: integer(value, "ready"), scheduled: integer(value, "scheduled"),
                leased: integer(value, "leased"), dead: integer(value, "dead"), terms: QueueTerms(reply: value))
        }
        completed = UInt64(integer(reply, "completed"))
        cursors = []
        logBytes = integer(reply, "log_bytes")
        sealedSegments = integer(reply, "sealed_segments")
        journalSegments = integer(reply, "journal_segments")
        owner = "a holdfast process"
    }

    /// Asks the owner, or reads the files when there is none to ask, or it is stopped, or dies before it answers.
    ///
    /// - Parameter moment: When in its past, which the files tell; now when `nil`.
    static func of(_ directory: String, asOf moment: StoreMoment? = nil) throws -> StoreReport {
        if let moment {
            return try PastStore(directory: directory, moment: moment).read { (snapshot, records) throws(LogError) in
                StoreReport(snapshot, records.reader)
            }
        }
        if let reply = StoreAccess.askOwner(directory, #"{"op":"stats"}"#) {
            guard reply["ok"]?.bool == true else { throw StoreAccess.failure(reply) }
            var report = StoreReport(reply: reply)
            report.cursors = CursorRow.rows(StoreAccess.askOwner(directory, #"{"op":"cursors"}"#))
            return report
        }
        do throws(LogError) {
            return try StoreReport(files: directory)
        } catch {
            throw CommandFailure(reading: directory, error)
        }
    }

    // MARK: - Output

    var json: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.field("seq", sequence)
        writer.key("queues")
        writer.beginObject()
        for queue in queues {
            writer.key(dynamic: queue.name)
            writer.beginObject()
            writer.field("ready", queue.ready)
            writer.field("scheduled", queue.scheduled)
            writer.field("leased", queue.leased)
            writer.field("dead", queue.dead)
            writer.fields(of: queue.terms)
            writer.endObject()
        }
        writer.endObject()
        writer.field("completed", completed)
        writer.field("log_bytes", logBytes)
        writer.field("segments", sealedSegments + journalSegments)
        writer.field("sealed_segments", sealedSegments)
        writer.field("journal_segments", journalSegments)
        writer.field("in_use", owner != nil)
        writer.field("cursors", cursors)
        if let past {
            writer.field("at_ms", past.time.milliseconds)
            writer.field("digest", past.digest)
        }
        writer.endObject()
        writer.endLine()
        return writer.bytes
    }

    private static let barColumns = 32

    /// Lines for people, with a bar for each queue: running, ready, scheduled, dead.
    func lines(of directory: String) -> [String] {
        var lines = [
            directory + (past.map { " as of \(CalendarTime.text($0.time))" } ?? "")
                + ": \(Terminal.count(completed, "job")) completed, "
                + (sequence == 0 ? "no records yet, " : "last record \(Terminal.grouped(sequence)), ")
                + Self.space(logBytes, sealed: sealedSegments, journal: journalSegments)
                + (owner.map { ", in use by \($0)" } ?? "")
        ]
        let consumers = cursors.isEmpty ? [] : [""] + CursorRow.lines(cursors)
        guard !queues.isEmpty else { return lines + ["no jobs are waiting, running or dead"] + consumers }
        let nameColumns = max(5, min(30, queues.map(\.name.count).max() ?? 0))
        let numberColumns = max(9, queues.map { Terminal.grouped($0.total).count }.max() ?? 0)
        let widest = max(1, queues.map(\.total).max() ?? 1)
        let titles = ["running", "ready", "scheduled", "dead"].map { Columns.right($0, numberColumns) }
        lines.append("")
        lines.append(Columns.left("queue", nameColumns) + "  " + titles.joined(separator: "  ") + "  ▓ █ ░ ×")
        for queue in queues {
            let numbers = [queue.leased, queue.ready, queue.scheduled, queue.dead]
                .map { Columns.right(Terminal.grouped($0), numberColumns) }
            lines.append(
                Columns.left(queue.name, nameColumns) + "  " + numbers.joined(separator: "  ") + "  "
                    + Self.bar(queue, widest: widest) + (queue.terms.isPaused ? " paused" : ""))
        }
        lines += queues.compactMap { queue in queue.terms.words.map { "\(queue.name): \($0)" } }
        return lines + consumers
    }

    /// A small store is large for the sake of its journal, whose files are there in full from the start.
    private static func space(_ bytes: Int, sealed: Int, journal: Int) -> String {
        let parts = [
            journal == 0 ? nil : "a journal of \(Terminal.count(journal, "file"))",
            sealed == 0 ? nil : Terminal.count(sealed, "sealed segment"),
        ].compactMap(\.self)
        return Terminal.bytes(bytes) + (parts.isEmpty ? "" : " in \(parts.joined(separator: " and "))")
    }

    private static func bar(_ queue: Queue, widest: Int) -> String {
        let parts = [(queue.leased, "▓"), (queue.ready, "█"), (queue.scheduled, "░"), (queue.dead, "×")]
        return parts.map { count, sign in
            // What is there is seen, however little it is.
            String(
                repeating: sign,
                count: count == 0 ? 0 : max(1, Int(Double(count) / Double(widest) * Double(barColumns))))
        }.joined()
    }
}

extension QueueTerms {
    /// Takes them from what an owner says of a queue.
    init(reply: JSONValue) {
        self.init()
        isPaused = reply["paused"]?.bool == true
        capacity = reply["capacity"]?.integer.map { Int($0) }
        runningMax = reply["running_max"]?.integer.map { Int($0) }
        sharing = SharingTerms(reply: reply)
        // An owner of another version may say what this one can't read: then it is not shown.
        if let value = reply["retry"], let policy = try? RetryPolicy(value) { retry = policy }
        crashMax = reply["crash_max"]?.integer.map { Int($0) }
        ageing = reply["ageing_ms"]?.integer
        finalErrors = ErrorClasses(reply["final_errors"]?.elements?.compactMap(\.string) ?? [])
        retention = RetentionTerms(reply: reply)
    }

    /// What was set besides pausing; `nil` when nothing was.
    var words: String? {
        var parts: [String] = []
        if let capacity { parts.append("takes \(Terminal.count(capacity, "job"))") }
        if let runningMax { parts.append("runs \(runningMax) at once") }
        if retry != .standard { parts.append("retries after \(retry)") }
        if let ageing { parts.append("raises jobs by a priority every \(Duration.milliseconds(ageing).words)") }
        if let crashMax { parts.append("gives up after \(Terminal.count(crashMax, "unreported attempt"))") }
        if !finalErrors.isEmpty {
            parts.append("does not try again after \(finalErrors.names.joined(separator: ", "))")
        }
        if let words = sharing.words { parts.append(words) }
        if let words = retention.words { parts.append(words) }
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }
}

/// Text in columns.
enum Columns {
    static func left(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    static func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }
}
