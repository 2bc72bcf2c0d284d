import Holdfast
import HoldfastLog
import Testing

@testable import HoldfastCommand

/// Limits of the store, waiting, secrets and labels in the line protocol and on the command line.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct CapacityAndLabelCommandTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Sends lines at once and returns the replies.
    private func ask(_ shell: ShellProcess, _ lines: String...) throws -> [JSONValue] {
        try shell.sendAll(lines)
        return try lines.map { _ in try shell.receive() }
    }

    @Test func theStoreIsLimitedAndAnEnqueueWaitsInItsPlace() throws {
        let shell = try ShellProcess(directory.store, "--clock", "manual")
        try shell.expect(
            #"{"op":"configure_store","jobs":1,"payload_bytes":100}"#,
            #"{"ok":true,"jobs":1,"payload_bytes":100,"held_jobs":0,"held_payload_bytes":0}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"x"}"#)
        try shell.refuse(#"{"op":"enqueue","queue":"r","payload":"y"}"#, "queue_full")
        // The request behind it is carried out, and makes the room.
        let replies = try ask(
            shell, #"{"op":"enqueue","queue":"r","payload":"y","wait_ms":60000,"req":1}"#,
            #"{"op":"cancel","id":2,"req":2}"#, #"{"op":"configure_store","jobs":null,"req":3}"#)
        #expect(replies.map { $0["req"]?.integer } == [1, 2, 3])
        #expect(replies[0]["ok"]?.bool == true && replies[2]["jobs"]?.kind == .null)
        try shell.expect(#"{"op":"configure_store","jobs":1}"#, #"{"held_jobs":1,"held_payload_bytes":1}"#)
        let late = try ask(
            shell, #"{"op":"batch","ops":[{"op":"enqueue","queue":"q","payload":"z"}],"wait_ms":50}"#,
            #"{"op":"advance","ms":50}"#)
        #expect(late[0]["error"]?["code"]?.string == "queue_full")
        try shell.refuse(#"{"op":"configure_store","jobs":0}"#, "bad_request")
        try shell.refuse(#"{"op":"enqueue","queue":"q","payload":"z","wait_ms":-1}"#, "bad_request")
        #expect(try shell.finish() == .code(0))
    }

    @Test func repliesAreNotKeptBackByOneThatWaits() throws {
        let shell = try ShellProcess(directory.store)
        try shell.ask(#"{"op":"configure_store","jobs":50}"#)
        let enqueue = #"{"op":"enqueue","queue":"q","payload":"x"}"#
        let waiting = #"{"op":"enqueue","queue":"q","payload":"y","wait_ms":3600000}"#
        try shell.sendAll(Array(repeating: enqueue, count: 50) + [waiting])
        let replies = try (0..<50).map { _ in try shell.receive() }
        #expect(replies.allSatisfy { $0["ok"]?.bool == true })
        // Who has read them can make the room.
        try shell.sendAll([#"{"op":"cancel","id":\#(try #require(replies[7]["id"]?.integer))}"#])
        #expect(try shell.receive()["ok"]?.bool == true)
        #expect(try shell.receive()["ok"]?.bool == true)
        try shell.refuse(
            #"{"op":"batch","ops":[{"op":"enqueue","queue":"q","payload":"z","wait_ms":5}]}"#, "bad_request")
        #expect(try shell.finish() == .code(0))
    }

    @Test func theCommandShowsAndChangesLimits() throws {
        let enqueue = ["enqueue", directory.store, "-q", "q", "--quiet"]
        let holdfast = try CommandHarness.executable()
        #expect(try CommandHarness.run(holdfast, enqueue + ["a", "b"]).exit == .code(0))
        let set = try CommandHarness.holdfast("capacity", directory.store, "--jobs", "2", "--payload-bytes", "1000")
        #expect(set.lines == ["jobs: 2 of 2", "payload bytes: 0 of 1,000"])
        let full = try CommandHarness.run(holdfast, enqueue + ["--wait", "1ms", "c"])
        #expect(full.exit == .code(1) && full.errors.contains("the store holds the 2 jobs"))
        let shown = try CommandHarness.holdfast("capacity", directory.store, "--jobs", "none", "--json")
        #expect(shown.output.contains(#""jobs":null"#) && shown.output.contains(#""held_jobs":2"#))
        #expect(try CommandHarness.holdfast("capacity", directory.store, "--jobs", "0").exit == .code(64))
    }

    @Test func whoHasTheStoreDoesNotWaitForOthers() throws {
        #expect(try CommandHarness.holdfast("enqueue", directory.store, "-q", "q", "--quiet", "a").exit == .code(0))
        #expect(try CommandHarness.holdfast("capacity", directory.store, "--jobs", "2").exit == .code(0))
        let full = try CommandHarness.holdfast("enqueue", directory.store, "-q", "q", "--wait", "1h", "b", "c", "d")
        #expect(full.exit == .code(1) && full.lines == ["3"], "\(full)")
        #expect(full.errors.contains("--wait was in vain"))
    }

    /// Waits until the store has so many waiting enqueues.
    private func until(_ count: Int, waitIn store: JobStore) throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while store.waitingEnqueueCount != count {
            try #require(ContinuousClock.now < deadline, "\(store.waitingEnqueueCount) wait")
            try Poll.wait(for: [], milliseconds: 2)
        }
    }

    @Test func aClientThatHasGoneWaitsForNothing() throws {
        let store = try JobStore.openBlocking(at: directory.store)
        let socket = try StoreSocket(store: store, directory: directory.store)
        try store.blocking.configure(StoreLimits(jobs: 1))
        let first = try store.blocking.enqueue("q", payload: [1]).id
        let line = [UInt8](#"{"op":"enqueue","queue":"q","payload":"x","wait_ms":3600000}"#.utf8) + [0x0A]
        let batch = #"{"op":"batch","ops":[{"op":"enqueue","queue":"q","payload":"y"}],"wait_ms":3600000}"#
        let gone = try #require(try UnixSocket.connect(directory: directory.store, name: StoreSocket.name))
        try gone.writeAll(line + [UInt8](batch.utf8) + [0x0A])
        try until(2, waitIn: store)
        // This one has no more to say, and is there.
        let patient = try #require(try UnixSocket.connect(directory: directory.store, name: StoreSocket.name))
        try patient.writeAll(line)
        UnixSocket.endWriting(patient)
        try until(3, waitIn: store)
        gone.close()
        try until(1, waitIn: store)
        try store.blocking.cancel(first)
        let connection = ShellConnection(patient)
        let reply = try connection.next()
        #expect(reply?["ok"]?.bool == true)
        connection.close()
        let jobs = try store.blocking.jobs(JobFilter(state: .ready))
        #expect(jobs.map { Int64($0.id.rawValue) } == [reply?["id"]?.integer])
        socket.close()
        try store.blocking.close()
    }

    /// So much waits that nothing more is read: nobody would see the end of input.
    @Test func aClientThatHasGoneIsMissedWhileNothingIsReadOfIt() throws {
        let store = try JobStore.openBlocking(at: directory.store)
        let socket = try StoreSocket(store: store, directory: directory.store)
        try store.blocking.configure(StoreLimits(jobs: 1))
        _ = try store.blocking.enqueue("q", payload: [1])
        let payload = String(repeating: "x", count: 1 << 20)
        let line = [UInt8](#"{"op":"enqueue","queue":"q","payload":"\#(payload)","wait_ms":3600000}"#.utf8) + [0x0A]
        let crowd = try #require(try UnixSocket.connect(directory: directory.store, name: StoreSocket.name))
        let writer = try DedicatedThread(name: "crowd") { while (try? crowd.writeAll(line)) != nil {} }
        let deadline = ContinuousClock.now + .seconds(60)
        while store.waitingEnqueueCount < 16 {
            try #require(ContinuousClock.now < deadline)
            try Poll.wait(for: [], milliseconds: 2)
        }
        UnixSocket.shutDown(crowd, writingToo: true)
        try until(0, waitIn: store)
        writer.join()
        crowd.close()
        socket.close()
        try store.blocking.close()
    }

    @Test func jobsAreFoundAndPurgedByLabel() throws {
        let shell = try ShellProcess(directory.store)
        try shell.ask(
            #"{"op":"enqueue","queue":"q","payload":"x","labels":{"tenant":"a","kind":"k"},"owner":"me"}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"y","labels":{"tenant":"b"}}"#)
        try shell.expect(
            #"{"op":"jobs","labels":{"tenant":"a"}}"#,
            #"{"jobs":[{"id":1,"labels":{"kind":"k","tenant":"a"},"owner":"me"}]}"#)
        try shell.expect(#"{"op":"jobs","owner":"you"}"#, #"{"jobs":[]}"#)
        try shell.expect(#"{"op":"history","id":1}"#, #"{"records":[{"labels":"kind=k, tenant=a","owner":"me"}]}"#)
        try shell.expect(#"{"op":"lease","queue":"q"}"#, #"{"leases":[{"id":1,"labels":{"tenant":"a"}}]}"#)
        try shell.refuse(#"{"op":"jobs","labels":{"":"a"}}"#, "bad_request")
        try shell.refuse(#"{"op":"enqueue","queue":"q","payload":"x","labels":["a"]}"#, "bad_request")
        try shell.refuse(#"{"op":"purge","labels":{}}"#, "bad_request")
        let listed = try CommandHarness.holdfast("jobs", directory.store, "--label", "tenant=b", "--json")
        #expect(listed.lines.count == 1 && listed.output.contains(#""id":2"#))
        #expect(
            try CommandHarness.holdfast("purge", directory.store, "--label", "tenant=b", "--dry-run").lines
                == ["would cancel 0 scheduled, 1 ready, 0 dead jobs"])
        #expect(
            try CommandHarness.holdfast("purge", directory.store, "--label", "tenant=b", "--yes").lines
                == ["cancelled 0 scheduled, 1 ready, 0 dead jobs"])
        #expect(try CommandHarness.holdfast("purge", directory.store, "--yes").exit == .code(64))
        #expect(try shell.finish() == .code(0))
        let enqueued = try CommandHarness.holdfast(
            "enqueue", directory.store, "-q", "q", "--quiet", "--label", "tenant=c", "--owner", "me", "z")
        #expect(enqueued.exit == .code(0))
        let mine = try CommandHarness.holdfast(
            "jobs", directory.store, "--owner", "me", "--state", "ready", "--as-of", "1s", "--json")
        #expect(mine.exit == .code(0))
    }

    @Test func secretsAreShownWhenAskedFor() throws {
        let shell = try ShellProcess(directory.store)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"hunter2","secret":true}"#)
        try shell.ask(#"{"op":"edit","id":1,"payload":"hunter3"}"#)
        try shell.expect(#"{"op":"job","id":1}"#, #"{"job":{"payload":null,"secret":true}}"#)
        try shell.expect(#"{"op":"job","id":1,"show_secrets":true}"#, #"{"job":{"payload":"hunter3"}}"#)
        for command in ["job", "dump", "jobs", "explain-job"] {
            var arguments = [command, directory.store]
            if command == "job" || command == "explain-job" { arguments.append("1") }
            if command == "dump" { arguments.append("--payloads") }
            let result = try CommandHarness.run(CommandHarness.executable(), arguments)
            #expect(result.exit == .code(0) && !result.output.contains("hunter"), "\(command)")
        }
        let json = try CommandHarness.holdfast("dump", directory.store, "--payloads", "--json")
        #expect(json.lines.filter { $0.contains(#""payload":null"#) }.count == 2)
        // From the edit on, the enqueue record is looked up.
        let late = try CommandHarness.holdfast("dump", directory.store, "--payloads", "--from-seq", "2")
        #expect(!late.output.contains("hunter"))
        let shown = try CommandHarness.holdfast("dump", directory.store, "--payloads", "--show-secrets")
        #expect(shown.output.contains("hunter2") && shown.output.contains("hunter3"))
        #expect(try CommandHarness.holdfast("dump", directory.store, "--show-secrets").exit == .code(64))
        let key = try CommandHarness.holdfast(
            "enqueue", directory.store, "-q", "q", "--secret", "--unique-key", "k-{}", "hunter2")
        #expect(key.exit == .code(64) && key.errors.contains("--secret"))
        let job = try CommandHarness.holdfast("job", directory.store, "1", "--show-secrets")
        #expect(job.output.contains("hunter3"))
        try shell.expect(#"{"op":"lease","queue":"q"}"#, #"{"leases":[{"payload":"hunter3","secret":true}]}"#)
        #expect(try shell.finish() == .code(0))
    }
}
