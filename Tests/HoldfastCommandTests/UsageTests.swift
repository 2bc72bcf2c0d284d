import ArgumentParser
import Holdfast
import HoldfastEngine
import Testing

@testable import HoldfastCommand

/// What is said about command lines that make no sense, and what is taken from those that do.
@Suite struct UsageTests {
    /// What the command ends with, without running it.
    private func refusal(_ arguments: [String]) -> String? {
        do {
            _ = try HoldfastCommand.parseAsRoot(arguments)
            return nil
        } catch {
            return HoldfastCommand.usageSentence(for: error)
        }
    }

    @Test(arguments: [
        ("sta", "did you mean stat?"), ("enqeue", "did you mean enqueue?"), ("Work", "did you mean work?"),
        ("frobnicate", "no command 'frobnicate'; see 'holdfast --help'"),
    ])
    func anUnknownCommandIsAnsweredWithTheNearest(name: String, words: String) throws {
        #expect(try #require(HoldfastCommand.unknownCommand(name)).contains(words))
        let result = try CommandHarness.holdfast(name, "store")
        #expect(result.exit == .code(64) && result.errors.contains(words), "\(result.errors)")
    }

    @Test func knownCommandsAndOptionsAreTaken() {
        for name in ["stat", "explain-job", "help", "--help", "--version", "-h"] {
            #expect(HoldfastCommand.unknownCommand(name) == nil, "\(name)")
        }
        #expect(HoldfastCommand.unknownCommand(nil) == nil)
    }

    private func parsed<Command: ParsableCommand>(_ type: Command.Type, _ arguments: String...) throws -> Command {
        try #require(try HoldfastCommand.parseAsRoot(arguments) as? Command)
    }

    private static let refused: [(arguments: [String], remedy: String)] = [
        (["enqueue", "s", "-q", "q", "--priority", "128", "x"], "give -128 to 127"),
        (["enqueue", "s", "-q", "q", "--priority", "-129", "x"], "give -128 to 127"),
        (["enqueue", "s", "-q", "q", "--priority", "high", "x"], "give -128 to 127"),
        (["enqueue", "s", "-q", "q", "--max-attempts", "0", "x"], "give 1 to 1000000"),
        (["enqueue", "s", "-q", "q", "--delay", "soon", "x"], "250ms, 30s"),
        (["enqueue", "s", "-q", "q", "--delay", "365001d", "x"], "to 365000d"),
        (["enqueue", "s", "-q", "q", "--ttl", "0s", "x"], "give 1ms"),
        (["enqueue", "s", "-q", "q", "--unique-for", "1s", "x"], "--unique-key"),
        (["enqueue", "s", "-q", "q", "--unique-key", "", "x"], "1 to 255 bytes"),
        (["enqueue", "s", "-q", "q", "--group", "", "x"], "1 to 255 bytes"),
        (["enqueue", "s", "-q", "q", "--header", "name", "x"], "name=value"),
        (["enqueue", "s", "-q", "", "x"], "1 to 255 bytes"),
        (["enqueue", "s", "x"], "--queue"),
        (["enqueue", "s", "-q", "q", "-0", "x"], "-0"),
        (["work", "s", "-q", "q"], "after --"),
        (["work", "s", "-q", "q=0", "--", "true"], "weight of 1 to 1000"),
        (["work", "s", "-q", "q=2", "-q", "q", "--", "true"], "named twice"),
        (["work", "s", "-q", "q", "-j", "0", "--", "true"], "give 1 to 1024"),
        (["work", "s", "-q", "q", "--lease", "999ms", "--", "true"], "give 1s to 7d"),
        (["work", "s", "-q", "q", "--lease", "8d", "--", "true"], "give 1s to 7d"),
        (["work", "s", "-q", "q", "--worker", "", "--", "true"], "1 to 255 bytes"),
        (["work", "s", "-q", "q", "--grace", "long", "--", "true"], "250ms, 30s"),
        (["shell", "s", "--clock", "wall"], "give system or manual"),
        (["shell", "s", "--durability", "interval:0"], "interval:MS"),
        (["shell", "s", "--durability", "interval:3600001"], "interval:MS"),
        (["shell", "s", "--segment-bytes", "65535"], "give 65536 to 1073741824"),
        (["shell", "s", "--checkpoint-every", "0"], "give 1 or more"),
        (["shell", "s", "--history", "bytes:-1"], "bytes:N"),
        (["shell"], "<store>"),
        (["job", "s", "0"], "number of a job"),
        (["job", "s", "9223372036854775808"], "number of a job"),
        (["jobs", "s", "--state", "gone"], "give one of scheduled, ready, leased, completed, cancelled or dead"),
        (["jobs", "s", "--limit", "0"], "give 1 or more"),
        (["cancel", "s"], "<id>"),
        (["cancel", "s", "one"], "number of a job"),
        (["redrive", "s"], "--queue"),
        (["redrive", "s", "1", "--queue", "q"], "--queue"),
        (["redrive", "s", "1", "--limit", "2"], "--limit"),
        (["purge", "s"], "--queue"),
        (["purge", "s", "-q", "q", "--state", "leased"], "give one of scheduled, ready or dead"),
        (["dump", "s", "--kind", "bogus"], "give one of enqueue, lease"),
        (["dump", "s", "--since", "yesterday"], "10m"),
        (["dump", "s", "--from-seq", "-1"], "--from-seq"),
        (["dump", "s", "--frames", "--payloads"], "--payloads"),
        (["fly"], "fly"),
        (["stat", "s", "--colour"], "--colour"),
    ]

    @Test(arguments: refused.indices) func whatMakesNoSenseIsRefusedInOneSentenceWithARemedy(_ index: Int) throws {
        let (arguments, remedy) = Self.refused[index]
        let sentence = try #require(refusal(arguments), "\(arguments) is taken")
        #expect(sentence.contains(remedy), "\(sentence)")
        #expect(sentence.contains("--help'"), "\(sentence)")
        #expect(!sentence.contains("\n"), "\(sentence)")
        for word in ["JobStore", "journalSegmentBytes", "Optional", "Int("] { #expect(!sentence.contains(word)) }
    }

    @Test func helpAndVersionAreNoMistakes() {
        for arguments in [["--help"], ["help", "purge"], ["--version"], ["work", "--help"]] {
            #expect(refusal(arguments) == nil)
        }
    }

    @Test func aNegativePriorityNeedsNoEqualsSign() throws {
        #expect(try parsed(EnqueueCommand.self, "enqueue", "s", "-q", "q", "--priority", "-5", "x").priority == -5)
        #expect(try parsed(EnqueueCommand.self, "enqueue", "s", "-q", "q", "-p", "-128").priority == -128)
        #expect(try parsed(EnqueueCommand.self, "enqueue", "s", "-q", "q", "--priority=7").priority == 7)
        #expect(try parsed(EnqueueCommand.self, "enqueue", "s", "-q", "q").priority == 0)
    }

    @Test func everyKindOfRecordMayBeAskedForByTheNameThatIsPrinted() throws {
        let kinds = RecordKind.allCases.map(\.printedName)
        #expect(kinds.contains("queue_settings"))
        for kind in kinds {
            #expect(try parsed(DumpCommand.self, "dump", "s", "--kind", kind).kind == [kind])
        }
        let settings = Record(
            sequence: SequenceNumber(1), time: .zero,
            mutation: .queueSettings(QueueSettings(queue: "q", isPaused: true)))
        #expect(HistoryRecord(settings).kind == RecordKind.queueSettings.printedName)
    }

    @Test func settingsOfAStoreReachItsOptions() throws {
        let options = try parsed(
            ShellCommand.self, "shell", "s", "--durability", "interval:20", "--history", "bytes:7", "--segment-bytes",
            "65536", "--checkpoint-every", "9"
        ).opening.storeOptions
        #expect(try Values.history("age:7d") == .age(.seconds(7 * 86_400)))
        #expect(options.durability == .interval(milliseconds: 20) && options.history == .bytes(7))
        #expect(options.journalSegmentBytes == 65_536 && options.checkpointEveryBytes == 9)
    }
}
