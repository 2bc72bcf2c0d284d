// What the commands say of a store that is damaged: as much as can be read, and what is wrong.

import Holdfast
import HoldfastBytes
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

@Suite(.serialized, .timeLimit(.minutes(10)))
struct DamagedStoreCommandTests {
    /// A store whose owner was killed: jobs 1 to 6, each in a frame of its own.
    private func killed() throws -> (directory: TemporaryDirectory, frames: [(file: String, offset: Int, end: Int)]) {
        let directory = try TemporaryDirectory()
        let shell = try ShellProcess(directory.store)
        for number in 1...6 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":"\#(number)"}"#) }
        _ = try shell.killAndTakeReplies()
        var reader = try LogReader.open(directory: directory.store, fileSystem: POSIXFileSystem())
        var frames: [(file: String, offset: Int, end: Int)] = []
        try reader.forEachFrame(from: .zero) { (source, frame) throws(LogError) in
            if frame.header.recordCount > 0 { frames.append((source.name, frame.offset, frame.end)) }
            return true
        }
        try #require(frames.count == 6)
        return (directory, frames)
    }

    private func damage(_ path: String, at offset: Int) throws {
        let file = try POSIXFileSystem().open(path, .readWrite)
        defer { file.close() }
        try file.write([0xFF, 0xFF].span, at: offset)
    }

    @Test func aDamagedJournalIsShownUpToTheDamage() throws {
        let (directory, frames) = try killed()
        let store = directory.store
        try damage("\(store)/\(frames[3].file)", at: frames[3].offset + 20)
        let refused = try CommandHarness.holdfast("enqueue", store, "-q", "q", "x")
        #expect(refused.exit == .code(2) && refused.errors.contains("holdfast salvage"), "\(refused.errors)")
        let stat = try CommandHarness.holdfast("stat", store)
        #expect(stat.exit == .code(4) && stat.errors.contains(frames[3].file), "\(stat.errors)")
        #expect(stat.lines.first?.contains("last record 3,") == true, "\(stat.lines)")
        let explained = try CommandHarness.holdfast("explain-job", store, "3")
        #expect(explained.exit == .code(4) && explained.lines.first?.hasPrefix("job 3 waits behind 2 older") == true)
        #expect(try CommandHarness.holdfast("explain-job", store, "5").exit == .code(4))
        let past = try CommandHarness.holdfast("stat", store, "--as-of", "2")
        #expect(past.exit == .code(0) && past.errors.isEmpty, "\(past.errors)")
        let job = try CommandHarness.holdfast("explain-job", store, "1", "--as-of", "1")
        #expect(job.exit == .code(0) && job.lines.first?.contains("is the next of queue q") == true, "\(job.lines)")
        // What lies behind the damage is not taken for what has not come yet.
        for moment in ["4", "0s"] {
            let hidden = try CommandHarness.holdfast("stat", store, "--as-of", moment)
            #expect(hidden.exit == .code(4) && hidden.output.isEmpty, "\(moment)")
        }
    }

    /// The newest checkpoint lies behind the damage.
    @Test func damageThatNoStateNeedsKeepsNobodyFromLooking() async throws {
        let store = try await DamagedStore()
        let group = try #require(store.groups.last { $0.file.hasPrefix("journal/") })
        try store.flip(group.file, at: group.frames[0] + 20)
        let stat = try CommandHarness.holdfast("stat", store.path, "--json")
        #expect(stat.exit == .code(4) && stat.lines.first?.contains("\"ready\":") == true, "\(stat)")
        let ready = store.jobs.values.count { $0.queue == "r" && $0.state == .ready }
        #expect(stat.lines.first?.contains(#""r":{"ready":\#(ready),"#) == true, "\(stat.lines)")
    }

    @Test func aWorkerSaysThatJobsCouldNotBeRead() async throws {
        let damaged = try await DamagedStore()
        let group = try #require(
            damaged.groups.first { group in
                group.file.hasPrefix("segments/")
                    && damaged.jobs.contains {
                        group.sequences.contains($0.key.rawValue) && $0.value.queue == "r" && $0.value.state == .ready
                    }
            })
        let dead = damaged.jobs.filter { group.sequences.contains($0.key.rawValue) && $0.value.queue == "r" }
        try damaged.flip(group.file, at: group.bytes.upperBound - 1)
        let worked = try CommandHarness.holdfast("work", damaged.path, "-q", "r", "--until-empty", "--", "true")
        #expect(worked.exit == .code(1), "\(worked.errors)")
        #expect(worked.errors.contains("could not be read and died; to see what is damaged: holdfast verify"))
        let jobs = try CommandHarness.holdfast("jobs", damaged.path, "-q", "r", "--state", "dead", "--json")
        #expect(jobs.lines.count == dead.count && !dead.isEmpty)
    }

    @Test func aStoreWithoutItsManifestIsRecognised() async throws {
        let store = try await DamagedStore()
        try store.remove("MANIFEST")
        for command in ["verify", "stat", "dump", "jobs", "tail", "checkpoint", "enqueue"] {
            let words = command == "enqueue" ? ["-q", "q", "x"] : []
            let refused = try CommandHarness.run(CommandHarness.executable(), [command, store.path] + words)
            #expect(refused.exit == .code(2), "\(command)")
            #expect(refused.errors.contains("holdfast salvage \(store.path) NEW"), "\(command): \(refused.errors)")
        }
    }

    @Test func aShortCommandSaysWhatItCutOff() throws {
        let (directory, frames) = try killed()
        // Half of the last group, and no mark behind it that vouches for it.
        let zeros = [UInt8](repeating: 0, count: 16_384)
        let file = try POSIXFileSystem().open("\(directory.store)/\(frames[5].file)", .readWrite)
        try file.write(zeros.span, at: frames[5].offset + 40)
        file.close()
        let result = try CommandHarness.holdfast("checkpoint", directory.store)
        #expect(result.exit == .code(0) && result.errors.contains("lost/"), "\(result.errors)")
        #expect(try CommandHarness.holdfast("checkpoint", directory.store).errors.isEmpty)
    }
}
