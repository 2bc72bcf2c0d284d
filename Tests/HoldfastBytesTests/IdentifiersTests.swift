import HoldfastBytes
import Testing

@Suite struct IdentifiersTests {
    @Test func sequenceNumbersAdvance() {
        #expect(SequenceNumber.zero.next == SequenceNumber(1))
        #expect(SequenceNumber(5).advanced(by: 10) == SequenceNumber(15))
        #expect(SequenceNumber(SequenceNumber.max.rawValue - 1).next == .max)
        #expect(SequenceNumber(1) < SequenceNumber(2))
    }

    @Test func aJobIsNamedByItsEnqueueRecord() {
        #expect(JobID(SequenceNumber(7)).sequence == SequenceNumber(7))
        #expect(LeaseToken(SequenceNumber(7)) == LeaseToken(7))
        #expect(JobID(7).description == "7")
    }

    @Test func instantsAreClampedToWhatTheStoreAccepts() {
        #expect(Timestamp.max.advanced(byMilliseconds: 1) == .max)
        #expect(Timestamp.max.advanced(byMilliseconds: .max) == .max)
        #expect(Timestamp(milliseconds: .max).advanced(byMilliseconds: .max) == .max)
        #expect(Timestamp.zero.advanced(byMilliseconds: -1) == .zero)
        #expect(Timestamp(milliseconds: -5).advanced(byMilliseconds: .min) == .zero)
        #expect(Timestamp(milliseconds: 5).advanced(byMilliseconds: 6) == Timestamp(milliseconds: 11))
    }

    @Test func positionsAndSegmentsAreOrdered() {
        #expect(SegmentID(1).next == SegmentID(2))
        #expect(Epoch(1) < Epoch(2))
        #expect(LogPosition.zero.advanced(by: 4096) == LogPosition(4096))
    }
}
