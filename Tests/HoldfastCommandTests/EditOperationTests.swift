import Testing

@testable import HoldfastCommand

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Changed jobs and taken keys in the line protocol and on the command line.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct EditOperationTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func aJobThatWaitsIsChanged() throws {
        let shell = try ShellProcess(directory.store, "--clock", "manual")
        for _ in 0..<2 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":"p","headers":{"a":"1"}}"#) }
        try shell.expect(
            #"{"op":"edit","id":2,"priority":3,"payload_b64":"AAE=","headers":{},"max_attempts":7,"req":1}"#,
            #"{"ok":true,"req":1}"#)
        try shell.expect(
            #"{"op":"job","id":2}"#,
            #"{"job":{"state":"ready","priority":3,"max_attempts":7,"payload":"\u0000\u0001","headers":{}}}"#)
        try shell.expect(#"{"op":"edit","id":1,"queue":"r","delay_ms":5}"#, #"{"ok":true}"#)
        try shell.expect(
            #"{"op":"history","id":1}"#,
            #"{"records":[{"kind":"enqueue"},{"kind":"edit","queue":"r","run_at_ms":1700000000005}]}"#)
        try shell.expect(
            #"{"op":"batch","ops":[{"op":"edit","id":1,"run_at_ms":0},{"op":"cancel","id":2,"req":2}]}"#,
            #"{"ok":true,"results":[{"ok":true},{"ok":true,"state":"cancelled","req":2}]}"#)
        try shell.expect(#"{"op":"lease","queue":["q","r"]}"#, #"{"leases":[{"id":1,"queue":"r","payload":"p"}]}"#)
        #expect(try shell.refuse(#"{"op":"edit","id":1,"priority":1}"#, "invalid_state").contains("is leased"))
        try shell.refuse(#"{"op":"edit","id":2,"priority":1}"#, "invalid_state")
        try shell.refuse(#"{"op":"edit","id":77,"priority":1}"#, "not_found")
        for bad in [#""queue":"""#, #""priority":128"#, #""delay_ms":1,"run_at_ms":1"#, #""payload":7"#, #""x":1"#] {
            try shell.refuse(#"{"op":"edit","id":1,\#(bad)}"#, "bad_request")
        }
        #expect(try shell.finish() == .code(0))
    }

    @Test func aTakenKeyIsAnsweredAsAsked() throws {
        let shell = try ShellProcess(directory.store, "--clock", "manual")
        func enqueue(_ rest: String) -> String {
            #"{"op":"enqueue","queue":"q","payload":"new","unique_key":"k"\#(rest)}"#
        }
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"old","unique_key":"k","unique_scope":"queued"}"#)
        let plain = try shell.expect(enqueue(#","on_collision":"existing""#), #"{"id":1,"duplicate":true}"#)
        #expect(plain["updated"] == nil)
        try shell.expect(
            enqueue(#","on_collision":"postpone","delay_ms":9"#), #"{"id":1,"duplicate":true,"updated":true}"#)
        try shell.expect(#"{"op":"job","id":1}"#, #"{"job":{"state":"scheduled","payload":"old"}}"#)
        try shell.expect(enqueue(#","on_collision":"replace""#), #"{"id":1,"duplicate":true,"updated":true}"#)
        try shell.refuse(enqueue(#","on_collision":"reject""#), "invalid_state")
        try shell.expect(#"{"op":"lease","queue":"q"}"#, #"{"leases":[{"id":1,"payload":"new"}]}"#)
        try shell.expect(enqueue(""), #"{"duplicate":false}"#)
        try shell.refuse(enqueue(#","on_collision":"ignore""#), "bad_request")
        try shell.refuse(enqueue(#","unique_scope":"queued","unique_for_ms":5"#), "bad_request")
        try shell.refuse(#"{"op":"enqueue","queue":"q","payload":"","on_collision":"reject"}"#, "bad_request")
        #expect(try shell.finish() == .code(0))
    }

    @Test func aWorkerIsToldThatItsJobWasCancelled() throws {
        let shell = try ShellProcess(directory.store, "--clock", "manual")
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"p"}"#)
        try shell.ask(#"{"op":"lease","queue":"q"}"#)
        try shell.expect(#"{"op":"cancel","id":1}"#, #"{"state":"cancelled"}"#)
        try shell.ask(#"{"op":"advance","ms":5}"#)
        let error = try shell.ask(#"{"op":"heartbeat","id":1,"token":2}"#)["error"]
        #expect(error?["code"]?.string == "lease_lost" && error?["lease"]?["state"]?.string == "cancelled")
        #expect(error?["lease"]?["finished_at_ms"]?.integer == 1_700_000_000_000)
        #expect(try shell.finish() == .code(0))
    }

    /// `work` renews its lease at a third of it, and so learns within that time that there is nothing to do any more.
    @Test func aCommandWhoseJobIsCancelledIsStopped() throws {
        _ = try CommandHarness.holdfast("enqueue", directory.store, "-q", "q", "one")
        let marker = directory.path + "/started"
        let words = [
            try CommandHarness.executable(), "work", directory.store, "-q", "q", "--lease", "1s", "--until-empty", "--",
            "sh", "-c", "echo x >> \(marker); exec sleep 600", "{}",
        ]
        let worker = try ChildProcess.start(words.map { [UInt8]($0.utf8) }, environment: [], hasInput: false)
        while access(marker, F_OK) != 0 { try Poll.wait(for: [], milliseconds: 5) }
        #expect(try CommandHarness.holdfast("cancel", directory.store, "1").exit == .code(0))
        _ = try CommandHarness.finish(worker)
        let job = try CommandHarness.holdfast("job", directory.store, "1", "--json").output
        #expect(job.contains(#""state":"cancelled""#) && job.contains(#""attempt":1"#))
    }

    @Test func theCommandsEditAndMove() throws {
        let store = directory.store
        func run(_ arguments: String...) throws -> ProcessResult {
            try CommandHarness.run(CommandHarness.executable(), arguments)
        }
        #expect(try run("enqueue", store, "-q", "q", "--unique-key", "k-{}", "a", "b").lines == ["1", "2"])
        #expect(try run("edit", store, "2", "-p", "-4", "--payload", "new", "--header", "a=b").exit == .code(0))
        #expect(try run("move", store, "-q", "r", "1", "2").exit == .code(0))
        let job = try run("job", store, "2", "--json").lines.joined()
        #expect(job.contains(#""queue":"r""#) && job.contains(#""payload":"new""#) && job.contains(#""priority":-4"#))
        let dump = try run("dump", store, "--queue", "q", "--kind", "edit").lines
        #expect(dump.count == 3 && dump.count { $0.contains("queue=r") } == 2, "\(dump)")
        #expect(try run("dump", store, "--queue", "r").lines.count == 2)
        #expect(try run("dump", store, "--payloads", "--kind", "edit").lines.first?.contains("payload=new") == true)
        let partly = try run("move", store, "-q", "s", "9", "1")
        #expect(partly.exit == .code(1) && partly.errors.contains("job 9"))
        #expect(try run("jobs", store, "-q", "s", "--json").lines.count == 1)
        #expect(try run("edit", store, "1").exit == .code(64))
        // A key that is held, from the command line, also by way of an owner.
        let shell = try ShellProcess(store)
        let replaced = try run(
            "enqueue", store, "-q", "r", "--unique-key", "k-b", "--on-collision", "replace", "newest")
        #expect(replaced.lines == ["2"])
        try shell.expect(#"{"op":"job","id":2}"#, #"{"job":{"payload":"newest"}}"#)
        let rejected = try run("enqueue", store, "-q", "r", "--unique-key", "k-b", "--on-collision", "reject", "x")
        #expect(rejected.exit == .code(1) && rejected.errors.contains("holds the unique key"))
        #expect(try run("enqueue", store, "-q", "r", "--on-collision", "reject", "x").exit == .code(64))
        #expect(try shell.finish() == .code(0))
    }
}
