import Testing

@testable import HoldfastCommand

/// Jobs that wait for other jobs, in the line protocol and on the command line.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct DependencyOperationTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func jobsOfABatchWaitForEachOther() throws {
        let shell = try ShellProcess(directory.store, "--clock", "manual")
        try shell.expect(
            #"{"op":"batch","ops":[{"op":"enqueue","queue":"q","payload":"a"},"#
                + #"{"op":"enqueue","queue":"q","payload":"b","after_index":[0]},"#
                + #"{"op":"enqueue","queue":"q","payload":"c","after_index":[0,1],"if_one_fails":"run"}]}"#,
            #"{"results":[{"id":1},{"id":2},{"id":3}]}"#)
        try shell.expect(
            #"{"op":"job","id":3}"#,
            #"{"job":{"state":"scheduled","waiting_for":{"count":2,"ids":[1,2]},"#
                + #""dependencies":{"done":0,"dead":0,"cancelled":0,"pending":2,"if_one_fails":"run","held":false}}}"#)
        try shell.expect(
            #"{"op":"explain","id":2}"#,
            #"{"reason":"waits_for","waiting_for":{"count":1,"ids":[1]},"dead":[],"text":"job 2 waits for job 1"}"#)
        try shell.expect(#"{"op":"lease","queue":"q","limit":5}"#, #"{"leases":[{"id":1}]}"#)
        try shell.expect(
            #"{"op":"ack","id":1,"token":4,"then_lease":{"queue":"q","limit":5}}"#, #"{"leases":[{"id":2}]}"#)
        try shell.ask(#"{"op":"bury","id":2,"token":6}"#)
        try shell.expect(#"{"op":"job","id":3}"#, #"{"job":{"state":"ready","dependencies":{"done":1,"dead":1}}}"#)
        #expect(try shell.finish() == .code(0))
    }

    @Test func aHeldJobIsReleased() throws {
        let shell = try ShellProcess(directory.store, "--clock", "manual")
        try shell.ask(#"{"op":"enqueue","queue":"end","payload":"","hold":true,"if_one_fails":"die"}"#)
        try shell.expect(#"{"op":"explain","id":1}"#, #"{"text":"job 1 is held: it waits to be released"}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"","before":1}"#)
        try shell.expect(#"{"op":"release","id":1,"req":7}"#, #"{"ok":true,"req":7}"#)
        try shell.refuse(#"{"op":"release","id":1}"#, "invalid_state")
        try shell.refuse(#"{"op":"release","id":99}"#, "not_found")
        try shell.ask(#"{"op":"lease","queue":"q"}"#)
        try shell.expect(#"{"op":"bury","id":2,"token":4}"#, #"{"ok":true}"#)
        try shell.expect(
            #"{"op":"job","id":1}"#,
            #"{"job":{"state":"dead","dead_reason":"dependency","last_error":"job 2, which it waited for, failed"}}"#)
        try shell.refuse(#"{"op":"enqueue","queue":"q","payload":"","before":1}"#, "invalid_state")
        try shell.refuse(#"{"op":"enqueue","queue":"q","payload":"","after":[99]}"#, "not_found")
        for bad in [
            #""after":1"#, #""after":["1"]"#, #""after":[-1]"#, #""after_index":[0]"#, #""if_one_fails":"die""#,
            #""after":[2],"if_one_fails":"maybe""#, #""hold":1"#, #""before":-1"#,
        ] {
            try shell.refuse(#"{"op":"enqueue","queue":"q","payload":"",\#(bad)}"#, "bad_request")
        }
        #expect(try shell.finish() == .code(0))
    }

    @Test func theCommandsSayWhatAJobWaitsFor() throws {
        let store = directory.store
        func run(_ arguments: String...) throws -> ProcessResult {
            try CommandHarness.run(CommandHarness.executable(), arguments)
        }
        #expect(try run("enqueue", store, "-q", "end", "--hold", "--if-one-fails", "run", "x").exit == .code(0))
        #expect(try run("enqueue", store, "-q", "q", "--before", "1", "y").exit == .code(0))
        #expect(try run("release", store, "1").exit == .code(0))
        #expect(try run("explain-job", store, "1").output.contains("waits for job 2"))
        #expect(try run("job", store, "1", "--json").output.contains(#""waiting_for":{"count":1,"ids":[2]}"#))
        // By way of an owner, too.
        let shell = try ShellProcess(store)
        #expect(try run("enqueue", store, "-q", "q", "--after", "1", "--after", "2", "z").exit == .code(0))
        #expect(try run("explain-job", store, "1").output.contains("waits for job 2"))
        try shell.ask(#"{"op":"cancel","id":2}"#)
        try shell.expect(#"{"op":"job","id":1}"#, #"{"job":{"state":"ready","dependencies":{"cancelled":1}}}"#)
        let again = try run("release", store, "1")
        #expect(again.exit == .code(1) && again.errors.contains("not held"))
        #expect(try shell.finish() == .code(0))
        #expect(try run("enqueue", store, "-q", "q", "--if-one-fails", "die", "z").exit == .code(64))
        let dump = try run("dump", store, "--kind", "release")
        #expect(dump.exit == .code(0) && dump.output.contains("release"))
    }
}
