// Which images a store opens from, and which files it insists on: what compaction dropped is in no record any more, so
// an image too old, or one of another state, would bring back jobs that ended.

import Holdfast
import HoldfastBytes
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct CheckpointTrustTests {
    private static let path = "/store"

    private static func options(_ disk: SimulatedFileSystem) -> JobStoreOptions {
        var options = JobStoreOptions()
        options.clock = ManualClock()
        options.fileSystem = disk
        options.history = .none
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        return options
    }

    /// A disk as found after a loss of power, and what was on it.
    private struct Found: Sendable {
        let disk: SimulatedFileSystem
        let digest: String

        /// The files of the images, the oldest first.
        var images: [String] { disk.snapshotFiles().keys.filter { $0.hasSuffix(".ckpt") }.sorted() }
    }

    /// A store of two jobs, one of which has ended and been forgotten by compaction.
    private static func compacted(afterACheckpoint: Bool) async throws -> Found {
        try await onThread {
            let disk = SimulatedFileSystem()
            let store = try JobStore.openBlocking(at: path, options: options(disk)).blocking
            for number in 0..<2 { _ = try store.enqueue("q", payload: [UInt8(number)]) }
            if afterACheckpoint { _ = try store.checkpoint() }
            for lease in try store.lease(from: "q") { try store.ack(lease) }
            _ = try store.compact()
            let digest = try store.digest().hex
            let image = disk.crashImage(.nothingPending)
            try store.close()
            return Found(disk: image, digest: digest)
        }
    }

    private static func digest(_ disk: SimulatedFileSystem) async throws -> String {
        try await onThread {
            let store = try JobStore.openBlocking(at: path, options: options(disk)).blocking
            defer { try? store.close() }
            return try store.digest().hex
        }
    }

    private func expectDamage(_ disk: SimulatedFileSystem) async {
        await expectRefusal(.corrupt) { _ = try await JobStore.open(at: Self.path, options: Self.options(disk)) }
    }

    @Test func whatCompactionDroppedIsInTwoImagesOfWhichOneIsEnough() async throws {
        let found = try await Self.compacted(afterACheckpoint: false)
        #expect(found.images.count == 2)
        #expect(try await Self.digest(found.disk.crashImage(.nothingPending)) == found.digest)
        for image in found.images {
            let disk = found.disk.crashImage(.nothingPending)
            disk.replace(image, with: [])
            #expect(try await Self.digest(disk) == found.digest)
        }
    }

    @Test func anImageFromBeforeACompactionIsNotReplayedFrom() async throws {
        let found = try await Self.compacted(afterACheckpoint: true)
        #expect(found.images.count == 3)
        for image in found.images.dropFirst() { found.disk.replace(image, with: []) }
        await expectDamage(found.disk)
    }

    @Test func aCompactedLogIsNotReplayedFromItsBeginning() async throws {
        let found = try await Self.compacted(afterACheckpoint: false)
        for image in found.images { found.disk.replace(image, with: []) }
        await expectDamage(found.disk)
    }

    @Test func anImageOfAnotherStateIsPassedOver() async throws {
        let disk = SimulatedFileSystem()
        let (found, digest) = try await onThread {
            let store = try JobStore.openBlocking(at: Self.path, options: Self.options(disk)).blocking
            for number in 0..<2 {
                _ = try store.enqueue("q", payload: [UInt8(number)])
                _ = try store.checkpoint()
            }
            let digest = try store.digest().hex
            let image = disk.crashImage(.nothingPending)
            try store.close()
            return (image, digest)
        }
        // The first image under the number of the second, with a checksum that is good.
        let names = found.snapshotFiles().keys.filter { $0.hasSuffix(".ckpt") }.sorted()
        #expect(names.count == 2)
        let newer = try #require(found.snapshotFiles()[names[1]])
        var forged = try #require(found.snapshotFiles()[names[0]])
        try #require(min(newer.count, forged.count) > 72)
        forged[40..<48] = newer[40..<48]
        let checksum = CRC32C.checksum(forged.span.extracting(0..<68))
        for index in 0..<4 { forged[68 + index] = UInt8(truncatingIfNeeded: checksum >> UInt32(8 * index)) }
        found.replace(names[1], with: forged)
        let store = try await JobStore.open(at: Self.path, options: Self.options(found))
        #expect(store.recovery.findings.count == 1)
        #expect(try await store.digest().hex == digest)
        try await store.close()
    }

    /// Nothing may have to read it for years.
    @Test func aSealedSegmentIsMissedWhenTheStoreIsOpened() async throws {
        let found = try await Self.compacted(afterACheckpoint: false)
        // The power may have brought the one before it back, which nobody misses.
        let segments = found.disk.snapshotFiles().filter { $0.key.hasSuffix(".seg") }
        let (name, bytes) = try #require(segments.max { $0.key < $1.key })
        for size in [bytes.count - 8, bytes.count + 8] {
            let disk = found.disk.crashImage(.nothingPending)
            disk.truncate(name, to: size)
            await expectDamage(disk)
        }
        let disk = found.disk.crashImage(.nothingPending)
        disk.remove(name)
        await expectDamage(disk)
    }
}
