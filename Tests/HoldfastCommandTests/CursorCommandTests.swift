// Cursors from the command line: `tail --cursor` beside an owner and without one, over its own death, and what shows
// and moves cursors.

import Testing

@testable import HoldfastCommand

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

@Suite(.serialized, .timeLimit(.minutes(10)))
struct CursorCommandTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Runs `tail --cursor c` until it has printed record `last`, and then until that is noted.
    private func tail(until last: Int64, _ options: String...) throws -> [Int64] {
        let never = try Descriptor.pipe()
        defer { for end in [never.read, never.write] { end.close() } }
        let words =
            [try CommandHarness.executable(), "tail", directory.store, "--cursor", "c", "--json"] + options
        let process = try ChildProcess.start(words.map { [UInt8]($0.utf8) }, environment: [], hasInput: false)
        var reader = LineReader(process.output, lineBytesMax: 1 << 20, interruptions: [never.read])
        var sequences: [Int64] = []
        while sequences.last.map({ $0 < last }) ?? true, case .line(let line) = try reader.next() {
            let record = try JSONDocument(line).root
            #expect(record["kind"]?.string?.hasPrefix("cursor") == false)
            sequences.append(try #require(record["seq"]?.integer))
        }
        while try cursor()["next"]?.integer ?? 0 <= last {}
        _ = kill(process.id, SIGKILL)
        _ = try CommandHarness.finish(process)
        return sequences
    }

    private func cursor() throws -> JSONValue {
        let shown = try CommandHarness.holdfast("cursors", directory.store, "--json")
        try #require(shown.exit == .code(0), "\(shown.errors)")
        return try #require(try JSONDocument([UInt8](shown.output.utf8)).root["cursors"]?.elements?.first)
    }

    private func enqueue(_ count: Int, on shell: ShellProcess) throws -> Int64 {
        var id: Int64 = 0
        for _ in 0..<count {
            id = try #require(try shell.ask(#"{"op":"enqueue","queue":"q","payload":""}"#)["id"]?.integer)
        }
        return id
    }

    @Test func tailGoesOnBehindWhatItPrintedBesideAnOwnerAndWithoutOne() throws {
        let shell = try ShellProcess(directory.store, arguments: ["--history", "none"])
        var jobs: [Int64] = []
        var shown: [Int64] = []
        for _ in 0..<3 {
            let last = try enqueue(7, on: shell)
            jobs += (last - 6)...last
            shown += try tail(until: last, "--from", "oldest")
        }
        #expect(shown == jobs)
        let last = try enqueue(5, on: shell)
        #expect(try shell.finish() == .code(0))
        #expect(try cursor()["lag_records"]?.integer == 5)
        #expect(try tail(until: last) == Array((last - 4)...last))
        let stat = try CommandHarness.holdfast("stat", directory.store)
        #expect(stat.lines.contains { $0.hasPrefix("c ") }, "\(stat.output)")
    }

    @Test func whatNobodyReadIsNotNoted() throws {
        let shell = try ShellProcess(directory.store)
        for _ in 0..<3 { _ = try enqueue(1, on: shell) }
        let words = [try CommandHarness.executable(), "tail", directory.store, "--cursor", "c", "--from", "oldest"]
        let process = try ChildProcess.start(words.map { [UInt8]($0.utf8) }, environment: [], hasInput: false)
        process.output.close()
        #expect(try CommandHarness.wait(process.id) == .code(0))
        #expect(try cursor()["next"]?.integer == 1)
        #expect(try shell.finish() == .code(0))
    }

    @Test func cursorsAreShownMovedAndRemoved() throws {
        let shell = try ShellProcess(directory.store)
        let last = try enqueue(9, on: shell)
        let opened = try shell.ask(
            #"{"op":"cursor_open","cursor":"c","from":3,"bytes_cap":1000,"age_cap_ms":86400000}"#)
        #expect(opened["next"]?.integer == 3 && opened["created"]?.bool == true)
        #expect(try shell.ask(#"{"op":"cursor_open","cursor":"c"}"#)["created"]?.bool == false)
        #expect(try shell.ask(#"{"op":"cursor_advance","cursor":"c","to":5}"#)["next"]?.integer == 5)
        let row = try #require(try shell.ask(#"{"op":"cursors"}"#)["cursors"]?.elements?.first)
        #expect(
            row["bytes_cap"]?.integer == 1000 && row["age_cap_ms"]?.integer == 86_400_000 && row["holds"]?.bool == true)
        #expect(row["next"]?.integer == 5)
        for (request, code) in [
            (#"{"op":"cursor_advance","cursor":"c","to":4}"#, "invalid_state"),
            (#"{"op":"cursor_advance","cursor":"d","to":4}"#, "not_found"),
            (#"{"op":"cursor_open","cursor":"","from":1}"#, "bad_request"),
            (#"{"op":"cursor_open","cursor":"d","from":"then"}"#, "bad_request"),
            (#"{"op":"cursor_open","cursor":"d","age_cap_ms":-1}"#, "bad_request"),
            (#"{"op":"cursor_reset","cursor":"c"}"#, "bad_request"),
        ] {
            try shell.send(request)
            #expect(try shell.receive()["error"]?["code"]?.string == code, "\(request)")
        }
        let reset = try CommandHarness.holdfast("cursor", "reset", directory.store, "c", "--to", "2")
        #expect(reset.exit == .code(0) && reset.lines == ["2"], "\(reset.errors)")
        #expect(try cursor()["next"]?.integer == 2)
        #expect(try shell.finish() == .code(0))
        let now = try CommandHarness.holdfast("cursor", "reset", directory.store, "c", "--to", "now")
        #expect(now.exit == .code(0))
        #expect(try cursor()["lag_records"]?.integer == 0)
        let past = try CommandHarness.holdfast("stat", directory.store, "--json", "--as-of", "\(last + 2)")
        let root = try JSONDocument([UInt8](past.output.utf8)).root
        #expect(root["cursors"]?.elements?.first?["next"]?.integer == 5, "\(past.output)")
        #expect(try CommandHarness.holdfast("cursor", "remove", directory.store, "c").exit == .code(0))
        #expect(try CommandHarness.holdfast("cursor", "remove", directory.store, "c").exit == .code(1))
        #expect(try CommandHarness.holdfast("cursors", directory.store).output.isEmpty)
        let caps = try CommandHarness.holdfast("tail", directory.store, "--bytes-cap", "9")
        #expect(caps.exit == .code(64))
    }

    @Test func aConsumerThatStayedAwayIsToldHowToGoOn() throws {
        let shell = try ShellProcess(directory.store, arguments: ["--history", "none"])
        try shell.ask(#"{"op":"cursor_open","cursor":"c","bytes_cap":10}"#)
        for _ in 0..<20 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":"x"}"#) }
        for lease in try shell.ask(#"{"op":"lease","queue":"q","limit":20}"#)["leases"]?.elements ?? [] {
            let (id, token) = (lease["id"]?.integer ?? 0, lease["token"]?.integer ?? 0)
            try shell.ask(#"{"op":"ack","id":\#(id),"token":\#(token)}"#)
        }
        try shell.ask(#"{"op":"compact"}"#)
        let tail = try CommandHarness.holdfast("tail", directory.store, "--cursor", "c")
        #expect(tail.exit == .code(1) && tail.errors.contains("reset"), "\(tail.errors)")
        #expect(try CommandHarness.holdfast("cursor", "reset", directory.store, "c", "--to", "oldest").exit == .code(0))
        #expect(try shell.finish() == .code(0))
    }
}
