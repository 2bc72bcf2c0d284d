// One owner per store: an open-file-description lock on the lock file, and a register of the files that this process
// has locked. The lock goes with its descriptor, however the process ends, so nothing is ever stale; the file itself
// stays, since removing it would let two owners lock two files of one name.
//
// A process that has just died may hold its lock for a moment more (work in the kernel that still uses the
// descriptor, or a child between fork and exec), so another process's lock is asked for a few times before it is
// believed. A lock of this process is refused at once.

internal import CHoldfast
internal import HoldfastBytes
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// A held lock on a file.
final class StoreLock: FileLock {
    /// How often, and how long apart, a lock held by another process is asked for again.
    private static let retryCount = 5
    private static let retryMilliseconds = 50
    /// More than any note has.
    private static let noteBytesMax = 4_096

    /// What identifies a file however it is called.
    private struct FileIdentity: Hashable {
        let device: UInt64
        let number: UInt64
    }

    /// The files locked by this process. Global because the question is about the process.
    private static let held = Register()

    /// A set behind a lock that the thread sanitizer understands.
    private final class Register: @unchecked Sendable {
        // SENDABLE: `files` is touched under `lock` only.
        private let lock = CallerLock()
        private var files: Set<FileIdentity> = []

        /// False when it is in already.
        func insert(_ file: FileIdentity) -> Bool { lock.withLock { files.insert(file).inserted } }
        func contains(_ file: FileIdentity) -> Bool { lock.withLock { files.contains(file) } }
        func remove(_ file: FileIdentity) { lock.withLock { _ = files.remove(file) } }
    }

    private let identity: FileIdentity
    /// -1 once released.
    private let descriptor: Atomic<Int32>

    private init(identity: FileIdentity, descriptor: Int32) {
        self.identity = identity
        self.descriptor = Atomic(descriptor)
    }

    deinit { release() }

    /// Opens or creates the file and tries to lock it.
    static func acquire(_ path: String, note: String) throws(IOFailure) -> LockOutcome {
        precondition(note.utf8.count <= noteBytesMax, "the note is too long")
        let descriptor = try openDescriptor(path, O_RDWR | O_CREAT)
        var isKept = false
        defer { if !isKept { _ = closeDescriptor(descriptor) } }
        let identity = try identity(of: descriptor, path: path)
        // 1. The register, before the lock, so that of two threads that race one is refused without waiting.
        guard held.insert(identity) || Safeguard.ownerLock.isOff else {
            return .heldByOther(note: try readNote(descriptor, path: path))
        }
        defer { if !isKept { held.remove(identity) } }
        // 2. The lock.
        var result = holdfast_lock_exclusive(descriptor)
        for _ in 0..<retryCount where result == -EAGAIN {
            // SAFETY: the call reads the structure it is given.
            var pause = timespec(tv_sec: 0, tv_nsec: retryMilliseconds * 1_000_000)
            unsafe nanosleep(&pause, nil)
            result = holdfast_lock_exclusive(descriptor)
        }
        if result == -EAGAIN, Safeguard.ownerLock.isOn {
            return .heldByOther(note: try readNote(descriptor, path: path))
        }
        guard result == 0 else { throw IOFailure(errorNumber: -result, operation: "fcntl", path: path) }
        // 3. The note, which only the owner may write.
        try writeNote(note, descriptor, path: path)
        isKept = true
        return .acquired(StoreLock(identity: identity, descriptor: descriptor))
    }

    /// Returns the note of whoever holds the lock, or `nil` when nobody does.
    static func holder(_ path: String) throws(IOFailure) -> String? {
        let descriptor: Int32
        do {
            descriptor = try openDescriptor(path, O_RDONLY)
        } catch {
            if error.kind == .notFound { return nil }
            throw error
        }
        defer { _ = closeDescriptor(descriptor) }
        let identity = try identity(of: descriptor, path: path)
        if !held.contains(identity) {
            let result = holdfast_lock_held(descriptor)
            guard result >= 0 else { throw IOFailure(errorNumber: -result, operation: "fcntl", path: path) }
            if result == 0 { return nil }
        }
        return try readNote(descriptor, path: path)
    }

    func release() {
        let open = descriptor.exchange(-1, ordering: .relaxed)
        guard open >= 0 else { return }
        // Unlocked by name first: a child between fork and exec shares the description and would keep the lock alive.
        _ = holdfast_unlock(open)
        // Out of the register before it is closed: the number of a removed file is free for another one from then on.
        Self.held.remove(identity)
        _ = closeDescriptor(open)
    }

    // MARK: - Private

    private static func openDescriptor(_ path: String, _ flags: Int32) throws(IOFailure) -> Int32 {
        // SAFETY: the call reads the string it is given.
        let descriptor = unsafe holdfast_open(path, flags, 0o600)
        guard descriptor >= 0 else { throw IOFailure(errorNumber: -descriptor, operation: "open", path: path) }
        return descriptor
    }

    private static func identity(of descriptor: Int32, path: String) throws(IOFailure) -> FileIdentity {
        var attributes = stat()
        // SAFETY: the call fills the structure it is given.
        guard unsafe fstat(descriptor, &attributes) == 0 else {
            throw IOFailure(errorNumber: errno, operation: "fstat", path: path)
        }
        return FileIdentity(
            device: UInt64(truncatingIfNeeded: attributes.st_dev), number: UInt64(truncatingIfNeeded: attributes.st_ino)
        )
    }

    private static func readNote(_ descriptor: Int32, path: String) throws(IOFailure) -> String {
        var bytes = [UInt8](repeating: 0, count: noteBytesMax)
        // SAFETY: the call writes at most as many bytes as the array has.
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe pread(descriptor, $0.baseAddress, $0.count, 0) }
        guard count >= 0 else { throw IOFailure(errorNumber: errno, operation: "pread", path: path) }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    /// Replaces the note. It is there for messages only: on a full disk the lock is worth having without it.
    private static func writeNote(_ note: String, _ descriptor: Int32, path: String) throws(IOFailure) {
        let bytes = Array(note.utf8)
        guard ftruncate(descriptor, 0) == 0 else {
            throw IOFailure(errorNumber: errno, operation: "ftruncate", path: path)
        }
        // SAFETY: the call reads as many bytes as the array has.
        let count = unsafe bytes.withUnsafeBytes { unsafe pwrite(descriptor, $0.baseAddress, $0.count, 0) }
        guard count < 0 else { return }
        let failure = IOFailure(errorNumber: errno, operation: "pwrite", path: path)
        if failure.kind != .noSpace { throw failure }
    }
}
