import Holdfast
import Testing

@testable import HoldfastCommand

/// Dead letters and results in the line protocol and on the command line.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct DeadLetterCommandTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Leaves jobs 1, 4 and 7 dead.
    private func fill(_ shell: ShellProcess) throws {
        for (id, error) in [(1, "timed out"), (4, "no such user"), (7, "timed out again")] {
            try shell.ask(#"{"op":"enqueue","queue":"q","payload":"p"}"#)
            try shell.ask(#"{"op":"lease","queue":"q"}"#)
            try shell.expect(
                #"{"op":"bury","id":\#(id),"token":\#(id + 1),"error":"\#(error)"}"#, #"{"ok":true}"#)
        }
    }

    @Test func deadLettersAreFoundRedrivenAndPurgedByFilter() throws {
        let shell = try ShellProcess(directory.store, "--clock", "manual")
        try fill(shell)
        let timedOut = #""queue":"q","where":{"error_contains":"timed out"}"#
        try shell.expect(#"{"op":"dead_jobs",\#(timedOut)}"#, #"{"jobs":[{"id":1},{"id":7}]}"#)
        try shell.expect(#"{"op":"dead_jobs","queue":"q","limit":1,"after":1}"#, #"{"jobs":[{"id":4}]}"#)
        try shell.expect(
            #"{"op":"redrive",\#(timedOut),"per_second":1,"dry_run":true}"#,
            #"{"count":2,"skipped":0,"reasons":{"buried":2},"ids":[1,7],"last_run_at_ms":1700000001000}"#)
        try shell.expect(#"{"op":"redrive",\#(timedOut),"per_second":1}"#, #"{"count":2,"skipped":0}"#)
        try shell.expect(#"{"op":"stats"}"#, #"{"queues":{"q":{"ready":1,"scheduled":1,"dead":1}}}"#)
        try shell.expect(#"{"op":"history","id":7}"#, #"{"records":[{},{},{},{"run_at_ms":1700000001000}]}"#)
        try shell.expect(
            #"{"op":"purge","queue":"q","where":{"reasons":["buried"],"first_id":4},"dry_run":true}"#,
            #"{"count":1,"dead":1,"dry_run":true,"ids":[4]}"#)
        try shell.expect(
            #"{"op":"purge","queue":"q","where":{"reasons":["buried"],"first_id":4}}"#, #"{"count":1,"dead":1}"#)
        try shell.expect(#"{"op":"redrive","queue":"q","dry_run":true}"#, #"{"count":0}"#)
        for bad in [
            #""where":{}"#, #""where":[]"#, #""where":{"reason":["buried"]}"#, #""where":{"reasons":[]}"#,
            #""where":{"reasons":["late"]}"#, #""where":{"all":true,"group":"g"}"#, #""where":{"group":""}"#,
            #""where":{"attempts_min":-1}"#, #""per_second":0"#, #""where":{"all":true},"limit":0"#,
        ] {
            try shell.refuse(#"{"op":"redrive","queue":"q",\#(bad)}"#, "bad_request")
        }
        try shell.refuse(#"{"op":"purge","queue":"q","where":{"all":true},"states":["ready"]}"#, "bad_request")
        try shell.refuse(#"{"op":"purge","queue":"q","dry_run":true}"#, "bad_request")
        #expect(try shell.finish() == .code(0))
    }

    @Test func limitsOnDeadLettersAreSetAndShown() throws {
        let shell = try ShellProcess(directory.store, "--clock", "manual")
        try shell.expect(
            #"{"op":"configure","queue":"q","dead_max":1,"dead_age_ms":5000,"result_retention_ms":60000}"#,
            #"{"ok":true,"dead_max":1,"dead_age_ms":5000,"result_retention_ms":60000}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"p"}"#)
        try shell.ask(#"{"op":"lease","queue":"q"}"#)
        try shell.ask(#"{"op":"bury","id":2,"token":3}"#)
        try shell.expect(
            #"{"op":"explain","id":2}"#,
            #"{"until_ms":1700000005000,"text":"job 2 is dead: it was buried, and is dropped in 5.0 s"}"#)
        try shell.ask(#"{"op":"advance","ms":5000}"#)
        try shell.refuse(#"{"op":"job","id":2}"#, "not_found")
        try shell.expect(#"{"op":"explain","id":2}"#, #"{"reason":"dropped"}"#)
        try shell.expect(
            #"{"op":"history","id":2}"#, #"{"records":[{},{},{},{"kind":"expire","reason":"dead letter dropped"}]}"#)
        let reply = try shell.ask(#"{"op":"configure","queue":"q","dead_max":null,"dead_age_ms":null}"#)
        #expect(reply["dead_max"] == nil && reply["dead_age_ms"] == nil)
        #expect(reply["result_retention_ms"]?.integer == 60_000)
        for bad in [#""dead_max":0"#, #""dead_age_ms":0"#, #""result_retention_ms":-1"#, #""dead_age_ms":"1d""#] {
            try shell.refuse(#"{"op":"configure","queue":"q",\#(bad)}"#, "bad_request")
        }
        #expect(try shell.finish() == .code(0))
        let set = try CommandHarness.holdfast(
            "configure", directory.store, "-q", "q", "--dead-max", "10", "--dead-age", "30d", "--result-retention",
            "none")
        #expect(set.lines.count == 1 && set.lines[0].contains("keeps 10 dead jobs"), "\(set.lines) \(set.errors)")
        let shown = try CommandHarness.holdfast("stat", directory.store)
        #expect(shown.lines.contains { $0.contains("keeps 10 dead jobs, keeps dead jobs for 30 d") }, "\(shown.lines)")
    }

    @Test func aResultIsAskedFor() throws {
        let shell = try ShellProcess(directory.store, "--clock", "manual")
        for _ in 0..<3 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":"p"}"#) }
        try shell.ask(#"{"op":"lease","queue":"q","limit":3}"#)
        try shell.refuse(#"{"op":"result","id":1}"#, "not_found")
        try shell.ask(#"{"op":"ack","id":1,"token":4,"result":{"a":[1]},"keep_ms":5000}"#)
        try shell.ask(#"{"op":"ack","id":2,"token":5,"result":"text","then_lease":{"queue":"q"},"keep_ms":0}"#)
        try shell.ask(#"{"op":"batch","ops":[{"op":"ack","id":3,"token":6,"result":3,"keep_ms":9}]}"#)
        try shell.expect(#"{"op":"result","id":1}"#, #"{"result":{"a":[1]},"until_ms":1700000005000}"#)
        try shell.expect(#"{"op":"result","id":2}"#, #"{"result":"text","until_ms":null}"#)
        try shell.expect(#"{"op":"result","id":3}"#, #"{"result":3,"until_ms":1700000000009}"#)
        try shell.expect(#"{"op":"job","id":1}"#, #"{"job":{"result_until_ms":1700000005000}}"#)
        try shell.ask(#"{"op":"advance","ms":9}"#)
        try shell.refuse(#"{"op":"result","id":3}"#, "not_found")
        try shell.refuse(#"{"op":"result","id":99}"#, "not_found")
        try shell.refuse(#"{"op":"ack","id":1,"token":4,"keep_ms":5}"#, "bad_request")
        #expect(try shell.finish() == .code(0))
        #expect(try CommandHarness.holdfast("result", directory.store, "2").lines == ["text"])
        let none = try CommandHarness.holdfast("result", directory.store, "3")
        #expect(none.exit == .code(1) && none.errors.contains("no result"))
    }

    @Test func theCommandsTakeFilters() throws {
        let shell = try ShellProcess(directory.store)
        try fill(shell)
        let list = try CommandHarness.holdfast("dead", directory.store, "-q", "q", "--error-contains", "timed out")
        #expect(list.lines.count == 3 && list.lines[2].contains("timed out again"), "\(list.lines)")
        let json = try CommandHarness.holdfast("dead", directory.store, "-q", "q", "--json", "--limit", "1")
        #expect(json.lines.count == 1 && json.lines[0].hasPrefix(#"{"id":1,"#))
        let dry = try CommandHarness.holdfast(
            "redrive", directory.store, "-q", "q", "--reason", "buried", "--died-after", "1h", "--dry-run")
        #expect(dry.lines.last == "the first: 1 4 7", "\(dry.lines) \(dry.errors)")
        let some = try CommandHarness.holdfast(
            "redrive", directory.store, "-q", "q", "--error-contains", "again", "--json")
        #expect(some.lines == [#"{"count":1,"reasons":{"buried":1},"skipped":0}"#])
        let purge = try CommandHarness.holdfast(
            "purge", directory.store, "-q", "q", "--state", "dead", "--error-contains", "user", "--yes", "--json")
        #expect(purge.lines == [#"{"count":1,"reasons":{"buried":1},"dead":1}"#], "\(purge.errors)")
        try shell.expect(#"{"op":"stats"}"#, #"{"queues":{"q":{"ready":1,"dead":1}}}"#)
        let slow = try CommandHarness.holdfast("redrive", directory.store, "-q", "q", "--per-second", "1")
        #expect(slow.lines.contains { $0.hasPrefix("the last may run at") }, "\(slow.lines)")
        for wrong in [
            ["redrive", directory.store, "1", "--dry-run"], ["redrive", directory.store, "1", "--reason", "buried"],
            ["purge", directory.store, "-q", "q", "--reason", "buried", "--yes"],
            ["redrive", directory.store, "-q", "q", "--reason", "late"],
            ["dead", directory.store, "-q", "q", "--error-contains", ""],
        ] {
            let result = try CommandHarness.run(CommandHarness.executable(), wrong)
            #expect(result.exit == .code(64), "\(wrong)")
        }
        #expect(try shell.finish() == .code(0))
    }

    @Test func theHelpNamesEachReason() throws {
        let words = try CommandHarness.holdfast("dead", "--help").output.split(whereSeparator: \.isWhitespace)
        let named = Set(words.map { $0.filter { $0.isLetter || $0 == "_" } })
        for reason in JobInfo.DeadReason.allCases { #expect(named.contains(reason.rawValue), "\(reason)") }
    }
}
