// A disk in memory that counts what is written to the journal and what is synced, and can hold a write up. What the
// thread that commits allocates is counted from write to write.

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
        /// Allocations of this disk itself in reads: they are no store's.
        var readAllocations: UInt64 = 0
        /// What the commit thread had allocated, with writes left out, when it came first.
        fileprivate var firstAllocation: UInt64?
        fileprivate var writeAllocations: UInt64 = 0
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

    fileprivate func noteRead(allocations: UInt64) { state.withLock { $0.readAllocations += allocations } }

    /// Notes what a write allocated itself.
    fileprivate func noteCommit(allocations: UInt64) { state.withLock { $0.writeAllocations += allocations } }

    fileprivate func noteWrite(isCommitted: Bool) {
        let allocations = allocation_count_of_thread()
        state.withLock {
            if isCommitted {
                $0.commits += 1
                let first = $0.firstAllocation ?? allocations
                $0.firstAllocation = first
                $0.commitAllocations = allocations - first - $0.writeAllocations
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
        try base.write(bytes, at: offset)
        if isCommitted { system.noteCommit(allocations: allocation_count_of_thread() - before) }
    }

    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOFailure) -> Int {
        let before = allocation_count_of_thread()
        let count = try base.read(into: &buffer, at: offset)
        system.noteRead(allocations: allocation_count_of_thread() - before)
        return count
    }

    func sync() throws(IOFailure) {
        system.noteSync()
        try base.sync()
    }
}
