// Sealed segments whose every checksum is good and which are wrong all the same: what a faulty writer, or a file put in
// the place of another, would leave. Each differs from a sound one in a single thing.

import HoldfastBytes
import HoldfastTestKit
import Testing

@testable import HoldfastLog

@Suite struct SealedVerificationTests {
    private static let layout = StoreLayout(root: "/store")
    private static let none = [UInt8](repeating: 0, count: 32)
    /// Where the second of a segment's two frames starts.
    private static let secondFrame = SegmentHeader.byteCount + 72

    /// A segment of two frames with one record each.
    private struct Sealed {
        var store = StoreIdentity(bytes: Array(0..<16))
        var number: UInt64 = 1
        var predecessor = SealedVerificationTests.none
        /// What the second frame says, where that is not what is so.
        var link: UInt32?
        var recordCount: UInt32 = 1
        /// What the seal says, where that is not what is so.
        var kindCount: UInt64 = 2
        var indexShift = 0
        var chain: [UInt8]?

        /// The file, and what the manifest says of it.
        func made() -> (bytes: [UInt8], named: Manifest.Sealed) {
            var header = SegmentHeader(
                role: .sealed, store: store, id: SegmentID(number), salt: 9, epoch: Epoch(1), created: .zero)
            header.firstSequence = SequenceNumber(number * 2 - 1)
            header.predecessorChain = predecessor
            var writer = ByteWriter()
            header.encode(into: &writer)
            var last: UInt32 = 0
            var index: [FrameIndexEntry] = []
            for place in 0..<2 {
                var frame = frame(.data, header.firstSequence.advanced(by: UInt64(place)), at: writer.count)
                frame.previousLink = place == 1 ? link ?? last : 0
                frame.recordCount = place == 1 ? recordCount : 1
                index.append(.init(firstSequence: frame.firstSequence, time: .zero, offset: writer.count))
                // An entry: two bytes of kind and body, no gap, kind 1, one byte.
                last = append(frame, [2, 0, 1, UInt8(place)], to: &writer)
            }
            index[1].offset += indexShift
            var hash = SHA256()
            hash.update(predecessor.span)
            hash.update(writer.bytes)
            let chain = chain ?? hash.finalize()
            let offset = writer.count
            let lastSequence = header.firstSequence.next
            let lineage = SealFrame.Lineage(chain: chain, through: lastSequence)
            let seal = SealFrame(
                lastSequence: lastSequence, rawBytes: 8, firstTime: .zero, lastTime: .zero,
                kindCounts: [.init(kind: 1, count: kindCount)], index: index, filter: KeyFilter(keys: []), chain: chain,
                lineage: lineage)
            var payload = ByteWriter()
            seal.encode(into: &payload)
            var frame = frame(.seal, lastSequence.next, at: offset)
            frame.previousLink = last
            _ = append(frame, [UInt8](copying: payload.bytes), to: &writer)
            let sealBytes = writer.count - offset
            writer.append(littleEndian: UInt64(offset))
            writer.append(littleEndian: UInt32(sealBytes))
            writer.append(SealFrame.footerMagic)
            let named = Manifest.Sealed(
                id: header.id, firstSequence: header.firstSequence, lastSequence: lastSequence, bytes: writer.count,
                records: kindCount, rawBytes: 8, chain: chain, lineage: lineage)
            return ([UInt8](copying: writer.bytes), named)
        }

        private func frame(_ kind: FrameKind, _ first: SequenceNumber, at offset: Int) -> FrameHeader {
            FrameHeader(
                kind: kind, firstSequence: first, epoch: Epoch(1), position: LogPosition(UInt64(offset)),
                durable: .zero, time: .zero, previousLink: 0)
        }

        private func append(_ frame: FrameHeader, _ payload: [UInt8], to writer: inout ByteWriter) -> UInt32 {
            var frame = frame
            let start = writer.count
            frame.storedBytes = payload.count
            frame.rawBytes = payload.count
            frame.payloadChecksum = CRC32C.checksum(payload.span, seed: 9)
            writer.append(zeros: FrameFormat.headerBytes)
            frame.store(into: &writer, at: start, salt: 9)
            writer.append(payload)
            writer.append(zeros: FrameFormat.aligned(writer.count, to: 8) - writer.count)
            return frame.link
        }
    }

    /// What a verification finds in a store of these segments; `found` are the files that lie in their places.
    private func problems(_ segments: [Sealed], found: [Sealed]? = nil) throws -> [LogError] {
        let disk = SimulatedFileSystem()
        var manifest = Manifest(store: StoreIdentity(bytes: Array(0..<16)))
        manifest.sealed = segments.map { $0.made().named }
        for (named, segment) in zip(manifest.sealed, found ?? segments) {
            disk.replace(Self.layout.path(named), with: segment.made().bytes)
        }
        var writer = ByteWriter()
        manifest.encode(into: &writer)
        disk.replace(Self.layout.manifest, with: [UInt8](copying: writer.bytes))
        var reader = try LogReader.open(directory: Self.layout.root, fileSystem: disk)
        let problems = reader.verify(progress: { _, _ in }, { _, _ in }).problems
        for problem in problems { #expect(problem.code == .corrupt) }
        return problems
    }

    @Test func soundSegmentsHaveNoProblems() throws {
        let first = Sealed()
        #expect(try problems([first, Sealed(number: 2, predecessor: first.made().named.chain)]).isEmpty)
    }

    @Test func aFrameThatDoesNotFollowIsAProblem() throws {
        #expect(try problems([Sealed(link: 1)]).map(\.offset) == [Self.secondFrame])
    }

    @Test func aFrameThatMiscountsItsRecordsIsAProblem() throws {
        #expect(try problems([Sealed(recordCount: 2)]).map(\.offset) == [Self.secondFrame])
    }

    /// The chain value covers what lies before the seal, so only a comparison tells.
    @Test func aSealThatMiscountsOrMisplacesIsAProblem() throws {
        #expect(try problems([Sealed(kindCount: 3)]).count == 1)
        #expect(try problems([Sealed(indexShift: 8)]).count == 1)
    }

    @Test func aChainValueOfOtherBytesIsAProblem() throws {
        #expect(try problems([Sealed(chain: [UInt8](repeating: 7, count: 32))]).count == 1)
    }

    @Test func aSegmentThatContinuesAnotherIsAProblem() throws {
        let second = Sealed(number: 2, predecessor: [UInt8](repeating: 7, count: 32))
        let found = try problems([Sealed(), second])
        #expect(found.map(\.file) == [Self.layout.relative(Self.layout.path(second.made().named))])
    }

    @Test func aSegmentOfAnotherStoreIsAProblem() throws {
        let other = Sealed(store: StoreIdentity(bytes: Array(1..<17)))
        #expect(try problems([Sealed()], found: [other]).count == 1)
    }

    @Test func everyFlippedBitOfAFooterIsSeen() throws {
        let (bytes, named) = Sealed().made()
        let disk = SimulatedFileSystem()
        disk.replace("/s", with: bytes)
        func read() throws(LogError) {
            _ = try SealedSegment.read(disk, path: "/s", name: "s", size: named.bytes)
        }
        try read()
        for bit in 0..<(SealFrame.footerBytes * 8) {
            let offset = bytes.count - SealFrame.footerBytes + bit / 8
            disk.corrupt("/s", offset: offset, xor: 1 << UInt8(bit % 8))
            let error = #expect(throws: LogError.self) { try read() }
            #expect(error?.code == .corrupt)
            disk.corrupt("/s", offset: offset, xor: 1 << UInt8(bit % 8))
        }
    }
}
