// What `holdfast enqueue` says of other jobs, and `holdfast release`.

import ArgumentParser
import Holdfast
import HoldfastEngine

/// Which jobs a new one waits for, and which one waits for it.
struct DependencyOptions: ParsableArguments {
    @Option(
        name: [.customLong("after")],
        help: ArgumentHelp("Lease it only once this job has ended; may be given again.", valueName: "id"),
        transform: Values.id)
    var after: [UInt64] = []

    @Option(
        help: ArgumentHelp(
            """
            When one of those dies or is cancelled: wait for a redrive, run all the same, cancel this one too, or let \
            it die.
            """, valueName: "action"), transform: Values.word)
    var ifOneFails: DependencyFailure?

    @Option(
        help: ArgumentHelp("Let this job, which waits for others or is held, wait for it, too.", valueName: "id"),
        transform: Values.id)
    var before: UInt64?

    @Flag(help: "Let it wait until holdfast release, too.")
    var hold = false

    func validate() throws {
        if after.count > RecordLimits.dependenciesMax {
            throw ValidationError(
                "--after is given \(after.count) times; give at most \(RecordLimits.dependenciesMax)")
        }
        if ifOneFails != nil && after.isEmpty && !hold {
            throw ValidationError("--if-one-fails needs --after or --hold")
        }
    }

    /// Adds what they say to `options`.
    func apply(to options: inout EnqueueOptions) {
        options.after = after.map { JobID($0) }
        options.ifOneFails = ifOneFails ?? .wait
        options.before = before.map { JobID($0) }
        options.hold = hold
    }
}

struct ReleaseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "release",
        abstract: "Lets jobs go on that were enqueued with --hold.",
        discussion: """
            Each then waits only for the jobs that were enqueued before it so far. One that can't be released keeps \
            none of the others from it; the exit code is 1 then.
            """)

    @OptionGroup var store: StoreArgument

    @Argument(help: ArgumentHelp("The jobs' ids.", valueName: "id"), transform: Values.id)
    var ids: [UInt64]

    func run() throws {
        try StoreAccess.with(store.directory) { access in
            try forEach(ids) { id in _ = try access.request("release") { $0.field("id", id) } }
        }
    }
}
