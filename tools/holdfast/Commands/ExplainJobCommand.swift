// `holdfast explain-job`: why a job is not running.

import ArgumentParser
import Holdfast
import HoldfastEngine
import HoldfastLog

struct ExplainJobCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain-job",
        abstract: "Says why a job is not running.",
        discussion: """
            Paused, delayed until when, behind how many jobs of which priority, leased by whom until when, dead or \
            finished. Reads the files of the store, which may be in use, and changes nothing; beside an owner it says \
            what was true at the last record that the files show to be durable.
            """)

    @OptionGroup var store: StoreArgument

    @Argument(help: "The job's id.", transform: Values.id)
    var id: UInt64

    @Flag(help: "One JSON object.")
    var json = false

    func run() throws {
        try StorePath.requireStore(store.directory)
        let found: JobExplanation?
        do throws(LogError) {
            found = try Self.explain(JobID(id), in: store.directory)
        } catch {
            throw CommandFailure(reading: store.directory, error)
        }
        guard let found else {
            throw CommandFailure("there is no job \(id), or it finished and compaction has dropped it")
        }
        if json { return try Terminal.write(found.json) }
        try Terminal.print(found.description)
        switch found.reason {
        case .leased(_, let until), .delayed(let until): try Terminal.print("until \(CalendarTime.text(until))")
        default: break
        }
    }

    private static func explain(_ id: JobID, in directory: String) throws(LogError) -> JobExplanation? {
        try LogReader.compute(directory: directory, fileSystem: POSIXFileSystem()) { (reader) throws(LogError) in
            var state = try FileRecords(reader).newestState()
            // Beside a manual clock the system's would count delays as over; the log's own time never does too early.
            let now = max(state.latestTime, SystemClock().wallNow())
            let last = state.lastSequence
            state.settle(at: now)
            if let explanation = JobExplanation(id, in: state, at: now) { return explanation }
            guard id.sequence <= last else { return nil }
            var records: [Record] = []
            try RecordSource.store(reader).forEachRecord(from: id.sequence) { (record) throws(LogError) in
                if record.mutation.job(record.sequence) == id { records.append(record) }
                // Without its enqueue there is nothing to tell.
                return !records.isEmpty
            }
            return JobExplanation(id, finishedBy: records, in: state, at: now)
        }
    }
}

extension JobExplanation {
    /// One object with the reason's name and what belongs to it, and the sentence.
    var json: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.field("id", id.rawValue)
        writer.field("queue", queue)
        writer.field("priority", priority)
        writer.field("group", group)
        switch reason {
        case .leased(let worker, let until):
            writer.field("reason", "leased")
            writer.field("worker", worker)
            writer.field("until_ms", until.milliseconds)
        case .delayed(let until):
            writer.field("reason", "delayed")
            writer.field("until_ms", until.milliseconds)
        case .paused: writer.field("reason", "paused")
        case .limited(let runningMax):
            writer.field("reason", "limited")
            writer.field("running_max", runningMax)
        case .behind: writer.field("reason", "behind")
        case .next: writer.field("reason", "next")
        case .dead(let why, let at):
            writer.field("reason", "dead")
            writer.field("why", why)
            writer.field("died_at_ms", at.milliseconds)
        case .completed: writer.field("reason", "completed")
        case .cancelled: writer.field("reason", "cancelled")
        }
        writer.field("paused", isPaused)
        if let ahead {
            writer.key("ahead")
            writer.beginObject()
            writer.field("count", ahead.count)
            writer.key("higher")
            writer.beginArray()
            for level in ahead.higher {
                writer.beginObject()
                writer.field("priority", level.priority)
                writer.field("count", level.count)
                writer.endObject()
            }
            writer.endArray()
            writer.field("older", ahead.older)
            writer.field("other_groups", ahead.otherGroups)
            writer.endObject()
        }
        writer.field("at_ms", at.milliseconds)
        writer.field("seq", sequence.rawValue)
        writer.field("text", description)
        writer.endObject()
        writer.endLine()
        return writer.bytes
    }
}
