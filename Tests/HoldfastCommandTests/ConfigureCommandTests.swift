import Testing

@testable import HoldfastCommand

/// `holdfast configure`, and how `stat` shows what it set.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct ConfigureCommandTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
        #expect(try CommandHarness.holdfast("enqueue", directory.store, "-q", "q", "x").exit == .code(0))
    }

    private func configure(_ arguments: String...) throws -> ProcessResult {
        try configure(arguments)
    }

    private func configure(_ arguments: [String]) throws -> ProcessResult {
        try CommandHarness.run(
            CommandHarness.executable(), ["configure", directory.store, "-q", "q"] + arguments, input: [])
    }

    @Test func whatIsNotNamedStaysAsItIs() throws {
        #expect(try configure().lines == ["q: no limits, default retries"])
        #expect(
            try configure("--capacity", "1000", "--retry", "1s*1.5..1m", "--jitter", "20").lines == [
                "q: takes 1,000 jobs, retries after 1 s, each time 1.5 times as long, at most 60 s, give or take 20 %"
            ])
        #expect(
            try configure("--running", "4", "--retry", "1s,10s,1m", "--json").lines == [
                #"{"queue":"q","paused":false,"capacity":1000,"running_max":4,"#
                    + #""retry":{"custom_ms":[1000,10000,60000]}}"#
            ])
        let stat = try CommandHarness.holdfast("stat", directory.store)
        #expect(stat.lines.contains("q: takes 1,000 jobs, runs 4 at once, retries after 1 s, 10 s, 60 s"))
        #expect(
            try configure("--capacity", "none", "--running", "none", "--retry", "default").lines == [
                "q: no limits, default retries"
            ])
    }

    @Test func aCommandThatFailsForGoodIsNotTriedAgain() throws {
        #expect(
            try configure("--crashes", "3", "--final-error", "exit-65", "--final-error", "exit-66").lines == [
                "q: gives up after 3 unreported attempts, does not try again after exit-65, exit-66"
            ])
        let worked = try CommandHarness.holdfast(
            "work", directory.store, "-q", "q", "--until-empty", "--", "sh", "-c", "exit 65")
        #expect(worked.exit == .code(1), "\(worked.errors)")
        let dead = try CommandHarness.holdfast("jobs", directory.store, "--json").lines.first ?? ""
        #expect(dead.contains(#""attempt":1,"#) && dead.contains(#""dead_reason":"final_error""#), "\(dead)")
        #expect(try configure("--crashes", "none", "--final-error", "none").lines == ["q: no limits, default retries"])
    }

    @Test func groupsAreLimitedAndKeptInOrder() throws {
        #expect(
            try configure("--group-running", "2", "--group-order", "strict").lines == [
                "q: runs 2 of a group at once, runs each group in order"
            ])
        #expect(
            try configure("--group-order", "parking", "--json").lines == [
                #"{"queue":"q","paused":false,"capacity":null,"running_max":null,"retry":"default","#
                    + #""group_running_max":2,"group_order":"parking"}"#
            ])
        #expect(
            try configure("--group-order", "free", "--group-running", "none").lines == [
                "q: no limits, default retries"
            ])
    }

    @Test func ratesAndSharedSlotsAreSetAndTakenAway() throws {
        #expect(
            try configure("--rate", "10/1s+50", "--limiter", "gpu:4").lines == [
                "q: leases 10 in 1000 ms, 50 at once, shares 4 of gpu"
            ])
        #expect(
            try configure("--rate", "5/1m", "--json").lines.first?.hasSuffix(
                #""rate":{"count":5,"period_ms":60000,"burst":5},"limiter":{"name":"gpu","size":4}}"#) == true)
        #expect(
            try configure("--limiter", "none", "--rate", "none", "--group-rate", "2/1s").lines == [
                "q: leases 2 in 1000 ms of a group"
            ])
        #expect(
            try configure("--group-rate", "none", "--ageing", "10m").lines == [
                "q: raises jobs by a priority every 10 min"
            ])
        #expect(try configure("--ageing", "none").lines == ["q: no limits, default retries"])
    }

    @Test func anOwnersQueueIsConfiguredAndShown() throws {
        let shell = try ShellProcess(directory.store)
        #expect(try configure("--capacity", "1").lines == ["q: takes 1 job"])
        try shell.refuse(#"{"op":"enqueue","queue":"q","payload":""}"#, "queue_full")
        let refused = try CommandHarness.holdfast("enqueue", directory.store, "-q", "q", "y")
        #expect(refused.exit == .code(1) && refused.errors.contains("raise its capacity"))
        #expect(try CommandHarness.holdfast("stat", directory.store).lines.contains("q: takes 1 job"))
        let json = try CommandHarness.holdfast("stat", directory.store, "--json").lines.first ?? ""
        #expect(json.contains(#""capacity":1,"running_max":null,"retry":"default""#))
        #expect(try shell.finish() == .code(0))
    }

    @Test(arguments: [
        ["--capacity", "0"], ["--capacity", "many"], ["--running", "-1"], ["--retry", "never"], ["--retry", ""],
        ["--retry", "1s*0.5..1m"], ["--retry", "1m*2..1s"], ["--retry", "1s*2"], ["--retry", "1s,,2s"],
        ["--retry", "1000d"], ["--jitter", "5"], ["--retry", "default", "--jitter", "5"],
        ["--retry", "1s", "--jitter", "101"], ["--crashes", "0"], ["--final-error", ""],
        ["--final-error", "none", "--final-error", "exit-1"], ["--group-running", "0"], ["--group-order", "fifo"],
        ["--rate", "5"], ["--rate", "0/1s"], ["--rate", "5/1s+"], ["--group-rate", "5"], ["--ageing", "0"],
        ["--limiter", "gpu"],
        ["--limiter", ":4"],
    ])
    func whatMakesNoSenseIsRefused(arguments: [String]) throws {
        let refused = try configure(arguments)
        #expect(refused.exit == .code(64) && !refused.errors.isEmpty, "\(refused.errors)")
    }
}
