import Testing

@testable import HoldfastCommand

/// `holdfast purge`, and the operation behind it.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct PurgeCommandTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Leaves two ready jobs, one scheduled, one dead and one leased, and one job of another queue.
    private func fill(_ shell: ShellProcess) throws {
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"dead","max_attempts":1}"#)
        let token = try shell.ask(#"{"op":"lease","queue":"q"}"#)["leases"]?.elements?[0]["token"]?.integer ?? 0
        try shell.ask(#"{"op":"bury","id":1,"token":\#(token),"error":"e"}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"leased"}"#)
        try shell.ask(#"{"op":"lease","queue":"q","lease_ms":604800000}"#)
        for _ in 1...2 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":"ready"}"#) }
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"scheduled","delay_ms":86400000}"#)
        try shell.ask(#"{"op":"enqueue","queue":"other","payload":"x"}"#)
    }

    private let filled = #"{"queues":{"q":{"ready":2,"scheduled":1,"leased":1,"dead":1},"other":{"ready":1}}}"#

    @Test func aDryRunCountsAndChangesNothing() throws {
        let shell = try ShellProcess(directory.store)
        try fill(shell)
        let result = try CommandHarness.holdfast("purge", directory.store, "-q", "q", "--dry-run")
        #expect(result.lines == ["would cancel 1 scheduled, 2 ready, 1 dead jobs"])
        let refused = try CommandHarness.holdfast("purge", directory.store, "-q", "q")
        #expect(refused.exit == .code(1) && refused.errors.contains("--yes"))
        try shell.expect(#"{"op":"stats"}"#, filled)
        #expect(try shell.finish() == .code(0))
    }

    @Test func allThatNobodyWorksOnIsCancelledAndTheLeasedJobLeft() throws {
        let shell = try ShellProcess(directory.store)
        try fill(shell)
        let result = try CommandHarness.holdfast("purge", directory.store, "-q", "q", "--yes")
        #expect(result.exit == .code(0) && result.lines == ["cancelled 1 scheduled, 2 ready, 1 dead jobs"])
        try shell.expect(
            #"{"op":"stats"}"#,
            #"{"queues":{"q":{"ready":0,"scheduled":0,"leased":1,"dead":0},"other":{"ready":1}}}"#)
        #expect(try shell.finish() == .code(0))
        // Without an owner: nothing is left but the leased job.
        let again = try CommandHarness.holdfast("purge", directory.store, "-q", "q", "--yes", "--json")
        #expect(again.lines == [#"{"scheduled":0,"ready":0,"dead":0}"#])
    }

    @Test func statesNarrowWhatIsCancelled() throws {
        let shell = try ShellProcess(directory.store)
        try fill(shell)
        let result = try CommandHarness.holdfast(
            "purge", directory.store, "-q", "q", "--yes", "--state", "dead", "--state", "scheduled")
        #expect(result.lines == ["cancelled 1 scheduled, 1 dead jobs"])
        try shell.expect(
            #"{"op":"purge","queue":"q","states":["ready"]}"#, #"{"ok":true,"count":2,"ready":2}"#)
        try shell.expect(#"{"op":"purge","queue":"q"}"#, #"{"ok":true,"count":0,"dead":0}"#)
        try shell.refuse(#"{"op":"purge","queue":"q","states":["leased"]}"#, "bad_request")
        try shell.refuse(#"{"op":"purge","queue":"q","states":"ready"}"#, "bad_request")
        try shell.refuse(#"{"op":"purge","queue":"","states":["ready"]}"#, "bad_request")
        #expect(try shell.finish() == .code(0))
    }

    @Test func moreJobsThanOneCommitTakesAreCancelled() throws {
        let input = (1...2500).map { "\($0)\n" }.joined()
        _ = try CommandHarness.holdfast(
            "enqueue", directory.store, "-q", "q", "--quiet", input: [UInt8](input.utf8))
        let result = try CommandHarness.holdfast("purge", directory.store, "-q", "q", "--yes", "--state", "ready")
        #expect(result.lines == ["cancelled 2,500 ready jobs"])
        let left = try CommandHarness.holdfast("jobs", directory.store, "--state", "ready", "--json")
        #expect(left.lines.isEmpty)
    }
}
