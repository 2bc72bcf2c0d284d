import HoldfastLog
import Testing

@testable import HoldfastCommand

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Commands that print: whole stores, single files, stores that grow, and to nobody.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct CommandReadingTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func dumpFollowsAStoreWhileItIsWrittenAndAfter() throws {
        let shell = try ShellProcess(directory.store)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"1"}"#)
        let words = [try CommandHarness.executable(), "dump", directory.store, "--follow", "--json", "--payloads"]
        let dump = try ChildProcess.start(words.map { [UInt8]($0.utf8) }, environment: [], hasInput: false)
        let never = try Descriptor.pipe()
        defer { for end in [never.read, never.write] { end.close() } }
        var reader = LineReader(dump.output, lineBytesMax: 1 << 20, interruptions: [never.read])
        func payload() throws -> String? {
            guard case .line(let line) = try reader.next() else { return nil }
            return try JSONDocument(line).root["payload"]?.string
        }
        #expect(try payload() == "1")
        for number in 2...5 {
            try shell.ask(#"{"op":"enqueue","queue":"q","payload":"\#(number)"}"#)
            #expect(try payload() == "\(number)", "each record is shown once, in order")
        }
        #expect(try shell.finish() == .code(0))
        // The writer has gone; what the next one writes is shown as well.
        _ = try CommandHarness.holdfast("enqueue", directory.store, "-q", "q", "6")
        #expect(try payload() == "6")
        _ = kill(dump.id, SIGTERM)
        let rest = try CommandHarness.finish(dump)
        #expect(rest.exit == .signal(SIGTERM) && rest.output.isEmpty)
    }

    @Test func dumpReadsOneSegmentFile() throws {
        _ = try CommandHarness.holdfast("enqueue", directory.store, "-q", "q", "a", "b", "c")
        _ = try CommandHarness.holdfast("compact", directory.store)
        let all = try CommandHarness.holdfast("dump", directory.store).lines
        #expect(all.count == 3)
        let sealed = try files(in: "segments")
        #expect(sealed.count == 1)
        for file in sealed {
            let lines = try CommandHarness.holdfast("dump", "\(directory.store)/segments/\(file)")
            #expect(lines.exit == .code(0) && lines.lines == all)
        }
        let frames = try CommandHarness.holdfast("dump", "--frames", "\(directory.store)/segments/\(sealed[0])")
        #expect(frames.output.contains("3 records 1…3"))
        for file in try files(in: "journal") {
            #expect(try CommandHarness.holdfast("dump", "\(directory.store)/journal/\(file)").exit == .code(0))
        }
    }

    @Test func nobodyReadingWhatIsPrintedIsNoError() throws {
        let store = directory.store
        _ = try CommandHarness.holdfast("enqueue", store, "-q", "q", "a", "b", "c")
        let commands: [[String]] = [
            ["stat", store], ["stat", store, "--json"], ["verify", store], ["verify", store, "--json"],
            ["dump", store], ["dump", store, "--frames", "--json"], ["dump", store, "--follow"], ["jobs", store],
            ["jobs", store, "--json"], ["job", store, "1"], ["job", store, "1", "--json"], ["checkpoint", store],
            ["compact", store], ["compact", store, "--json"], ["enqueue", store, "-q", "q", "d"],
            ["redrive", store, "--queue", "q"], ["purge", store, "-q", "q", "--yes"], ["--help"],
        ]
        for arguments in commands {
            let result = try CommandHarness.holdfastUnread(arguments)
            #expect(result.exit == .code(0), "\(arguments): \(result.errors)")
            #expect(result.errors.isEmpty, "\(arguments)")
        }
        let jobs = try CommandHarness.holdfast("jobs", store, "--json")
        #expect(jobs.lines.count == 4, "what commands do is done whether or not anybody reads of it")
    }

    #if os(Linux)
        @Test func outputThatCanNotBeWrittenIsAFailure() throws {
            _ = try CommandHarness.holdfast("enqueue", directory.store, "-q", "q", "a")
            for words in ["dump", "stat", "jobs", "enqueue -q q b"].map({ $0.split(separator: " ").map(String.init) }) {
                let script = #"exec "$0" "$@" >/dev/full"#
                let result = try CommandHarness.run(
                    "/bin/sh",
                    ["-c", script, try CommandHarness.executable(), words[0], directory.store] + words.dropFirst())
                #expect(result.exit == .code(1) && result.errors.contains("could not write the output"), "\(words)")
            }
            #expect(try CommandHarness.holdfast("jobs", directory.store, "--json").lines.count == 2)
        }
    #endif

    private func files(in name: String) throws -> [String] {
        try POSIXFileSystem().list("\(directory.store)/\(name)").sorted()
    }
}
