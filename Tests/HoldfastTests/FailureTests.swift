import HoldfastBytes
import HoldfastLog
import Testing

@testable import Holdfast

@Suite(.timeLimit(.minutes(10))) struct FailureTests {
    @Test func afterAFailedWriteEveryCallThrowsTheFirstFailure() async throws {
        let fixture = try StoreFixture()
        let files = FailingFileSystem()
        let store = try await fixture.open { $0.fileSystem = files }
        let id = try await store.enqueue("q", payload: [1]).id
        let waiting = Task { try await store.lease(from: "empty", waitingUpTo: .seconds(3600)) }
        while store.waitingLeaseCount < 1 { await Task.yield() }
        files.fails = true
        let first = await #expect(throws: JobStoreError.self) { try await store.enqueue("q", payload: [2]) }
        #expect(first?.code == .ioError)
        for _ in 0..<2 {
            let error = await #expect(throws: JobStoreError.self) { try await store.job(id) }
            #expect(error == first)
        }
        await expectRefusal(.ioError) { _ = try await store.lease(from: "q") }
        await expectRefusal(.ioError) { _ = try await store.stats() }
        await expectRefusal(.ioError) { _ = try await store.digest() }
        await expectRefusal(.ioError) { _ = try await store.effect(scope: "s", key: "k") { [1] } }
        await expectRefusal(.ioError) { _ = try await store.checkpoint() }
        await expectRefusal(.ioError) { _ = try await store.now() }
        await expectRefusal(.ioError) { _ = try await waiting.value }
        files.fails = false
        await expectRefusal(.ioError) { _ = try await store.enqueue("q", payload: [3]) }
        try? await store.close()
        let again = try await fixture.open()
        #expect(try await again.job(id)?.state == .ready)
        try await again.close()
    }

    /// Everything that a read rests on may be durable: it is refused all the same.
    @Test func afterAFailureInTheBackgroundReadsAreRefusedToo() async throws {
        let fixture = try StoreFixture()
        let files = FailingFileSystem()
        let store = try await fixture.open { $0.fileSystem = files }
        let id = try await store.enqueue("q", payload: [1]).id
        files.fails = true
        let first = await #expect(throws: JobStoreError.self) { try await store.checkpoint() }
        #expect(first?.code == .ioError)
        files.fails = false
        let read = await #expect(throws: JobStoreError.self) { _ = try await store.job(id) }
        let counted = await #expect(throws: JobStoreError.self) { _ = try await store.stats() }
        let compacted = await #expect(throws: JobStoreError.self) { _ = try await store.compact() }
        #expect(read == first && counted == first && compacted == first)
        try? await store.close()
    }

    /// The log's threads asked a store that was gone.
    @Test func aDroppedStoreThatGetsNoThreadIsClosedByWhoeverDroppedIt() async throws {
        let fixture = try StoreFixture()
        let store = try await fixture.open()
        let id = try await store.enqueue("q", payload: [1]).id
        store.core.closeInBackground { (_) throws(IOFailure) in
            throw IOFailure(.io, operation: "pthread_create", path: "", reason: "made to fail")
        }
        await expectRefusal(.closed) { _ = try await store.now() }
        let again = try await fixture.open()
        #expect(again.recovery.wasClosedCleanly)
        #expect(try await again.job(id)?.state == .ready)
        try await again.close()
    }

    /// A clock that outlives its stores called each of them for ever.
    @Test func aManualClockForgetsAStoreThatIsClosed() async throws {
        let fixture = try StoreFixture()
        for _ in 0..<3 {
            let store = try await fixture.open()
            #expect(fixture.clock.observerCount == 1)
            try await store.close()
            #expect(fixture.clock.observerCount == 0)
        }
    }

    @Test func anUnreadablePayloadCostsItsJobOnly() async throws {
        let fixture = try StoreFixture()
        var store = try await fixture.open()
        let damaged = try await store.enqueue("q", payload: [UInt8](repeating: 1, count: 3_000)).id
        try await store.compact()
        try await store.close()
        try fixture.damageSealedSegments()
        store = try await fixture.open()
        let whole = try await store.enqueue("q", payload: [2]).id
        let leases = try await store.lease(from: "q", limit: 2)
        #expect(leases.map(\.id) == [whole])
        let dead = try await store.jobs(JobFilter(state: .dead))
        #expect(dead.map(\.id) == [damaged])
        #expect(dead.first?.lastError?.isEmpty == false)
        await expectRefusal(.corrupt) { _ = try await store.job(damaged) }
        try? await store.close()
    }
}

/// The system's files, until writing is made to fail.
final class FailingFileSystem: FileSystem {
    private let files = POSIXFileSystem()
    private let isFailing = Locked(false)

    var fails: Bool {
        get { isFailing.withLock { $0 } }
        set { isFailing.withLock { $0 = newValue } }
    }

    func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> any File {
        FailingFile(file: try files.open(path, mode), path: path, system: self)
    }
    func createDirectory(_ path: String) throws(IOFailure) { try files.createDirectory(path) }
    func rename(_ from: String, to: String) throws(IOFailure) { try files.rename(from, to: to) }
    func unlink(_ path: String) throws(IOFailure) { try files.unlink(path) }
    func link(_ from: String, to: String) throws(IOFailure) -> Bool { try files.link(from, to: to) }
    func list(_ path: String) throws(IOFailure) -> [String] { try files.list(path) }
    func syncDirectory(_ path: String) throws(IOFailure) { try files.syncDirectory(path) }
    func status(of path: String) throws(IOFailure) -> FileStatus? { try files.status(of: path) }
    func lock(_ path: String, note: String) throws(IOFailure) -> LockOutcome { try files.lock(path, note: note) }
    func lockHolder(_ path: String) throws(IOFailure) -> String? { try files.lockHolder(path) }
}

private final class FailingFile: File {
    private let file: any File
    private let path: String
    private let system: FailingFileSystem

    init(file: any File, path: String, system: FailingFileSystem) {
        self.file = file
        self.path = path
        self.system = system
    }

    private func check(_ operation: String) throws(IOFailure) {
        if system.fails { throw IOFailure(.io, operation: operation, path: path, reason: "made to fail") }
    }

    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOFailure) -> Int {
        try file.read(into: &buffer, at: offset)
    }
    func write(_ bytes: Span<UInt8>, at offset: Int) throws(IOFailure) {
        try check("write")
        try file.write(bytes, at: offset)
    }
    func sync() throws(IOFailure) {
        try check("sync")
        try file.sync()
    }
    func size() throws(IOFailure) -> Int { try file.size() }
    func truncate(to bytes: Int) throws(IOFailure) { try file.truncate(to: bytes) }
    func close() { file.close() }
}

extension StoreFixture {
    /// Flips a byte of the first frame behind the header of each sealed segment.
    func damageSealedSegments() throws {
        let files = POSIXFileSystem()
        for name in try files.list(path + "/segments") {
            let file = try files.open(path + "/segments/" + name, .readWrite)
            defer { file.close() }
            var bytes: [UInt8] = [0]
            // Behind the segment's page and the frame's header.
            let offset = 4096 + 64 + 8
            var span = bytes.mutableSpan
            #expect(try file.read(into: &span, at: offset) == 1)
            bytes[0] ^= 0x55
            try file.write(bytes.span, at: offset)
        }
    }
}
