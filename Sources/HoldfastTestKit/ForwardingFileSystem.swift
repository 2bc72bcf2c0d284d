// File systems and files that do what others do. What wraps one names its base and writes only the operations that it
// changes.

package import HoldfastLog

/// A file system that passes every operation on to another one, unless it says otherwise.
package protocol ForwardingFileSystem: FileSystem {
    associatedtype Base: FileSystem
    /// The file system that does the work.
    var base: Base { get }
}

extension ForwardingFileSystem {
    package func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> any File { try base.open(path, mode) }
    package func createDirectory(_ path: String) throws(IOFailure) { try base.createDirectory(path) }
    package func rename(_ from: String, to: String) throws(IOFailure) { try base.rename(from, to: to) }
    package func unlink(_ path: String) throws(IOFailure) { try base.unlink(path) }
    package func link(_ from: String, to: String) throws(IOFailure) -> Bool { try base.link(from, to: to) }
    package func list(_ path: String) throws(IOFailure) -> [String] { try base.list(path) }
    package func syncDirectory(_ path: String) throws(IOFailure) { try base.syncDirectory(path) }
    package func status(of path: String) throws(IOFailure) -> FileStatus? { try base.status(of: path) }
    package func lock(_ path: String, note: String) throws(IOFailure) -> LockOutcome { try base.lock(path, note: note) }
    package func lockHolder(_ path: String) throws(IOFailure) -> String? { try base.lockHolder(path) }
}

/// A file that passes every operation on to another one, unless it says otherwise.
package protocol ForwardingFile: File {
    /// The file that does the work.
    var base: any File { get }
}

extension ForwardingFile {
    package func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOFailure) -> Int {
        try base.read(into: &buffer, at: offset)
    }
    package func write(_ bytes: Span<UInt8>, at offset: Int) throws(IOFailure) { try base.write(bytes, at: offset) }
    package func sync() throws(IOFailure) { try base.sync() }
    package func size() throws(IOFailure) -> Int { try base.size() }
    package func truncate(to bytes: Int) throws(IOFailure) { try base.truncate(to: bytes) }
    package func close() { base.close() }
}
