// The seam between the log and the disk. The log calls it once per commit group, segment or manifest, never per
// record, so an existential costs nothing that can be measured. Production has POSIXFileSystem; HoldfastTestKit has a
// simulation that loses what was not synced.
//
// The contract the log relies on, and each implementation keeps:
//  1. `write` writes all bytes or fails; after a failure the range written holds unspecified bytes.
//  2. Bytes are durable once a `sync` that began after the write returned, or, on a file opened for `.commit`, once
//     the write itself returned.
//  3. A name (created, linked, renamed, unlinked) is durable once `syncDirectory` on its directory returned.
//  4. A failed sync means that what it covered may never become durable, even if a later sync succeeds.
//  5. Every descriptor is closed on exec.

/// How a file is opened.
package enum OpenMode: Hashable, Sendable {
    /// Read an existing file.
    case read
    /// Read and write an existing file.
    case readWrite
    /// Create a file that must not exist yet, for reading and writing, readable by the owner only.
    case create
    /// Write an existing, fully allocated file, each write durable when it returns. Offsets, lengths and memory are
    /// multiples of 4,096 bytes.
    case commit
}

/// What a name refers to.
package struct FileStatus: Hashable, Sendable {
    package enum Kind: Hashable, Sendable { case file, directory, other }
    package let kind: Kind
    package let bytes: Int
    /// What the file occupies on disk, in bytes.
    package let allocatedBytes: Int

    package init(kind: Kind, bytes: Int, allocatedBytes: Int) {
        self.kind = kind
        self.bytes = bytes
        self.allocatedBytes = allocatedBytes
    }
}

/// The outcome of trying to own a store.
package enum LockOutcome: Sendable {
    case acquired(any FileLock)
    /// The text that the holder left in the lock file.
    case heldByOther(note: String)
}

/// The operations on names.
package protocol FileSystem: Sendable {
    func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> any File
    /// Creates one directory, accessible to the owner only; fails with `.exists` when the name is taken.
    func createDirectory(_ path: String) throws(IOFailure)
    /// Replaces `to` by `from` in one step.
    func rename(_ from: String, to: String) throws(IOFailure)
    func unlink(_ path: String) throws(IOFailure)
    /// Gives the file at `from` a second name, `to`, which must be free.
    ///
    /// - Returns: False where the two can't share a file and its bytes have to be copied: `to` is on another file
    ///   system, or on one without links, the file has too many names already, or it is not ours to link.
    func link(_ from: String, to: String) throws(IOFailure) -> Bool
    /// Returns the names in a directory, sorted, without `.` and `..`.
    func list(_ path: String) throws(IOFailure) -> [String]
    func syncDirectory(_ path: String) throws(IOFailure)
    /// Returns `nil` when nothing has that name.
    func status(of path: String) throws(IOFailure) -> FileStatus?
    /// Opens or creates the lock file and tries to lock it; `note` replaces its content once locked.
    func lock(_ path: String, note: String) throws(IOFailure) -> LockOutcome
    /// Returns the holder's note when another process (or another open in this one) holds the lock, else `nil`.
    func lockHolder(_ path: String) throws(IOFailure) -> String?
}

/// An open file. Methods may be called from several threads at once; `close` once, after the last of them.
package protocol File: AnyObject, Sendable {
    /// Fills `buffer` from `offset` on and returns how many bytes were read: fewer only at the end of the file.
    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOFailure) -> Int
    /// Writes all of `bytes` at `offset`.
    func write(_ bytes: Span<UInt8>, at offset: Int) throws(IOFailure)
    /// Makes every write that has returned durable.
    func sync() throws(IOFailure)
    func size() throws(IOFailure) -> Int
    func truncate(to bytes: Int) throws(IOFailure)
    /// Releases the descriptor; later calls are programmer errors.
    func close()
}

/// A held lock.
package protocol FileLock: AnyObject, Sendable {
    func release()
}
