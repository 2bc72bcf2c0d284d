// What cursors hold back from compaction. A consumer that is alive finds every record it has not seen; one that is dead
// holds no more than its limits say, and after that nothing: so the log can't grow without bound for its sake.
//
// Pure: what the log knows of bytes and times is given. Whoever drops records does so only once the log is durable as
// far as the cursors that it asked about.

internal import HoldfastBytes
internal import HoldfastEngine

/// Finds the first record that a cursor holds.
struct CursorPins {
    /// The last record that compaction may have dropped.
    let compactedThrough: SequenceNumber
    /// About how many bytes of records there are from a record on.
    let bytes: (SequenceNumber) -> Int
    /// How many milliseconds ago the first record from there on was written that consumers are shown, if there is one.
    /// Asked last: it takes a look at the log.
    let age: (SequenceNumber) throws(JobStoreError) -> UInt64?

    /// Whether compaction keeps what this consumer has not seen. One that has lost a record has to begin anew, and so
    /// holds nothing.
    func isHolding(_ cursor: Cursor) throws(JobStoreError) -> Bool {
        guard cursor.next > compactedThrough, UInt64(max(bytes(cursor.next), 0)) <= cursor.caps.bytes else {
            return false
        }
        return try age(cursor.next) ?? 0 <= cursor.caps.age
    }

    /// Returns the first record that any of `cursors` holds, or `nil`.
    func start(_ cursors: [Cursor]) throws(JobStoreError) -> SequenceNumber? {
        for cursor in cursors.sorted(by: { $0.next < $1.next }) where try isHolding(cursor) { return cursor.next }
        return nil
    }
}
