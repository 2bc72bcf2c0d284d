import HoldfastLog
import Testing

@testable import HoldfastCommand
@testable import HoldfastTestKit

/// `holdfast audit-head` and `holdfast verify --expect`.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct AuditCommandTests {
    private let directory: TemporaryDirectory
    private var store: String { directory.store }

    init() throws { directory = try TemporaryDirectory() }

    private func head(_ arguments: String...) throws -> String {
        let made = try CommandHarness.run(CommandHarness.executable(), ["audit-head", store] + arguments)
        #expect(made.exit == .code(0), "\(made.errors)")
        return try #require(made.lines.first)
    }

    private func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        let path = directory.path + "/" + name
        let file = try POSIXFileSystem().open(path, .create)
        defer { file.close() }
        try file.write(bytes.span, at: 0)
        return path
    }

    @Test func aHeadIsPrintedBesideAnOwnerAndProvedLater() throws {
        let shell = try ShellProcess(store)
        for _ in 1...3 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":"x"}"#) }
        // What a close or a checkpoint vouches for is durable for readers, too.
        try shell.ask(#"{"op":"checkpoint"}"#)
        let first = try head()
        #expect(first.hasPrefix("3:") && first.utf8.count == 66)
        try shell.ask(#"{"op":"compact"}"#)
        for _ in 1...2 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":"y"}"#) }
        #expect(try shell.finish() == .code(0))
        let second = try head()
        let verified = try CommandHarness.holdfast("verify", store, "--expect", second, "--expect", first)
        #expect(verified.exit == .code(0), "\(verified.errors)")
        #expect(
            verified.lines.dropFirst(2).map { $0.prefix(10) } == ["PROVED   5", "PROVED   3"], "\(verified.output)")
        #expect(verified.lines.last?.contains("the records 1 to 3 are what was published") == true)
        let json = try CommandHarness.holdfast("verify", store, "--json", "--expect", first)
        #expect(json.output.contains(#""verdict":"proved","proved_from":1,"#), "\(json.output)")
        #expect(try head("--json").contains(#"{"seq":5,"hash":""#))
    }

    @Test func anotherLogIsSoundAndRefused() throws {
        _ = try CommandHarness.holdfast("enqueue", store, "--queue", "q", "a", "b")
        let mine = try head()
        let other = directory.path + "/other"
        _ = try CommandHarness.holdfast("enqueue", other, "--queue", "q", "a", "b")
        let wrong = try CommandHarness.holdfast("verify", other, "--expect", mine)
        #expect(wrong.exit == .code(1) && wrong.lines.contains("sound"), "\(wrong.output)")
        #expect(wrong.lines.last?.hasPrefix("DIFFERS  2:") == true && wrong.errors.contains("not what was published"))
        let beyond = try CommandHarness.holdfast("verify", store, "--expect", "9" + mine.dropFirst())
        #expect(beyond.exit == .code(1) && beyond.lines.last?.contains("the log ends at record 2") == true)
        for value in ["", "2", "2:ab", mine + "0"] {
            #expect(try CommandHarness.holdfast("verify", store, "--expect", value).exit == .code(64), "\(value)")
        }
    }

    /// A byte of a payload is changed, and every checksum and link made to fit.
    @Test func aForgedPayloadIsSoundButNotWhatWasPublished() throws {
        _ = try CommandHarness.holdfast("enqueue", store, "--queue", "q", "pay 10 to alice", "pay 20 to bob")
        let published = try head()
        let files = POSIXFileSystem()
        let path = store + "/journal/00000001.jnl"
        var bytes = try files.contents(of: path)
        let amount = try #require(bytes.firstRange(of: Array("10 to alice".utf8)))
        bytes[amount.lowerBound] = UInt8(ascii: "9")
        var link: UInt32? = 0
        SealMending.mendSegment(&bytes, link: &link)
        try files.unlink(path)
        let forged = try files.open(path, .create)
        try forged.write(bytes.span, at: 0)
        forged.close()
        #expect(try CommandHarness.holdfast("dump", store, "--payloads").output.contains("pay 90 to alice"))
        let alone = try CommandHarness.holdfast("verify", store)
        #expect(alone.exit == .code(0), "\(alone.output)")
        let verified = try CommandHarness.holdfast("verify", store, "--expect", published)
        #expect(verified.exit == .code(1), "\(verified.output)")
        #expect(verified.lines.last?.contains("records 1 to 2, in journal/00000001.jnl, are not") == true)
    }

    @Test func whatWasDroppedIsNotProvedAndSaysSo() throws {
        let shell = try ShellProcess(store, "--history", "none")
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"x"}"#)
        try shell.ask(#"{"op":"lease","queue":"q"}"#)
        try shell.ask(#"{"op":"checkpoint"}"#)
        let early = try head()
        try shell.ask(#"{"op":"ack","id":1,"token":2}"#)
        try shell.ask(#"{"op":"compact"}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"x"}"#)
        #expect(try shell.finish() == .code(0))
        let late = try head()
        let verified = try CommandHarness.holdfast("verify", store, "--expect", early, "--expect", late)
        #expect(verified.exit == .code(5), "\(verified.output)")
        #expect(
            verified.lines.dropFirst(2).map { $0.prefix(10) } == ["UNPROVED 2", "PROVED   4"], "\(verified.output)")
        #expect(verified.lines.last?.contains("what came before was dropped") == true)
        #expect(try CommandHarness.holdfast("verify", store, "--expect", late).exit == .code(0))
    }

    /// A job that is older than what was dropped was covered by nothing, and the answer was that all is proved.
    @Test func whatWasKeptFromBeforeIsNotProvedEither() throws {
        let shell = try ShellProcess(store, "--history", "none")
        try shell.ask(#"{"op":"enqueue","queue":"kept","payload":"x"}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"x"}"#)
        try shell.ask(#"{"op":"lease","queue":"q"}"#)
        try shell.ask(#"{"op":"ack","id":2,"token":3}"#)
        try shell.ask(#"{"op":"compact"}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"x"}"#)
        #expect(try shell.finish() == .code(0))
        let verified = try CommandHarness.holdfast("verify", store, "--expect", try head())
        #expect(verified.exit == .code(5), "\(verified.output)")
        #expect(verified.lines.last?.hasPrefix("PARTLY ") == true, "\(verified.output)")
        #expect(verified.lines.last?.hasSuffix("what is left from before can't be proved: 1 record") == true)
        let json = try CommandHarness.holdfast("verify", store, "--json", "--expect", try head())
        #expect(json.output.contains(#""unproved_records":1"#), "\(json.output)")
    }

    @Test func aKeyIsReadFromAFileAndNowhereShown() throws {
        _ = try CommandHarness.holdfast("enqueue", store, "--queue", "q", "a")
        let key = try file("key", Array("a secret of 24 bytes....".utf8))
        let keyed = try head("--key-file", key)
        #expect(try keyed != head())
        #expect(try head("--key-file", key, "--json").contains(#""authenticated":true"#))
        let verified = try CommandHarness.holdfast("verify", store, "--expect", keyed, "--key-file", key)
        #expect(verified.exit == .code(0) && !verified.output.contains("secret"))
        #expect(try CommandHarness.holdfast("verify", store, "--expect", keyed).exit == .code(1))
        for (name, bytes) in [
            ("short", [UInt8](repeating: 1, count: 15)), ("long", [UInt8](repeating: 1, count: 4097)),
        ] {
            let refused = try CommandHarness.holdfast("audit-head", store, "--key-file", try file(name, bytes))
            #expect(refused.exit == .code(64) && refused.errors.contains("16 to 4096 bytes"))
        }
        let missing = try CommandHarness.holdfast("audit-head", store, "--key-file", directory.path + "/none")
        #expect(missing.exit == .code(1) && missing.errors.contains("could not read the key file"))
        #expect(try CommandHarness.holdfast("audit-head", directory.path + "/none").exit == .code(2))
    }
}
