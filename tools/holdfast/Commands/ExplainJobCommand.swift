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
            Paused, delayed until when, waiting for which jobs, behind how many jobs of which priority, leased by \
            whom until when, dead or finished. Asks the holdfast process that owns the store, if there is one that \
            answers; else reads the files, and changes nothing. Beside an owner that can't be asked it says what was \
            true at the last record that the files show to be durable.
            """)

    @OptionGroup var store: StoreArgument

    @Argument(help: "The job's id.", transform: Values.id)
    var id: UInt64

    @OptionGroup var past: AsOfOption

    @Flag(help: "One JSON object.")
    var json = false

    func run() throws {
        try StorePath.requireStore(store.directory)
        let request = #"{"op":"explain","id":\#(id)}"#
        if let moment = past.moment {
            let past = PastStore(directory: store.directory, moment: moment)
            return try show(past.answer(ShellConnection.parse([UInt8](request.utf8))))
        }
        if let reply = StoreAccess.askOwner(store.directory, request), !Self.isUnknown(reply) {
            guard reply["ok"]?.bool == true else { throw StoreAccess.failure(reply) }
            return try show(reply)
        }
        let found: (explanation: JobExplanation?, damage: LogError?)
        do throws(LogError) {
            found = try Self.explain(JobID(id), in: store.directory)
        } catch {
            throw CommandFailure(reading: store.directory, error)
        }
        if let explanation = found.explanation {
            var writer = JSONWriter()
            writer.beginObject()
            writer.fields(of: explanation)
            writer.endObject()
            try show(ShellConnection.parse(writer.bytes))
        }
        if let damage = found.damage { throw CommandFailure(reading: store.directory, damage) }
        guard found.explanation != nil else {
            throw CommandFailure("there is no job \(id), or it finished and compaction has dropped it")
        }
    }

    /// Whether an owner of an earlier version does not know what it was asked.
    private static func isUnknown(_ reply: JSONValue) -> Bool {
        reply["error"]?["code"]?.string == JobStoreError.Code.badRequest.name
    }

    private func show(_ explanation: JSONValue) throws {
        if json {
            var writer = JSONWriter()
            writer.beginObject()
            for field in explanation.fields ?? [] where field.name.string != "ok" {
                writer.key(dynamic: field.name.string ?? "")
                writer.value(raw: field.value.raw)
            }
            writer.endObject()
            writer.endLine()
            return try Terminal.write(writer.bytes)
        }
        try Terminal.print(explanation["text"]?.string ?? "")
        if let until = explanation["until_ms"]?.integer {
            try Terminal.print("until \(CalendarTime.text(Timestamp(milliseconds: until)))")
        }
    }

    private static func explain(
        _ id: JobID, in directory: String
    ) throws(LogError) -> (explanation: JobExplanation?, damage: LogError?) {
        try LogReader.compute(directory: directory, fileSystem: POSIXFileSystem()) { (reader) throws(LogError) in
            let newest = try FileRecords(reader).newestState()
            var state = newest.state
            let damage = newest.damage
            // Beside a manual clock the system's would count delays as over; the log's own time never does too early.
            let now = max(state.latestTime, SystemClock().wallNow())
            let last = state.lastSequence
            state.settle(at: now)
            if let explanation = JobExplanation(id, in: state, at: now) { return (explanation, damage) }
            guard id.sequence <= last else { return (nil, damage) }
            var records: [Record] = []
            try RecordSource.store(reader).forEachRecord(from: id.sequence) { (record) throws(LogError) in
                if record.mutation.job(record.sequence) == id { records.append(record) }
                // Without its enqueue there is nothing to tell.
                return !records.isEmpty
            }
            return (JobExplanation(id, finishedBy: records, in: state, at: now), damage)
        }
    }
}

extension JSONWriter {
    /// The reason's name and what belongs to it, and the sentence.
    mutating func fields(of explanation: JobExplanation) {
        field("id", explanation.id.rawValue)
        field("queue", explanation.queue)
        field("priority", explanation.priority)
        field("group", explanation.group)
        switch explanation.reason {
        case .leased(let worker, let until):
            field("reason", "leased")
            field("worker", worker)
            field("until_ms", until.milliseconds)
        case .delayed(let until):
            field("reason", "delayed")
            field("until_ms", until.milliseconds)
        case .waitsFor(let dependencies, let dead):
            field("reason", "waits_for")
            fields(of: dependencies)
            key("dead")
            beginArray()
            for id in dead { value(id.rawValue) }
            endArray()
        case .paused: field("reason", "paused")
        case .limited(let runningMax):
            field("reason", "limited")
            field("running_max", runningMax)
        case .groupLimited(let runningMax):
            field("reason", "group_limited")
            field("group_running_max", runningMax)
        case .rateLimited(let until):
            field("reason", "rate_limited")
            field("until_ms", until.milliseconds)
        case .groupRateLimited(let until):
            field("reason", "group_rate_limited")
            field("until_ms", until.milliseconds)
        case .slotsTaken(let limiter, let size):
            field("reason", "slots_taken")
            field("limiter", limiter)
            field("size", size)
        case .ordered(let first):
            field("reason", "ordered")
            field("behind", first.rawValue)
        case .behind: field("reason", "behind")
        case .next: field("reason", "next")
        case .dead(let why, let at):
            field("reason", "dead")
            field("why", why)
            field("died_at_ms", at.milliseconds)
            if let until = explanation.keptUntil { field("until_ms", until.milliseconds) }
        case .completed: field("reason", "completed")
        case .cancelled: field("reason", "cancelled")
        case .dropped: field("reason", "dropped")
        }
        field("paused", explanation.isPaused)
        if let ahead = explanation.ahead {
            key("ahead")
            beginObject()
            field("count", ahead.count)
            key("higher")
            beginArray()
            for level in ahead.higher {
                beginObject()
                field("priority", level.priority)
                field("count", level.count)
                endObject()
            }
            endArray()
            field("older", ahead.older)
            field("other_groups", ahead.otherGroups)
            endObject()
        }
        field("at_ms", explanation.at.milliseconds)
        field("seq", explanation.sequence.rawValue)
        field("text", explanation.description)
    }
}
