// Where fuzzers come in: each function feeds bytes to one decoder and traps when what it accepted is not what the
// encoder writes. Refusing is fine; whatever the bytes are, nothing else may trap.

internal import HoldfastBytes
internal import HoldfastEngine

/// Feeds arbitrary bytes to the decoders.
public enum DecoderProbe {
    /// Reads a record: its kind, then its body.
    public static func record(_ bytes: [UInt8]) {
        guard let kind = bytes.first else { return }
        record(kind: kind, body: Array(bytes[1...]), sequence: SequenceNumber(1 << 40))
    }

    static func record(kind: UInt8, body: [UInt8], sequence: SequenceNumber) {
        guard let record = try? Record(sequence: sequence, kind: kind, body: body.span) else { return }
        var writer = ByteWriter()
        record.encodeBody(into: &writer)
        precondition([UInt8](copying: writer.bytes) == body, "a record has one encoding")
    }

    /// Reads a set of sequence numbers.
    public static func bitmap(_ bytes: [UInt8]) {
        forms(bytes)
        var reader = ByteReader(bytes.span)
        guard let bitmap = try? SequenceBitmap(from: &reader) else { return }
        var writer = ByteWriter()
        bitmap.encode(into: &writer)
        precondition([UInt8](copying: writer.bytes) == Array(bytes[..<reader.offset]), "a set has one encoding")
        precondition(bitmap.isConsistent(), "a set that was read keeps its invariants")
    }

    /// Reads a set of sequence numbers as an image has it.
    private static func forms(_ bytes: [UInt8]) {
        var reader = ByteReader(bytes.span)
        guard var bitmap = try? SequenceBitmap(formsFrom: &reader) else { return }
        precondition(bitmap.isConsistent(), "a set that was read keeps its invariants")
        var union = SequenceBitmap()
        precondition(union.formDisjointUnion(with: bitmap), "nothing was there")
        union.settle()
        precondition(union == bitmap && union.isConsistent(), "a union with nothing is the set itself")
        if let last = bitmap.last { precondition(bitmap.remove(last) && bitmap.isConsistent(), "its last is a member") }
    }

    /// Reads the image of a state.
    public static func image(_ bytes: [UInt8]) {
        guard let state = try? QueueState(image: bytes.span) else { return }
        state.checkInvariants()
        var writer = ByteWriter()
        state.encodeImage(into: &writer)
        guard let again = try? QueueState(image: writer.bytes) else {
            preconditionFailure("an image can be read again")
        }
        let isSame = again.digest(withCursors: true) == state.digest(withCursors: true)
        precondition(isSame, "an image read again is the same state")
    }
}
