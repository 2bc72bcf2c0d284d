// A store as it was, read from its files: beside an owner or without one, nothing is locked and nothing is written.

import Holdfast
import HoldfastLog

/// A store at one moment of its past.
struct PastStore {
    let directory: String
    let moment: StoreMoment

    /// Computes something from the store as it was, anew where its owner replaces files meanwhile.
    func read<Value>(
        _ body: (StoreSnapshot, FileRecords) throws(LogError) -> Value
    ) throws -> Value {
        try StorePath.requireStore(directory)
        let result: Result<Value, JobStoreError>
        do throws(LogError) {
            result = try LogReader.compute(directory: directory, fileSystem: POSIXFileSystem()) {
                (reader) throws(LogError) -> Result<Value, JobStoreError> in
                let records = FileRecords(reader)
                switch try StoreSnapshot.read(records, asOf: moment) {
                case .success(let snapshot): return .success(try body(snapshot, records))
                case .failure(let refusal): return .failure(refusal)
                }
            }
        } catch {
            throw CommandFailure(reading: directory, error)
        }
        do { return try result.get() } catch { throw CommandFailure("\(error.message)") }
    }

    /// Answers a request of the line protocol that looks at jobs, with the reply that the store would have given.
    func answer(_ request: JSONValue) throws -> JSONValue {
        var writer = JSONWriter()
        let id = JobID(UInt64(clamping: request["id"]?.integer ?? 0))
        switch request["op"]?.string {
        case "job":
            let found = try read { (snapshot, _) throws(LogError) in
                try snapshot.find(id, showingSecrets: request["show_secrets"]?.bool ?? false)
            }
            guard let job = found else {
                throw CommandFailure("there was no job \(id) then, or compaction has dropped it; check the id")
            }
            writer.beginReply(isOK: true)
            writer.key("job")
            writer.object(job, withPayload: true)
        case "history":
            let records = try read { (snapshot, records) throws(LogError) in
                try records.records(of: id, through: snapshot.sequence)
            }
            writer.beginReply(isOK: true)
            writer.field("records", records.map(HistoryRecord.init))
        case "explain":
            let found = try read { (snapshot, _) throws(LogError) in try snapshot.explanation(of: id) }
            guard let explanation = found else {
                throw CommandFailure("there was no job \(id) then, or compaction has dropped it; check the id")
            }
            writer.beginReply(isOK: true)
            writer.fields(of: explanation)
        case "jobs":
            var filter = JobFilter(
                queue: request["queue"]?.string, state: request["state"]?.string.flatMap(JobInfo.State.init),
                limit: Int(request["limit"]?.integer ?? 100), after: request["after"]?.integer.map { JobID(UInt64($0)) }
            )
            for (name, value) in request["labels"]?.fields ?? [] {
                filter.labels[name.string ?? ""] = value.string
            }
            filter.owner = request["owner"]?.string
            let jobs = try read { (snapshot, _) throws(LogError) in try snapshot.list(filter) }
            writer.beginReply(isOK: true)
            writer.field("jobs", jobs)
        default: throw CommandFailure("that can't be asked of the past")
        }
        writer.endReply(request: nil)
        return try ShellConnection.parse(writer.bytes)
    }
}
