import Holdfast
import Testing

@testable import HoldfastCommand

/// What `holdfast work` does with jobs that it can't run.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct WorkPoolTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Has one key, and keeps nothing secret.
    private struct Codec: PayloadCodec {
        func encode(_ payload: [UInt8]) -> EncodedPayload { EncodedPayload(keyID: "key-1", bytes: payload) }
        func decode(_ payload: EncodedPayload) -> [UInt8] { payload.bytes }
    }

    @Test func aJobThatCanNotBeDecodedIsReportedAndTheOthersRun() throws {
        var options = JobStoreOptions()
        options.payloadCodec = Codec()
        let store = try JobStore.openBlocking(at: directory.store, options: options)
        let encoded = try store.blocking.enqueue("q", payload: [1]).id
        try store.blocking.close()
        #expect(try CommandHarness.holdfast("enqueue", directory.store, "-q", "q", "--quiet", "x").exit == .code(0))
        let work = try CommandHarness.holdfast(
            "work", directory.store, "-q", "q", "-j", "1", "--verbose", "--", "/bin/sh", "-c", "kill -TERM $PPID")
        #expect(work.exit == .code(0) && work.errors.contains("1 done"), "\(work)")
        #expect(work.errors.contains("`key-1`"))
        let left = try CommandHarness.holdfast("jobs", directory.store, "--json").output
        #expect(left.contains(#""id":\#(encoded)"#) && left.contains("scheduled"), "\(left)")
        // It is all that is left, once this has met it too.
        #expect(try CommandHarness.holdfast("edit", directory.store, "\(encoded)", "--delay", "0s").exit == .code(0))
        let rest = try CommandHarness.holdfast("work", directory.store, "-q", "q", "--until-empty", "--", "true")
        #expect(rest.exit == .code(1) && rest.errors.contains("1 job left whose payload was encoded"), "\(rest)")
    }

    @Test func jobsThatOnlyARedriveOrAReleaseMovesDoNotKeepItFromItsEnd() throws {
        let jobs = [["--max-attempts", "1", "a"], ["--after", "1", "b"], ["--after", "2", "c"], ["--hold", "d"]]
        for arguments in jobs {
            let words = ["enqueue", directory.store, "-q", "q", "--quiet"] + arguments
            #expect(try CommandHarness.run(CommandHarness.executable(), words).exit == .code(0))
        }
        #expect(
            try CommandHarness.holdfast("enqueue", directory.store, "-q", "q", "--quiet", "--delay", "1s", "e").exit
                == .code(0))
        let work = try CommandHarness.holdfast(
            "work", directory.store, "-q", "q", "--until-empty", "--", "/bin/sh", "-c", "[ $HOLDFAST_JOB != 1 ]")
        #expect(work.exit == .code(1) && work.errors.contains("1 done"), "\(work)")
        #expect(work.errors.contains("3 jobs left waiting for a dead or held one"))
    }
}
