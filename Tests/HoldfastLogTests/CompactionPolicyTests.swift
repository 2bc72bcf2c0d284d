// Which segments are rewritten, decided on paper; and a simulation of many decisions that checks what they cost.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite struct CompactionPolicyTests {
    private static func segment(
        _ bytes: Int = 1 << 20, needed: Int = 1000, covered: Bool = true, measured: Int? = nil
    ) -> CompactionCandidate {
        CompactionCandidate(
            bytes: bytes, rawBytes: bytes * 2, records: 1000, needed: needed, isCovered: covered,
            measurement: measured.map { .init(needed: needed, bytes: $0, logBytes: 0) })
    }

    private static func next(_ candidates: [CompactionCandidate], logBytes: UInt64 = 0) -> CompactionStep? {
        CompactionPolicy.next(candidates, logBytes: logBytes, roomBytes: 32 << 20)
    }

    @Test func whatIsAllNeededStaysAsItIs() {
        #expect(Self.next([Self.segment(), Self.segment()]) == nil)
    }

    @Test func whatIsNotCoveredByCheckpointsStaysAsItIs() {
        #expect(Self.next([Self.segment(needed: 0, covered: false)]) == nil)
    }

    @Test func whatNothingIsNeededOfGoesWithoutBeingRead() {
        #expect(Self.next([Self.segment(), Self.segment(needed: 0)]) == .rewrite(1..<2))
    }

    @Test func aSegmentIsReadBeforeItIsJudged() {
        #expect(Self.next([Self.segment(needed: 900)]) == .measure(0))
        #expect(Self.next([Self.segment(needed: 900, measured: 1_500_000)]) == nil)
        #expect(Self.next([Self.segment(needed: 900, measured: 1_000_000)]) == .rewrite(0..<1))
    }

    @Test func wastefulNeighboursBecomeOne() {
        let waste = Self.segment(needed: 10, measured: 100)
        #expect(Self.next([Self.segment(), waste, waste, waste, Self.segment(), waste]) == .rewrite(1..<4))
    }

    /// Both old and new lie on the disk until the old ones go.
    @Test func oneRewriteMakesNoMoreThanThereIsRoomFor() {
        // Three megabytes of each are needed.
        let waste = Self.segment(4 << 20, needed: 10, measured: 3 << 20)
        let six = [CompactionCandidate](repeating: waste, count: 6)
        #expect(CompactionPolicy.next(six, logBytes: 0, roomBytes: 1 << 20) == .rewrite(0..<2), "an eighth: 6 MiB")
        #expect(CompactionPolicy.next(six, logBytes: 0, roomBytes: 9 << 20) == .rewrite(0..<3))
        let small = [CompactionCandidate](repeating: Self.segment(1000), count: 16)
        #expect(CompactionPolicy.next(small, logBytes: 0, roomBytes: 31_999) == nil)
        #expect(CompactionPolicy.next(small, logBytes: 0, roomBytes: 32_000) == .rewrite(0..<16))
    }

    @Test func itIsReadAgainOnceAQuarterLessIsNeededOrTheLogGrewByHalf() {
        var segment = Self.segment(needed: 900, measured: 2_000_000)
        segment.needed = 700
        #expect(Self.next([segment], logBytes: 10) == nil)
        #expect(Self.next([segment], logBytes: 1 << 20) == .measure(0))
        segment.needed = 675
        #expect(Self.next([segment]) == .measure(0))
    }

    @Test func whatCanNotBeReadIsLeftAlone() {
        var broken = Self.segment(needed: 10)
        broken.staysAsItIs = true
        #expect(Self.next([broken]) == nil)
        let small = [CompactionCandidate](repeating: Self.segment(1000), count: 12)
        #expect(Self.next(small + [broken] + small) == nil)
        #expect(Self.next(small + small) == .rewrite(8..<24))
    }

    @Test func smallNeighboursBecomeOneUnlessOneIsMuchLarger() {
        let small = [CompactionCandidate](repeating: Self.segment(1000), count: 15)
        #expect(Self.next(small) == nil)
        #expect(Self.next(small + [Self.segment(1000)]) == .rewrite(0..<16))
        #expect(Self.next([Self.segment(1 << 20)] + small) == nil)
        let large = [CompactionCandidate](repeating: Self.segment(5 << 20), count: 20)
        #expect(Self.next(large) == nil)
    }

    /// Raw, they would not fit into one: they would become as many again, without end.
    @Test func whatCompressesWellIsNotMergedForEver() {
        let well = CompactionCandidate(bytes: 2 << 20, rawBytes: 64 << 20, records: 1000, needed: 1000, isCovered: true)
        #expect(Self.next([CompactionCandidate](repeating: well, count: 40)) == nil)
    }

    /// However the sizes vary, merging costs each byte a few rewrites and leaves few segments.
    @Test(arguments: [UInt64(1), 2, 3]) func aTrickleLeavesFewSegmentsAndIsRewrittenAFewTimes(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var segments: [CompactionCandidate] = []
        var (written, rewritten) = (0, 0)
        for _ in 0..<5000 {
            let bytes = random.pick(5_000...65_000)
            segments.append(Self.segment(bytes))
            written += bytes
            while case .rewrite(let run)? = Self.next(segments) {
                let bytes = segments[run].reduce(0) { $0 + $1.bytes }
                rewritten += bytes
                segments.replaceSubrange(run, with: [Self.segment(bytes)])
            }
        }
        #expect(segments.count < 64)
        #expect(rewritten < 3 * written)
    }
}
