import Holdfast
import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

/// A store on a simulated disk with a random life, and what its digest was after each operation.
final class Life {
    let disk = SimulatedFileSystem()
    let clock = ManualClock()
    let path = "/store"
    /// How much of finished jobs compaction keeps.
    var history = JobStoreOptions.History.unlimited
    var random: SeededRandom
    var digests: [UInt64: String] = [:]
    var times: [UInt64: Timestamp] = [:]
    var leases: [Lease] = []
    private var store: JobStore?

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    func options(_ clock: ManualClock) -> JobStoreOptions {
        var options = JobStoreOptions()
        options.clock = clock
        options.fileSystem = disk
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        options.compaction = .onDemand
        options.history = history
        return options
    }

    /// Opens the store if it is not open.
    func open() async throws -> JobStore {
        if let store { return store }
        let opened = try await JobStore.open(at: path, options: options(clock))
        store = opened
        return opened
    }

    func close() async throws {
        try await store?.close()
        store = nil
    }

    /// Opens a fork on a clock of its own, which stands at its newest record.
    func openFork(_ path: String) async throws -> JobStore {
        try await JobStore.open(at: path, options: options(ManualClock()))
    }

    func note() async throws {
        let digest = try await open().digest()
        digests[digest.sequence.rawValue] = digest.hex
        times[digest.sequence.rawValue] = try await open().now()
    }

    func step() async throws {
        let store = try await open()
        switch random.pick(0...9) {
        case 0...3:
            var options = EnqueueOptions()
            options.priority = random.pick(0...2)
            if random.chance(1, in: 3) { options.group = "g\(random.pick(0...2))" }
            if random.chance(1, in: 5) { options.delay = .seconds(random.pick(1...9)) }
            _ = try await store.enqueue("q", payload: random.bytes(random.pick(1...3000)), options: options)
        case 4, 5: leases += try await store.lease(from: "q", limit: random.pick(1...3), for: .seconds(5))
        case 6, 7:
            guard !leases.isEmpty else { break }
            let lease = leases.remove(at: random.pick(0...(leases.count - 1)))
            do {
                if random.chance(1, in: 4) {
                    try await store.requeue(lease, error: "again")
                } else {
                    try await store.ack(lease)
                }
            } catch { #expect(error.code == .leaseLost) }
        case 8: clock.advance(byMilliseconds: Int64(random.pick(1...2000)))
        default: if random.chance(1, in: 3) { try await store.checkpoint() }
        }
        try await note()
    }
}

@Suite(.timeLimit(.minutes(10))) struct ForkTests {
    @Test(arguments: UInt64(1)...6) func aForkAtAnyPointIsWhatTheStoreWasThen(_ seed: UInt64) async throws {
        let life = Life(seed: seed)
        if seed % 2 == 0 { life.history = .none }
        for round in 0..<4 {
            for _ in 0..<60 { try await life.step() }
            switch round {
            case 1: try await life.close()
            case 2: _ = try await life.open().compact()
            default: break
            }
        }
        try await life.close()
        let before = life.disk.snapshotFiles().filter { $0.key.hasPrefix("/store/") }
        var made = 0
        for (number, point) in life.digests.sorted(by: { $0.key < $1.key }).enumerated() where number % 9 == 0 {
            let target = "/fork\(number)"
            do {
                let summary = try StoreFork.run(
                    life.path, to: target, at: .sequence(SequenceNumber(point.key)), fileSystem: life.disk)
                #expect(summary.sequence.rawValue == point.key)
                made += 1
            } catch {
                // Compacted: the message says from where on.
                #expect(error.code == .beyondHistory, "\(error)")
                let oldest = try #require(error.sequences?.lowerBound)
                #expect(point.key < oldest.rawValue && error.message.contains("\(oldest)"))
                continue
            }
            let fork = try await life.openFork(target)
            #expect(try await fork.digest().hex == point.value, "seed \(seed), at \(point.key)")
            try await fork.close()
        }
        #expect(made > 1)
        let isUntouched = life.disk.snapshotFiles().filter { $0.key.hasPrefix("/store/") } == before
        #expect(isUntouched, "the source, byte for byte")
    }

    @Test func aForkWorksOnWithoutUsingAnyIdAgain() async throws {
        let life = Life(seed: 11)
        for _ in 0..<80 { try await life.step() }
        try StoreFork.run(life.path, to: "/fork", at: .sequence(SequenceNumber(9)), fileSystem: life.disk)
        let last = try await life.open().digest().sequence
        let fork = try await life.openFork("/fork")
        let job = try await fork.enqueue("new", payload: bytes("x"))
        #expect(job.id.sequence > last)
        let lease = try #require(try await fork.lease(from: "new").first)
        #expect(lease.id == job.id && lease.payload == bytes("x") && lease.token.rawValue > job.id.rawValue)
        try await fork.ack(lease)
        _ = try await fork.compact()
        try await fork.close()
        // The source goes on as if nothing had happened.
        try await life.note()
        _ = try await life.open().compact()
        try await life.close()
        try await life.note()
        try await life.close()
    }

    @Test func aBackupOfARunningStoreHoldsAllThatWasAnsweredAndIsRestoredAtAnyPoint() async throws {
        let life = Life(seed: 5)
        life.history = .none
        for _ in 0..<120 { try await life.step() }
        let store = try await life.open()
        _ = try await store.compact()
        for _ in 0..<60 { try await life.step() }
        let newest = try await store.digest()
        let summary = try await store.backup(to: "/backup")
        #expect(summary.sequence == newest.sequence && summary.linkedSegments > 0)
        for _ in 0..<20 { try await life.step() }
        await expectRefusal(.notAStore) { try await store.backup(to: "/backup") }
        try await life.close()
        let oldest = try #require(
            #expect(throws: LogError.self) {
                try StoreFork.run("/backup", to: "/none", at: .sequence(SequenceNumber(1)), fileSystem: life.disk)
            }?.sequences?.lowerBound)
        let points = life.digests.filter { $0.key >= oldest.rawValue && $0.key <= newest.sequence.rawValue }
        #expect(points.count > 10)
        for (number, point) in points.sorted(by: { $0.key < $1.key }).enumerated() where number % 7 == 0 {
            let target = "/restored\(number)"
            try StoreFork.run(
                "/backup", to: target, at: .sequence(SequenceNumber(point.key)), fileSystem: life.disk)
            let restored = try await life.openFork(target)
            #expect(try await restored.digest().hex == point.value)
            try await restored.close()
        }
    }

    @Test func backupsBesideAnOwnerThatCompactsAreWhole() async throws {
        let life = Life(seed: 21)
        life.history = .none
        let store = try await life.open()
        let churn = Task {
            var count = 0
            while !Task.isCancelled {
                for _ in 0..<20 { _ = try await store.enqueue("q", payload: [UInt8](repeating: 1, count: 2000)) }
                for lease in try await store.lease(from: "q", limit: 19) { try await store.ack(lease) }
                _ = try await store.compact()
                count += 1
            }
            return count
        }
        for number in 0..<12 {
            let answered = try await store.enqueue("mark", payload: [1]).id.sequence
            let summary = try await store.backup(to: "/backup\(number)")
            #expect(summary.sequence >= answered)
        }
        churn.cancel()
        #expect(try await churn.value > 0)
        try await life.close()
        let last = try await life.openFork("/backup11")
        #expect(try await last.stats().queues.first { $0.name == "mark" }?.ready == 12)
        try await last.close()
    }

    @Test func aTimeIsThePointBehindTheLastRecordThatIsNotLater() async throws {
        let life = Life(seed: 3)
        let store = try await life.open()
        var ids: [JobID] = []
        var times: [Timestamp] = []
        for _ in 0..<6 {
            ids.append(try await store.enqueue("q", payload: [1]).id)
            times.append(try await store.now())
            life.clock.advance(byMilliseconds: 1000)
            if ids.count == 3 { try await store.checkpoint() }
        }
        try await life.close()
        for index in 0..<6 {
            for (offset, name) in [(Int64(0), "exact"), (999, "after")] {
                let time = times[index].advanced(byMilliseconds: offset)
                let summary = try StoreFork.run(
                    life.path, to: "/\(name)\(index)", at: .time(time), fileSystem: life.disk)
                #expect(summary.sequence == ids[index].sequence && summary.time == times[index])
            }
        }
        let nothing = try StoreFork.run(
            life.path, to: "/empty", at: .time(times[0].advanced(byMilliseconds: -1)), fileSystem: life.disk)
        #expect(nothing.sequence == .zero && nothing.records == 0)
        let empty = try await life.openFork("/empty")
        #expect(try await empty.stats().queues.isEmpty)
        try await empty.close()
    }

    @Test func aForkOfAForkHoldsSegmentsOfBothAncestorsAndOpens() async throws {
        let life = Life(seed: 8)
        for _ in 0..<200 { try await life.step() }
        try await life.close()
        let first = try StoreFork.run(life.path, to: "/first", at: nil, fileSystem: life.disk)
        let middle = try await life.openFork("/first")
        for _ in 0..<80 { _ = try await middle.enqueue("more", payload: [UInt8](repeating: 7, count: 4000)) }
        let digest = try await middle.digest()
        try await middle.close()
        let second = try StoreFork.run("/first", to: "/second", at: nil, fileSystem: life.disk)
        #expect(first.linkedSegments > 0 && second.linkedSegments > first.linkedSegments)
        let fork = try await life.openFork("/second")
        #expect(try await fork.digest() == digest)
        for job in try await fork.jobs().prefix(50) { #expect(try await fork.job(job.id)?.payload != nil) }
        try await fork.close()
    }

    @Test func whereFilesCanNotBeSharedTheyAreCopied() async throws {
        let life = Life(seed: 9)
        for _ in 0..<200 { try await life.step() }
        try await life.close()
        life.disk.faultPlan.refusesLinks = true
        let summary = try StoreFork.run(life.path, to: "/fork", at: nil, fileSystem: life.disk)
        #expect(summary.linkedSegments == 0 && summary.linkedBytes == 0 && summary.writtenBytes > 65_536)
        let fork = try await life.openFork("/fork")
        #expect(try await fork.digest().hex == life.digests[summary.sequence.rawValue])
        try await fork.close()
    }

    @Test func aPointThatHasNotComeIsRefusedWithTheNewestOne() async throws {
        let life = Life(seed: 4)
        for _ in 0..<20 { try await life.step() }
        let last = try await life.open().digest().sequence
        try await life.close()
        let error = try #require(
            #expect(throws: LogError.self) {
                try StoreFork.run(life.path, to: "/fork", at: .sequence(last.next), fileSystem: life.disk)
            })
        #expect(error.code == .beyondHistory && error.message.contains("newest is \(last)"))
        #expect(try life.disk.status(of: "/fork") == nil, "nothing was begun")
    }

    @Test func aDamagedSourceIsRefusedAndLeavesNoStore() async throws {
        let life = Life(seed: 6)
        for _ in 0..<250 { try await life.step() }
        try await life.close()
        let segments = try life.disk.list("/store/segments")
        #expect(segments.count > 2)
        life.disk.corrupt("/store/segments/" + segments[1], offset: 4096 + 64 + 9)
        let error = try #require(
            #expect(throws: LogError.self) {
                try StoreFork.run(life.path, to: "/fork", at: nil, fileSystem: life.disk)
            })
        #expect(error.code == .corrupt && error.message.contains(segments[1]))
        #expect(try life.disk.status(of: "/fork/MANIFEST") == nil)
        #expect(try life.disk.list("/fork/segments").isEmpty)
    }
}
