// An open file of the operating system.
//
// Writes go to a tracked offset (never O_APPEND) and are repeated until all bytes are taken; a call that takes none
// is an error, since some devices do that for ever. A sync is never repeated: after a failed one the system may have
// forgotten which pages were dirty, and a second success would prove nothing. A file opened for `.commit` writes past
// the page cache where the file system allows it, so that a failure is reported by the very write that failed and no
// dirty page stays behind in an unknown state.

internal import CHoldfast
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// A descriptor, its path for messages, and how it was opened.
final class POSIXFile: File {
    /// What offsets, lengths and memory of `.commit` writes are multiples of.
    static let commitAlignment = 4_096

    private let path: String
    private let mode: OpenMode
    /// -1 once closed, so that a late call cannot reach a descriptor that the number was given to since.
    private let descriptor: Atomic<Int32>
    /// Where what was not passed to the device yet begins, as far as it was written in order.
    private let writtenBack = Atomic(0)
    /// A commit of the journal waits behind no more than this of a file that is being made.
    private static let writeBackBytes = 128 << 10

    init(path: String, mode: OpenMode) throws(IOFailure) {
        self.path = path
        self.mode = mode
        descriptor = Atomic(try Self.openDescriptor(path, mode))
        guard mode == .read else { return }
        // Linux opens a directory for reading without complaint; say so here rather than at the first read.
        guard try POSIXFile.attributes(of: currentDescriptor, path: path).kind != .directory else {
            close()
            throw IOFailure(errorNumber: EISDIR, operation: "open", path: path)
        }
    }

    deinit {
        let open = descriptor.load(ordering: .relaxed)
        if open >= 0 { _ = closeDescriptor(open) }
    }

    // MARK: - File

    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOFailure) -> Int {
        precondition(offset >= 0, "an offset cannot be negative")
        let file = currentDescriptor
        // SAFETY: the call writes at most what is left of the buffer, which is valid for the closure.
        let outcome = unsafe buffer.withUnsafeMutableBytes { bytes in
            WholeTransfer.run(bytes.count) { done in
                let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[done...])
                let result = unsafe pread(file, rest.baseAddress, rest.count, off_t(offset + done))
                return (result, errno)
            }
        }
        if let errorNumber = outcome.errorNumber {
            throw IOFailure(errorNumber: errorNumber, operation: "pread", path: path)
        }
        assert(outcome.done <= buffer.count)
        return outcome.done
    }

    func write(_ bytes: Span<UInt8>, at offset: Int) throws(IOFailure) {
        precondition(offset >= 0, "an offset cannot be negative")
        if mode == .commit {
            let alignment = Self.commitAlignment
            precondition(bytes.isAligned(to: alignment) && offset % alignment == 0, "a commit write must be aligned")
        }
        guard bytes.count <= Self.writeBackBytes || mode != .create else {
            for start in stride(from: 0, to: bytes.count, by: Self.writeBackBytes) {
                let part = bytes.extracting(start..<min(start + Self.writeBackBytes, bytes.count))
                try write(part, at: offset + start)
            }
            return
        }
        let file = currentDescriptor
        // SAFETY: the call reads at most what is left of the buffer, which is valid for the closure.
        let outcome = unsafe bytes.withUnsafeBytes { all in
            WholeTransfer.run(all.count) { done in
                let rest = unsafe UnsafeRawBufferPointer(rebasing: all[done...])
                let result = unsafe pwrite(file, rest.baseAddress, rest.count, off_t(offset + done))
                return (result, errno)
            }
        }
        if let errorNumber = outcome.errorNumber {
            throw IOFailure(errorNumber: errorNumber, operation: "pwrite", path: path)
        }
        guard outcome.done == bytes.count else {
            throw IOFailure(.io, operation: "pwrite", path: path, reason: "no byte was taken")
        }
        #if canImport(Darwin)
            // O_DSYNC stops at the device's cache there.
            if mode == .commit { try sync() }
        #endif
        if mode == .create { try writeBack(offset..<(offset + bytes.count)) }
    }

    /// Passes on what was written in order, once it is enough: a sync at the end would find all of it, and whatever
    /// else the device is to do would wait behind it. It makes nothing durable; but where it fails, the sync need not.
    private func writeBack(_ range: Range<Int>) throws(IOFailure) {
        let start = writtenBack.load(ordering: .relaxed)
        guard (start...(start + Self.writeBackBytes)).contains(range.lowerBound) else {
            return writtenBack.store(range.upperBound, ordering: .relaxed)
        }
        guard range.upperBound - start >= Self.writeBackBytes else { return }
        let result = holdfast_write_back(currentDescriptor, off_t(start), off_t(range.upperBound - start))
        guard result == 0 else { throw IOFailure(errorNumber: -result, operation: "sync_file_range", path: path) }
        writtenBack.store(range.upperBound, ordering: .relaxed)
    }

    func sync() throws(IOFailure) {
        let result = holdfast_sync_data(currentDescriptor)
        guard result == 0 else { throw IOFailure(errorNumber: -result, operation: "fdatasync", path: path) }
    }

    func size() throws(IOFailure) -> Int {
        try Self.attributes(of: currentDescriptor, path: path).bytes
    }

    func truncate(to bytes: Int) throws(IOFailure) {
        precondition(bytes >= 0, "a size cannot be negative")
        while ftruncate(currentDescriptor, off_t(bytes)) != 0 {
            guard errno == EINTR else { throw IOFailure(errorNumber: errno, operation: "ftruncate", path: path) }
        }
    }

    func close() {
        let open = descriptor.exchange(-1, ordering: .relaxed)
        precondition(open >= 0, "a file is closed once")
        // Whatever mattered was synced before; the descriptor is gone even when this fails.
        _ = closeDescriptor(open)
    }

    // MARK: - Shared with the file system

    /// Returns what an open descriptor refers to.
    static func attributes(of descriptor: Int32, path: String) throws(IOFailure) -> FileStatus {
        var attributes = stat()
        // SAFETY: the call fills the structure it is given.
        guard unsafe fstat(descriptor, &attributes) == 0 else {
            throw IOFailure(errorNumber: errno, operation: "fstat", path: path)
        }
        return FileStatus(attributes)
    }

    // MARK: - Private

    private var currentDescriptor: Int32 {
        let open = descriptor.load(ordering: .relaxed)
        precondition(open >= 0, "the file is closed")
        return open
    }

    private static func openDescriptor(_ path: String, _ mode: OpenMode) throws(IOFailure) -> Int32 {
        let flags: Int32 =
            switch mode {
            case .read: O_RDONLY
            case .readWrite: O_RDWR
            case .create: O_RDWR | O_CREAT | O_EXCL
            case .commit: O_WRONLY | holdfast_dsync_flag() | holdfast_direct_flag()
            }
        // SAFETY: the call reads the string it is given.
        var result = unsafe holdfast_open(path, flags, 0o600)
        if mode == .commit, result == -EINVAL {
            // The file system has no direct writes; each write is durable all the same, through the page cache.
            result = unsafe holdfast_open(path, O_WRONLY | holdfast_dsync_flag(), 0o600)
        }
        guard result >= 0 else { throw IOFailure(errorNumber: -result, operation: "open", path: path) }
        return result
    }
}

/// close(2), which a method of the same name would hide.
func closeDescriptor(_ descriptor: Int32) -> Int32 { close(descriptor) }

extension FileStatus {
    /// Translates the system's description.
    init(_ attributes: stat) {
        let kind: Kind =
            switch attributes.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .directory
            default: .other
            }
        // The unit of st_blocks is 512 bytes, whatever the file system's block is.
        self.init(kind: kind, bytes: Int(attributes.st_size), allocatedBytes: Int(attributes.st_blocks) * 512)
    }
}
