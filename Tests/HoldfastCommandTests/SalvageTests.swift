// Salvage, in process: a store with every kind of file, damaged in one way after the other.

import ArgumentParser
import Holdfast
import HoldfastLog
import HoldfastTestKit
import Testing

@testable import HoldfastCommand

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

    /// Of every group of every sealed segment: the header of each frame, and its last byte.
    @Test func aDamagedSealedFrameCostsItsOwnRecordsOnly() async throws {
        let store = try await DamagedStore()
        let unsealed = try store.loseJournals()
        let groups = store.groups.filter { $0.file.hasPrefix("segments/") }
        #expect(groups.count >= 3 && !unsealed.isEmpty)
        for group in groups {
            for offset in group.frames.map({ $0 + 20 }) + [group.bytes.upperBound - 1] {
                try store.flip(group.file, at: offset)
                let result = try await store.salvage(costing: unsealed.union(group.sequences))
                #expect(result.places.contains { $0.file == group.file && group.frames.contains($0.offset ?? -1) })
                try store.flip(group.file, at: offset)
            }
        }
    }

    @Test func aMissingSegmentIsReportedWithItsRecordsAndJobs() async throws {
        let store = try await DamagedStore()
        let unsealed = try store.loseJournals()
        let names = try store.names("segments")
        #expect(names.count >= 2)
        for name in names {
            let bytes = try store.files.contents(of: "\(store.path)/\(name)")
            let result = try await store.salvage(costing: unsealed.union(try store.lose(name)))
            #expect(result.places.contains { $0.file == name && $0.offset == nil })
            #expect(!result.lostJobs.isEmpty)
            let file = try store.files.open("\(store.path)/\(name)", .create)
            defer { file.close() }
            try file.write(bytes.span, at: 0)
        }
    }

    @Test func damageInTheJournalCostsItsOwnRecordsOnly() async throws {
        let store = try await DamagedStore()
        let groups = store.groups.filter { $0.file.hasPrefix("journal/") }
        #expect(groups.count >= 3)
        for group in groups {
            for offset in [group.frames[0] + 20, group.frames[0] + 64 + 6] {
                try store.flip(group.file, at: offset)
                let result = try await store.salvage(costing: group.sequences)
                #expect(result.places.contains { $0.file == group.file && $0.offset == group.frames[0] })
                try store.flip(group.file, at: offset)
            }
        }
    }

    /// What is left of a job that was lost can't follow; whoever is not named by that is among the lost records.
    @Test func withoutACheckpointTheRecordsAboutLostJobsAreDropped() async throws {
        let store = try await DamagedStore()
        for name in try store.names("checkpoints") { try store.flip(name, at: 100) }
        let unsealed = try store.loseJournals()
        var droppedCount = 0
        for group in store.groups where group.file.hasPrefix("segments/") {
            try store.flip(group.file, at: group.frames[0] + 64)
            let result = try await store.salvage(costing: unsealed.union(group.sequences))
            #expect(result.base == nil)
            droppedCount += result.dropped.count
            try store.flip(group.file, at: group.frames[0] + 64)
        }
        #expect(droppedCount > 0)
    }

    /// What was leased did not wait, though the record that let it go is lost.
    @Test func aLostRecordOfAJobCostsNothingOfThoseThatWaitedForIt() async throws {
        var chain: [JobID] = []
        let store = try await DamagedStore { store in
            for _ in 0..<4 {
                var options = EnqueueOptions()
                options.after = Array(chain.suffix(1))
                chain.append(try await store.enqueue("q", payload: [1], options: options).id)
            }
            for _ in 0..<4 {
                for lease in try await store.lease(from: "q") { try await store.ack(lease) }
            }
        }
        let first = try #require(chain.first)
        let groups = store.groups.filter { $0.sequences.contains { store.subjects[$0] == first.rawValue } }
        #expect(groups.count == 3 && groups.allSatisfy { $0.sequences.count == 1 })
        for name in try store.names("checkpoints") { try store.flip(name, at: 100) }
        for (place, group) in groups.enumerated() {
            try store.flip(group.file, at: group.frames[0] + 20)
            let target = "\(store.target)\(place)"
            let result = try StoreSalvage.run(store.path, into: target)
            try store.flip(group.file, at: group.frames[0] + 20)
            #expect(result.base == nil && result.lost.count == 1)
            #expect(result.dropped.allSatisfy { $0.job == first }, "\(result.dropped)")
            #expect(result.dropped.count == 2 - place)
            #expect(try StoreVerification.run(target).problems.isEmpty)
            let salvaged = try await JobStore.open(at: target)
            let left = try await salvaged.jobs(JobFilter(limit: 10)).filter { $0.state != .completed }
            // Only what is lost of it may run again.
            #expect(left.map(\.id) == (place == 0 ? [] : [first]))
            try await salvaged.close()
        }
    }

    /// Compaction drops what an image holds. Without that image finished jobs run again: no salvage may call it whole.
    @Test func whatCompactionDroppedIsLostWithTheCheckpoints() async throws {
        let store = try await DamagedStore(history: .none) { store in
            _ = try await store.enqueue("q", payload: [1])
            _ = try await store.enqueue("q", payload: [2])
            for lease in try await store.lease(from: "q") { try await store.ack(lease) }
            _ = try await store.compact()
            _ = try await store.enqueue("q", payload: [3])
        }
        let images = try store.names("checkpoints")
        for name in images { try store.flip(name, at: 100) }
        let result = try StoreSalvage.run(store.path, into: store.target)
        #expect(result.base == nil && !result.isComplete)
        // The enqueue of the second job is all that compaction kept.
        #expect(result.lost == [1...1, 3...4])
        #expect(result.recordsKept == 2 && result.jobsKept == 2)
        for name in images { try store.flip(name, at: 100) }
        #expect(try StoreSalvage.run(store.path, into: store.target + "whole").isComplete)
    }

    /// The end of the first job is lost, and with it that its unique key was free again.
    @Test func aJobKeepsItsPayloadWhoseUniqueKeySeemsTaken() async throws {
        var ids: [JobID] = []
        let store = try await DamagedStore { store in
            var options = EnqueueOptions()
            options.uniqueKey = "k"
            ids.append(try await store.enqueue("q", payload: [1], options: options).id)
            for lease in try await store.lease(from: "q") { try await store.ack(lease) }
            ids.append(try await store.enqueue("q", payload: [2], options: options).id)
        }
        let ack = try #require(store.groups.first { $0.sequences.contains(3) })
        for name in try store.names("checkpoints") { try store.flip(name, at: 100) }
        try store.flip(ack.file, at: ack.frames[0] + 20)
        let result = try StoreSalvage.run(store.path, into: store.target)
        #expect(result.lost == [3...3] && result.dropped.isEmpty, "\(result.dropped)")
        let salvaged = try await JobStore.open(at: store.target)
        #expect(try await salvaged.job(ids[1])?.payload == [2])
        #expect(try await salvaged.lease(from: "q", limit: 5).contains { $0.id == ids[1] })
        try await salvaged.close()
    }

    @Test func aJobThatWaitsForALostOneIsHeldAndNamed() async throws {
        var ids: [JobID] = []
        let store = try await DamagedStore { store in
            ids.append(try await store.enqueue("q", payload: [1]).id)
            for _ in 0..<2 {
                var options = EnqueueOptions()
                options.after = [ids[0]]
                ids.append(try await store.enqueue("q", payload: [2], options: options).id)
            }
        }
        let first = try #require(store.groups.first { $0.sequences.contains(1) })
        for name in try store.names("checkpoints") { try store.flip(name, at: 100) }
        try store.flip(first.file, at: first.frames[0] + 20)
        let result = try StoreSalvage.run(store.path, into: store.target)
        #expect(result.heldJobs == Array(ids.dropFirst()))
        #expect(result.lines(of: "a", into: "b").contains("  job \(ids[1])"))
        let salvaged = try await JobStore.open(at: store.target)
        #expect(try await salvaged.lease(from: "q").isEmpty)
        try await salvaged.release(ids[1])
        #expect(try await salvaged.lease(from: "q", limit: 5).map(\.id) == [ids[1]])
        try await salvaged.close()
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
        let loss = try store.loseJournals().union(try store.lose(try #require(store.names("segments").first)))
        let report = try JSONDocument(try await store.salvage(costing: loss).json).root
        #expect(report["complete"] != nil && report["lost_jobs"]?.elements != nil)
        #expect(report["damage"]?.elements?.isEmpty == false)
    }
}
