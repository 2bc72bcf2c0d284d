// Power lost at any operation of a fork: the new store is there whole or not at all, and the old one as it was.

import Holdfast
import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct ForkCrashTests {
    private func options(_ disk: SimulatedFileSystem) -> JobStoreOptions {
        var options = JobStoreOptions()
        options.fileSystem = disk
        options.clock = ManualClock()
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        options.compaction = .onDemand
        return options
    }

    /// A closed store with sealed segments, one of which lies on both sides of `point`.
    private func makeStore() throws -> (disk: SimulatedFileSystem, point: SequenceNumber, digest: String) {
        let disk = SimulatedFileSystem()
        let store = try JobStore.openBlocking(at: "/store", options: options(disk)).blocking
        var point = SequenceNumber.zero
        var digest = ""
        for number in 0..<60 {
            _ = try store.enqueue("q", payload: [UInt8](repeating: UInt8(number), count: 5000))
            if number == 45 { (point, digest) = (try store.digest().sequence, try store.digest().hex) }
        }
        try store.close()
        // A disk on which nothing is pending any more.
        return (disk.crashImage(.everythingPending), point, digest)
    }

    private func isThere(_ disk: SimulatedFileSystem) -> Bool { disk.snapshotFiles()["/fork/MANIFEST"] != nil }

    @Test(arguments: [false, true]) func aForkIsWholeOrNotThereWhereverThePowerGoes(refusesLinks: Bool) async throws {
        try await onThread {
            let (disk, point, digest) = try makeStore()
            disk.faultPlan.refusesLinks = refusesLinks
            func files(_ disk: SimulatedFileSystem) -> [String: [UInt8]] {
                disk.snapshotFiles().filter { $0.key.hasPrefix("/store/") }
            }
            let before = files(disk)
            disk.recordCrashPoints { 0 }
            let summary = try StoreFork.run("/store", to: "/fork", at: .sequence(point), fileSystem: disk)
            #expect((summary.linkedSegments > 0) != refusesLinks)
            #expect(isThere(disk.crashImage(.nothingPending)), "it survives power loss once the call returned")
            var whole = 0
            for crash in disk.crashPoints {
                let items = 0..<crash.itemCount
                let singles = items.map { .only(item: $0) } + items.map { .allBut(item: $0) } as [CrashPolicy]
                for policy in [.nothingPending, .everythingPending] + singles {
                    let left = crash.image(policy)
                    let isUntouched = files(left) == before
                    #expect(isUntouched, "operation \(crash.operation), \(policy)")
                    guard isThere(left) else { continue }
                    whole += 1
                    let store = try JobStore.openBlocking(at: "/fork", options: options(left)).blocking
                    #expect(try store.digest().hex == digest, "operation \(crash.operation), \(policy)")
                    for job in try store.jobs() { #expect(try store.job(job.id)?.payload?.count == 5000) }
                    try store.close()
                }
            }
            #expect(whole > 0)
        }
    }

    @Test func aForkThatFailsAnywhereLeavesNoStoreAndCanBeTriedAgain() async throws {
        try await onThread {
            let (base, point, digest) = try makeStore()
            let counted = base.crashImage(.everythingPending)
            try StoreFork.run("/store", to: "/fork", at: .sequence(point), fileSystem: counted)
            for operation in 1...counted.operationCount {
                let disk = base.crashImage(.everythingPending)
                disk.faultPlan = .fault(.init(operation: operation, kind: .noSpace))
                do throws(LogError) {
                    try StoreFork.run("/store", to: "/fork", at: .sequence(point), fileSystem: disk)
                    Issue.record("operation \(operation) did not fail the fork")
                } catch {
                    #expect(error.code == .noSpace || error.code == .ioFailed, "\(error)")
                }
                disk.faultPlan = FaultPlan()
                // After the last two operations but one it is there whole, and only its name may not be durable.
                if isThere(disk) { continue }
                try StoreFork.run("/store", to: "/fork", at: .sequence(point), fileSystem: disk)
                let store = try JobStore.openBlocking(at: "/fork", options: options(disk)).blocking
                #expect(try store.digest().hex == digest)
                try store.close()
            }
        }
    }

    /// Who may not read the directory above can't sync the new name there, and has a store all the same.
    @Test func aDirectoryThatMayNotBeReadCanHoldStoresAndForks() async throws {
        try await onThread {
            let disk = UnreadableRoot(base: SimulatedFileSystem())
            var options = options(disk.base)
            options.fileSystem = disk
            let store = try JobStore.openBlocking(at: "/store", options: options).blocking
            _ = try store.enqueue("q", payload: [1])
            try store.close()
            try StoreFork.run("/store", to: "/fork", at: nil, fileSystem: disk)
            let fork = try JobStore.openBlocking(at: "/fork", options: options).blocking
            #expect(try fork.lease(from: "q").map(\.payload) == [[1]])
            try fork.close()
        }
    }

    @Test func anAncestorsSegmentIsTakenUpToTheForkAndNoFurther() async throws {
        try await onThread {
            let (disk, _, _) = try makeStore()
            try StoreFork.run("/store", to: "/fork", at: nil, fileSystem: disk)
            let manifests = ManifestStore(layout: StoreLayout(root: "/fork"), fileSystem: disk)
            var manifest = try #require(try manifests.read())
            let adopted = manifest.sealed[1]
            #expect(manifest.ancestors.count == 1)
            func reads() throws -> Bool {
                let reader = try LogReader.open(directory: "/fork", fileSystem: disk)
                let store = try JobStore.openBlocking(at: "/fork", options: options(disk)).blocking
                defer { try? store.close() }
                let isReadWithoutLock = (try? reader.sealedSource(adopted)) != nil
                let isReadByOwner = (try? store.job(JobID(adopted.firstSequence))) != nil
                #expect(isReadWithoutLock == isReadByOwner)
                return isReadWithoutLock
            }
            #expect(try reads())
            manifest = try #require(try manifests.read())
            manifest.ancestors[0].through = adopted.firstSequence
            try manifests.replace(with: manifest)
            #expect(try !reads())
        }
    }
}

/// A disk whose root may be used, but not read.
private struct UnreadableRoot: ForwardingFileSystem {
    let base: SimulatedFileSystem

    func syncDirectory(_ path: String) throws(IOFailure) {
        if path == "/" { throw IOFailure(.permission, operation: "open", path: path, reason: "Permission denied") }
        try base.syncDirectory(path)
    }
}
