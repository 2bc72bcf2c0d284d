// What was written lately is sealed from memory: nothing is read back, and what is sealed is the same.

import HoldfastBytes
import HoldfastTestKit
import Synchronization
import Testing

@testable import HoldfastLog

@Suite(.timeLimit(.minutes(2))) struct SealingFromMemoryTests {
    @Test(arguments: [LogOptions().cachedBytesMax, 300_000, 0])
    func aSegmentIsReadBackOnlyWhereItIsNotInMemory(cachedBytesMax: Int) async throws {
        let disk = ReadingDisk()
        let bytesRead = Mutex(0)
        var options = LogOptions.small
        options.journalSegmentBytes = 1 << 20
        options.journalSegmentCount = 4
        options.cachedBytesMax = cachedBytesMax
        var random = SeededRandom(seed: 5)
        var given: [SequenceNumber: [UInt8]] = [:]
        let opened = try OpenedLog(disk, "/store", options: options)
        disk.hook.withLock { hook in hook = { count in bytesRead.withLock { $0 += count } } }
        for _ in 0..<40 {
            let bodies = (0..<100).map { _ in random.bytes(random.pick(1...2000)) }
            var sequence = try await opened.commit(bodies)
            for body in bodies {
                given[sequence] = body
                sequence = sequence.next
            }
        }
        // Most of what is in the journal is sealed now.
        try opened.log.close()
        let read = bytesRead.withLock { $0 }
        // The frames without records that end a segment are not kept.
        switch cachedBytesMax {
        case 0: #expect(read > 2 << 20)
        case 300_000: #expect(read > 100_000 && read < 3 << 20)
        default: #expect(read < 4096)
        }
        // What was sealed is let go.
        #expect(opened.log.index.cachedBytes < 1_200_000)
        let again = try OpenedLog(disk, "/store", options: options)
        #expect(again.replayed == given && again.log.manifest.sealed.count >= 3)
        try again.log.close()
    }

    @Test func onlyWhatWasWrittenThereIsTakenForIt() throws {
        let header = SegmentHeader(
            role: .journal, store: StoreIdentity(bytes: Array(0..<16)), id: SegmentID(7), salt: 0x0102_0304,
            epoch: Epoch(1), created: .zero)
        var group = CommitGroup()
        for number in 1...20 as ClosedRange<UInt64> {
            group.append(SequenceNumber(number), kind: 1, time: .zero) { $0.append([UInt8](repeating: 9, count: 50)) }
        }
        _ = group.seal(at: 8192, in: header, durable: .zero, epoch: Epoch(1), time: .zero, link: 0)
        let place = group.frames[0]
        let written = [UInt8](copying: group.bytes.bytes.extracting(place.start..<place.end))
        let block = DecodedBlock(written: written.span, first: SequenceNumber(1))
        let frame = try #require(block.frame(at: 8192, in: header))
        #expect(frame.header.recordCount == 20 && frame.offset == 8192)
        #expect(frame.raw == Array(written[FrameFormat.headerBytes...]))
        #expect(block.entry(SequenceNumber(20))?.body.count == 50 && block.entry(SequenceNumber(21)) == nil)

        var other = header
        other.salt = 0x0102_0305
        #expect(block.frame(at: 12288, in: header) == nil && block.frame(at: 8192, in: other) == nil)
        for index in [0, 20, FrameFormat.headerBytes - 1, FrameFormat.headerBytes, written.count - 1] {
            var changed = written
            changed[index] ^= 1
            let damaged = DecodedBlock(written: changed.span, first: SequenceNumber(1))
            #expect(damaged.frame(at: 8192, in: header) == nil, "byte \(index)")
        }
        // What was read has no header.
        #expect(DecodedBlock(raw: frame.raw, first: SequenceNumber(1)).frame(at: 8192, in: header) == nil)
    }

    @Test func whatIsRemovedMakesRoomAndLeavesNothing() {
        let bytesEach = 100 + BlockCache.overheadBytes
        var cache = BlockCache(byteCountMax: 100 * bytesEach)
        let block = DecodedBlock(raw: [UInt8](repeating: 1, count: 100), first: SequenceNumber(1))
        cache.insert(block, id: SegmentID(1), offset: 0)
        // However many come and go behind one that stays, it stays.
        for offset in 0..<20_000 {
            cache.insert(block, id: SegmentID(2), offset: offset)
            #expect(cache.remove(id: SegmentID(2), offset: offset) != nil)
        }
        #expect(cache.remove(id: SegmentID(2), offset: 0) == nil && cache.byteCount == bytesEach)
        for offset in 0..<99 { cache.insert(block, id: SegmentID(3), offset: offset) }
        #expect(cache.find(id: SegmentID(1), offset: 0) != nil && cache.byteCount == 100 * bytesEach)
        // The oldest goes first where there is no room.
        cache.insert(block, id: SegmentID(3), offset: 99)
        #expect(cache.find(id: SegmentID(1), offset: 0) == nil && cache.byteCount == 100 * bytesEach)
        #expect((0..<100).allSatisfy { cache.find(id: SegmentID(3), offset: $0) != nil })
        #expect(cache.orderCount < 5000)
    }
}
