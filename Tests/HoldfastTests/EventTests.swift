// Following a store: every record once and in order, from whatever place, however slow the consumer, over restarts of
// consumer and store.

import Holdfast
import HoldfastBytes
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct EventTests {
    private static let jobs = 800

    /// Takes `count` events, beginning anew after each few.
    private static func follow(
        _ store: JobStore, from start: StoreEvents.Start, until last: String, restartingAfter count: Int
    ) async throws -> [StoreEvent] {
        var events: [StoreEvent] = []
        var next = start
        while true {
            var taken = 0
            for try await event in store.events(from: next) {
                events.append(event)
                taken += 1
                if event.payload.map({ String(decoding: $0, as: UTF8.self) }) == last { return events }
                if taken == count { break }
            }
            guard let event = events.last else { return events }
            next = .sequence(event.sequence.next)
        }
    }

    @Test func consumersUnderLoadSeeEveryRecordOnceWhereverTheyBegin() async throws {
        try await withStore({ $0.history = .unlimited }) { store, _ in
            for number in 0..<200 { _ = try await store.enqueue("q", payload: bytes("\(number)")) }
            let middle = SequenceNumber(120)
            async let oldest = Self.follow(store, from: .oldest, until: "end", restartingAfter: 97)
            async let some = Self.follow(store, from: .sequence(middle), until: "end", restartingAfter: 1)
            let now = store.events(from: .now)
            async let slow = Self.drain(now, until: "end")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<8 {
                    group.addTask {
                        for number in 0..<(Self.jobs / 8) {
                            _ = try await store.enqueue("q", payload: bytes("\(writer) \(number)"))
                            for lease in try await store.lease(from: "q") { try await store.ack(lease) }
                        }
                    }
                }
                try await group.waitForAll()
            }
            try await store.checkpoint()
            try await store.compact()
            let last = try await store.enqueue("q", payload: bytes("end")).id.sequence
            let all = (1...last.rawValue).map { SequenceNumber($0) }
            #expect(try await oldest.map(\.sequence) == all)
            #expect(try await some.map(\.sequence) == all.filter { $0 >= middle })
            #expect(try await slow.map(\.sequence) == all.filter { $0 > SequenceNumber(200) })
            #expect(try await oldest.filter { $0.record.kind == "ack" }.count == Self.jobs / 8 * 8)
        }
    }

    private static func drain(_ events: StoreEvents, until last: String) async throws -> [StoreEvent] {
        var result: [StoreEvent] = []
        for try await event in events {
            result.append(event)
            if event.payload.map({ String(decoding: $0, as: UTF8.self) }) == last { break }
        }
        return result
    }

    @Test func closingEndsTheEventsAndTheNextOpeningGoesOnBehindThem() async throws {
        let fixture = try StoreFixture()
        let store = try await fixture.open()
        let events = store.events(from: .oldest)
        async let shown = Self.all(events)
        for _ in 0..<20 { _ = try await store.enqueue("q", payload: [1]) }
        try await store.close()
        let first = try await shown
        let again = try await fixture.open()
        _ = try await again.enqueue("q", payload: bytes("end"))
        let next = first.last.map { $0.sequence.next } ?? SequenceNumber(1)
        let rest = try await Self.follow(again, from: .sequence(next), until: "end", restartingAfter: 3)
        #expect((first + rest).map(\.sequence.rawValue) == Array(1...21))
        try await again.close()
    }

    private static func all(_ events: StoreEvents) async throws -> [StoreEvent] {
        var result: [StoreEvent] = []
        for try await event in events { result.append(event) }
        return result
    }

    @Test func cancellingEndsAWaitingConsumer() async throws {
        try await withStore { store, _ in
            let consumers = (0..<4).map { _ in Task { try await Self.all(store.events(from: .now)) } }
            _ = try await store.enqueue("q", payload: [1])
            for consumer in consumers { consumer.cancel() }
            for consumer in consumers { #expect(try await consumer.value.count <= 1) }
        }
    }

    @Test func whatCompactionDroppedIsToldAndTheOldestGoesOnBehindIt() async throws {
        try await withStore({ $0.history = .none }) { store, _ in
            for _ in 0..<30 { _ = try await store.enqueue("q", payload: [1]) }
            for lease in try await store.lease(from: "q", limit: 30) { try await store.ack(lease) }
            try await store.compact()
            let last = try await store.enqueue("q", payload: bytes("end")).id.sequence
            do {
                for try await _ in store.events(from: .sequence(SequenceNumber(5))) {
                    Issue.record("a record is missing before it")
                    break
                }
                Issue.record("nothing was refused")
            } catch let error as JobStoreError {
                #expect(error.code == .beyondHistory)
                let oldest = try #require(error.oldest)
                let events = try await Self.drain(store.events(from: .sequence(oldest)), until: "end")
                #expect(events.last?.sequence == last)
                #expect(try await Self.drain(store.events(from: .oldest), until: "end") == events)
            }
        }
    }
}
