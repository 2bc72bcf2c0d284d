// `holdfast effects replay`: a job's handler once more, against what it recorded.

import ArgumentParser
import Holdfast
import HoldfastEngine
import HoldfastLog

struct EffectReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Runs a command as a job's handler, with its steps answered from the record.",
        discussion: """
            Reads a store's files, in use or not, and changes nothing. The command gets the payload as work would give \
            it; each step that it asks for, by holdfast effect run or over the socket in HOLDFAST_STORE, must come in \
            the order in which it was recorded, and gives what it gave then without being run.

              holdfast effects replay /tmp/store 7 -- ./handle-order {}

            Exit codes: 0 the command took the recorded way to its end; 6 it took another one, shown with both \
            sides; 1 it took the recorded way and failed, or there is no such job; 2 the store can't be read; 4 it is \
            damaged.
            """)

    @OptionGroup var store: StoreArgument

    @Argument(help: "The job's id.", transform: Values.id)
    var job: UInt64

    @Flag(help: "Give the command the payload of a job also when it is a secret.")
    var showSecrets = false

    @Argument(parsing: .postTerminator, help: "The command and its arguments, after --.")
    var command: [String] = []

    /// What it exits with when the handler took another way.
    static let divergedCode: Int32 = 6

    func validate() throws {
        if command.isEmpty { throw ValidationError("give the command after --, such as: -- ./handler {}") }
    }

    func run() throws {
        let path = store.directory
        try StorePath.requireStore(path)
        let scope = JobStore.effectScope(of: JobID(job))
        let recorded: [RecordedEffect]
        do throws(JobStoreError) {
            recorded = try EffectArchive.read(path, scope: scope, fileSystem: POSIXFileSystem())
        } catch { throw CommandFailure(opening: path, error) }
        let (queue, attempt, payload) = try readJob(path)
        if let key = PayloadEnvelope.contents(payload)?.keyID {
            throw CommandFailure(
                "the payload of job \(job) is encoded with the key \(key), which this program does not have; replay it "
                    + "with the test kit's EffectReplay")
        }
        let invocation: CommandTemplate.Invocation
        switch CommandTemplate(command).invocation(for: payload) {
        case .success(let value): invocation = value
        case .failure(let refusal): throw CommandFailure(refusal.message)
        }
        let server = try failing { try ReplayServer(recorded, scope: scope) }
        let report = Result {
            try SingleCommand.run(
                invocation,
                environment: [
                    ("HOLDFAST_STORE", server.directory), ("HOLDFAST_QUEUE", queue), ("HOLDFAST_JOB", "\(job)"),
                    ("HOLDFAST_TOKEN", "0"), ("HOLDFAST_ATTEMPT", "\(attempt)"),
                ])
        }
        let outcome = server.outcome
        server.close()
        try show(try report.get(), outcome, of: recorded.count)
    }

    private func show(
        _ report: CommandRun.Report, _ outcome: (difference: RecordedWay.Divergence?, count: Int), of count: Int
    ) throws {
        if !report.output.isEmpty { try Terminal.write([UInt8](report.output.utf8)) }
        let isLineOpen = !report.errors.isEmpty && !report.errors.hasSuffix("\n")
        Descriptor.standardError.writeText(isLineOpen ? report.errors + "\n" : report.errors)
        if let difference = outcome.difference {
            throw CommandFailure(
                "the command took another way than was recorded, at \(difference)", exitCode: Self.divergedCode)
        }
        if let failure = report.failure {
            throw CommandFailure("the command \(failure), after all \(Terminal.count(count, "step")) as recorded")
        }
        Descriptor.standardError.writeText("\(Terminal.count(count, "step")), as recorded\n")
    }

    /// Returns queue, last attempt and payload of the job.
    private func readJob(_ path: String) throws -> (queue: String, attempt: UInt32, payload: [UInt8]) {
        let id = JobID(job)
        let records: [Record]
        do throws(LogError) {
            records = try LogReader.compute(directory: path, fileSystem: POSIXFileSystem()) {
                (reader) throws(LogError) in
                let files = FileRecords(reader)
                return try files.records(of: id, through: try files.lastSequence())
            }
        } catch { throw CommandFailure(reading: path, error) }
        guard case .enqueue(let enqueue) = records.first?.mutation else {
            throw CommandFailure("there is no job \(id), or compaction has dropped it; check the id")
        }
        if enqueue.isSecret && !showSecrets {
            throw CommandFailure(
                "the payload of job \(id) is a secret; to give it to the command all the same, add --show-secrets")
        }
        var (queue, attempt, payload) = (enqueue.lane.queue, UInt32(1), enqueue.payload)
        for record in records {
            switch record.mutation {
            case .edit(let edit): (queue, payload) = (edit.to.queue, edit.payload ?? payload)
            case .lease(let grant): attempt = grant.attempt
            default: break
            }
        }
        return (queue, attempt, payload)
    }
}
