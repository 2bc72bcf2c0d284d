import Testing

@testable import HoldfastCommand

/// Steps of a command that `holdfast work` runs, and the command run again against them.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct EffectReplayCommandTests {
    private let directory: TemporaryDirectory
    private let executable: String

    init() throws {
        directory = try TemporaryDirectory()
        executable = try CommandHarness.executable()
    }

    private func holdfast(_ arguments: String...) throws -> ProcessResult {
        try CommandHarness.run(executable, arguments, input: [])
    }

    /// A handler of two steps, each of which leaves a line in a file.
    private func handler(_ first: String = "charge", _ second: String = "mail") -> String {
        """
        set -e
        one=$('\(executable)' effect run \(first) -- sh -c 'echo ran >> "$0"; echo "receipt of $1"' \(log) "$1")
        two=$('\(executable)' effect run \(second) -- sh -c 'echo ran >> "$0"; echo sent' \(log))
        echo "$one, $two"
        """
    }

    private var log: String { directory.store + ".log" }

    private func ran() throws -> Int {
        try CommandHarness.run("/bin/sh", ["-c", "cat \(log) 2>/dev/null | wc -l"], input: []).lines.first
            .flatMap { Int($0.filter(\.isNumber)) } ?? 0
    }

    @Test func aHandlerIsReplayedFromTheFilesAlone() throws {
        #expect(try holdfast("enqueue", directory.store, "-q", "q", "--quiet", "order 1").exit == .code(0))
        let work = try holdfast(
            "work", directory.store, "-q", "q", "--until-empty", "--print", "-j", "1", "--", "/bin/sh", "-c", handler(),
            "order", "{}")
        #expect(work.exit == .code(0) && work.lines == ["receipt of order 1, sent"], "\(work)")
        #expect(try ran() == 2)
        let digest = try holdfast("stat", directory.store, "--json").output
        let same = try holdfast(
            "effects", "replay", directory.store, "1", "--", "/bin/sh", "-c", handler(), "order", "{}")
        #expect(same.exit == .code(0) && same.lines == ["receipt of order 1, sent"], "\(same)")
        #expect(same.errors.contains("2 steps, as recorded"))
        let other = try holdfast(
            "effects", "replay", directory.store, "1", "--", "/bin/sh", "-c", handler("charge", "archive"), "order",
            "{}")
        #expect(other.exit == .code(6), "\(other)")
        #expect(other.errors.contains("step 2: recorded is `mail`, asked for is `archive`"))
        let short = try holdfast("effects", "replay", directory.store, "1", "--", "/bin/sh", "-c", "exit 0")
        #expect(short.exit == .code(6) && short.errors.contains("recorded is `charge`, asked for is nothing more"))
        let failing = try holdfast(
            "effects", "replay", directory.store, "1", "--", "/bin/sh", "-c", handler() + "\nexit 3", "order", "{}")
        #expect(failing.exit == .code(1) && failing.errors.contains("exited with 3"))
        // No step ran again, and the store is what it was.
        #expect(try ran() == 2)
        #expect(try holdfast("stat", directory.store, "--json").output == digest)
    }

    @Test func aStepRunsOnceHoweverOftenItsJobDoes() throws {
        #expect(try holdfast("enqueue", directory.store, "-q", "q", "--quiet", "x").exit == .code(0))
        let script = """
            '\(executable)' effect run once -- sh -c 'echo ran >> "$0"' \(log) || exit 9
            '\(executable)' effect run never -- sh -c 'exit 7' ; code=$?
            [ $HOLDFAST_ATTEMPT = 3 ] || exit $code
            """
        let work = try holdfast(
            "work", directory.store, "-q", "q", "--until-empty", "--retry-delay", "1ms", "--", "/bin/sh", "-c", script)
        #expect(work.exit == .code(0) && work.errors.contains("2 failed attempts"), "\(work)")
        #expect(try ran() == 1)
        let effects = try holdfast("effects", directory.store, "job 1").lines
        #expect(effects == [#"once: """#])
    }

    @Test func outsideAWorkerThereIsNoStep() throws {
        let lost = try holdfast("effect", "run", "k", "--", "true")
        #expect(lost.exit == .code(1) && lost.errors.contains("HOLDFAST_STORE"))
        #expect(try holdfast("effect", "run", "k").exit == .code(64))
        #expect(try holdfast("effects", "replay", directory.store, "1", "--", "true").exit == .code(2))
        let shell = try ShellProcess(directory.store)
        try shell.ask(#"{"op":"effect","scope":"job 1","key":"k","value":[1],"tag":"t"}"#)
        try shell.expect(
            #"{"op":"effect_get","scope":"job 1","key":"k"}"#,
            #"{"ok":true,"found":true,"value":[1],"tag":"t","replayed":true}"#)
        try shell.expect(#"{"op":"effect_get","scope":"job 1","key":"other"}"#, #"{"ok":true,"found":false}"#)
        #expect(try shell.finish() == .code(0))
        #expect(try holdfast("effects", "replay", directory.store, "9", "--", "true").exit == .code(1))
    }

    @Test func aSecretIsReplayedWhenAskedFor() throws {
        #expect(try holdfast("enqueue", directory.store, "-q", "q", "--quiet", "--secret", "hunter2").exit == .code(0))
        let refused = try holdfast("effects", "replay", directory.store, "1", "--", "cat")
        #expect(refused.exit == .code(1) && refused.output.isEmpty && refused.errors.contains("--show-secrets"))
        let shown = try holdfast("effects", "replay", directory.store, "1", "--show-secrets", "--", "cat")
        #expect(shown.exit == .code(0) && shown.output == "hunter2", "\(shown)")
    }

    @Test func withoutTheLeaseNoStepRuns() throws {
        let shell = try ShellProcess(directory.store)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"x"}"#)
        let leases = try #require(try shell.ask(#"{"op":"lease","queue":"q"}"#)["leases"]?.elements)
        let token = leases.first?["token"]?.integer ?? 0
        let get = #"{"op":"effect_get","scope":"job 1","key":"k","id":1,"token":\#(token)}"#
        try shell.expect(get, #"{"ok":true,"found":false}"#)
        try shell.ask(#"{"op":"effect","scope":"job 1","key":"known","value":"v"}"#)
        try shell.ask(#"{"op":"requeue","id":1,"token":\#(token)}"#)
        try shell.refuse(get, "lease_lost")
        for key in ["k", "known"] {
            let late = try CommandHarness.run(
                "/usr/bin/env",
                [
                    "HOLDFAST_STORE=\(directory.store)", "HOLDFAST_JOB=1", "HOLDFAST_TOKEN=\(token)", executable,
                    "effect", "run", key, "--", "sh", "-c", "echo ran >> \(log)",
                ])
            #expect(late.exit == .code(1) && late.errors.contains("not the active lease"), "\(late)")
        }
        #expect(try ran() == 0)
        #expect(try shell.finish() == .code(0))
    }
}
