// `holdfast effect run`: a step of a handler that `holdfast work` runs, in any language.

import ArgumentParser
import Holdfast

struct EffectRunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Inside a command that work runs: a step that is recorded once for the job.",
        discussion: """
            Prints what the step printed when it first succeeded (the last 64 KiB), and runs it only if that is not \
            recorded yet. A step that fails is not recorded, and its exit code is this one's. Without the job's lease, \
            as when it has expired, it runs nothing and exits with 1. Of two of the same step at the same time both \
            may run; what the first to finish printed is recorded, and is what both print.

              holdfast work /tmp/store --queue orders -- sh -c '
                receipt=$(holdfast effect run charge -- charge-card "$1") || exit 1
                holdfast effect run mail -- send-mail "$1" "$receipt"' order {}

            It finds the job by HOLDFAST_STORE, HOLDFAST_JOB and HOLDFAST_TOKEN, which work sets. To run the handler \
            again against what it recorded: holdfast effects replay.
            """)

    @Argument(help: "The step; unique in the job.", transform: Values.name)
    var key: String

    @Argument(parsing: .postTerminator, help: "The step's command and its arguments, after --.")
    var command: [String] = []

    func validate() throws {
        if command.isEmpty { throw ValidationError("give the step's command after --, such as: -- date") }
    }

    func run() throws {
        guard let directory = SingleCommand.variable("HOLDFAST_STORE"),
            let job = SingleCommand.variable("HOLDFAST_JOB").flatMap({ UInt64($0) }),
            let token = SingleCommand.variable("HOLDFAST_TOKEN").flatMap({ UInt64($0) })
        else {
            throw CommandFailure(
                "HOLDFAST_STORE, HOLDFAST_JOB and HOLDFAST_TOKEN are not set; use this inside a command that "
                    + "holdfast work runs")
        }
        let connected = try failing { try UnixSocket.connect(directory: directory, name: StoreSocket.name) }
        guard let connected else {
            throw CommandFailure("the worker that started this has gone; nothing was run")
        }
        let connection = ShellConnection(connected)
        defer { connection.close() }
        let scope = JobStore.effectScope(of: JobID(job))
        let known = try ask(connection, "effect_get") { writer in
            writer.field("scope", scope)
            writer.field("id", job)
            writer.field("token", token)
        }
        if known["found"]?.bool == true { return try show(known) }
        let invocation = CommandTemplate.Invocation(arguments: command.map { [UInt8]($0.utf8) }, input: nil)
        let report = try SingleCommand.run(invocation, environment: [])
        Descriptor.standardError.writeText(report.errors)
        if let failure = report.failure {
            var code = CommandFailure.refusedCode
            if case .exited(.code(let own)) = report.ending { code = own }
            throw CommandFailure("the step \(key) \(failure), and is not recorded", exitCode: code)
        }
        let recorded = try ask(connection, "effect") { writer in
            writer.field("scope", scope)
            writer.field("id", job)
            writer.field("token", token)
            writer.key("value")
            writer.value(report.output)
        }
        try show(recorded)
    }

    private func ask(
        _ connection: ShellConnection, _ operation: StaticString, _ build: (inout JSONWriter) -> Void
    ) throws -> JSONValue {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("op")
        operation.withUTF8Buffer { writer.value(utf8: [UInt8]($0)) }
        writer.field("key", key)
        build(&writer)
        writer.endObject()
        let reply = try failing { try connection.exchange(writer.bytes) }
        guard reply["ok"]?.bool == true else { throw StoreAccess.failure(reply) }
        return reply
    }

    private func show(_ reply: JSONValue) throws {
        let bytes = reply["value"]?.stringBytes ?? [UInt8](reply["value"]?.raw ?? []) + [0x0A]
        if reply["failed"]?.bool == true {
            throw CommandFailure("the step \(key) failed for good: \(String(decoding: bytes, as: UTF8.self))")
        }
        try Terminal.write(bytes)
    }
}
