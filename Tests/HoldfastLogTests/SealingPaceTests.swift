// Who appends faster than segments are sealed goes on as sealing does, and not from one full journal to the next.

import HoldfastBytes
import HoldfastTestKit
import Testing

@testable import HoldfastLog

@Suite(.timeLimit(.minutes(2))) struct SealingPaceTests {
    @Test func roomIsGivenStepByStepAndTheRestAtTheEnd() {
        let frame = 1 << 16
        var pace = SealingPace(bytes: 64 * (frame + FrameFormat.journalAlignment))
        #expect(pace.withheldShare == 1)
        var shares: [Double] = []
        for _ in 0..<64 where pace.advance(frame) { shares.append(pace.withheldShare) }
        #expect(shares.count == 32, "two frames of 64 KiB are a step")
        #expect(shares == shares.sorted(by: >) && Set(shares).count == shares.count)
        #expect(shares.allSatisfy { $0 > 0.19 && $0 < 1 })
        // What is read of damaged lengths never makes more room than there is.
        var damaged = SealingPace(bytes: 10)
        _ = damaged.advance(1 << 40)
        #expect(damaged.withheldShare >= 0.19)
        // In a ring of few or small segments nobody could go on.
        for (bytes, count, isKept) in [(8 << 20, 4, true), (8 << 20, 3, false), (1 << 19, 4, false)] {
            var options = LogOptions()
            (options.journalSegmentBytes, options.journalSegmentCount) = (bytes, count)
            #expect(SealingPace.isKept(options) == isKept)
        }
    }

    @Test func callersGoOnWhileASegmentIsSealed() async throws {
        let disk = PacedDisk()
        var options = LogOptions.small
        options.journalSegmentBytes = 4 << 20
        options.journalSegmentCount = 4
        options.cachedBytesMax = 0
        let opened = try OpenedLog(disk, "/store", options: options)
        let log = opened.log
        // However slow the machine is, it is never quiet enough for the better compression, which has no pace.
        log.lastSealing = PaceClock.now + .seconds(3600)
        while log.lock.withLock({ log.spares.count < 3 }) { await Task.yield() }
        disk.pause(log, whenWithheld: 1)
        defer { disk.pause(log, whenWithheld: -1) }
        let part = [[UInt8]](repeating: [UInt8](repeating: 1, count: 1000), count: 500)
        while log.lock.withLock({ log.full.isEmpty }) { try await opened.commit(part) }
        while log.lock.withLock({ log.withheldShare < 1 }) { await Task.yield() }

        // Of the last segment there is, all is withheld: nothing of the first has been sealed.
        var parts = 0
        while parts < 12, let (_, ticket) = try opened.appendIfReady(part, kind: OpaqueDelegate.keptKind) {
            try await log.wait(for: ticket)
            parts += 1
        }
        try log.lock.withLock {
            try #require(parts < 12 && log.isAheadOfSealing(false) && !log.isTight)
            #expect(log.full.count == 2 && log.activeRoom > options.journalSegmentBytes / 2)
        }
        #expect(try log.lock.withLock { () throws(LogError) in try log.admission(isSettling: true) } == .ready)
        let waiting = Task { try await opened.commit(part) }
        while log.lock.withLock({ log.pacedWaiters.isEmpty }) { await Task.yield() }
        // What others commit makes no room.
        let (_, ticket) = log.lock.withLock { () -> (SequenceNumber, CommitTicket) in
            log.append(kind: OpaqueDelegate.keptKind, time: .zero) { $0.append([UInt8(1)]) }
            return (log.nextSequence, log.ticket)
        }
        try await log.wait(for: ticket)
        #expect(log.lock.withLock { log.pacedWaiters.count } == 1)

        // Half of it is sealed: who waits goes on, and no further than that.
        disk.pause(log, whenWithheld: 0.6)
        _ = try await waiting.value
        while log.lock.withLock({ log.withheldShare > 0.6 }) { await Task.yield() }
        while let (_, ticket) = try opened.appendIfReady(part, kind: OpaqueDelegate.keptKind) {
            try await log.wait(for: ticket)
        }
        let withheld = log.lock.withLock { log.withheldShare }
        log.lock.withLock {
            #expect(log.full.count == 2 && log.isAheadOfSealing(false) && !log.isTight)
            #expect(log.activeRoom > options.journalSegmentBytes / 4)
        }

        // A roll makes room as well: who frees space may take the last segment, and nothing more has been sealed.
        let later = Task { try await opened.commit(part) }
        while log.lock.withLock({ log.pacedWaiters.isEmpty }) { await Task.yield() }
        var settled = 0
        while settled < 12, log.lock.withLock({ log.full.count == 2 }) {
            let room = log.lock.withLock { log.activeRoom }
            let last = try #require(
                try opened.appendIfReady(part, kind: OpaqueDelegate.keptKind, isSettling: true), "\(room) bytes left")
            try await log.wait(for: last.ticket)
            settled += 1
        }
        _ = try await later.value
        log.lock.withLock { #expect(log.full.count == 3 && log.withheldShare == withheld && settled > 0) }

        // And to the end, several times round the ring.
        disk.pause(log, whenWithheld: -1)
        for _ in 0..<40 { try await opened.commit(part) }
        try log.close()
        #expect(log.lock.withLock { log.pacedWaiters.isEmpty && log.withheldShare == 0 })
    }

    /// The file of a sealed segment was not made ready before the next one was sealed as well, however few were left.
    @Test func aUsedFileIsMadeReadyBeforeMoreIsSealed() throws {
        var options = LogOptions.small
        options.compactionShare = nil
        let log = try WriteAheadLog.open(
            directory: "/store", fileSystem: SimulatedFileSystem(), options: options, createIfMissing: true, now: .zero)
        // It is not started: nobody else looks for work.
        try log.lock.withLock {
            log.reserved = SequenceNumber(1 << 40)
            let journal = Manifest.Journal(id: SegmentID(7), slot: 7, base: .zero, bytes: 65_536, isOversized: false)
            let header = SegmentHeader(
                role: .journal, store: StoreIdentity(bytes: [UInt8](repeating: 1, count: 16)), id: journal.id, salt: 1,
                epoch: Epoch(1), created: .zero)
            let source = SegmentSource(header: header, path: "/store/j", name: "j", end: 65_536)
            log.full = [FullSegment(journal: journal, source: source, link: 0)]
            defer { log.full = [] }
            let first = try #require(log.nextWork())
            let isSealing = if case .seal = first { true } else { false }
            #expect(isSealing, "there is no used file yet, but: \(first)")
            log.idleFiles = [IdleJournalFile(slot: 9, bytes: 65_536)]
            defer { log.idleFiles = [] }
            let second = try #require(log.nextWork())
            let isReplenishing = if case .replenish = second { true } else { false }
            #expect(isReplenishing, "\(second)")
        }
        try log.close()
    }
}

/// Holds up sealing, by its reads, while no more than a given share of the journal is withheld.
private final class PacedDisk: ForwardingFileSystem, @unchecked Sendable {
    // SENDABLE: the mutable state is guarded by `lock`.
    let base = SimulatedFileSystem()
    private let lock = CallerLock()
    private let changed = Signal()
    private weak var log: WriteAheadLog?
    private var limit = -1.0

    func pause(_ log: WriteAheadLog, whenWithheld limit: Double) {
        lock.withLock {
            self.log = log
            self.limit = limit
            changed.notifyAll()
        }
    }

    func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> any File {
        let file = try base.open(path, mode)
        return path.hasSuffix(".jnl") && mode == .read ? PacedFile(base: file, disk: self) : file
    }

    fileprivate func pass() {
        lock.withLock {
            while let log, log.lock.withLock({ log.withheldShare }) <= limit { changed.wait(lock) }
        }
    }
}

private final class PacedFile: ForwardingFile {
    let base: any File
    private let disk: PacedDisk

    init(base: any File, disk: PacedDisk) { (self.base, self.disk) = (base, disk) }

    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOFailure) -> Int {
        disk.pass()
        return try base.read(into: &buffer, at: offset)
    }
}
