// A compaction that would lose something is found out before it is in force.

import HoldfastBytes
import HoldfastEngine
import HoldfastLog
import HoldfastTestKit
import Testing

@testable import Holdfast

@Suite(.timeLimit(.minutes(10))) struct CompactionProofTests {
    /// What is wrong with the rewrite.
    enum Fault: CaseIterable, Sendable {
        case losesARecord, losesHistory, imageOfAnotherState
    }

    @Test func aProofTellsTheStateBeforeAndAfter() async throws {
        try await withStore({ $0.history = .none }) { store, _ in
            for _ in 0..<50 { _ = try await store.enqueue("q", payload: [1]) }
            for lease in try await store.lease(from: "q", limit: 30) { try await store.ack(lease) }
            let digest = try await store.digest()
            let proof = try #require(try await store.compact(proving: true).proof)
            #expect(proof == CompactionProof(sequence: digest.sequence, before: digest.hex, after: digest.hex))
            #expect(try await store.digest() == digest)
        }
    }

    @Test(arguments: Fault.allCases) func whatWouldLoseSomethingIsNotInstalled(fault: Fault) async throws {
        try await onThread {
            let disk = SimulatedFileSystem()
            var options = JobStoreOptions()
            options.fileSystem = disk
            options.clock = ManualClock()
            options.compaction = .onDemand
            let store = try JobStore.openBlocking(at: "/store", options: options)
            for number in 0..<40 { _ = try store.blocking.enqueue("q", payload: [UInt8(number)]) }
            for lease in try store.blocking.lease(from: "q", limit: 20) { try store.blocking.ack(lease) }
            let digest = try store.blocking.digest()
            try store.blocking.close()

            var logOptions = LogOptions()
            logOptions.compactionShare = nil
            let log = try WriteAheadLog.open(
                directory: "/store", fileSystem: disk, options: logOptions, createIfMissing: false, now: .zero)
            try log.start(delegate: FaultyBridge(log, try StoreReplay.run(log).state, fault))
            let error = #expect(throws: LogError.self) { _ = try log.compact(proving: true) }
            #expect(error?.code == .corrupt && error?.message.contains("nothing was changed") == true)
            let named = log.currentManifest.sealed.map { StoreLayout.sealedName(first: $0.firstSequence, id: $0.id) }
            let found = disk.snapshotFiles().keys.filter { $0.hasSuffix(".seg") }
            #expect(Set(found) == Set(named.map { "/store/segments/" + $0 }), "what was written is removed again")
            try log.close()
            guard fault != .imageOfAnotherState else { return }

            let again = try JobStore.openBlocking(at: "/store", options: options)
            #expect(try again.blocking.digest() == digest)
            let rest = try again.blocking.lease(from: "q", limit: 40)
            #expect(rest.map(\.payload) == (20..<40).map { [UInt8($0)] })
            #expect(try again.blocking.history(of: JobID(1)).count == 3)
            _ = try again.blocking.compact(proving: true)
            try again.blocking.close()
        }
    }
}

/// Stands for a store that is wrong about what it needs.
private final class FaultyBridge: LogDelegate {
    private struct Retention: RetentionPolicy {
        let needed: SequenceBitmap
        let fault: CompactionProofTests.Fault
        func mustKeep(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> Bool {
            switch fault {
            case .losesARecord: needed.contains(sequence.rawValue) && sequence.rawValue != 33
            case .losesHistory: sequence.rawValue != 50
            case .imageOfAnotherState: needed.contains(sequence.rawValue)
            }
        }
    }
    /// The log keeps its delegate.
    private unowned let log: WriteAheadLog
    private let state: QueueState
    private let fault: CompactionProofTests.Fault

    init(_ log: WriteAheadLog, _ state: QueueState, _ fault: CompactionProofTests.Fault) {
        (self.log, self.state, self.fault) = (log, state, fault)
    }

    func writeCheckpointImage(into image: inout ByteWriter) -> (sequence: SequenceNumber, ticket: CommitTicket) {
        var shown = state
        if fault == .imageOfAnotherState {
            // A job that is ready is forgotten, and a last record makes up for the number.
            let lane = Lane(queue: "q")
            let cancel = Mutation.cancel(Cancel(job: JobID(40), lane: lane))
            shown.apply(Record(sequence: state.lastSequence.next, time: state.latestTime, mutation: cancel))
        }
        shown.encodeImage(into: &image)
        return (shown.lastSequence, log.lock.withLock { log.ticket })
    }
    func retention() -> any RetentionPolicy { Retention(needed: state.neededRecords, fault: fault) }
    func prove(_ rewrite: ProposedRewrite) throws(LogError) -> RewriteProof? {
        // With history the records behind it count, too.
        let held = fault == .losesHistory ? SequenceNumber(1) : nil
        return try CompactionProver(rewrite: rewrite, needed: state.neededRecords, heldFrom: held).run()
    }
    func key(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> UInt64? {
        (try? Record(sequence: sequence, kind: kind, body: body))?.mutation.job(sequence)?.rawValue
    }
    func logDidFail(_ error: LogError) {}
}
