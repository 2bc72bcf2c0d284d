// The operating system's files, in a directory of their own under the system's temporary one. What disks do on a
// crash is not tested here but with the simulated file system.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Synchronization
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A directory that goes, with all that is in it, when the value does.
final class FilesTestDirectory: Sendable {
    let path: String

    init() throws {
        let template = (getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp") + "/holdfast-files-XXXXXX"
        var bytes = Array(template.utf8CString)
        try #require(mkdtemp(&bytes) != nil)
        path = String(decoding: bytes.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { Self.remove(path) }

    private static func remove(_ path: String) {
        for name in (try? POSIXFileSystem().list(path)) ?? [] {
            if unlink(path + "/" + name) != 0 { remove(path + "/" + name) }
        }
        rmdir(path)
    }
}

/// Bytes at an address that `.commit` writes accept.
func withAlignedBytes<R>(_ bytes: [UInt8], _ body: (Span<UInt8>) throws -> R) rethrows -> R {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 4_096)
    defer { memory.deallocate() }
    memory.copyBytes(from: bytes)
    return try body(UnsafeBufferPointer(memory.bindMemory(to: UInt8.self)).span)
}

extension File {
    func readArray(at offset: Int, count: Int) throws(IOFailure) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var span = bytes.mutableSpan
        let got = try read(into: &span, at: offset)
        return Array(bytes.prefix(got))
    }
}

@Suite struct FilesTests {
    private let directory: FilesTestDirectory
    private let system = POSIXFileSystem()

    init() throws { directory = try FilesTestDirectory() }

    private func path(_ name: String) -> String { directory.path + "/" + name }

    @Test func whatIsWrittenIsReadBack() throws {
        let file = try system.open(path("a"), .create)
        try file.write(Array("hello world".utf8).span, at: 3)
        try file.sync()
        #expect(try file.size() == 14)
        #expect(try file.readArray(at: 0, count: 100) == [0, 0, 0] + Array("hello world".utf8))
        #expect(try file.readArray(at: 14, count: 10) == [])
        try file.truncate(to: 8)
        #expect(try file.readArray(at: 3, count: 100) == Array("hello".utf8))
        file.close()
    }

    @Test func filesAndDirectoriesBelongToTheirOwnerAlone() throws {
        try system.createDirectory(path("d"))
        try system.open(path("d/f"), .create).close()
        var attributes = stat()
        #expect(stat(path("d"), &attributes) == 0)
        #expect(attributes.st_mode & 0o777 == 0o700)
        #expect(stat(path("d/f"), &attributes) == 0)
        #expect(attributes.st_mode & 0o777 == 0o600)
    }

    @Test func commitWritesReachTheFile() throws {
        let file = try system.open(path("segment"), .create)
        try file.write([UInt8](repeating: 0, count: 16_384).span, at: 0)
        try file.sync()
        let commit = try system.open(path("segment"), .commit)
        let bytes = [UInt8](repeating: 7, count: 8_192)
        try withAlignedBytes(bytes) { span in try commit.write(span, at: 4_096) }
        commit.close()
        #expect(try file.readArray(at: 4_096, count: 8_192) == bytes)
        #expect(try file.readArray(at: 0, count: 4_096) == [UInt8](repeating: 0, count: 4_096))
        file.close()
    }

    @Test func descriptorsAreClosedOnExec() throws {
        let file = try system.open(path("a"), .create)
        guard case .acquired(let lock) = try system.lock(path("LOCK"), note: "n") else {
            Issue.record("the lock was not acquired")
            return
        }
        var inherited: [String] = []
        for number in Int32(3)..<256 {
            let flags = fcntl(number, F_GETFD)
            var target = [CChar](repeating: 0, count: 4_096)
            let count = readlink("/proc/self/fd/\(number)", &target, target.count)
            guard flags >= 0, flags & FD_CLOEXEC == 0, count > 0 else { continue }
            inherited.append(String(decoding: target.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self))
        }
        #expect(!inherited.contains { $0.hasPrefix(directory.path) })
        lock.release()
        file.close()
    }

    @Test func refusalsAreToldApart() throws {
        try system.open(path("file"), .create).close()
        try system.createDirectory(path("directory"))
        func kind(_ body: () throws -> Void) -> IOFailure.Kind? {
            do { try body() } catch { return (error as? IOFailure)?.kind }
            return nil
        }
        #expect(kind { _ = try system.open(path("none"), .read) } == .notFound)
        #expect(kind { _ = try system.open(path("file"), .create) } == .exists)
        #expect(kind { _ = try system.open(path("file/below"), .read) } == .notDirectory)
        #expect(kind { _ = try system.open(path("directory"), .read) } == .io)
        #expect(kind { try system.createDirectory(path("directory")) } == .exists)
        #expect(kind { try system.syncDirectory(path("file")) } == .notDirectory)
        #expect(kind { try system.unlink(path("directory")) } == .io)
        #expect(kind { _ = try system.list(path("none")) } == .notFound)
        #expect(try system.status(of: path("none")) == nil)
        #expect(try system.status(of: path("directory"))?.kind == .directory)
    }

    @Test func aFullDiskIsToldApart() throws {
        guard let full = try? system.open("/dev/full", .readWrite) else { return }
        let failure = #expect(throws: IOFailure.self) { try full.write([1, 2, 3].span, at: 0) }
        #expect(failure?.kind == .noSpace)
        full.close()
    }

    @Test func namesAreListedInOrder() throws {
        for name in ["b", "a", "c", ".hidden"] { try system.open(path(name), .create).close() }
        try system.rename(path("c"), to: path("A"))
        try system.unlink(path("b"))
        try system.syncDirectory(directory.path)
        #expect(try system.list(directory.path) == [".hidden", "A", "a"])
    }

    // MARK: - Locks

    @Test func aSecondOpenInTheSameProcessIsRefused() throws {
        #expect(try system.lockHolder(path("LOCK")) == nil)
        guard case .acquired(let first) = try system.lock(path("LOCK"), note: "first") else {
            Issue.record("the lock was not acquired")
            return
        }
        #expect(try system.lockHolder(path("LOCK")) == "first")
        guard case .heldByOther(let note) = try system.lock(path("LOCK"), note: "second") else {
            Issue.record("the lock was acquired twice")
            return
        }
        #expect(note == "first")
        first.release()
        first.release()
        #expect(try system.lockHolder(path("LOCK")) == nil)
        guard case .acquired(let third) = try system.lock(path("LOCK"), note: "3") else {
            Issue.record("the lock was not released")
            return
        }
        #expect(try system.lockHolder(path("LOCK")) == "3")
        third.release()
    }

    @Test func aLockIsKnownByItsFileNotByItsPath() throws {
        guard case .acquired(let lock) = try system.lock(path("LOCK"), note: "n") else {
            Issue.record("the lock was not acquired")
            return
        }
        #expect(symlink("LOCK", path("alias")) == 0)
        guard case .heldByOther = try system.lock(path("alias"), note: "other") else {
            Issue.record("the lock was acquired under another name")
            return
        }
        lock.release()
    }

    #if os(Linux)
        /// A description that this process's register does not know stands for another process: the system treats
        /// both alike.
        @Test func aLockThatIsNotOursIsRefusedAndReported() throws {
            let file = try system.open(path("LOCK"), .create)
            try file.write(Array("stranger".utf8).span, at: 0)
            file.close()
            let descriptor = Glibc.open(path("LOCK"), O_RDWR | O_CLOEXEC)
            try #require(descriptor >= 0)
            var range = flock()
            range.l_type = Int16(F_WRLCK)
            range.l_whence = Int16(SEEK_SET)
            // F_OFD_SETLK, which the module map hides.
            try #require(fcntl(descriptor, 37, &range) == 0)
            #expect(try system.lockHolder(path("LOCK")) == "stranger")
            guard case .heldByOther(let note) = try system.lock(path("LOCK"), note: "we") else {
                Issue.record("the lock of another was acquired")
                return
            }
            #expect(note == "stranger")
            #expect(close(descriptor) == 0)
            guard case .acquired(let lock) = try system.lock(path("LOCK"), note: "we") else {
                Issue.record("a refusal left the lock registered")
                return
            }
            #expect(try system.lockHolder(path("LOCK")) == "we")
            lock.release()
        }
    #endif

    @Test func aDroppedLockIsReleased() throws {
        _ = try system.lock(path("LOCK"), note: "dropped")
        #expect(try system.lockHolder(path("LOCK")) == nil)
    }
}

@Suite struct FilesThreadTests {
    @Test func aThreadWaitsForTheSignalOfAnother() throws {
        final class Shared: Sendable {
            let lock = CallerLock()
            let signal = Signal()
            let turns = Atomic(0)
        }
        let shared = Shared()
        let thread = try DedicatedThread(name: "a name longer than fifteen bytes") {
            shared.lock.withLock {
                while shared.turns.load(ordering: .relaxed) == 0 { shared.signal.wait(shared.lock) }
                shared.turns.store(2, ordering: .relaxed)
            }
        }
        shared.lock.withLock {
            shared.turns.store(1, ordering: .relaxed)
            shared.signal.notifyOne()
        }
        thread.join()
        #expect(shared.turns.load(ordering: .relaxed) == 2)
    }

    @Test func aWaitEndsWhenItsTimeRunsOut() {
        let lock = CallerLock()
        let signal = Signal()
        // A wait may also end early for no reason, so it is repeated until it says that the time ran out.
        lock.withLock { while signal.wait(lock, milliseconds: 1) {} }
        lock.withLock { while signal.wait(lock, milliseconds: -1) {} }
    }

    @Test func aLockExcludesOtherThreads() throws {
        // SENDABLE: `count` is only touched with `lock` held.
        final class Shared: @unchecked Sendable {
            let lock = CallerLock()
            var count = 0
        }
        let shared = Shared()
        let threads = try (0..<4).map { number in
            try DedicatedThread(name: "count \(number)") {
                for _ in 0..<10_000 { shared.lock.withLock { shared.count += 1 } }
            }
        }
        for thread in threads { thread.join() }
        #expect(shared.count == 40_000)
    }

    @Test func signalsOfTheProcessAreBlockedInTheThread() throws {
        final class Shared: Sendable {
            let blocked = Atomic(0)
        }
        let shared = Shared()
        let thread = try DedicatedThread(name: "signals") {
            var mask = sigset_t()
            pthread_sigmask(SIG_BLOCK, nil, &mask)
            shared.blocked.store(
                Int(sigismember(&mask, SIGTERM)) + 10 * Int(sigismember(&mask, SIGSEGV)), ordering: .relaxed)
        }
        thread.join()
        #expect(shared.blocked.load(ordering: .relaxed) == 1)
    }
}
