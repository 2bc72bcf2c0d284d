// Where cursors stand after what.

import HoldfastBytes
import HoldfastEngine
import Testing

@Suite struct CursorTests {
    private func next(_ name: String, in engine: EngineHarness) -> UInt64? {
        engine.state.cursor(name)?.next.rawValue
    }

    @Test func aCursorGoesForwardAndBackOnlyByAReset() throws {
        var engine = EngineHarness()
        for _ in 0..<5 { try engine.enqueue() }
        try engine.run(.moveCursor("c", .create(at: SequenceNumber(1), .standard)))
        try engine.run(.moveCursor("c", .advance(to: SequenceNumber(4))))
        #expect(next("c", in: engine) == 4)
        #expect(code { try engine.run(.moveCursor("c", .advance(to: SequenceNumber(2)))) } == .invalidState)
        #expect(code { try engine.run(.moveCursor("c", .advance(to: SequenceNumber(99)))) } == .invalidState)
        #expect(code { try engine.run(.moveCursor("c", .reset(to: .zero))) } == .invalidState)
        #expect(next("c", in: engine) == 4)
        let records = engine.records.count
        try engine.run(.moveCursor("c", .advance(to: SequenceNumber(4))))
        try engine.run(.moveCursor("c", .create(at: SequenceNumber(1), .standard)))
        #expect(engine.records.count == records, "nothing happened, so nothing is recorded")
        try engine.run(.moveCursor("c", .reset(to: SequenceNumber(2))))
        #expect(next("c", in: engine) == 2)
        try engine.run(.moveCursor("c", .remove))
        #expect(engine.state.cursor("c") == nil)
        for move in [CursorMove.remove, .advance(to: SequenceNumber(1)), .reset(to: SequenceNumber(1))] {
            #expect(code { try engine.run(.moveCursor("c", move)) } == .notFound)
        }
    }

    @Test func recordsAboutCursorsLeaveNobodyBehind() throws {
        var engine = EngineHarness()
        for _ in 0..<3 { try engine.enqueue() }
        try engine.run(.moveCursor("a", .create(at: SequenceNumber(4), .standard)))
        try engine.run(.moveCursor("b", .create(at: SequenceNumber(1), .standard)))
        #expect(next("a", in: engine) == 6)
        #expect(next("b", in: engine) == 1)
        // It was shown record 3 and nothing of what came after: so it is at the end.
        try engine.run(.moveCursor("b", .advance(to: SequenceNumber(4))))
        #expect(next("b", in: engine) == 7)
        #expect(next("a", in: engine) == 7)
        let records = engine.records.count
        try engine.run(.moveCursor("b", .advance(to: SequenceNumber(4))))
        #expect(engine.records.count == records)
        let job = try engine.enqueue()
        #expect(next("a", in: engine) == job.rawValue)
        try engine.run(.moveCursor("b", .remove))
        #expect(next("a", in: engine) == job.rawValue)
        #expect(try engine.replayed().digest(withCursors: true) == engine.state.digest(withCursors: true))
        #expect(try engine.restored().digest(withCursors: true) == engine.state.digest(withCursors: true))
    }

    @Test func theDigestOfQueuesAndEffectsDoesNotKnowWhoFollows() throws {
        var engine = EngineHarness()
        try engine.enqueue()
        let (digest, whole) = (engine.state.digest(), engine.state.digest(withCursors: true))
        try engine.run(.moveCursor("c", .create(at: SequenceNumber(1), .standard)))
        #expect(engine.state.digest() == digest)
        #expect(engine.state.digest(withCursors: true) != whole)
        #expect(try engine.restored().digest(withCursors: true) == engine.state.digest(withCursors: true))
        try engine.run(.moveCursor("c", .remove))
        #expect(engine.state.digest(withCursors: true) == whole)
    }

    @Test func thereIsABoundOnCursors() throws {
        var engine = EngineHarness()
        try engine.enqueue()
        for number in 0..<RecordLimits.cursorsMax {
            try engine.append(
                .cursorSet(
                    CursorSet(name: "\(number)", cursor: Cursor(next: SequenceNumber(1), caps: .standard))))
        }
        let create = CursorMove.create(at: SequenceNumber(1), .standard)
        #expect(code { try engine.run(.moveCursor("more", create)) } == .invalidState)
        let more = CursorSet(name: "more", cursor: Cursor(next: SequenceNumber(1), caps: .standard))
        #expect(code { try engine.append(.cursorSet(more)) } == .corrupt)
        try engine.run(.moveCursor("7", .remove))
        try engine.run(.moveCursor("more", create))
        #expect(engine.state.cursorCount == RecordLimits.cursorsMax)
    }
}
