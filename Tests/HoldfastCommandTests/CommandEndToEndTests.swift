import Testing

@testable import HoldfastCommand

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// The command as people and scripts use it: exit codes, crashes, other processes, whole batches.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct CommandEndToEndTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func whatWasAnsweredSurvivesAKill() throws {
        let shell = try ShellProcess(directory.store, "--clock", "manual")
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"p"}"#)
        try shell.ask(#"{"op":"advance","ms":77}"#)
        let digest = try #require(try shell.ask(#"{"op":"digest"}"#)["digest"]?.string)
        try shell.kill()
        let second = try ShellProcess(directory.store, "--clock", "manual")
        #expect(try second.ask(#"{"op":"digest"}"#)["digest"]?.string == digest)
        try second.expect(#"{"op":"now"}"#, #"{"now_ms":1700000000077}"#)
        #expect(try second.finish() == .code(0))
    }

    @Test func aStoreInUseIsLockedAndTheReasonIsOneJSONLine() throws {
        let shell = try ShellProcess(directory.store)
        try shell.ask(#"{"op":"now"}"#)
        let result = try CommandHarness.holdfast("shell", directory.store)
        #expect(result.exit == .code(2))
        let reply = try JSONDocument([UInt8](try #require(result.lines.first).utf8)).root
        #expect(reply["error"]?["code"]?.string == "locked")
        #expect(reply["error"]?["message"]?.string?.contains("\(shell.child.id)") == true)
        #expect(result.errors.contains("could not open"))
        #expect(try shell.finish() == .code(0))
    }

    @Test func whatWasReadIsCommittedWhenNobodyReadsTheReplies() throws {
        let store = directory.store
        let input = (1...500).map { #"{"op":"enqueue","queue":"q","payload":"\#($0)"}"# + "\n" }.joined()
        let executable = try CommandHarness.executable()
        let result = try CommandHarness.run(
            "/bin/sh", ["-c", "\"$0\" shell \"$1\" >&-", executable, store], input: [UInt8](input.utf8))
        #expect(result.exit == .code(0))
        let stat = try CommandHarness.holdfast("stat", store, "--json")
        #expect(stat.output.contains(#""ready":500"#))
    }

    @Test func otherCommandsReachTheStoreThroughItsOwner() throws {
        let shell = try ShellProcess(directory.store)
        try shell.ask(#"{"op":"now"}"#)
        var status = stat()
        #expect(stat(directory.store + "/socket", &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        let enqueue = try CommandHarness.holdfast(
            "enqueue", directory.store, "-q", "q", input: [UInt8]("a\nb\n\nc".utf8))
        #expect(enqueue.exit == .code(0))
        #expect(enqueue.lines == ["1", "2", "3", "4"])
        #expect(try CommandHarness.holdfast("pause", directory.store, "-q", "q").exit == .code(0))
        try shell.expect(#"{"op":"stats"}"#, #"{"queues":{"q":{"ready":4,"paused":true}}}"#)
        #expect(try CommandHarness.holdfast("resume", directory.store, "-q", "q").exit == .code(0))
        #expect(try CommandHarness.holdfast("cancel", directory.store, "2").exit == .code(0))
        #expect(try CommandHarness.holdfast("cancel", directory.store, "99").exit == .code(1))
        #expect(try CommandHarness.holdfast("checkpoint", directory.store).exit == .code(0))
        #expect(try CommandHarness.holdfast("stat", directory.store).output.contains("in use"))
        try shell.expect(#"{"op":"lease","queue":"q","limit":5}"#, #"{"leases":[{"id":1},{"id":3},{"id":4}]}"#)
        #expect(try shell.finish() == .code(0))
        #expect(stat(directory.store + "/socket", &status) != 0)
    }

    @Test func aLongPathIsNoObstacleToTheSocket() throws {
        let store = directory.path + "/" + String(repeating: "d", count: 150)
        let shell = try ShellProcess(store)
        try shell.ask(#"{"op":"now"}"#)
        #if os(Linux)
            #expect(try CommandHarness.holdfast("enqueue", store, "-q", "q", "x").lines == ["1"])
        #endif
        #expect(try shell.finish() == .code(0))
    }

    @Test func manyPayloadsAreEnqueuedInOrder() throws {
        let input = (1...20_000).map { "\($0)\n" }.joined()
        let result = try CommandHarness.holdfast("enqueue", directory.store, "-q", "q", input: [UInt8](input.utf8))
        #expect(result.lines == (1...20_000).map(String.init))
    }

    @Test func workRunsEachJobOnceAndKeepsItsOutput() throws {
        let payloads = (1...40).map { "file \($0)" }.joined(separator: "\u{0}")
        _ = try CommandHarness.holdfast("enqueue", directory.store, "-q", "w", "-0", input: [UInt8](payloads.utf8))
        let result = try CommandHarness.holdfast(
            "work", directory.store, "-q", "w", "-j", "4", "--until-empty", "--", "echo", "got", "{}")
        #expect(result.exit == .code(0), "\(result.errors)")
        let jobs = try CommandHarness.holdfast("jobs", directory.store, "--json").lines
        let results = try jobs.map { try JSONDocument([UInt8]($0.utf8)).root["result"]?.string }
        #expect(results == (1...40).map { "got file \($0)" })
    }

    @Test func workSharesItsWorkersAmongQueues() throws {
        let jobs = (1...6).map { "\($0)\n" }.joined()
        for queue in ["mail", "sms"] {
            _ = try CommandHarness.holdfast("enqueue", directory.store, "-q", queue, input: [UInt8](jobs.utf8))
        }
        let shared = try CommandHarness.holdfast(
            "work", directory.store, "-q", "mail=2", "-q", "sms", "-j", "1", "--until-empty", "--print", "--", "sh",
            "-c", "echo $HOLDFAST_QUEUE")
        #expect(shared.exit == .code(0), "\(shared.errors)")
        let lines = shared.lines
        #expect(lines.count == 12 && lines.prefix(6).count { $0 == "mail" } == 4, "\(lines)")
    }

    @Test func workFeedsStandardInputRetriesAndBuries() throws {
        _ = try CommandHarness.holdfast(
            "enqueue", directory.store, "-q", "in", "--max-attempts", "2", "good", "bad")
        let fed = try CommandHarness.holdfast(
            "work", directory.store, "-q", "in", "--until-empty", "--verbose", "--retry-delay", "1ms", "--", "sh", "-c",
            "read x; echo \"<$x>\"; test \"$x\" = good || { echo why >&2; exit 7; }", input: [])
        #expect(fed.exit == .code(1))
        #expect(fed.errors.contains("job 2, attempt 2, dead: exit code 7: why\n"))
        #expect(fed.errors.contains("2 × exit code 7: why\n"))
        let first = try CommandHarness.holdfast("job", directory.store, "1", "--json").output
        #expect(first.contains(#""result":"<good>""#))
        let second = try CommandHarness.holdfast("job", directory.store, "2", "--json").output
        #expect(second.contains(#""state":"dead""#))
        #expect(second.contains(#""last_error":"exit code 7: why""#))
        _ = try CommandHarness.holdfast("enqueue", directory.store, "-q", "nul", input: [0x61, 0x00, 0x62])
        let refused = try CommandHarness.holdfast(
            "work", directory.store, "-q", "nul", "--until-empty", "--", "echo", "{}")
        #expect(refused.exit == .code(1))
        #expect(try CommandHarness.holdfast("jobs", directory.store, "-q", "nul").output.contains("standard input"))
    }

    @Test func aKilledWorkerLosesNothing() throws {
        _ = try CommandHarness.holdfast("enqueue", directory.store, "-q", "k", "one")
        let marker = directory.path + "/started"
        let words = [
            try CommandHarness.executable(), "work", directory.store, "-q", "k", "--", "sh", "-c",
            "echo $$ > \(marker).new; mv \(marker).new \(marker); exec sleep 60", "{}",
        ]
        let worker = try ChildProcess.start(words.map { [UInt8]($0.utf8) }, environment: [], hasInput: false)
        while access(marker, F_OK) != 0 { try Poll.wait(for: [], milliseconds: 5) }
        _ = kill(worker.id, SIGKILL)
        #expect(try CommandHarness.finish(worker).exit == .signal(SIGKILL))
        // What it ran outlives it; the attempt is void all the same.
        defer { _ = try? CommandHarness.run("/bin/sh", ["-c", "kill $(cat \(marker))"]) }
        let result = try CommandHarness.holdfast(
            "work", directory.store, "-q", "k", "--until-empty", "--", "echo", "{}")
        #expect(result.errors.contains("1 job was running"))
        let job = try CommandHarness.holdfast("job", directory.store, "1", "--json").output
        #expect(job.contains(#""result":"one""#) && job.contains(#""attempt":2"#))
    }

    @Test func aWorkerAskedToStopGivesTheAttemptBack() throws {
        _ = try CommandHarness.holdfast("enqueue", directory.store, "-q", "t", "one")
        let marker = directory.path + "/started"
        let words = [
            try CommandHarness.executable(), "work", directory.store, "-q", "t", "--grace", "50ms", "--", "sh", "-c",
            "echo x >> \(marker); exec sleep 60", "{}",
        ]
        let worker = try ChildProcess.start(words.map { [UInt8]($0.utf8) }, environment: [], hasInput: false)
        while access(marker, F_OK) != 0 { try Poll.wait(for: [], milliseconds: 5) }
        _ = kill(worker.id, SIGTERM)
        #expect(try CommandHarness.finish(worker).exit == .code(0))
        let job = try CommandHarness.holdfast("job", directory.store, "1", "--json").output
        #expect(job.contains(#""state":"ready""#) && job.contains(#""attempt":0"#))
    }

    @Test func dumpVerifyAndCompactAgree() throws {
        _ = try CommandHarness.holdfast("enqueue", directory.store, "-q", "a", "x", "y")
        _ = try CommandHarness.holdfast("enqueue", directory.store, "-q", "b", "z")
        let all = try CommandHarness.holdfast("dump", directory.store, "--json", "--payloads").lines
        #expect(try all.map { try JSONDocument([UInt8]($0.utf8)).root["payload"]?.string } == ["x", "y", "z"])
        #expect(try CommandHarness.holdfast("dump", directory.store, "--queue", "b").lines.count == 1)
        #expect(try CommandHarness.holdfast("dump", directory.store, "--kind", "ack").lines.isEmpty)
        #expect(try CommandHarness.holdfast("dump", directory.store, "--frames").output.contains("data"))
        #expect(try CommandHarness.holdfast("verify", directory.store).output.contains("sound"))
        #expect(try CommandHarness.holdfast("compact", directory.store).exit == .code(0))
        #expect(try CommandHarness.holdfast("verify", directory.store, "--json").output.contains(#""sound":true"#))
        #expect(try CommandHarness.holdfast("verify", directory.path).exit == .code(2))
    }

    @Test func aShellThatCanNotBeOpenedSaysSoInOneJSONLine() throws {
        func refusal(_ arguments: String...) throws -> (exit: ChildExit, code: String?) {
            let result = try CommandHarness.run(try CommandHarness.executable(), ["shell"] + arguments)
            #expect(result.lines.count == 1 && result.errors.split(separator: "\n").count == 1)
            let reply = try JSONDocument([UInt8](result.output.utf8.dropLast())).root
            #expect(reply["ok"]?.bool == false)
            return (result.exit, reply["error"]?["code"]?.string)
        }
        #expect(try refusal(directory.store, "--segment-bytes", "1") == (.code(64), "bad_request"))
        #expect(try refusal(directory.store, "--clock", "wall") == (.code(64), "bad_request"))
        #expect(try refusal() == (.code(64), "bad_request"))
        #expect(access(directory.store, F_OK) != 0)
        #expect(try refusal(directory.store + "/below") == (.code(2), "io_error"))
        #expect(mkdir(directory.store, 0o755) == 0 && mkdir(directory.store + "/other", 0o755) == 0)
        #expect(try refusal(directory.store) == (.code(2), "unsupported_format"))
    }

    private static let limiter = "/usr/bin/prlimit"

    @Test(.enabled(if: access(limiter, X_OK) == 0, "prlimit makes the writes fail"))
    func aFailedWriteEndsTheShellWith3() throws {
        // Without the trap, writing past the limit would end the process.
        let shell = try ShellProcess(
            directory.store, startedBy: ["/bin/sh", "-c", #"trap "" XFSZ; exec "$0" "$@""#])
        try shell.expect(#"{"op":"enqueue","queue":"q","payload":"x"}"#, #"{"ok":true}"#)
        #expect(try CommandHarness.run(Self.limiter, ["--pid", "\(shell.child.id)", "--fsize=0"]).exit == .code(0))
        try shell.refuse(#"{"op":"enqueue","queue":"q","payload":"y"}"#, "io_error")
        #expect(try shell.finish() == .code(3))
        let jobs = try CommandHarness.holdfast("jobs", directory.store, "--json")
        #expect(jobs.exit == .code(0) && (1...2).contains(jobs.lines.count))
    }

    @Test func oneJobThatCanNotBeCancelledKeepsNoOtherFromIt() throws {
        _ = try CommandHarness.holdfast("enqueue", directory.store, "-q", "q", "a", "b")
        let result = try CommandHarness.holdfast("cancel", directory.store, "1", "98", "99", "2")
        #expect(result.exit == .code(1))
        #expect(result.errors.split(separator: "\n").count == 2 && result.errors.contains("99"))
        let left = try CommandHarness.holdfast("jobs", directory.store, "--state", "cancelled", "--json")
        #expect(left.lines.count == 2)
    }

    /// It is asked to stop as early as can be: that was lost once, before the first job was looked for.
    @Test func aWorkerOfAPausedQueueSaysThatItWaitsAndEndsWhenAskedTo() throws {
        _ = try CommandHarness.holdfast("enqueue", directory.store, "-q", "q", "a")
        _ = try CommandHarness.holdfast("pause", directory.store, "-q", "q")
        let words = [try CommandHarness.executable(), "work", directory.store, "-q", "q", "--", "true"]
        let worker = try ChildProcess.start(words.map { [UInt8]($0.utf8) }, environment: [], hasInput: false)
        try Poll.wait(for: [(worker.errors, .read)], milliseconds: nil)
        _ = kill(worker.id, SIGTERM)
        let result = try CommandHarness.finish(worker)
        #expect(result.exit == .code(0))
        #expect(result.errors.contains("q is paused; to go on: holdfast resume \(directory.store) -q q"))
    }

    @Test func enqueueSaysThatItCreatedTheStore() throws {
        let first = try CommandHarness.holdfast("enqueue", directory.store, "-q", "q", "--priority", "-5", "x")
        #expect(first.errors == "holdfast: created the store \(directory.store)\n")
        #expect(try CommandHarness.holdfast("enqueue", directory.store, "-q", "q", "y").errors.isEmpty)
        #expect(try CommandHarness.holdfast("job", directory.store, "1", "--json").output.contains(#""priority":-5"#))
    }

    @Test(arguments: [["work", "s", "-q", "q"], ["enqueue", "s"], ["fly"], ["dump", "s", "--since", "x"]])
    func commandLinesThatMakeNoSenseExitWith64(_ arguments: [String]) throws {
        let result = try CommandHarness.run(try CommandHarness.executable(), arguments)
        #expect(result.exit == .code(64))
        #expect(result.output.isEmpty)
        #expect(result.errors.hasPrefix("holdfast: ") && result.errors.split(separator: "\n").count == 1)
    }
}
