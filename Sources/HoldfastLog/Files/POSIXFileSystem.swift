// The files of the operating system. Paths are used as given: nothing is normalised and symbolic links are followed.
// Every descriptor is closed on exec, files are readable by their owner only, and so are directories.

internal import CHoldfast

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// The production implementation of `FileSystem`.
package struct POSIXFileSystem: FileSystem {
    /// Creates a value without state.
    package init() {}

    package func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> any File {
        try POSIXFile(path: path, mode: mode)
    }

    package func createDirectory(_ path: String) throws(IOFailure) {
        // SAFETY: the call reads the string it is given.
        guard unsafe mkdir(path, 0o700) == 0 else {
            throw IOFailure(errorNumber: errno, operation: "mkdir", path: path)
        }
    }

    package func rename(_ from: String, to: String) throws(IOFailure) {
        // SAFETY: the call reads the strings it is given.
        guard unsafe renameName(from, to) == 0 else {
            throw IOFailure(errorNumber: errno, operation: "rename", path: from)
        }
    }

    package func unlink(_ path: String) throws(IOFailure) {
        // SAFETY: the call reads the string it is given.
        guard unsafe unlinkName(path) == 0 else {
            throw IOFailure(errorNumber: errno, operation: "unlink", path: path)
        }
    }

    package func link(_ from: String, to: String) throws(IOFailure) -> Bool {
        // SAFETY: the call reads the strings it is given.
        if unsafe linkName(from, to) == 0 { return true }
        switch errno {
        // Not the same file system; no links there, or not for us; too many of them.
        case EXDEV, EPERM, EOPNOTSUPP, EMLINK: return false
        default: throw IOFailure(errorNumber: errno, operation: "link", path: from)
        }
    }

    package func list(_ path: String) throws(IOFailure) -> [String] {
        // SAFETY: the stream is used between opendir and closedir only, by this thread; each entry is read before the
        // next call replaces it, and its name is terminated.
        guard let stream = unsafe opendir(path) else {
            throw IOFailure(errorNumber: errno, operation: "opendir", path: path)
        }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while true {
            // Only errno tells the end from a failure.
            errno = 0
            guard let entry = unsafe readdir(stream) else { break }
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { field in
                unsafe field.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: field.pointee)) {
                    unsafe String(cString: $0)
                }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        guard errno == 0 else { throw IOFailure(errorNumber: errno, operation: "readdir", path: path) }
        return names.sorted()
    }

    package func syncDirectory(_ path: String) throws(IOFailure) {
        // SAFETY: the call reads the string it is given.
        let descriptor = unsafe holdfast_open(path, O_RDONLY | O_DIRECTORY, 0)
        guard descriptor >= 0 else { throw IOFailure(errorNumber: -descriptor, operation: "open", path: path) }
        defer { _ = closeDescriptor(descriptor) }
        let result = holdfast_sync_all(descriptor)
        guard result == 0 else { throw IOFailure(errorNumber: -result, operation: "fsync", path: path) }
    }

    package func status(of path: String) throws(IOFailure) -> FileStatus? {
        var attributes = stat()
        // SAFETY: the call reads the string and fills the structure it is given.
        guard unsafe stat(path, &attributes) == 0 else {
            if errno == ENOENT { return nil }
            throw IOFailure(errorNumber: errno, operation: "stat", path: path)
        }
        return FileStatus(attributes)
    }

    package func lock(_ path: String, note: String) throws(IOFailure) -> LockOutcome {
        try StoreLock.acquire(path, note: note)
    }

    package func lockHolder(_ path: String) throws(IOFailure) -> String? {
        try StoreLock.holder(path)
    }
}

// The methods above hide the system's functions of the same names.
private func unlinkName(_ path: UnsafePointer<CChar>) -> Int32 { unsafe unlink(path) }
private func linkName(_ from: UnsafePointer<CChar>, _ to: UnsafePointer<CChar>) -> Int32 { unsafe link(from, to) }
private func renameName(_ from: UnsafePointer<CChar>, _ to: UnsafePointer<CChar>) -> Int32 { unsafe rename(from, to) }
