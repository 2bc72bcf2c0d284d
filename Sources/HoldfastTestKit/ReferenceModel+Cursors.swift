// Cursors in the model: a list of who said what, and a note of which records consumers are not shown.

internal import HoldfastBytes
package import HoldfastEngine

extension ReferenceModel {
    /// The cursors by name, each where its consumer goes on.
    package var standingCursors: [String: Cursor] {
        var result: [String: Cursor] = [:]
        for (name, cursor) in cursors {
            result[name] = Cursor(next: standing(cursor.next), caps: cursor.caps)
        }
        return result
    }

    /// The last record that consumers are shown.
    private var lastShown: SequenceNumber { cursorRecords[last] ?? last }

    /// Who was shown everything stands at the end.
    private func standing(_ next: SequenceNumber) -> SequenceNumber { next > lastShown ? last.next : next }

    /// A record about a cursor was added: who was shown everything before it is still at the end.
    mutating func leaveNobodyBehind() {
        for index in cursors.indices { cursors[index].cursor.next = standing(cursors[index].cursor.next) }
    }

    mutating func moveCursor(
        _ name: String, _ move: CursorMove, _ sequence: SequenceNumber
    ) throws(EngineError) -> (reply: Reply, records: Int) {
        let index = cursors.firstIndex { $0.name == name }
        switch (move, index) {
        case (.create(let start, let caps), nil):
            try require(start)
            if cursors.isEmpty { cursorRecords = [:] }
            cursors.append((name, Cursor(next: start, caps: caps)))
            cursorRecords[sequence] = lastShown
            return (.cursor(next: start, isNew: true), 1)
        case (.create, let index?):
            return (.cursor(next: standing(cursors[index].cursor.next), isNew: false), 0)
        case (.advance(let next), let index?), (.reset(let next), let index?):
            try require(next)
            let known = standing(cursors[index].cursor.next)
            if standing(next) == known { return (.cursor(next: known, isNew: false), 0) }
            if case .advance = move, standing(next) < known {
                throw EngineError(.invalidState, "the model refuses")
            }
            cursors[index].cursor.next = next
            cursorRecords[sequence] = lastShown
            return (.cursor(next: next, isNew: false), 1)
        case (.remove, let index?):
            cursors.remove(at: index)
            cursorRecords[sequence] = lastShown
            return (.done, 1)
        case (_, nil): throw EngineError(.notFound, "the model refuses")
        }
    }

    private func require(_ next: SequenceNumber) throws(EngineError) {
        guard next > .zero, next <= last.next else { throw EngineError(.invalidState, "the model refuses") }
    }
}
