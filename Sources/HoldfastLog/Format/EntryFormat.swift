// How records stand inside a frame. The log knows only their boundaries, sequence numbers and kinds:
//
//     entry = varint(length of kind and body) · varint(gap) · kind (u8) · body
//
// `gap` is the number of sequence numbers left out since the entry before it in the same frame (the first entry's is
// counted from the frame's first sequence number, so it is 0). In a journal it is always 0; where compaction dropped
// records it is not, and so sequence numbers never change. Kind 0 is never used: zeros can't be taken for an entry.

package import HoldfastBytes

package enum EntryFormat {
    /// A kind with this bit may be skipped by a reader that does not know it.
    package static let ignorableKindBit: UInt8 = 0x80
    /// The most bytes that precede an entry's kind.
    package static let prefixBytesMax = 20
}

/// One record as the log sees it, borrowed from a decoded frame.
package struct EntryView: ~Escapable {
    package let sequence: SequenceNumber
    package let kind: UInt8
    package let body: Span<UInt8>

    @_lifetime(copy body)
    package init(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) {
        self.sequence = sequence
        self.kind = kind
        self.body = body
    }
}

/// Walks the entries of one decoded frame.
package struct EntryCursor: ~Escapable {
    private var reader: ByteReader
    private var nextSequence: UInt64

    @_lifetime(copy raw)
    package init(_ raw: Span<UInt8>, firstSequence: SequenceNumber) {
        reader = ByteReader(raw)
        nextSequence = firstSequence.rawValue
    }

    /// Where the next entry starts, counted from the frame's first raw byte.
    package var offset: Int { reader.offset }

    /// Returns the next entry, or `nil` at the end.
    ///
    /// - Throws: `ByteReaderError` when the bytes are no entries.
    @_lifetime(copy self)
    package mutating func next() throws(ByteReaderError) -> EntryView? {
        if reader.isAtEnd { return nil }
        let start = reader.offset
        let length = try reader.varint(atMost: UInt64(UInt32.max))
        let gap = try reader.varint(atMost: SequenceNumber.max.rawValue)
        let isWithinBounds = length >= 1 && nextSequence + gap < SequenceNumber.max.rawValue
        guard isWithinBounds || Safeguard.entryBounds.isOff else {
            throw ByteReaderError(.tooLong, at: start)
        }
        let kind = try reader.u8()
        guard kind != 0 || Safeguard.entryBounds.isOff else { throw ByteReaderError(.truncated, at: start) }
        let body = try reader.span(Int(length) - 1)
        let sequence = SequenceNumber(nextSequence + gap)
        nextSequence = sequence.rawValue + 1
        return EntryView(sequence: sequence, kind: kind, body: body)
    }
}
