// Salvage, in process: a store with every kind of file, damaged in one way after the other.

import ArgumentParser
import Holdfast
import HoldfastLog
import HoldfastTestKit
import Testing

@testable import HoldfastCommand

/// A store in a temporary directory whose files can be damaged.
private final class DamagedStore {
    let directory: TemporaryDirectory
    let files = POSIXFileSystem()
    /// Payload and state of each job that has not ended.
    private(set) var jobs: [JobID: (payload: [UInt8], state: JobInfo.State)] = [:]
    private(set) var lease: Lease?

    var path: String { directory.store }
    var target: String { directory.path + "/new" }

    init() async throws {
        directory = try TemporaryDirectory()
        var options = JobStoreOptions()
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        let store = try await JobStore.open(at: path, options: options)
        for number in 1...120 { _ = try await store.enqueue("q", payload: Self.payload(number)) }
        for lease in try await store.lease(from: "q", limit: 20) { try await store.ack(lease) }
        _ = try await store.effect(scope: "s", key: "k", value: [7])
        for number in 121...160 { _ = try await store.enqueue("q", payload: Self.payload(number)) }
        lease = try await store.lease(from: "q", for: .seconds(86_400)).first
        for job in try await store.jobs(JobFilter(limit: 1000)) where job.state != .completed {
            guard let info = try await store.job(job.id), let payload = info.payload else { continue }
            jobs[job.id] = (payload, info.state)
        }
        try await store.close()
    }

    private static func payload(_ number: Int) -> [UInt8] {
        var random = SeededRandom(seed: UInt64(number))
        return (0..<2000).map { _ in UInt8.random(in: 0...255, using: &random) }
    }

    func names(_ directory: String) throws -> [String] {
        try files.list("\(path)/\(directory)").map { "\(directory)/\($0)" }
    }

    func flip(_ name: String, at offset: Int, bit: Int = 3) throws {
        let file = try files.open("\(path)/\(name)", .readWrite)
        defer { file.close() }
        var byte: [UInt8] = [0]
        _ = try file.read(into: &byte, at: offset)
        byte[0] ^= 1 << UInt8(bit)
        try file.write(byte.span, at: offset)
    }

    func remove(_ name: String) throws { try files.unlink("\(path)/\(name)") }

    /// Every file with its bytes.
    func snapshot() throws -> [String: [UInt8]] {
        var result: [String: [UInt8]] = [:]
        for directory in ["journal", "segments", "checkpoints", "lost"] {
            for name in try names(directory) { result[name] = try files.contents(of: "\(path)/\(name)") }
        }
        for name in ["MANIFEST", "LOCK"] where try files.status(of: "\(path)/\(name)") != nil {
            result[name] = try files.contents(of: "\(path)/\(name)")
        }
        return result
    }

    /// Salvages and checks what every salvage must keep to: the damaged store is untouched, the new one is sound, and
    /// each of its jobs is as it was; those missing are reported.
    func salvage(sourceLocation: SourceLocation = #_sourceLocation) async throws -> StoreSalvage {
        let before = try snapshot()
        let result = try StoreSalvage.run(path, into: target)
        #expect(try snapshot() == before, "the damaged store was changed", sourceLocation: sourceLocation)
        let verification = try StoreVerification.run(target)
        #expect(verification.problems.isEmpty, "\(verification.problems)", sourceLocation: sourceLocation)
        #expect(verification.log.records == UInt64(result.recordsKept), sourceLocation: sourceLocation)
        let store = try await JobStore.open(at: target)
        var found = 0
        for (id, job) in jobs {
            let info = try await store.job(id)
            if let info {
                found += 1
                #expect(info.payload == job.payload, sourceLocation: sourceLocation)
                if result.isComplete { #expect(info.state == job.state, sourceLocation: sourceLocation) }
            } else {
                #expect(!result.isComplete, "job \(id) is gone", sourceLocation: sourceLocation)
                let isReported = result.lost.contains { $0.contains(id.rawValue) }
                #expect(isReported, "the loss of job \(id) is not reported", sourceLocation: sourceLocation)
            }
        }
        #expect(found > 0, sourceLocation: sourceLocation)
        if result.isComplete, let lease {
            #expect(try await store.heartbeat(lease) > .zero, sourceLocation: sourceLocation)
        }
        // Nothing that was given out before is given out again.
        let next = try await store.enqueue("q", payload: [])
        #expect(next.id > jobs.keys.max() ?? next.id, sourceLocation: sourceLocation)
        try await store.close()
        return result
    }
}

@Suite(.serialized, .timeLimit(.minutes(10)))
struct SalvageTests {
    @Test func aSoundStoreIsKeptWhole() async throws {
        let store = try await DamagedStore()
        let result = try await store.salvage()
        #expect(result.isComplete && result.places.isEmpty, "\(result.lines(of: "a", into: "b"))")
        #expect(result.jobsKept == store.jobs.count && result.leasesKept == 1)
    }

    @Test func aMissingManifestLosesNothing() async throws {
        let store = try await DamagedStore()
        try store.remove("MANIFEST")
        let result = try await store.salvage()
        #expect(result.isComplete, "\(result.lines(of: "a", into: "b"))")
        #expect(result.places.map(\.file) == ["MANIFEST"])
    }

    @Test func aDamagedManifestLosesNothing() async throws {
        let store = try await DamagedStore()
        try store.flip("MANIFEST", at: 60)
        #expect(try await store.salvage().isComplete)
    }

    @Test func damagedCheckpointsLoseNothingWhileTheLogIsWhole() async throws {
        let store = try await DamagedStore()
        let images = try store.names("checkpoints")
        for name in images { try store.flip(name, at: 100) }
        let result = try await store.salvage()
        #expect(result.isComplete && result.base == nil, "\(result.lines(of: "a", into: "b"))")
        #expect(images.count >= 2 && result.places.count == images.count)
    }

    @Test func damagedSegmentHeadersLoseNothing() async throws {
        let store = try await DamagedStore()
        // The salt among them: the first frame tells it.
        for name in try store.names("segments") + store.names("journal") { try store.flip(name, at: 57) }
        let result = try await store.salvage()
        #expect(result.isComplete, "\(result.lines(of: "a", into: "b"))")
        #expect(!result.places.isEmpty)
    }

    @Test func aDamagedSealedFrameCostsItsOwnRecordsOnly() async throws {
        let store = try await DamagedStore()
        let name = try #require(store.names("segments").last)
        // Files of the ring still hold what was sealed last.
        for journal in try store.names("journal") { try store.remove(journal) }
        try store.flip(name, at: 4096 + 64 + 100)
        let result = try await store.salvage()
        #expect(!result.isComplete)
        #expect(result.places.contains { $0.file == name && $0.offset == 4096 })
    }

    @Test func aMissingSegmentIsReportedWithItsRecordsAndJobs() async throws {
        let store = try await DamagedStore()
        let names = try store.names("segments")
        let name = names[names.count - 1]
        try store.remove(name)
        for journal in try store.names("journal") { try store.remove(journal) }
        let result = try await store.salvage()
        #expect(result.places.contains { $0.file == name && $0.offset == nil })
        #expect(!result.isComplete && !result.lostJobs.isEmpty)
        #expect(result.lostJobs.allSatisfy { $0.queue == "q" })
    }

    @Test func damageInTheJournalIsPassedOver() async throws {
        let store = try await DamagedStore()
        var reader = try LogReader.open(directory: store.path, fileSystem: store.files)
        // The journal's last segment may hold no more than the mark of the close: it is records that must be hit.
        var found: (name: String, offset: Int)?
        try reader.forEachFrame(from: .zero) { (source, frame) in
            let isHit = source.header.role == .journal && frame.header.recordCount > 0
            if isHit { found = (source.name, frame.offset) }
            return !isHit
        }
        let place = try #require(found)
        try store.flip(place.name, at: place.offset + FrameFormat.headerBytes + 6)
        let result = try await store.salvage()
        #expect(!result.isComplete)
        #expect(result.places.contains { $0.file == place.name && $0.offset == place.offset })
    }

    @Test func aTornTailIsNoLoss() async throws {
        let store = try await DamagedStore()
        let reader = try LogReader.open(directory: store.path, fileSystem: store.files)
        let source = try #require(reader.journalSources.last)
        let file = try store.files.open(source.path, .readWrite)
        try file.write([UInt8](repeating: 0x5A, count: 300).span, at: source.end)
        file.close()
        let result = try await store.salvage()
        #expect(result.isComplete, "\(result.lines(of: "a", into: "b"))")
    }

    @Test func aStoreInUseIsRefused() async throws {
        let store = try await DamagedStore()
        let owner = try await JobStore.open(at: store.path)
        #expect(throws: LogError.self) { try StoreSalvage.run(store.path, into: store.target) }
        #expect(try store.files.status(of: store.target) == nil)
        try await owner.close()
    }

    @Test func aPlaceThatIsTakenIsRefused() async throws {
        let store = try await DamagedStore()
        #expect(throws: CommandFailure.self) { try SalvageCommand.parse([store.path, store.path]).run() }
        #expect(throws: CommandFailure.self) { try SalvageCommand.parse([store.path, store.path + "/in"]).run() }
        #expect(throws: CommandFailure.self) { try SalvageCommand.parse([store.path, store.directory.path]).run() }
        #expect(throws: CommandFailure.self) { try SalvageCommand.parse([store.target, store.path]).run() }
    }

    @Test func theReportIsOneObject() async throws {
        let store = try await DamagedStore()
        try store.remove(try #require(store.names("segments").first))
        let report = try JSONDocument(try await store.salvage().json).root
        #expect(report["complete"] != nil && report["lost_jobs"]?.elements != nil)
        #expect(report["damage"]?.elements?.isEmpty == false)
    }
}
