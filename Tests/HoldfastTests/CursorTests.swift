// Consumers that go by a cursor: each record once as long as they commit, over restarts; none lost while they lag by
// less than their limits; and a dead one does not keep the log from shrinking.

import Holdfast
import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

@Suite(.timeLimit(.minutes(10))) struct CursorTests {
    /// Adds jobs with payloads that don't compress, and ends them.
    private static func churn(_ store: JobStore, _ count: Int, size: Int = 1000) async throws {
        var random = SeededRandom(seed: 5)
        for _ in 0..<count {
            _ = try await store.enqueue("q", payload: random.bytes(size))
            for lease in try await store.lease(from: "q", for: .seconds(86_400)) { try await store.ack(lease) }
        }
    }

    /// Takes events until `count` were taken or `last` was, committing after each `stride`.
    private static func take(
        _ events: CursorEvents, _ count: Int = .max, until last: SequenceNumber, committingEach stride: Int = 1
    ) async throws -> [StoreEvent] {
        var taken: [StoreEvent] = []
        if count == 0 { return taken }
        for try await event in events {
            taken.append(event)
            if taken.count % stride == 0 { try await events.commit() }
            if taken.count == count || event.sequence == last { break }
        }
        return taken
    }

    /// A compaction under way dropped what a new consumer had just been promised.
    @Test(arguments: [StoreEvents.Start.oldest, .sequence(SequenceNumber(1))])
    func whoBeginsWhileRecordsAreBeingDroppedIsShownThemAll(start: StoreEvents.Start) async throws {
        let disk = SimulatedFileSystem()
        var options = JobStoreOptions()
        options.fileSystem = disk
        options.history = .none
        options.compaction = .onDemand
        let store = try await JobStore.open(at: "/store", options: options)
        try await Self.churn(store, 20)
        let last = try await store.enqueue("end", payload: [1]).id.sequence
        let (begun, begin) = AsyncStream.makeStream(of: Void.self)
        let isOpen = Locked(false)
        let opened = Task {
            defer { isOpen.withLock { $0 = true } }
            for await _ in begun {}
            return try await store.events(cursor: "late", from: start)
        }
        // The first segment is the sealed one. The second is the rewritten one, which is not in force yet.
        let segments = Locked(0)
        disk.whileSyncing { path in
            guard path.hasSuffix(".seg"),
                segments.withLock({
                    $0 += 1; return $0
                }) == 2
            else { return }
            begin.finish()
            while !isOpen.withLock({ $0 }) { sched_yield() }
        }
        // It gives way to the consumer and begins anew.
        try await store.compact()
        #expect(segments.withLock { $0 } > 2)
        disk.whileSyncing(nil)
        let events = try await opened.value
        #expect(try await Self.take(events, until: last).count == 61)
        try await events.commit()
        let summary = try await store.compact()
        #expect(summary.bytesAfter < summary.bytesBefore / 2)
        try await store.close()
    }

    @Test func aConsumerSeesEachRecordOnceOverRestartsAndCompactions() async throws {
        let fixture = try StoreFixture()
        var seen: [SequenceNumber] = []
        var shown: [SequenceNumber] = []
        for round in 0..<6 {
            let store = try await fixture.open {
                $0.history = .none
                $0.compaction = .automatic(share: 1)
            }
            let events = try await store.events(cursor: "mailer")
            try await Self.churn(store, 60)
            let last = try await store.enqueue("end", payload: [UInt8(round)]).id.sequence
            shown.append(last)
            try await store.compact()
            seen += try await Self.take(events, 70 + round, until: last).map(\.sequence)
            try await store.checkpoint()
            try await store.compact()
            try await store.close()
        }
        let store = try await fixture.open { $0.history = .none }
        let last = try #require(shown.last)
        let events = try await store.events(cursor: "mailer", from: .now)
        seen += try await Self.take(events, until: last).map(\.sequence)
        #expect(Set(seen).count == seen.count && seen == seen.sorted())
        #expect(Set(seen).isSuperset(of: shown))
        // 61 enqueues, 60 leases and 60 acks a round, of which each was shown.
        #expect(seen.count == 6 * 181)
        #expect(try await store.cursors().map(\.lagRecords) == [0])
        try await store.close()
    }

    @Test func whatWasNotCommittedIsShownAgain() async throws {
        let fixture = try StoreFixture()
        let store = try await fixture.open()
        for number in 0..<10 { _ = try await store.enqueue("q", payload: [UInt8(number)]) }
        let first = try await store.events(cursor: "c")
        _ = try await Self.take(first, 7, until: SequenceNumber(10), committingEach: 4)
        try await store.close()
        let again = try await fixture.open()
        let next = try await Self.take(
            try await again.events(cursor: "c"), until: SequenceNumber(10), committingEach: .max)
        #expect(next.map(\.sequence.rawValue) == Array(5...10))
        try await again.close()
    }

    @Test func aCursorKeepsWhatItsConsumerHasNotSeenUntilItsLimitAndThenLetsGo() async throws {
        try await withStore({
            $0.history = .none
            $0.compaction = .onDemand
        }) { store, _ in
            _ = try await store.events(cursor: "dead", limits: CursorLimits(bytes: 200_000))
            try await Self.churn(store, 100)
            try await store.compact()
            let row = try #require(try await store.cursors().first)
            #expect(row.isHolding == true && row.next == SequenceNumber(2))
            #expect((row.lagBytes ?? 0) > 100_000)
            let last = SequenceNumber(row.next.rawValue + row.lagRecords - 1)
            let all = try await Self.take(
                try await store.events(cursor: "dead"), until: last,
                committingEach: .max)
            #expect(all.count == 300, "not one record was dropped")
            try await Self.churn(store, 150)
            let before = try await store.stats().logBytes
            try await store.compact()
            #expect(try await store.stats().logBytes < before - 200_000)
            #expect(try await store.cursors().first?.isHolding == false)
            await expectRefusal(.beyondHistory) { _ = try await store.events(cursor: "dead") }
        }
    }

    @Test func aConsumerThatStayedAwayTooLongIsToldAndGoesOnAfterAReset() async throws {
        try await withStore({
            $0.history = .none
            $0.compaction = .onDemand
        }) { store, fixture in
            let limits = CursorLimits(age: .seconds(60))
            let live = try await store.events(cursor: "live", limits: limits)
            let dead = try await store.events(cursor: "dead", limits: limits)
            try await Self.churn(store, 20)
            _ = try await Self.take(live, until: SequenceNumber(62))
            fixture.clock.advance(byMilliseconds: 60_001)
            // Whoever has seen everything does not grow old.
            try await store.compact()
            let rows = try await store.cursors()
            #expect(rows.map(\.name) == ["dead", "live"] && rows.map(\.isHolding) == [false, true])
            let error = await #expect(throws: JobStoreError.self) {
                _ = try await Self.take(dead, until: SequenceNumber(62))
            }
            #expect(error?.code == .beyondHistory && error?.message.contains("reset") == true)
            let oldest = try #require(error?.oldest)
            #expect(try await store.reset(cursor: "dead", to: .sequence(oldest)) >= oldest)
            let end = try await store.enqueue("q", payload: [1]).id.sequence
            for name in ["dead", "live"] {
                let events = try await store.events(cursor: name)
                #expect(try await Self.take(events, until: end).map(\.sequence) == [end])
            }
        }
    }

    /// After a crash numbers go on further up; a record there is as young as it says.
    @Test func aGapInTheNumbersAgesNobody() async throws {
        let disk = SimulatedFileSystem()
        var options = JobStoreOptions()
        let clock = ManualClock()
        options.clock = clock
        options.fileSystem = disk
        options.history = .none
        options.compaction = .onDemand
        let store = try await JobStore.open(at: "/store", options: options)
        let events = try await store.events(cursor: "c", limits: CursorLimits(age: .seconds(60)))
        try await Self.churn(store, 20)
        _ = try await Self.take(events, until: SequenceNumber(61))
        try await store.compact()
        options.fileSystem = disk.crashImage(.nothingPending)
        try await store.close()
        clock.advance(byMilliseconds: 3_600_000)
        let again = try await JobStore.open(at: "/store", options: options)
        try await Self.churn(again, 20)
        let end = try await again.enqueue("q", payload: [1]).id.sequence
        #expect(end.rawValue > 1000)
        try await again.compact()
        #expect(try await again.cursors().first?.isHolding == true)
        #expect(try await Self.take(try await again.events(cursor: "c"), until: end).count == 61)
        try await again.close()
    }

    @Test func consumersDoNotFeedEachOther() async throws {
        try await withStore { store, _ in
            let names = ["a", "b", "c"]
            for _ in 0..<5 { _ = try await store.enqueue("q", payload: [1]) }
            let last = try await store.enqueue("q", payload: [2]).id.sequence
            for name in names {
                let events = try await store.events(cursor: name)
                #expect(try await Self.take(events, until: last).count == 6)
            }
            #expect(try await store.cursors().map(\.lagRecords) == [0, 0, 0])
            let end = try await store.enqueue("q", payload: [3]).id.sequence
            for name in names {
                let events = try await store.events(cursor: name)
                #expect(try await Self.take(events, until: end).map(\.sequence) == [end])
            }
            // Who goes by no cursor is shown all there is.
            var kinds: Set<String> = []
            for try await event in store.events(from: .oldest) {
                kinds.insert(event.record.kind)
                if event.sequence == end { break }
            }
            #expect(kinds == ["enqueue", "cursor_set"])
        }
    }

    @Test func thePastShowsWhereConsumersStood() async throws {
        try await withStore({ $0.history = .unlimited }) { store, _ in
            for _ in 0..<4 { _ = try await store.enqueue("q", payload: [1]) }
            _ = try await store.events(cursor: "c", limits: CursorLimits(bytes: 77, age: .seconds(3)))
            let made = try await store.stats().sequence
            try await store.advance(cursor: "c", to: SequenceNumber(3))
            let moved = try await store.stats().sequence
            try await store.removeCursor("c")
            #expect(try await store.cursors().isEmpty)
            let first = try #require(try await store.state(asOf: .sequence(made)).cursors.first)
            #expect(first.next == SequenceNumber(1) && first.limits == CursorLimits(bytes: 77, age: .seconds(3)))
            #expect(try await store.state(asOf: .sequence(moved)).cursors.map(\.next.rawValue) == [3])
        }
    }

    @Test func requestsThatMakeNoSenseAreRefusedAndChangeNothing() async throws {
        try await withStore { store, _ in
            _ = try await store.enqueue("q", payload: [1])
            let digest = try await store.digest()
            await expectRefusal(.badRequest) { _ = try await store.events(cursor: "") }
            await expectRefusal(.badRequest) { _ = try await store.events(cursor: String(repeating: "n", count: 256)) }
            await expectRefusal(.badRequest) {
                _ = try await store.events(cursor: "c", limits: CursorLimits(bytes: -1))
            }
            await expectRefusal(.badRequest) {
                _ = try await store.events(cursor: "c", limits: CursorLimits(age: .seconds(-1)))
            }
            await expectRefusal(.invalidState) {
                _ = try await store.events(cursor: "c", from: .sequence(SequenceNumber(9)))
            }
            await expectRefusal(.notFound) { try await store.advance(cursor: "c", to: SequenceNumber(1)) }
            await expectRefusal(.notFound) { try await store.reset(cursor: "c", to: .now) }
            await expectRefusal(.notFound) { try await store.removeCursor("c") }
            #expect(try await store.digest() == digest)
            _ = try await store.events(cursor: "c", from: .now)
            await expectRefusal(.invalidState) { try await store.advance(cursor: "c", to: SequenceNumber(1)) }
        }
    }
}
