// A disk in memory that counts what is written to the journal and what is synced, and can hold a write up. What the
// thread that commits allocates is counted from write to write. The disk's own allocations count for no thread.

import CAllocationCounter
import HoldfastLog
import HoldfastTestKit

/// Counts writes and syncs.
final class CountingFileSystem: ForwardingFileSystem {
    /// What was counted.
    struct Counts: Sendable {
        /// Writes to files that make each write durable: commits, and frames that end a segment.
        var commits = 0
        /// Writes to other files.
        var otherWrites = 0
        /// Syncs of any file or directory.
        var syncs = 0
        /// Allocations of the commit thread, from the first commit to the last.
        var commitAllocations: UInt64 = 0
        /// The commit thread, and what it had allocated when it came first.
        fileprivate var first: (thread: UInt, allocations: UInt64)?
    }

    let base: SimulatedFileSystem
    private let state = Locked(Counts())
    private let lock = CallerLock()
    private let changed = Signal()
    private let hold = Locked((isHolding: false, isHeld: false))

    init(base: SimulatedFileSystem = SimulatedFileSystem()) { self.base = base }

    var counts: Counts { state.withLock { $0 } }

    /// Begins to count from 0.
    func reset() { state.withLock { $0 = Counts() } }

    /// Makes the next commit wait.
    func holdWrites() { lock.withLock { hold.withLock { $0.isHolding = true } } }

    /// Waits until a commit is held up.
    func waitForHeldWrite() {
        lock.withLock { while !hold.withLock({ $0.isHeld }) { changed.wait(lock) } }
    }

    /// Lets the commit go on.
    func releaseWrites() {
        lock.withLock {
            hold.withLock { $0.isHolding = false }
            changed.notifyAll()
        }
    }

    func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> any File {
        CountingFile(base: try base.open(path, mode), isCommitted: mode == .commit, system: self)
    }

    func syncDirectory(_ path: String) throws(IOFailure) {
        noteSync()
        try base.syncDirectory(path)
    }

    fileprivate func noteSync() { state.withLock { $0.syncs += 1 } }

    fileprivate func noteWrite(isCommitted: Bool) {
        let (thread, allocations) = (allocation_counter_of_thread(), allocation_count_of_thread())
        state.withLock {
            if isCommitted {
                $0.commits += 1
                let first = $0.first ?? (thread, allocations)
                $0.first = first
                // The last frame is written by whoever closes.
                if first.thread == thread { $0.commitAllocations = allocations - first.allocations }
            } else {
                $0.otherWrites += 1
            }
        }
        guard isCommitted else { return }
        lock.withLock {
            guard hold.withLock({ $0.isHolding }) else { return }
            hold.withLock { $0.isHeld = true }
            changed.notifyAll()
            while hold.withLock({ $0.isHolding }) { changed.wait(lock) }
        }
    }
}

private final class CountingFile: ForwardingFile {
    let base: any File
    private let isCommitted: Bool
    private let system: CountingFileSystem

    init(base: any File, isCommitted: Bool, system: CountingFileSystem) {
        (self.base, self.isCommitted, self.system) = (base, isCommitted, system)
    }

    func write(_ bytes: Span<UInt8>, at offset: Int) throws(IOFailure) {
        system.noteWrite(isCommitted: isCommitted)
        let before = allocation_count_of_thread()
        defer { allocation_count_forget(allocation_count_of_thread() - before) }
        try base.write(bytes, at: offset)
    }

    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOFailure) -> Int {
        let before = allocation_count_of_thread()
        defer { allocation_count_forget(allocation_count_of_thread() - before) }
        return try base.read(into: &buffer, at: offset)
    }

    func sync() throws(IOFailure) {
        system.noteSync()
        try base.sync()
    }
}
