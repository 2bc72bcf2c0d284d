// The audit chain: what a published head proves of a log, and that each way to change the log is seen.

import HoldfastBytes
import HoldfastTestKit
import Testing

@testable import HoldfastLog

@Suite(.timeLimit(.minutes(10))) struct AuditTests {
    private static let path = "/store"
    private let disk = SimulatedFileSystem()

    private func open(_ disk: SimulatedFileSystem, _ change: (inout LogOptions) -> Void = { _ in }) throws -> OpenedLog
    {
        var options = LogOptions.small
        options.compactionShare = nil
        change(&options)
        return try OpenedLog(disk, Self.path, options: options)
    }

    /// What a verification says: its problems, and its verdicts on `heads`.
    private func verify(
        _ disk: SimulatedFileSystem, _ heads: [AuditHead], key: AuditKey? = nil, beside owner: OpenedLog? = nil
    ) throws -> (problems: [LogError], verdicts: [AuditFinding.Verdict]) {
        var reader = try LogReader.open(directory: Self.path, fileSystem: disk)
        if let owner { reader.knownDurable = owner.log.lock.withLock { owner.log.answeredPosition } }
        let result = reader.verify(expecting: heads, key: key, progress: { _, _ in }, { _, _ in })
        #expect(result.audits.map(\.head) == heads)
        return (result.problems, result.audits.map(\.verdict))
    }

    private static let proved = AuditFinding.Verdict.proved(from: SequenceNumber(1))

    /// A closed store of several sealed segments and a journal, a head after each of its twelve batches and one of its
    /// last record. How many records there are, and how many of them are sealed, is up to the maintenance thread.
    private func published(
        _ disk: SimulatedFileSystem, key: AuditKey? = nil, kind: (Int) -> UInt8 = { _ in OpaqueDelegate.keptKind }
    ) async throws -> [AuditHead] {
        let opened = try open(disk)
        var heads: [AuditHead] = []
        for batch in 0..<12 {
            try await opened.commit((0..<40).map { body(batch * 40 + $0, bytes: 700) }, kind: kind(batch))
            heads.append(try opened.log.auditHead(key: key))
            if batch == 3 || batch == 7 { _ = try opened.log.compact() }
        }
        // Sealing takes its time; where the ring is full, commits wait for it.
        var number = 480
        while opened.log.currentManifest.sealed.count < 2 {
            try await opened.commit([body(number, bytes: 700)], kind: kind(12))
            number += 1
        }
        heads.append(try opened.log.auditHead(key: key))
        try opened.log.close()
        return heads
    }

    // MARK: - What stays proved

    @Test func aHeadIsAFunctionOfRecordsAlone() async throws {
        let opened = try open(disk)
        let start = try opened.log.auditHead(key: nil)
        #expect(start.sequence == .zero)
        try await opened.commit([body(1), body(2)])
        let head = try opened.log.auditHead(key: nil)
        var hash = SHA256.hash(
            (Array("holdfast audit chain 1".utf8) + opened.log.files.store.bytes + [UInt8](repeating: 0, count: 8)).span
        )
        #expect(start.hash == hash)
        for number in 1...2 {
            // No number is left out.
            hash = SHA256.hash((hash + [0, OpaqueDelegate.keptKind] + body(number)).span)
        }
        #expect(head == AuditHead(sequence: SequenceNumber(2), hash: hash))
        try opened.log.close()
        #expect(try verify(disk, [start, head]).verdicts == [Self.proved, Self.proved])
    }

    @Test(arguments: UInt64(1)...6)
    func everyPublishedHeadStaysProvedThroughSealingMergingReopeningAndCrashes(_ seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        var disk = disk
        var heads: [AuditHead] = []
        var opened = try open(disk)
        for _ in 0..<60 {
            switch random.pick(0...9) {
            case 0...5:
                let bodies = (0..<random.pick(1...30)).map { body($0, bytes: random.pick(9...1500)) }
                try await opened.commit(bodies, kind: 3)
            case 6: _ = try opened.log.compact()
            case 7:
                try opened.log.close()
                opened = try open(disk)
            case 8:
                // Power is lost: the old log goes on with a disk that nobody sees again.
                let image = disk.crashImage(.random(seed: seed))
                try opened.log.close()
                disk = image
                opened = try open(disk)
            default: #expect(try verify(disk, heads, beside: opened).verdicts.allSatisfy { $0 == Self.proved })
            }
            heads.append(try opened.log.auditHead(key: nil))
        }
        let reader = try LogReader.compute(directory: Self.path, fileSystem: disk) { (reader) throws(LogError) in
            try reader.auditHead(key: nil)
        }
        try opened.log.close()
        #expect(heads.contains(reader))
        let found = try verify(disk, heads)
        #expect(found.problems.isEmpty && found.verdicts.allSatisfy { $0 == Self.proved }, "\(found)")
    }

    @Test func aHeadIsOfDurableRecords() async throws {
        let opened = try open(disk) { $0.durability = .none }
        try await opened.commit([body(1), body(2)])
        let head = try opened.log.auditHead(key: nil)
        #expect(head.sequence == SequenceNumber(2))
        #expect(try verify(disk.crashImage(.nothingPending), [head]).verdicts == [Self.proved])
        try opened.log.close()
    }

    // MARK: - What can't be proved

    @Test func whatLiesBelowDroppedRecordsIsCarriedAndTheRestIsProved() async throws {
        let opened = try open(disk)
        var heads: [AuditHead] = []
        func add(_ kind: UInt8) async throws {
            try await opened.commit((0..<40).map { body($0, bytes: 700) }, kind: kind)
            heads.append(try opened.log.auditHead(key: nil))
        }
        try await add(OpaqueDelegate.keptKind)
        try await add(OpaqueDelegate.droppableKind)
        try await add(OpaqueDelegate.keptKind)
        _ = try opened.log.compact()
        try await add(OpaqueDelegate.keptKind)
        let bound = SequenceNumber(80)
        let expected: [AuditFinding.Verdict] = [
            .dropped(through: bound), .carried, .proved(from: bound.next), .proved(from: bound.next),
        ]
        var found = try verify(disk, heads, beside: opened)
        #expect(found.problems.isEmpty && found.verdicts == expected, "\(found)")
        var reader = try LogReader.open(directory: Self.path, fileSystem: disk)
        let audits = reader.verify(expecting: [heads[2]], progress: { _, _ in }, { _, _ in }).audits
        #expect(audits.map(\.unproved) == [40], "those of the first batch were kept, and are covered by nothing")
        // What is carried is compared all the same.
        let forged = AuditHead(sequence: bound, hash: heads[0].hash)
        #expect(try verify(disk, [forged]).verdicts == [.differs(sound: .zero, files: [])])
        // Dropping more, where nothing of a segment is needed, and merging what is left.
        try await add(OpaqueDelegate.droppableKind)
        _ = try opened.log.compact()
        _ = try opened.log.compact()
        try await add(OpaqueDelegate.keptKind)
        try opened.log.close()
        found = try verify(disk, heads)
        #expect(found.problems.isEmpty, "\(found)")
        #expect(found.verdicts.suffix(2) == [.carried, .proved(from: SequenceNumber(201))], "\(found)")
    }

    @Test(arguments: UInt64(1)...8) func aHeadIsProvedOrSaidNotToBeWhateverIsDropped(_ seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        var heads: [AuditHead] = []
        var opened = try open(disk)
        for _ in 0..<80 {
            let kind = random.chance(1, in: 2) ? OpaqueDelegate.droppableKind : OpaqueDelegate.keptKind
            try await opened.commit((0..<random.pick(1...20)).map { body($0, bytes: random.pick(9...900)) }, kind: kind)
            heads.append(try opened.log.auditHead(key: nil))
            if random.chance(1, in: 8) { _ = try opened.log.compact() }
            if random.chance(1, in: 9) {
                try opened.log.close()
                // Small segments are merged and wasteful ones rewritten in the background.
                opened = try open(disk) { $0.compactionShare = random.chance(1, in: 2) ? 1 : nil }
            }
        }
        try opened.log.close()
        let found = try verify(disk, heads)
        #expect(found.problems.isEmpty, "\(found.problems)")
        let anchor = try #require(try LogReader.open(directory: Self.path, fileSystem: disk).manifest.audit).anchor
            .through
        #expect(anchor > .zero)
        for (head, verdict) in zip(heads, found.verdicts) {
            if head.sequence > anchor {
                #expect(verdict == .proved(from: anchor.next), "\(head)")
            } else {
                #expect(verdict == .carried || verdict == .dropped(through: anchor), "\(head): \(verdict)")
            }
        }
    }

    @Test func anOlderStoreGoesOnWithAChainBehindWhatItHadSealed() async throws {
        let heads = try await published(disk)
        // The manifest as it was before there was a chain: the feature and all that belongs to it are not there.
        var forger = try AuditForger(disk, Self.path)
        forger.change { manifest in
            manifest.audit = nil
            for index in manifest.sealed.indices { manifest.sealed[index].audit = nil }
        }
        try forger.write()
        #expect(try verify(disk, heads).verdicts.allSatisfy { $0 == .noChain })
        #expect(try verify(disk, []).problems.isEmpty)
        let reader = try LogReader.open(directory: Self.path, fileSystem: disk)
        let error = #expect(throws: LogError.self) { try reader.auditHead(key: nil) }
        #expect(error?.code == .unsupportedFormat)
        let opened = try open(disk)
        let sealed = try #require(reader.manifest.sealed.last).lastSequence
        try await opened.commit([body(1)])
        let head = try opened.log.auditHead(key: nil)
        _ = try opened.log.compact()
        try await opened.commit([body(2)])
        let next = try opened.log.auditHead(key: nil)
        try opened.log.close()
        let found = try verify(disk, [heads[0], head, next])
        #expect(found.problems.isEmpty, "\(found.problems)")
        #expect(found.verdicts == [.dropped(through: sealed), .proved(from: sealed.next), .proved(from: sealed.next)])
    }

    @Test func behindDamageNothingIsProved() async throws {
        let heads = try await published(disk)
        let reader = try LogReader.open(directory: Self.path, fileSystem: disk)
        let segment = try #require(reader.manifest.sealed.last)
        disk.corrupt(reader.layout.path(segment), offset: SegmentHeader.byteCount + 100)
        let found = try verify(disk, heads)
        #expect(found.problems.count == 1)
        for (head, verdict) in zip(heads, found.verdicts) {
            #expect(verdict == (head.sequence < segment.firstSequence ? Self.proved : .damaged), "\(head)")
        }
        #expect(found.verdicts.contains(Self.proved) && found.verdicts.contains(.damaged))
    }

    // MARK: - Forgeries

    /// Forges, expects that everything fits, and returns the verdicts.
    private func forge(
        _ heads: [AuditHead], key: AuditKey? = nil, _ change: (inout AuditForger) -> Void
    ) throws -> [AuditFinding.Verdict] {
        var forger = try AuditForger(disk, Self.path)
        #expect(forger.records.count > 1)
        change(&forger)
        try forger.write()
        let found = try verify(disk, heads, key: key)
        #expect(found.problems.isEmpty, "a consistent forgery: \(found.problems)")
        return found.verdicts
    }

    /// Expects that heads before `sequence` are proved, and that those from it on are not.
    private func expectContradicted(
        _ verdicts: [AuditFinding.Verdict], _ heads: [AuditHead], from sequence: UInt64,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        for (head, verdict) in zip(heads, verdicts) {
            if head.sequence.rawValue < sequence {
                #expect(verdict == Self.proved, "\(head)", sourceLocation: sourceLocation)
            } else if case .differs(let sound, let files) = verdict {
                #expect(sound.rawValue < sequence && !files.isEmpty, "\(head)", sourceLocation: sourceLocation)
            } else {
                #expect(verdict == .noRecord, "\(head)", sourceLocation: sourceLocation)
            }
        }
    }

    @Test func aChangedPayloadIsSeenThoughEverythingElseFits() async throws {
        let heads = try await published(disk)
        var first = ""
        let verdicts = try forge(heads) { forger in
            forger.records[1][5].body[20] ^= 1
            first = StoreLayout(root: Self.path).relative(StoreLayout(root: Self.path).path(forger.manifest.sealed[1]))
        }
        let changed = try AuditForger(disk, Self.path).records[1][5].sequence.rawValue
        expectContradicted(verdicts, heads, from: changed)
        let index = try #require(heads.firstIndex { $0.sequence.rawValue >= changed })
        let sound = index > 0 ? heads[index - 1].sequence : .zero
        guard case .differs(sound, let files) = verdicts[index] else {
            Issue.record("\(verdicts[index])")
            return
        }
        #expect(files.contains(first))
    }

    @Test func aDroppedAnAddedAndAMovedRecordAreSeen() async throws {
        let heads = try await published(disk)
        let before = disk.snapshotFiles()
        let changes: [(inout AuditForger) -> UInt64] = [
            { forger in forger.records[0].removeFirst().sequence.rawValue },
            { forger in forger.records[1].removeLast().sequence.rawValue },
            { forger in
                let record = forger.records[0][3]
                forger.records[0][3].body = forger.records[0][4].body
                forger.records[0][4].body = record.body
                return record.sequence.rawValue
            },
            { forger in
                forger.records[0][7].kind = 9
                return forger.records[0][7].sequence.rawValue
            },
            { forger in
                // The contents of two segments change places.
                let pairs = zip(forger.records[0].indices, forger.records[1].indices)
                for (a, b) in pairs {
                    let body = forger.records[0][a].body
                    forger.records[0][a].body = forger.records[1][b].body
                    forger.records[1][b].body = body
                }
                return 1
            },
        ]
        for change in changes {
            for (path, bytes) in before { disk.replace(path, with: bytes) }
            var place: UInt64 = 0
            let verdicts = try forge(heads) { place = change(&$0) }
            expectContradicted(verdicts, heads, from: place)
        }
    }

    @Test func anAddedRecordInAGapOfNumbersIsSeen() async throws {
        let first = try open(disk)
        try await first.commit([body(1)])
        let early = try first.log.auditHead(key: nil)
        let image = disk.crashImage(.everythingPending)
        try first.log.close()
        let second = try open(image)
        try await second.commit([body(2)])
        _ = try second.log.compact()
        try await second.commit([body(3)])
        let late = try second.log.auditHead(key: nil)
        try second.log.close()
        #expect(late.sequence.rawValue > 3)
        #expect(try verify(image, [early, late]).verdicts == [Self.proved, Self.proved])
        // A head of a number that no record has, with the value that would be right up to there.
        let between = AuditHead(sequence: SequenceNumber(2), hash: early.hash)
        #expect(try verify(image, [between]).verdicts == [.noRecord])
        var forger = try AuditForger(image, Self.path)
        var added = forger.records[0][0]
        added.sequence = SequenceNumber(2)
        forger.records[0].insert(added, at: 1)
        try forger.write()
        let found = try verify(image, [early, late])
        #expect(found.problems.isEmpty && found.verdicts[0] == Self.proved, "\(found)")
        guard case .differs(SequenceNumber(1), _) = found.verdicts[1] else {
            Issue.record("\(found.verdicts)")
            return
        }
    }

    @Test func aLogThatEndsBeforeItsHeadIsSeen() async throws {
        let heads = try await published(disk)
        let last = try #require(heads.last)
        var forger = try AuditForger(disk, Self.path)
        forger.change { manifest in
            manifest.journals.removeAll()
            manifest.checkpoints.removeAll()
            // It may hold the last record.
            manifest.sealed.removeLast()
        }
        forger.records.removeLast()
        try forger.write()
        let end = try #require(forger.manifest.sealed.last).lastSequence
        let found = try verify(
            disk, [last, AuditHead(sequence: end.next, hash: forger.manifest.sealed.last?.audit ?? [])])
        #expect(found.problems.isEmpty && end < last.sequence)
        #expect(found.verdicts == [.beyondEnd(end), .beyondEnd(end)])
    }

    /// The owner knows sooner than the files what is durable: that is no other log.
    @Test func besideAnOwnerAHeadMayBeAheadOfTheFiles() async throws {
        let opened = try open(disk)
        try await opened.commit([body(1)])
        try await opened.commit([body(2)])
        let head = try opened.log.auditHead(key: nil)
        #expect(try verify(disk, [head]).verdicts == [.beyondDurable(SequenceNumber(1))])
        #expect(try verify(disk, [head], beside: opened).verdicts == [Self.proved])
        try opened.log.close()
        #expect(try verify(disk, [head]).verdicts == [Self.proved])
    }

    @Test func anotherStoresHeadIsSeenEvenWithTheSameRecords() async throws {
        let heads = try await published(disk)
        // The heads of the batches; the last one of each store may be of another record.
        let other = Array(try await published(SimulatedFileSystem()).prefix(12))
        #expect(heads.prefix(12).map(\.sequence) == other.map(\.sequence) && heads.prefix(12) != other[...])
        let verdicts = try verify(disk, other).verdicts
        expectContradicted(verdicts, other, from: 1)
    }

    @Test func aForgerWhoForgetsTheKeptValuesIsSeenWithoutAHead() async throws {
        _ = try await published(disk)
        var forger = try AuditForger(disk, Self.path)
        forger.fitsAudit = false
        forger.records[0][5].body[20] ^= 1
        try forger.write()
        let found = try verify(disk, [])
        #expect(found.problems.count == 1, "\(found.problems)")
        let layout = StoreLayout(root: Self.path)
        #expect(found.problems.first?.file == layout.relative(layout.path(forger.manifest.sealed[0])))
    }

    @Test func withoutTheKeyNobodyMakesUpAHead() async throws {
        let key = AuditKey(Array(0..<32))
        let heads = try await published(disk, key: key)
        #expect(try verify(disk, heads, key: key).verdicts.allSatisfy { $0 == Self.proved })
        for other in [nil, AuditKey(Array(1..<33))] {
            expectContradicted(try verify(disk, heads, key: other).verdicts, heads, from: 1)
        }
        // What the chain says is no head.
        let reader = try LogReader.open(directory: Self.path, fileSystem: disk)
        expectContradicted(try verify(disk, [try reader.auditHead(key: nil)], key: key).verdicts, [heads[11]], from: 1)
        let changed = try forge(heads, key: key) { $0.records[0][0].body[9] ^= 1 }
        expectContradicted(changed, heads, from: 1)
    }
}
