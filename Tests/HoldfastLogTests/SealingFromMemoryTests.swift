// What was written lately is sealed from memory: nothing is read back, and what is sealed is the same.

import HoldfastBytes
import HoldfastTestKit
import Synchronization
import Testing

@testable import HoldfastLog

@Suite(.timeLimit(.minutes(2))) struct SealingFromMemoryTests {
    @Test(arguments: [LogOptions().cachedBytesMax, 0])
    func aSegmentIsReadBackOnlyWhereItIsNotInMemory(cachedBytesMax: Int) async throws {
        let disk = CountingDisk()
        var options = LogOptions.small
        options.journalSegmentBytes = 1 << 20
        options.journalSegmentCount = 4
        options.cachedBytesMax = cachedBytesMax
        var random = SeededRandom(seed: 5)
        var given: [SequenceNumber: [UInt8]] = [:]
        let opened = try OpenedLog(disk, "/store", options: options)
        for _ in 0..<40 {
            let bodies = (0..<100).map { _ in random.bytes(random.pick(1...2000)) }
            var sequence = try await opened.commit(bodies)
            for body in bodies {
                given[sequence] = body
                sequence = sequence.next
            }
        }
        // All that is in the journal is sealed.
        try opened.log.close()
        let read = disk.bytesRead.load(ordering: .relaxed)
        // The frames without records that end a segment are not kept.
        if cachedBytesMax == 0 { #expect(read > 2 << 20) } else { #expect(read < 4096) }
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

    @Test func whatIsOfASegmentThatIsGoneIsLetGo() {
        var cache = BlockCache(byteCountMax: 1 << 20)
        let block = DecodedBlock(raw: [UInt8](repeating: 1, count: 100), first: SequenceNumber(1))
        for offset in 0..<200 { cache.insert(block, id: SegmentID(offset < 150 ? 1 : 2), offset: offset) }
        var steps = 0
        while cache.evictSome(of: [SegmentID(1)]) { steps += 1 }
        #expect(steps == 2, "in steps of 64, and the rest")
        #expect((0..<150).allSatisfy { cache.find(id: SegmentID(1), offset: $0) == nil })
        #expect((150..<200).allSatisfy { cache.find(id: SegmentID(2), offset: $0) != nil })
        // Their room is free: of those that come now so many fit.
        let fitting = ((1 << 20) - 50 * 260) / 260
        for offset in 0..<fitting { cache.insert(block, id: SegmentID(3), offset: offset) }
        #expect(cache.find(id: SegmentID(2), offset: 150) != nil && cache.find(id: SegmentID(3), offset: 0) != nil)
        cache.insert(block, id: SegmentID(4), offset: 0)
        #expect(cache.find(id: SegmentID(2), offset: 150) == nil && cache.find(id: SegmentID(4), offset: 0) != nil)
    }
}

/// Counts what is read of journal segments.
private final class CountingDisk: ForwardingFileSystem {
    let base = SimulatedFileSystem()
    let bytesRead = Atomic(0)

    func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> any File {
        let file = try base.open(path, mode)
        return path.hasSuffix(".jnl") && mode == .read ? CountedFile(base: file, disk: self) : file
    }
}

private final class CountedFile: ForwardingFile {
    let base: any File
    private let disk: CountingDisk

    init(base: any File, disk: CountingDisk) { (self.base, self.disk) = (base, disk) }

    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOFailure) -> Int {
        let count = try base.read(into: &buffer, at: offset)
        disk.bytesRead.add(count, ordering: .relaxed)
        return count
    }
}
