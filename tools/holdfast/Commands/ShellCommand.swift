// `holdfast shell`: a store for any language, over standard input and output.

import ArgumentParser
import Holdfast

struct ShellCommand: ParsableCommand {
    enum ClockChoice: String { case system, manual }

    static let configuration = CommandConfiguration(
        commandName: "shell",
        abstract: "Serves a store on standard input and output, one JSON object a line.",
        discussion: """
            Opens the store, creating it if need be, and answers each line in order once what it reports is durable. \
            Keep many lines in flight and they share commits.

              {"op":"enqueue","queue":"mail","payload":"hello"}
              {"ok":true,"id":1,"duplicate":false}
              {"op":"lease","queue":"mail","lease_ms":30000}
              {"ok":true,"leases":[{"id":1,"token":2,"attempt":1,"payload":"hello",...}]}
              {"op":"ack","id":1,"token":2,"result":{"sent":true},"then_lease":{"queue":"mail"}}
              {"ok":true,"leases":[]}

            Operations: enqueue, batch, lease, heartbeat, ack, requeue, bury, cancel, edit, release, redrive, effect, \
            effects, effect_get, effect_remove, job, jobs, dead_jobs, result, explain, history, stats, digest, \
            configure, configure_store, pause, resume, drain, purge, checkpoint, compact, cursors, cursor_open, \
            cursor_advance, cursor_reset, cursor_remove, advance, now. \
            ack, requeue and bury lease the next job in the same commit when they say so in "then_lease". Every \
            request may carry "req", which its reply repeats. Other commands reach the store meanwhile through \
            STORE/socket, which speaks the same protocol.

            Exit codes: 0 at the end of input; 2 the store can't be opened; 3 the store failed while open; 64 the \
            command line makes no sense. With 2 and 64 the reason is one line on standard output, too.
            """)

    @OptionGroup var store: StoreArgument

    @Option(
        help: ArgumentHelp(
            "system, or manual: time stands still and moves only with the operation advance.", valueName: "clock"),
        transform: ShellCommand.clock)
    var clock = ClockChoice.system

    @OptionGroup var opening: OpenOptions

    func run() throws {
        var options = opening.storeOptions
        if clock == .manual { options.clock = ManualClock() }
        let owned: OwnedStore
        do throws(JobStoreError) {
            if let reason = (try? StorePath.reasonAgainstCreating(store.directory)) ?? nil {
                throw JobStoreError(.ioError, reason)
            }
            owned = try OwnedStore(directory: store.directory, options: options)
        } catch {
            Self.printRefusal(error)
            throw CommandFailure(opening: store.directory, error)
        }
        let outcome = try failing {
            try ShellSession(store: owned.store).serve(input: .standardInput, output: .standardOutput, stop: nil)
        }
        if let failure = outcome.readFailure {
            Descriptor.standardError.writeText("holdfast: \(failure); what came before was served\n")
        }
        let closingFailure = owned.close()
        if let failure = outcome.storeFailure ?? closingFailure {
            throw CommandFailure(failure.message, exitCode: CommandFailure.storeFailedCode)
        }
    }

    @Sendable private static func clock(_ text: String) throws -> ClockChoice {
        guard let choice = ClockChoice(rawValue: text) else { throw ValidationError("give system or manual") }
        return choice
    }

    /// Prints why there is nothing to serve, as a reply to no request.
    static func printRefusal(_ error: JobStoreError) {
        var writer = JSONWriter()
        _ = PendingReply(refusal: error).write(into: &writer)
        writer.endLine()
        try? Descriptor.standardOutput.writeAll(writer.bytes)
    }
}
