// Workloads of the whole store. What a crash leaves must be the state after some operation, and not before the last
// one that was answered: states are compared by digest, so everything that a store knows of its jobs counts.

import Holdfast
import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

/// What the store is used for when the power goes.
enum StoreWorkload: String, CaseIterable, Sendable {
    case fullCycle, batches, effects, properties, maintenance, churn, cursors

    /// The operations, one commit each at most; a refusal is an operation like any other.
    func steps(seed: Int) -> [(StoreSteps) throws -> Void] {
        let size = 40 + seed % 2003
        switch self {
        case .fullCycle:
            return [
                { try $0.enqueue("q", size: size) }, { try $0.enqueue("q", size: 5_000) },
                { try $0.enqueue("r", size: 1) },
                { try $0.lease("q", limit: 2) }, { try $0.heartbeat() }, { try $0.ack(result: 300) },
                { try $0.requeue() }, { try $0.advance(3_600_000) }, { try $0.lease("q", limit: 1) }, { try $0.bury() },
                { try $0.redrive("q") }, { try $0.lease("q", limit: 1) }, { try $0.advance(31_000) },
                { try $0.cancelLatest() },
            ]
        case .batches:
            return (0..<6).map { number in
                { try $0.batch(count: 3 + number * 7, size: size % 97) }
            } + [{ try $0.lease("q", limit: 20) }, { try $0.ackInBatch() }]
        case .effects:
            return [{ try $0.enqueue("q", size: size) }, { try $0.lease("q", limit: 1) }]
                + (0..<6).map { number in { try $0.effect(key: "k\(number % 4)", size: size * number % 5_003) } }
                + [{ try $0.ackWithEffect() }, { try $0.effect(key: "k1", size: 9) }]
        case .properties:
            return [
                { try $0.enqueue("q", size: size) { $0.priority = 5 } },
                { try $0.enqueue("q", size: size) { $0.delay = .seconds(60) } },
                { try $0.enqueue("q", size: 3) { $0.uniqueKey = "u" } },
                { try $0.enqueue("q", size: 3) { $0.uniqueKey = "u" } },
                { try $0.enqueue("q", size: 3) { $0.group = "g" } },
                { try $0.enqueue("q", size: 3) { $0.timeToLive = .seconds(5) } }, { try $0.advance(6_000) },
                { try $0.store.pause("q") }, { try $0.lease("q", limit: 1) }, { try $0.store.resume("q") },
                { try $0.lease("q", limit: 3) }, { try $0.requeue() }, { try $0.advance(61_000) },
            ]
        case .maintenance:
            return [
                { try $0.batch(count: 20, size: size) }, { try $0.lease("q", limit: 9) }, { try $0.ack(result: 9) },
                { try $0.store.checkpoint() }, { try $0.ack(result: 9) }, { try $0.batch(count: 2, size: 30_000) },
                { try $0.store.compact() }, { try $0.ack(result: 9) }, { try $0.batch(count: 2, size: 100_000) },
                { try $0.store.checkpoint() }, { try $0.store.compact() }, { try $0.store.close() },
            ]
        case .cursors:
            // What is done is dropped up to the consumer, and no further.
            return [{ try $0.openCursor("c") }]
                + (0..<5).flatMap { _ -> [(StoreSteps) throws -> Void] in
                    [
                        { try $0.batch(count: 3, size: 9_000 + size) }, { try $0.lease("q", limit: 5) },
                        { try $0.advanceCursor("c") }, { try $0.ackInBatch() }, { try $0.openCursor("d") },
                        { try $0.store.reset(cursor: "d", to: .now) }, { try $0.store.removeCursor("d") },
                    ]
                } + [{ try $0.store.compact() }, { try $0.advanceCursor("c") }, { try $0.store.close() }]
        case .churn:
            // What is done is dropped in the background: every round fills a segment and ends the jobs before.
            return (0..<8).flatMap { _ -> [(StoreSteps) throws -> Void] in
                [
                    { try $0.batch(count: 3, size: 9_000 + size) }, { try $0.ackInBatch() },
                    { try $0.batch(count: 3, size: 9_000) }, { try $0.lease("q", limit: 5) },
                ]
            } + [{ try $0.store.close() }]
        }
    }
}

/// One client of a store, from the calling thread.
final class StoreSteps {
    let store: BlockingJobStore
    private let jobStore: JobStore
    private var leases: [Lease] = []
    private var latest: JobID?

    init(_ store: JobStore) { (self.store, jobStore) = (store.blocking, store) }

    func enqueue(_ queue: String, size: Int, _ change: (inout EnqueueOptions) -> Void = { _ in }) throws {
        var options = EnqueueOptions()
        change(&options)
        latest = try store.enqueue(queue, payload: body(size, bytes: max(9, size)), options: options).id
    }
    func lease(_ queue: String, limit: Int) throws { leases += try store.lease(from: queue, limit: limit) }
    func heartbeat() throws { if let lease = leases.last { try store.heartbeat(lease, progress: [1, 2]) } }
    func ack(result: Int) throws {
        if let lease = leases.popLast() { try store.ack(lease, result: body(result, bytes: result)) }
    }
    func requeue() throws { if let lease = leases.popLast() { try store.requeue(lease, error: "try again") } }
    func bury() throws { if let lease = leases.popLast() { try store.bury(lease, error: "no use") } }
    func redrive(_ queue: String) throws { _ = try store.redrive(queue: queue) }
    func advance(_ milliseconds: Int64) throws { try store.advanceClock(by: milliseconds) }
    func openCursor(_ name: String) throws {
        _ = try jobStore.submitOpenCursor(name, from: .oldest, limits: CursorLimits()).valueBlocking()
    }
    func advanceCursor(_ name: String) throws {
        guard let lease = leases.first else { return }
        try store.advance(cursor: name, to: lease.id.sequence)
    }
    func cancelLatest() throws { if let latest { try store.cancel(latest) } }
    func batch(count: Int, size: Int) throws {
        _ = try store.batch(
            (0..<count).map { .enqueue(queue: "q", payload: body($0, bytes: max(9, size)), options: EnqueueOptions()) })
    }
    func ackInBatch() throws {
        _ = try store.batch(leases.map { .ack($0.identity, result: [1]) })
        leases = []
    }
    func effect(key: String, size: Int) throws {
        _ = try store.effect(
            scope: "s", key: key, fencedBy: leases.last?.identity, value: body(size, bytes: max(9, size)))
    }
    func ackWithEffect() throws {
        guard let lease = leases.popLast() else { return }
        _ = try store.batch([
            .effect(scope: "s", key: "last", fencedBy: lease.identity, value: [7]), .ack(lease.identity, result: nil),
            .enqueue(queue: "next", payload: [8], options: EnqueueOptions()),
        ])
    }
}

extension CrashTrace {
    static func options(_ disk: any FileSystem) -> JobStoreOptions {
        var options = JobStoreOptions()
        options.clock = ManualClock()
        options.history = .none
        options.provesCompaction = true
        options.compaction = .automatic(share: 1)
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        options.fileSystem = disk
        return options
    }

    /// Records a workload of the store.
    static func store(_ workload: StoreWorkload, seed: Int = 0) throws -> CrashTrace {
        let disk = SimulatedFileSystem()
        let store = try JobStore.openBlocking(at: CrashStore.path, options: options(disk))
        let progress = Locked(0)
        disk.recordCrashPoints { progress.withLock { $0 } }
        let steps = StoreSteps(store)
        var digests = [try store.blocking.wholeDigest()]
        for step in workload.steps(seed: seed) {
            do { try step(steps) } catch let error as JobStoreError where error.code == .leaseLost {}
            progress.withLock { $0 += 1 }
            // A closed store has the state it had.
            digests.append((try? store.blocking.wholeDigest()) ?? digests[digests.count - 1])
        }
        try store.blocking.close()
        let known = digests
        let name = "\(workload.rawValue), seed \(seed)"
        return CrashTrace(name: name, points: disk.crashPoints) { disk, point, reproduction, recovered in
            try StoreCheck(disk: disk, digests: known, answered: point.note, reproduction: reproduction).run(recovered)
        }
    }
}

extension BlockingJobStore {
    /// The digest, and where each consumer goes on.
    func wholeDigest() throws(JobStoreError) -> String {
        try digest().hex + cursors().map { " \($0.name) \($0.next)" }.joined()
    }
}

/// What must hold for a store after any crash.
struct StoreCheck {
    let disk: SimulatedFileSystem
    /// The state after each number of operations.
    let digests: [String]
    let answered: Int
    private let found: FoundDisk

    init(disk: SimulatedFileSystem, digests: [String], answered: Int, reproduction: String) {
        (self.disk, self.digests, self.answered) = (disk, digests, answered)
        found = FoundDisk(disk, reproduction)
    }

    func run(_ recovered: KnownStates) throws {
        let store: JobStore
        do {
            store = try JobStore.openBlocking(at: CrashStore.path, options: CrashTrace.options(disk))
        } catch {
            found.violate("the store was refused: \(error)")
            return
        }
        let digest = try store.blocking.wholeDigest()
        if !digests[answered...].contains(digest) {
            let place = digests.firstIndex(of: digest).map { "that after \($0) operations" } ?? "unknown"
            found.violate("after \(answered) answers the state is \(place)")
        }
        let image = disk.crashImage(.nothingPending)
        let isNew = recovered.insert(image.contentHash(ignoring: ["\(CrashStore.path)/lost"]))
        defer { try? store.blocking.close() }
        guard isNew else { return }
        for cursor in try store.blocking.cursors() {
            found.expect(cursor.isHolding == true, "\(cursor) has lost records")
        }
        try checkUse(store.blocking)
        let again = try JobStore.openBlocking(at: CrashStore.path, options: CrashTrace.options(image))
        found.expect(try again.blocking.wholeDigest() == digest, "a second recovery differs")
        try again.blocking.close()
    }

    /// A job goes through, and is answered for after the next crash.
    private func checkUse(_ store: BlockingJobStore) throws {
        do {
            let id = try store.enqueue("after", payload: [1, 2, 3]).id
            let lease = try #require(try store.lease(from: "after").first)
            found.expect(lease.id == id && lease.payload == [1, 2, 3], "another job was leased")
            try store.ack(lease)
            let digest = try store.wholeDigest()
            let next = disk.crashImage(.nothingPending)
            let again = try JobStore.openBlocking(at: CrashStore.path, options: CrashTrace.options(next))
            found.expect(try again.blocking.wholeDigest() == digest, "the next crash loses changes")
            try again.blocking.close()
        } catch {
            found.violate("the reopened store does not work: \(error)")
        }
    }
}
