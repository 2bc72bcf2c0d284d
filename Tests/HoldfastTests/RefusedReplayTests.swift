// A store whose records make no sense is evidence: opening it must not change it.

import Holdfast
import HoldfastBytes
import HoldfastEngine
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct RefusedReplayTests {
    private static let path = "/store"

    private static var logOptions: LogOptions {
        var options = LogOptions()
        options.journalSegmentBytes = LogOptions.journalSegmentBytesMin
        options.idleMarkMilliseconds = 0
        return options
    }

    /// The torn end of the journal had been cut off and the epoch raised before the records were replayed.
    @Test func aRefusedReplayLeavesTheFilesAsTheyWere() async throws {
        let disk = try await onThread { try Self.diskWithAnIllegalRecordAndATornEnd() }
        let before = disk.contents
        var options = JobStoreOptions()
        options.fileSystem = disk
        let asGiven = options
        for _ in 0..<2 {
            await expectRefusal(.corrupt) { _ = try await JobStore.open(at: Self.path, options: asGiven) }
            #expect(disk.contents == before)
        }
        // Whoever does not mind the record finds that there was something to cut off.
        let torn = try await onThread {
            let log = try Self.open(disk)
            #expect(log.recovery.tornBytes > 0)
            try log.close()
            return disk.contents.keys.contains { $0.hasSuffix(".bin") }
        }
        #expect(torn)
    }

    private static func diskWithAnIllegalRecordAndATornEnd() throws -> SimulatedFileSystem {
        let disk = SimulatedFileSystem()
        let log = try open(disk)
        let lane = Lane(queue: "q")
        // An ack without a lease: it can be read, but no store wrote it.
        let ack = Mutation.ack(Ack(job: JobID(1), token: LeaseToken(1)))
        for mutation in [Mutation.enqueue(Enqueue(lane: lane, payload: [1])), ack] {
            let ticket = log.lock.withLock {
                let record = Record(sequence: log.nextSequence, time: .zero, mutation: mutation)
                log.append(kind: mutation.kind.rawValue, time: .zero) { record.encodeBody(into: &$0) }
                return log.ticket
            }
            try log.waitBlocking(for: ticket)
        }
        let image = disk.crashImage(.nothingPending)
        try log.close()
        // In the block behind the last frame.
        let journal = try #require(
            image.contents.first { $0.key.hasSuffix(".jnl") && $0.value.dropFirst(4096).contains { $0 != 0 } })
        let last = try #require(journal.value.lastIndex { $0 != 0 })
        image.corrupt(journal.key, offset: (last / 4096 + 1) * 4096 + 9)
        return image
    }

    private static func open(_ disk: SimulatedFileSystem) throws -> WriteAheadLog {
        let log = try WriteAheadLog.open(
            directory: path, fileSystem: disk, options: logOptions, createIfMissing: true, now: .zero)
        try log.start(delegate: IndifferentDelegate())
        return log
    }
}

/// Keeps every record and knows what none means.
private final class IndifferentDelegate: LogDelegate {
    private struct All: RetentionPolicy {
        func mustKeep(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> Bool { true }
    }
    func writeCheckpointImage(into image: inout ByteWriter) -> (sequence: SequenceNumber, ticket: CommitTicket) {
        (.zero, CommitTicket(group: 0))
    }
    func retention() -> any RetentionPolicy { All() }
    func key(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> UInt64? { nil }
    func logDidFail(_ error: LogError) {}
}

extension SimulatedFileSystem {
    /// Every file but the one that holds the lock, which names its last holder.
    fileprivate var contents: [String: [UInt8]] { snapshotFiles().filter { !$0.key.hasSuffix("LOCK") } }
}
