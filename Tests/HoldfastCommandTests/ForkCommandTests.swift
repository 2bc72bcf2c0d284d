import Testing

@testable import HoldfastCommand

/// `holdfast fork`, `backup`, `restore` and `explain-job`.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct ForkCommandTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func aBackupBesideAnOwnerIsRestoredAtAnyPoint() throws {
        let shell = try ShellProcess(directory.store)
        for _ in 1...3 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":"x"}"#) }
        try shell.ask(#"{"op":"checkpoint"}"#)
        let backup = directory.path + "/backup"
        let made = try CommandHarness.holdfast("backup", directory.store, backup, "--json")
        #expect(made.exit == .code(0), "\(made.errors)")
        #expect(made.lines.first?.hasPrefix(#"{"seq":3,"#) == true)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"later"}"#)
        let again = try CommandHarness.holdfast("backup", directory.store, backup)
        #expect(again.exit == .code(2) && again.errors.contains("is not empty"))
        let restored = directory.path + "/restored"
        let result = try CommandHarness.holdfast("restore", backup, restored, "--at", "2")
        #expect(result.exit == .code(0) && result.lines.first?.contains("2 records up to 2") == true, "\(result)")
        let verified = try CommandHarness.holdfast("verify", restored)
        #expect(verified.exit == .code(0), "\(verified.errors)")
        let other = try ShellProcess(restored)
        try other.expect(#"{"op":"stats"}"#, #"{"queues":{"q":{"ready":2}}}"#)
        #expect(try other.finish() == .code(0))
        #expect(try shell.finish() == .code(0))
    }

    @Test func pointsAreNumbersAndTimes() throws {
        let store = directory.store
        _ = try CommandHarness.holdfast("enqueue", store, "--queue", "q", "a", "b")
        let none = try CommandHarness.holdfast("fork", store, directory.path + "/f1", "--at", "7")
        #expect(none.exit == .code(1) && none.errors.contains("its newest is 2"))
        let past = try CommandHarness.holdfast("fork", store, directory.path + "/f2", "--at", "2001-01-01")
        #expect(past.exit == .code(0) && past.lines.first?.contains("no records up to 0") == true)
        let wrong = try CommandHarness.holdfast("fork", store, directory.path + "/f3", "--at", "soon")
        #expect(wrong.exit == .code(64))
        let inside = try CommandHarness.holdfast("fork", store, store + "/f4")
        #expect(inside.exit == .code(2) && inside.errors.contains("is inside"))
        let missing = try CommandHarness.holdfast("restore", directory.path + "/none", directory.path + "/f5")
        #expect(missing.exit == .code(2))
    }

    @Test func explainJobGivesEachReason() throws {
        let shell = try ShellProcess(directory.store)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"leased","priority":9}"#)
        try shell.ask(#"{"op":"lease","queue":"q","worker":"w1","lease_ms":604800000}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"high","priority":5}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"low"}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"late","delay_ms":86400000}"#)
        try shell.ask(#"{"op":"enqueue","queue":"p","payload":"paused"}"#)
        try shell.ask(#"{"op":"pause","queue":"p"}"#)
        try shell.ask(#"{"op":"enqueue","queue":"d","payload":"dead","max_attempts":1}"#)
        let token = try shell.ask(#"{"op":"lease","queue":"d"}"#)["leases"]?.elements?[0]["token"]?.integer ?? 0
        try shell.ask(#"{"op":"bury","id":8,"token":\#(token),"error":"e"}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"cancelled"}"#)
        try shell.ask(#"{"op":"cancel","id":11}"#)
        try shell.ask(#"{"op":"checkpoint"}"#)
        let expected = [
            (1, "is running: leased by w1", "leased"), (3, "is the next of queue q", "next"),
            (4, "waits behind 1 job of priority 5 of queue q", "behind"), (5, "is delayed for", "delayed"),
            (6, "waits because queue p is paused", "paused"), (8, "is dead: it was buried", "dead"),
            (11, "was cancelled", "cancelled"),
        ]
        for (id, sentence, reason) in expected {
            let text = try CommandHarness.holdfast("explain-job", directory.store, "\(id)")
            #expect(text.exit == .code(0) && text.lines.first?.hasPrefix("job \(id) \(sentence)") == true, "\(text)")
            let json = try CommandHarness.holdfast("explain-job", directory.store, "\(id)", "--json")
            #expect(json.lines.first?.contains(#""reason":"\#(reason)""#) == true, "\(json)")
        }
        let unknown = try CommandHarness.holdfast("explain-job", directory.store, "999")
        #expect(unknown.exit == .code(1))
        #expect(try shell.finish() == .code(0))
    }
}
