// The log end to end on the file system of the machine.

import HoldfastBytes
import Testing

@testable import HoldfastLog

@Suite(.timeLimit(.minutes(10))) struct WriteAheadLogTests {
    let directory = TemporaryDirectory()
    var store: String { directory.file("store") }

    func open(_ options: LogOptions = .small) throws -> OpenedLog {
        try OpenedLog(directory.fileSystem, store, options: options)
    }

    @Test func aNewStoreIsCreatedAndItsFirstRecordIsNumberOne() async throws {
        let opened = try open()
        #expect(opened.log.recovery.wasCreated)
        #expect(try await opened.commit([body(1)]) == SequenceNumber(1))
        try opened.log.close()
    }

    @Test func aMissingStoreIsNotCreatedUnasked() throws {
        let error = #expect(throws: LogError.self) {
            try OpenedLog(directory.fileSystem, store, createIfMissing: false)
        }
        #expect(error?.code == .notAStore)
        #expect(try directory.fileSystem.status(of: store) == nil)
    }

    @Test func aDirectoryOfSomethingElseIsNotTouched() throws {
        try directory.fileSystem.createDirectory(store)
        try directory.fileSystem.createDirectory(store + "/photos")
        let error = #expect(throws: LogError.self) { try open() }
        #expect(error?.code == .notAStore)
        #expect(try directory.fileSystem.list(store) == ["photos"])
    }

    @Test func aStoreThatIsOpenCanNotBeOpenedAgain() throws {
        let opened = try open()
        let error = #expect(throws: LogError.self) { try open() }
        #expect(error?.code == .locked)
        #expect(error?.message.hasSuffix("close it first") == true)
        try opened.log.close()
        try open().log.close()
    }

    /// Those of one call fill several frames.
    @Test func recordsOfOneCallAreThoseOfMany() async throws {
        let opened = try open()
        let bodies = (0..<2_000).map { [UInt8](repeating: UInt8($0 % 251), count: $0 % 300) }
        try await opened.log.wait(for: try append(bodies, to: opened.log))
        for (index, body) in bodies.enumerated() {
            #expect(try opened.log.entry(SequenceNumber(UInt64(index) + 1))?.body == body[...])
        }
        #expect(try await opened.commit([body(1)]) == SequenceNumber(2_001))
        try opened.log.close()
        let again = try open()
        #expect(again.replayed.count == 2_001 && again.replayed[SequenceNumber(1_000)] == bodies[999])
        try again.log.close()
    }

    /// They pass the number at which more have to be set aside, and wake who does that: nobody else would so soon.
    @Test func recordsOfOneCallSetMoreNumbersAside() async throws {
        let opened = try open()
        let log = opened.log
        // Until the log's own thread has nothing to do.
        _ = try log.checkpoint()
        let before = log.lock.withLock {
            log.reserved = log.nextSequence.advanced(by: WriteAheadLog.reservationStride / 2 + 10)
            return log.reserved
        }
        try await log.wait(for: try append([[UInt8]](repeating: [], count: 20), to: log))
        while log.lock.withLock({ log.reserved == before }) { await Task.yield() }
        try log.close()
    }

    private func append(_ bodies: [[UInt8]], to log: WriteAheadLog) throws -> CommitTicket {
        try log.lock.withLock {
            _ = try log.admission(isSettling: false)
            log.append(
                kind: OpaqueDelegate.keptKind, time: Timestamp(milliseconds: 1_700_000_000_001), count: bodies.count
            ) { $1.append(bodies[$0]) }
            return log.ticket
        }
    }

    @Test func recordsSurviveACleanCloseAndNumbersGoOnWithoutAGap() async throws {
        let first = try open()
        try await first.commit((1...100).map { body($0) })
        try first.log.close()

        let second = try open()
        #expect(second.log.recovery.wasClosedCleanly)
        #expect(second.log.recovery.skippedSequences == 0)
        let records = second.replayed
        #expect(records.count == 100)
        for number in 1...100 {
            #expect(records[SequenceNumber(UInt64(number))] == body(number))
            #expect(try second.log.entry(SequenceNumber(UInt64(number)))?.body == body(number)[...])
        }
        #expect(try await second.commit([body(101)]) == SequenceNumber(101))
        try second.log.close()
    }

    @Test func recordsSurviveACrashOfTheProcessAndNumbersAreNotReused() async throws {
        let first = try open()
        try await first.commit((1...50).map { body($0) })
        let copied = directory.file("copy")
        try directory.copy(store, to: copied)
        try first.log.close()

        let second = try OpenedLog(directory.fileSystem, copied)
        #expect(!second.log.recovery.wasClosedCleanly)
        #expect(second.replayed.count == 50)
        let next = try await second.commit([body(51)])
        #expect(next > SequenceNumber(50))
        #expect(second.log.recovery.skippedSequences == next.rawValue - 51)
        #expect(try second.log.entry(SequenceNumber(51)) == nil)
        #expect(try second.log.entry(next)?.body == body(51)[...])
        try second.log.close()
    }

    @Test func aRecordIsFoundWhereverItLies() async throws {
        let opened = try open()
        var expected: [SequenceNumber: [UInt8]] = [:]
        for round in 0..<40 {
            let bodies = (0..<20).map { body(round * 20 + $0, bytes: 400) }
            let first = try await opened.commit(bodies)
            for (index, body) in bodies.enumerated() { expected[first.advanced(by: UInt64(index))] = body }
        }
        #expect(opened.log.statistics.sealedSegments > 0)
        for (sequence, body) in expected { #expect(try opened.log.entry(sequence)?.body == body[...]) }
        #expect(try opened.log.entry(opened.log.lock.withLock { opened.log.nextSequence }) == nil)
        let ofKey = try opened.log.entries(key: 3, from: SequenceNumber(100))
        #expect(
            ofKey.map(\.sequence)
                == expected.filter { $0.value[0] == 3 && $0.key >= SequenceNumber(100) }
                .keys.sorted())
        try opened.log.close()

        let again = try open()
        #expect(again.replayed == expected)
        for (sequence, body) in expected { #expect(try again.log.entry(sequence)?.body == body[...]) }
        try again.log.close()
    }

    @Test(arguments: [33_000, 70_000, 1 << 20, 5 << 20])
    func aRecordLargerThanASegmentGetsOneOfItsOwn(bytes: Int) async throws {
        let opened = try open()
        var numbers: [SequenceNumber: [UInt8]] = [:]
        for round in 0..<3 {
            numbers[try await opened.commit([body(round)])] = body(round)
            numbers[try await opened.commit([body(round, bytes: bytes)])] = body(round, bytes: bytes)
        }
        for (sequence, body) in numbers { #expect(try opened.log.entry(sequence)?.body == body[...]) }
        try opened.log.close()
        let again = try open()
        #expect(again.replayed == numbers)
        try again.log.close()
    }

    @Test func aCheckpointIsFoundAgainWithWhatFollowsIt() async throws {
        let opened = try open()
        try await opened.commit((1...10).map { body($0) })
        let sequence = try opened.log.checkpoint()
        #expect(sequence == SequenceNumber(10))
        try await opened.commit((11...15).map { body($0) })
        let copied = directory.file("copy")
        try directory.copy(store, to: copied)
        try opened.log.close()

        let again = try OpenedLog(directory.fileSystem, copied)
        let found = try #require(again.checkpoint)
        #expect(found.sequence == sequence)
        #expect(found.image.first.map(UInt64.init) == sequence.rawValue)
        #expect(again.replayed.count == 15)
        try again.log.close()
    }

    @Test func compactionDropsWhatMayGoAndKeepsNumbers() async throws {
        var options = LogOptions.small
        options.compactionShare = nil
        let opened = try OpenedLog(directory.fileSystem, store, options: options)
        var kept: [SequenceNumber: [UInt8]] = [:]
        var dropped: [SequenceNumber] = []
        for number in 0..<300 {
            let isKept = number.isMultiple(of: 3)
            let sequence = try await opened.commit(
                [body(number, bytes: 600)], kind: isKept ? OpaqueDelegate.keptKind : OpaqueDelegate.droppableKind)
            if isKept { kept[sequence] = body(number, bytes: 600) } else { dropped.append(sequence) }
        }
        // What was found last is remembered, and must not be once it is dropped.
        let last = try #require(dropped.last)
        #expect(try opened.log.entry(last) != nil)
        let result = try opened.log.compact()
        #expect(try opened.log.entry(last) == nil)
        #expect(result.recordsDropped == UInt64(dropped.count))
        #expect(result.bytesAfter < result.bytesBefore)
        for (sequence, body) in kept { #expect(try opened.log.entry(sequence)?.body == body[...]) }
        for sequence in dropped { #expect(try opened.log.entry(sequence) == nil) }
        #expect(opened.log.compactedThrough > .zero)
        #expect(try await opened.commit([body(300)]) == SequenceNumber(301))
        try opened.log.close()

        let again = try open()
        kept[SequenceNumber(301)] = body(300)
        #expect(again.replayed == kept)
        let checkpoint = try #require(again.checkpoint)
        #expect(checkpoint.sequence >= again.log.compactedThrough)
        try again.log.close()
    }

    @Test func compactingAnEmptyAndAFullyDroppedLogLeavesAWorkingStore() async throws {
        let opened = try open()
        #expect(try opened.log.compact().recordsDropped == 0)
        try await opened.commit((0..<20).map { body($0) }, kind: OpaqueDelegate.droppableKind)
        #expect(try opened.log.compact().recordsDropped == 20)
        #expect(try opened.log.compact().recordsDropped == 0)
        #expect(opened.log.statistics.sealedSegments == 0)
        try opened.log.close()
        let again = try open()
        #expect(try await again.commit([body(1)]) == SequenceNumber(21))
        try again.log.close()
    }

    @Test(arguments: [DurabilityMode.interval(milliseconds: 1), .interval(milliseconds: 50), .none])
    func theWeakerModesKeepEverythingAcrossACleanClose(mode: DurabilityMode) async throws {
        var options = LogOptions.small
        options.durability = mode
        let opened = try open(options)
        var expected: [SequenceNumber: [UInt8]] = [:]
        for number in 0..<300 {
            expected[try await opened.commit([body(number, bytes: 900)])] = body(number, bytes: 900)
        }
        _ = try opened.log.checkpoint()
        _ = try opened.log.compact()
        try opened.log.close()
        let again = try open(options)
        #expect(again.log.recovery.wasClosedCleanly)
        #expect(again.replayed == expected)
        try again.log.close()
    }

    @Test func manyWaitersAreReleasedByFewCommits() async throws {
        let opened = try open()
        let tasks = 64
        let perTask = 40
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<tasks {
                group.addTask {
                    for number in 0..<perTask { try await opened.commit([body(task * perTask + number)]) }
                }
            }
            try await group.waitForAll()
        }
        let commits = opened.log.statistics.commits
        #expect(commits <= UInt64(tasks * perTask))
        try opened.log.close()
        let again = try open()
        let records = again.replayed
        #expect(records.count == tasks * perTask)
        #expect(Set(records.values).count == tasks * perTask)
        #expect(Set(records.keys.map(\.rawValue)) == Set(1...UInt64(tasks * perTask)))
        try again.log.close()
    }

    @Test func appendingAfterACloseIsRefusedAndASecondCloseDoesNothing() async throws {
        let opened = try open()
        try await opened.commit([body(1)])
        try opened.log.close()
        try opened.log.close()
        let error = await #expect(throws: LogError.self) { try await opened.commit([body(2)]) }
        #expect(error?.code == .closed)
        #expect(throws: LogError.self) { try opened.log.compact() }
    }
}
