// What operations may cost, counted in reads of the clock and of files, never in time.

import Holdfast
import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct StoreCostTests {
    /// Each job to be cancelled restarted the batch.
    @Test func aBatchOfCancelsIsDecidedTwiceAtMost() async throws {
        let clock = CountingClock()
        try await withStore({ $0.clock = clock }) { store, _ in
            var ids: [JobID] = []
            for _ in 0..<200 { ids.append(try await store.enqueue("q", payload: [1]).id) }
            let before = clock.readings
            let replies = try await store.batch(ids.map { .cancel($0) })
            #expect(replies.count == 200)
            // A group commit may ask it to come again once more.
            #expect(clock.readings - before <= 4)
            #expect(try await store.stats().queues.first?.ready == 0)
        }
    }

    @Test func aRefusedCancelInABatchNamesTheFirstOfThem() async throws {
        try await withStore { store, _ in
            let plain = try await store.enqueue("q", payload: []).id
            let ended = try await store.enqueue("q", payload: []).id
            try await store.cancel(ended)
            await expectRefusal(.invalidState, index: 1) {
                _ = try await store.batch([.cancel(plain), .cancel(ended), .cancel(JobID(1 << 50))])
            }
            await expectRefusal(.notFound, index: 1) {
                _ = try await store.batch([.cancel(plain), .cancel(JobID(1 << 50)), .cancel(ended)])
            }
            await expectRefusal(.invalidState, index: 1) {
                _ = try await store.batch([.cancel(plain), .cancel(plain)])
            }
            #expect(try await store.job(plain)?.state == .ready)
        }
    }

    /// A listing walked the log again for each page of jobs that ended in the other way.
    @Test func aListOfRareFinishedJobsReadsTheLogTwiceAtMost() async throws {
        let disk = ReadCountingFileSystem()
        let clock = ManualClock()
        var options = JobStoreOptions()
        options.fileSystem = disk
        options.clock = clock
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        let store = try await JobStore.open(at: "/store", options: options)
        let payload = [UInt8](repeating: 7, count: 500)
        let ids = try await store.batch((0..<300).map { _ in .enqueue(queue: "q", payload: payload) })
            .compactMap { reply -> JobID? in if case .enqueued(let result) = reply { result.id } else { nil } }
        let unfinished = try await store.enqueue("q", payload: payload).id
        try await store.cancel(ids[299])
        try await store.cancel(ids[150])
        let leases = try await store.lease(from: "q", limit: 298)
        for lease in leases[..<20] { try await store.heartbeat(lease, progress: [1]) }
        _ = try await store.batch(leases.map { .ack($0.identity, result: [2]) })
        let log = try await store.stats().logBytes
        for (state, limit, expected) in [
            (JobInfo.State.cancelled, 1, [ids[150]]), (.cancelled, 9, [ids[150], ids[299]]),
            (.completed, 2, [ids[0], ids[1]]),
        ] {
            let before = disk.bytesRead
            let listed = try await store.jobs(JobFilter(queue: "q", state: state, limit: limit))
            #expect(listed.map(\.id) == expected)
            #expect(listed.allSatisfy { $0.state == state })
            #expect(disk.bytesRead - before <= 2 * log + (64 << 10))
        }
        let all = try await store.jobs(JobFilter(limit: 400))
        #expect(all.map(\.id) == ids + [unfinished])
        #expect(all.first?.progress == [1] && all.first?.result == [2])
        #expect(try await store.jobs(JobFilter(state: .cancelled, after: ids[150])).map(\.id) == [ids[299]])
        #expect(try await store.jobs(JobFilter(queue: "other", state: .cancelled)).isEmpty)
        try await store.close()
    }
}

/// The system's time, and how often it was asked for.
final class CountingClock: StoreClock {
    private let count = Locked(0)
    private let system = SystemClock()

    var readings: Int { count.withLock { $0 } }

    func wallNow() -> Timestamp {
        count.withLock { $0 += 1 }
        return system.wallNow()
    }
    func monotonicNow() -> Duration { system.monotonicNow() }
}

/// A disk in memory that counts the bytes read from it.
final class ReadCountingFileSystem: FileSystem {
    private let base = SimulatedFileSystem()
    fileprivate let count = Locked(0)

    var bytesRead: Int { count.withLock { $0 } }

    func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> any File {
        ReadCountingFile(base: try base.open(path, mode), system: self)
    }
    func createDirectory(_ path: String) throws(IOFailure) { try base.createDirectory(path) }
    func rename(_ from: String, to: String) throws(IOFailure) { try base.rename(from, to: to) }
    func unlink(_ path: String) throws(IOFailure) { try base.unlink(path) }
    func link(_ from: String, to: String) throws(IOFailure) -> Bool { try base.link(from, to: to) }
    func list(_ path: String) throws(IOFailure) -> [String] { try base.list(path) }
    func syncDirectory(_ path: String) throws(IOFailure) { try base.syncDirectory(path) }
    func status(of path: String) throws(IOFailure) -> FileStatus? { try base.status(of: path) }
    func lock(_ path: String, note: String) throws(IOFailure) -> LockOutcome { try base.lock(path, note: note) }
    func lockHolder(_ path: String) throws(IOFailure) -> String? { try base.lockHolder(path) }
}

private final class ReadCountingFile: File {
    private let base: any File
    private let system: ReadCountingFileSystem

    init(base: any File, system: ReadCountingFileSystem) {
        self.base = base
        self.system = system
    }

    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOFailure) -> Int {
        let count = try base.read(into: &buffer, at: offset)
        system.count.withLock { $0 += count }
        return count
    }
    func write(_ bytes: Span<UInt8>, at offset: Int) throws(IOFailure) { try base.write(bytes, at: offset) }
    func sync() throws(IOFailure) { try base.sync() }
    func size() throws(IOFailure) -> Int { try base.size() }
    func truncate(to bytes: Int) throws(IOFailure) { try base.truncate(to: bytes) }
    func close() { base.close() }
}
