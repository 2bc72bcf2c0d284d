// Which images stay: recovery's two always, one at or before the start of the history, some in between, no useless one.

import HoldfastBytes
import HoldfastTestKit
import Testing

@testable import HoldfastLog

@Suite struct CheckpointThinningTests {
    private static func manifest(_ sequences: [UInt64], compactedThrough: UInt64 = 0, bytes: Int = 100) -> Manifest {
        var manifest = Manifest(store: StoreIdentity(bytes: [UInt8](repeating: 1, count: StoreIdentity.byteCount)))
        manifest.compactedThrough = SequenceNumber(compactedThrough)
        manifest.checkpoints = sequences.map {
            Manifest.Checkpoint(sequence: SequenceNumber($0), bytes: bytes, copies: 1)
        }
        let chain = [UInt8](repeating: 0, count: 32)
        manifest.sealed = [
            Manifest.Sealed(
                id: SegmentID(1), firstSequence: SequenceNumber(1), lastSequence: SequenceNumber(1_000_000), bytes: 1,
                records: 1_000_000, rawBytes: 100_000_000, chain: chain,
                lineage: .init(chain: chain, through: SequenceNumber(1_000_000)))
        ]
        return manifest
    }

    private static func kept(_ manifest: Manifest, from start: UInt64?, bytes: Int = .max) -> [UInt64] {
        let history = start.map { KeptHistory(start: SequenceNumber($0), imageBytesMax: bytes) }
        return CheckpointThinning.kept(of: manifest, history: history).map(\.sequence.rawValue)
    }

    @Test func withoutHistoryRecoverysTwoStay() {
        #expect(Self.kept(Self.manifest([50, 40, 30, 20]), from: nil) == [50, 40])
        #expect(Self.kept(Self.manifest([50]), from: nil) == [50])
    }

    @Test func theNewestImageBeforeTheHistoryStaysAndOlderOnesGo() {
        #expect(Self.kept(Self.manifest([50, 40, 30, 20, 10]), from: 25) == [50, 40, 30, 20])
        #expect(Self.kept(Self.manifest([50, 40, 30, 20, 10]), from: 45) == [50, 40])
        #expect(Self.kept(Self.manifest([50, 40, 30, 20, 10]), from: 60) == [50, 40])
    }

    @Test func anImageBehindWhichRecordsWereDroppedGoesUnlessItIsRecoverys() {
        #expect(Self.kept(Self.manifest([50, 40, 30, 20], compactedThrough: 25), from: 1) == [50, 40, 30])
        #expect(Self.kept(Self.manifest([50, 40, 30, 20], compactedThrough: 50), from: 1) == [50, 40])
    }

    @Test func imagesStayWithinTheirSpace() {
        #expect(Self.kept(Self.manifest([50, 40, 30, 20, 10]), from: 1, bytes: 200).count == 4)
        #expect(Self.kept(Self.manifest([50, 40, 30, 20, 10]), from: 1, bytes: 99) == [50, 40])
    }

    @Test func imagesThatComeOneByOneAreSpreadOverTheHistory() {
        var sequences: [UInt64] = []
        for number in 1...500 as ClosedRange<UInt64> {
            let start = number > 200 ? (number - 200) * 1000 : 0
            sequences = Self.kept(Self.manifest([number * 1000] + sequences), from: start)
            #expect(sequences.count <= CheckpointThinning.keptCountMax)
            if number > 201 { #expect(sequences.last.map { $0 <= start } == true, "the start can't be replayed") }
        }
        let gaps = zip(sequences, sequences.dropFirst()).map { $0 - $1 }
        #expect(gaps.max().map { $0 <= 120_000 } == true, "\(sequences)")
    }
}
