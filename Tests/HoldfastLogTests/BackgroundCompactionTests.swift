// What the background may drop, and what it may not yet. The delegate of these tests knows which records have ended;
// its images are large, so that only the test decides when one is written.

import HoldfastBytes
import HoldfastTestKit
import Testing

@testable import HoldfastLog

@Suite(.timeLimit(.minutes(10))) struct BackgroundCompactionTests {
    private let disk = SimulatedFileSystem()

    @Test func theOlderCheckpointStillLeadsToTheStateWhereTheNewerIsDamaged() async throws {
        let store = try EndingLog(disk)
        try await store.commit(12)
        let older = try store.log.checkpoint()
        try await store.commit(18)
        let newer = try store.log.checkpoint()
        store.end(1...30)
        store.log.setCompactionShare(1)
        try await store.waitUntilDropped(1)

        let image = disk.crashImage(.nothingPending)
        for path in image.snapshotFiles().keys where path.contains("\(newer.rawValue).") && path.hasSuffix(".ckpt") {
            image.corrupt(path, offset: 200)
        }
        let again = try EndingLog.open(image)
        #expect(again.nextCheckpoint()?.sequence == older)
        #expect(again.compactedThrough <= older)
        let behind = try again.replayed().keys.filter { $0 > older }
        #expect(behind.count == 18)
        try again.close()
        try store.close()
    }

    @Test func whatIsDroppedStaysDroppedOnlyWithTheRecordByWhichItIsNotNeeded() async throws {
        var options = LogOptions.small
        options.durability = .none
        let store = try EndingLog(disk, options)
        try await store.commit(12)
        _ = try store.log.checkpoint()
        try await store.commit(12)
        _ = try store.log.checkpoint()
        // The record that ends the first ones is written, and not synced.
        let ending = try await store.commit(1)
        store.end(1...12)
        store.log.setCompactionShare(1)
        try await store.waitUntilDropped(1)

        let again = try EndingLog.open(disk.crashImage(.nothingPending))
        #expect(try again.replayed()[ending] != nil)
        try again.close()
        try store.close()
    }

    /// Small segments are merged whether or not checkpoints cover them; that must drop nothing.
    @Test func whatNoCheckpointCoversIsNotDroppedWhenItIsMerged() async throws {
        let store = try EndingLog(disk, bodyBytes: 10)
        // Each has four kilobytes of the journal to itself.
        try await store.commit(300)
        store.end(1...300)
        let before = store.log.statistics.sealedSegments
        #expect(before >= CompactionPolicy.mergeCount)
        store.log.setCompactionShare(1)
        while store.log.statistics.sealedSegments >= before { await Task.yield() }

        let again = try EndingLog.open(disk.crashImage(.nothingPending))
        while let checkpoint = again.nextCheckpoint() { #expect(checkpoint.sequence >= again.compactedThrough) }
        let through = again.compactedThrough
        #expect(try again.replayed().keys.filter { $0 > through }.count == 300 - Int(through.rawValue))
        try again.close()
        try store.close()
    }

    @Test func aCheckpointThatCouldNotBeUsedCoversNothing() async throws {
        let store = try EndingLog(disk)
        for _ in 0..<2 {
            try await store.commit(12)
            _ = try store.log.checkpoint()
        }
        let image = disk.crashImage(.nothingPending)
        let newest = try #require(image.snapshotFiles().keys.filter { $0.hasSuffix(".ckpt") }.max())
        image.corrupt(newest, offset: 200)
        let again = try EndingLog.open(image)
        #expect(again.nextCheckpoint() != nil)
        try again.takeOver()
        #expect(image.snapshotFiles()[newest] == nil)
        let manifest = try ManifestStore(layout: StoreLayout(root: EndingLog.path), fileSystem: image).read()
        #expect(manifest?.checkpoints.count == 1)
        try again.close()
        try store.close()
    }

    @Test func whatIsNeededStaysReadableInOrderAndInTheChain() async throws {
        let store = try EndingLog(disk)
        for _ in 0..<6 {
            try await store.commit(12)
            _ = try store.log.checkpoint()
        }
        let kept = Set([5, 17, 40, 41, 60] as [UInt64])
        for number in 1...60 as ClosedRange<UInt64> where !kept.contains(number) { store.end(number...number) }
        store.log.setCompactionShare(1)
        for number in [1, 30, 50] as [UInt64] { try await store.waitUntilDropped(number) }
        for number in kept { #expect(try store.log.entry(SequenceNumber(number))?.body == EndingLog.body(number)[...]) }
        try store.close()

        var reader = try LogReader.open(directory: EndingLog.path, fileSystem: disk)
        var seen: [UInt64] = []
        let result = reader.verify(progress: { _, _ in }) { (entry, _) in seen.append(entry.sequence.rawValue) }
        #expect(result.problems.isEmpty, "\(result.problems)")
        #expect(seen == seen.sorted() && kept.isSubset(of: seen))
        #expect(seen.filter { $0 <= 60 }.count < 30)
    }

    @Test func aDamagedSegmentStaysAndTheOthersAreRewritten() async throws {
        let store = try EndingLog(disk)
        for _ in 0..<4 {
            try await store.commit(12)
            _ = try store.log.checkpoint()
        }
        let sealed = disk.snapshotFiles().keys.filter { $0.hasSuffix(".seg") }.sorted()
        let first = try #require(sealed.first)
        disk.corrupt(first, offset: 4096 + 70)
        // Of each segment a little is needed, so that each has to be read.
        for number in 1...30 as ClosedRange<UInt64> where !number.isMultiple(of: 5) { store.end(number...number) }
        store.log.setCompactionShare(1)
        try await store.waitUntilDropped(16)
        #expect(disk.snapshotFiles()[first] != nil)
        #expect(throws: LogError.self) { _ = try store.log.entry(SequenceNumber(1)) }
        #expect(try store.log.entry(SequenceNumber(15))?.body == EndingLog.body(15)[...])
        try store.close()
    }

    /// A committer that waited for room whenever the maintenance thread looked kept it from ever compacting; and where
    /// both took turns, a loaded machine broke the bound on space.
    @Test func whereCommittersAlwaysWaitForRoomSealingWaitsForCompaction() throws {
        let log = try EndingLog.open(disk)
        // It is not started: nobody else looks for work.
        let next = Upcoming(log)
        log.lock.withLock {
            log.reserved = SequenceNumber(1 << 40)
            log.compactionShare = 1
            log.isStarving = true
            log.full = [EndingLog.fullSegment(1), EndingLog.fullSegment(2)]
            #expect(next.isSealing(), "those who wait go first")
        }
        log.noteSealed([EndingLog.fullSegment(0)])
        log.lock.withLock {
            #expect(log.compactionOwed == 8 * 65_536)
            #expect(next.isCompacting(), "but not for ever")
            #expect(!next.isSealing(besideBackground: true) && next.isSealing(besideBackground: false))
            // A group that fits into no segment gets a file of its own, which would have to be sealed as well.
            log.oversizedWantedBytes = 1 << 20
            #expect(!next.isCompacting(), "there are few of them")
            log.full = (1...UInt64(log.options.journalSegmentCount)).map { EndingLog.fullSegment($0) }
            #expect(next.isCompacting())
            log.oversizedWantedBytes = 0
        }
        // Eight times as much is read as was sealed, and it may go on.
        let full = log.lock.withLock {
            log.isStarving = false
            defer { log.full = [] }
            return log.full
        }
        #expect(throws: Never.self) { try log.breathe(after: 8 * 65_536 - 1, isBackground: false) }
        #expect(log.lock.withLock { log.compactionOwed } == 8 * 65_536, "what a caller asked for doesn't count")
        #expect(throws: Never.self) { try log.breathe(after: 8 * 65_536 - 1, isBackground: true) }
        #expect(log.lock.withLock { log.compactionOwed } == 1)
        #expect(throws: Never.self) { try log.breathe(after: 2, isBackground: true) }
        log.lock.withLock {
            log.full = full
            log.othersTurn = PaceClock.now
            #expect(next.isSealing(besideBackground: true))
        }
    }

    /// Back-to-back checkpoints kept the maintenance thread from sealing, and every commit waiting for room.
    @Test func whoAsksForACheckpointWaitsForThoseWhoWaitForRoom() throws {
        let log = try EndingLog.open(disk)
        let next = Upcoming(log)
        log.lock.withLock {
            log.isStarving = true
            log.requests = [.checkpoint(MaintenanceRequest.Answer(), seals: false)]
            log.full = [EndingLog.fullSegment(1)]
            #expect(next.isSealing())
            log.isStarving = false
            #expect(!next.isSealing() && log.requests.isEmpty, "otherwise what is asked for goes first")
        }
    }

    /// What fails is still to be done; the maintenance thread did it again for ever, and closing the store hung.
    @Test(.timeLimit(.minutes(1))) func aDiskThatFailedDuringARewriteKeptItFromEverEnding() throws {
        let disk = SimulatedFileSystem()
        let log = try EndingLog.open(disk)
        disk.faultPlan = .crash(at: disk.operationCount + 1)
        #expect(throws: LogError.self) { try log.breathe(after: 1, isBackground: true) }
        try log.close()
    }

    /// Whoever gives way to a committer that waits for a spare came back at once, to encode a whole image for nothing,
    /// and so on until that thread happened to run.
    @Test func workThatGivesWayToAStarvingCommitterWasTriedAgainUntilThatLooked() throws {
        let log = try EndingLog.open(SimulatedFileSystem())
        log.lock.withLock { log.isStarving = true }
        try log.replenish()
        #expect(log.lock.withLock { log.spares.count == 1 && !log.isStarving })
        try log.close()
    }
}

/// What the maintenance thread of a log that was not started would do. The caller holds the log's lock.
private struct Upcoming {
    let log: WriteAheadLog
    init(_ log: WriteAheadLog) { self.log = log }

    func isCompacting() -> Bool { if case .compactSome? = log.nextWork() { true } else { false } }
    func isSealing() -> Bool { if case .seal? = log.nextWork() { true } else { false } }
    /// Asked between two frames of a rewrite, in the background or for a caller.
    func isSealing(besideBackground isBackground: Bool) -> Bool {
        if case .seal? = log.nextWork(isRewriting: true, holdsSealing: isBackground) { true } else { false }
    }
}

/// A log whose records end when the test says so.
private final class EndingLog: LogDelegate, @unchecked Sendable {
    // SENDABLE: `log` never changes; `ended` is guarded by the log's lock.
    static let path = "/store"
    let log: WriteAheadLog
    private let bodyBytes: Int
    private var ended: Set<UInt64> = []

    init(_ disk: SimulatedFileSystem, _ options: LogOptions = .small, bodyBytes: Int = 9_000) throws {
        self.bodyBytes = bodyBytes
        log = try Self.open(disk, options)
        try log.start(delegate: self)
    }

    static func open(_ disk: SimulatedFileSystem, _ options: LogOptions = .small) throws -> WriteAheadLog {
        var options = options
        options.compactionShare = nil
        return try WriteAheadLog.open(
            directory: path, fileSystem: disk, options: options, createIfMissing: true, now: .zero)
    }

    /// A full segment of which no file exists.
    static func fullSegment(_ number: UInt64) -> FullSegment {
        let id = SegmentID(number)
        let header = SegmentHeader(
            role: .journal, store: StoreIdentity(bytes: [UInt8](repeating: 1, count: 16)), id: id, salt: 1,
            epoch: Epoch(1), created: .zero)
        let journal = Manifest.Journal(id: id, slot: number, base: .zero, bytes: 65_536, isOversized: false)
        return FullSegment(
            journal: journal, source: SegmentSource(header: header, path: "/store/j", name: "j", end: 65_536),
            link: 0)
    }

    static func body(_ number: UInt64, bytes: Int = 9_000) -> [UInt8] {
        var random = SeededRandom(seed: number)
        return random.bytes(bytes)
    }

    /// Commits `count` records one by one; returns the last one's sequence number.
    @discardableResult
    func commit(_ count: Int) async throws -> SequenceNumber {
        var last = SequenceNumber.zero
        for _ in 0..<count {
            while true {
                let appended = try log.lock.withLock { () throws(LogError) -> (SequenceNumber, CommitTicket)? in
                    guard case .ready = try log.admission(isSettling: false) else { return nil }
                    let sequence = log.nextSequence
                    log.append(kind: 1, time: .zero) { $0.append(Self.body(sequence.rawValue, bytes: bodyBytes)) }
                    return (sequence, log.ticket)
                }
                if let (sequence, ticket) = appended {
                    try await log.wait(for: ticket)
                    last = sequence
                    break
                }
                await log.waitForRoom()
            }
        }
        return last
    }

    /// Closes the log, and takes from it what keeps it.
    func close() throws {
        defer { log.lock.withLock { log.delegate = nil } }
        try log.close()
    }

    func end(_ numbers: ClosedRange<UInt64>) { log.lock.withLock { ended.formUnion(numbers) } }

    func waitUntilDropped(_ number: UInt64) async throws {
        while try log.entry(SequenceNumber(number)) != nil { await Task.yield() }
    }

    func writeCheckpointImage(into image: inout ByteWriter) -> (sequence: SequenceNumber, ticket: CommitTicket) {
        let (last, ticket) = log.lock.withLock { (SequenceNumber(log.nextSequence.rawValue - 1), log.ticket) }
        image.append(littleEndian: last.rawValue)
        image.append(zeros: 1 << 20)
        return (last, ticket)
    }
    func retention() -> any RetentionPolicy { log.lock.withLock { Retention(ended: ended) } }
    func key(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> UInt64? { nil }
    func logDidFail(_ error: LogError) {}

    private struct Retention: RetentionPolicy {
        let ended: Set<UInt64>
        func mustKeep(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> Bool {
            !ended.contains(sequence.rawValue)
        }
        func keptCountMax(in range: ClosedRange<SequenceNumber>) -> Int {
            (range.lowerBound.rawValue...range.upperBound.rawValue).count { !ended.contains($0) }
        }
    }
}
