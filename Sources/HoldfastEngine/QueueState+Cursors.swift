// Named cursors: how far each consumer of the log has come. What a cursor holds back from compaction is decided above;
// here is only where it stands and how much it may hold at most.
//
// Consumers are not shown records about cursors: two of them that note each record they were shown would otherwise feed
// each other for ever. So such a record leaves nobody behind: whoever has taken all that is shown stays at the end.
//
// Invariant: a cursor that has taken every record but those about cursors stands right behind the last record.

package import HoldfastBytes

/// What a cursor may hold back from compaction at most.
package struct CursorCaps: Hashable, Sendable {
    /// Bytes of records.
    package var bytes: UInt64
    /// Milliseconds since its next record was written.
    package var age: UInt64

    package init(bytes: UInt64, age: UInt64) { (self.bytes, self.age) = (bytes, age) }

    /// 256 MiB and seven days.
    package static let standard = CursorCaps(bytes: 256 << 20, age: 7 * 86_400_000)
    /// The most that either can be set to.
    package static let bytesMax: UInt64 = 1 << 62
    package static let ageMax = UInt64(Timestamp.max.milliseconds)
}

/// Where a consumer goes on.
package struct Cursor: Hashable, Sendable {
    /// It has taken every record before this one.
    package var next: SequenceNumber
    package var caps: CursorCaps

    package init(next: SequenceNumber, caps: CursorCaps) { (self.next, self.caps) = (next, caps) }
}

/// How a cursor is to be moved.
package enum CursorMove: Hashable, Sendable {
    /// It is made, unless there is one of the name: that stays as it is.
    case create(at: SequenceNumber, CursorCaps)
    /// Forward, or not at all.
    case advance(to: SequenceNumber)
    /// Anywhere.
    case reset(to: SequenceNumber)
    /// It is forgotten.
    case remove
}

extension QueueState {
    /// The cursors, by name.
    package var allCursors: [(name: String, cursor: Cursor)] {
        cursors.sorted { $0.key < $1.key }.map { ($0.key.string, $0.value) }
    }

    /// How many there are.
    package var cursorCount: Int { cursors.count }

    /// Returns where a consumer stands.
    package func cursor(_ name: String) -> Cursor? { cursors[Name(name)] }

    /// Whether a consumer at `next` was shown everything.
    private func isAtEnd(_ next: SequenceNumber) -> Bool { next > lastShown }

    // MARK: - Deciding

    func decide(_ name: String, _ move: CursorMove) throws(EngineError) -> Decision {
        let known = cursors[Name(name)]
        switch move {
        case .create(let start, let caps):
            if let known { return Decision(mutations: .none, reply: .cursor(next: known.next, isNew: false)) }
            guard cursors.count < RecordLimits.cursorsMax else {
                throw EngineError(
                    .invalidState,
                    "there are \(cursors.count) cursors, as many as there may be; remove one that is not used any more")
            }
            try require(start)
            return Decision(
                .cursorSet(CursorSet(name: name, cursor: Cursor(next: start, caps: caps))),
                .cursor(next: start, isNew: true))
        case .advance(let next), .reset(let next):
            guard var cursor = known else { throw Self.unknownCursor(name) }
            try require(next)
            let target = isAtEnd(next) ? lastSequence.next : next
            guard target != cursor.next else {
                return Decision(mutations: .none, reply: .cursor(next: cursor.next, isNew: false))
            }
            if case .advance = move, target < cursor.next, Safeguard.cursorOrder.isOn {
                throw EngineError(
                    .invalidState,
                    "cursor \(name) has come to record \(cursor.next) and does not go back to \(next) by itself; "
                        + "reset it to see those records again")
            }
            cursor.next = next
            return Decision(
                .cursorSet(CursorSet(name: name, cursor: cursor)), .cursor(next: next, isNew: false))
        case .remove:
            guard known != nil else { throw Self.unknownCursor(name) }
            return Decision(.cursorRemove(CursorRemove(name: name)), .done)
        }
    }

    private func require(_ next: SequenceNumber) throws(EngineError) {
        guard next >= SequenceNumber(1), next <= lastSequence.next else {
            throw EngineError(
                .invalidState,
                "a cursor can't stand at record \(next); give 1 to \(lastSequence.next), the one that comes next")
        }
    }

    private static func unknownCursor(_ name: String) -> EngineError {
        EngineError(.notFound, "there is no cursor \(name); check the name, or begin with it anew")
    }

    // MARK: - Validating and applying

    /// Whether a record about a cursor may follow.
    func isLegal(_ set: CursorSet, at sequence: SequenceNumber) -> Bool {
        !set.name.isEmpty && set.cursor.next >= SequenceNumber(1) && set.cursor.next <= lastSequence.next
            && (cursors[Name(set.name)] != nil || cursors.count < RecordLimits.cursorsMax)
    }

    mutating func apply(_ set: CursorSet, at sequence: SequenceNumber) {
        guard isLegal(set, at: sequence) else { return passCursors(sequence) }
        // Without a cursor nothing depends on what came last: so it is no part of the state.
        if cursors.isEmpty { lastShown = lastSequence }
        cursors[Name(set.name)] = set.cursor
        passCursors(sequence)
    }

    mutating func apply(_ remove: CursorRemove, at sequence: SequenceNumber) {
        cursors[Name(remove.name)] = nil
        passCursors(sequence)
    }

    /// Leaves those at the end at the end, behind the record about a cursor at `sequence`.
    private mutating func passCursors(_ sequence: SequenceNumber) {
        for index in cursors.values.indices where cursors.values[index].next > lastShown {
            cursors.values[index].next = sequence.next
        }
    }

    // MARK: - In digest and image

    /// Appends how many cursors there are, and what they are.
    func encodeCursors(into writer: inout ByteWriter) {
        writer.append(varint: UInt64(cursors.count))
        guard !cursors.isEmpty else { return }
        writer.append(varint: lastShown.rawValue)
        for (name, cursor) in cursors.sorted(by: { $0.key < $1.key }) {
            writer.append(counted: name.string)
            writer.append(varint: cursor.next.rawValue)
            writer.append(varint: cursor.caps.bytes)
            writer.append(varint: cursor.caps.age)
        }
    }

    /// Reads what `encodeCursors` appended.
    mutating func decodeCursors(_ reader: inout ByteReader) throws {
        let count = try reader.varint(atMost: UInt64(RecordLimits.cursorsMax))
        guard count > 0 else { return }
        lastShown = SequenceNumber(try reader.varint(atMost: lastSequence.rawValue))
        var previous: Name?
        for _ in 0..<count {
            let name = Name(try reader.countedString(atMost: RecordLimits.nameBytesMax))
            let isNext = previous.map { $0 < name } ?? true
            guard isNext, !name.string.isEmpty else { throw Self.corruptImage("cursors are out of order") }
            previous = name
            let next = SequenceNumber(try reader.varint(atMost: lastSequence.rawValue + 1))
            let bytes = try reader.varint(atMost: CursorCaps.bytesMax)
            let age = try reader.varint(atMost: CursorCaps.ageMax)
            guard next >= SequenceNumber(1), next <= lastShown || next == lastSequence.next else {
                throw Self.corruptImage("cursor \(name.string) stands nowhere")
            }
            cursors[name] = Cursor(next: next, caps: CursorCaps(bytes: bytes, age: age))
        }
    }
}
