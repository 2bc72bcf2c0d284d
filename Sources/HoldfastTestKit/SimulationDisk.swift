// The disk of a simulation: a simulated file system that is full for a while and not for ever. Space comes back after a
// number of refusals, because an operation that the store has accepted may wait for it, and nobody else could free any.

internal import HoldfastLog

/// A simulated disk on which space runs out and comes back.
final class SimulationDisk: FileSystem {
    let base: SimulatedFileSystem
    /// Whether writes that should be durable when they return are not.
    private let forgets: Bool
    private let refusalsLeft = Locked(Int.max)
    private let returns = Locked(0)

    init(_ base: SimulatedFileSystem = SimulatedFileSystem(), forgets: Bool = false) {
        self.base = base
        self.forgets = forgets
    }

    /// How often space came back.
    var returnCount: Int { returns.withLock { $0 } }

    /// Limits what the disk holds until it has refused `refusals` operations for that.
    func limit(to bytes: Int, refusals: Int) {
        refusalsLeft.withLock { $0 = refusals }
        base.faultPlan.capacityBytes = bytes
    }

    /// Counts a refusal for want of space.
    fileprivate func note(_ failure: IOFailure) {
        guard failure.kind == .noSpace, base.faultPlan.capacityBytes != nil else { return }
        let isOver = refusalsLeft.withLock { left in
            left -= 1
            return left <= 0
        }
        guard isOver else { return }
        returns.withLock { $0 += 1 }
        base.faultPlan.capacityBytes = nil
    }

    func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> any File {
        SimulationFile(base: try base.open(path, forgets && mode == .commit ? .readWrite : mode), disk: self)
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

/// A file of such a disk. Only writing takes space.
private final class SimulationFile: File {
    private let base: any File
    private let disk: SimulationDisk

    init(base: any File, disk: SimulationDisk) {
        self.base = base
        self.disk = disk
    }

    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOFailure) -> Int {
        try base.read(into: &buffer, at: offset)
    }
    func write(_ bytes: Span<UInt8>, at offset: Int) throws(IOFailure) {
        do { try base.write(bytes, at: offset) } catch {
            disk.note(error)
            throw error
        }
    }
    func sync() throws(IOFailure) { try base.sync() }
    func size() throws(IOFailure) -> Int { try base.size() }
    func truncate(to bytes: Int) throws(IOFailure) { try base.truncate(to: bytes) }
    func close() { base.close() }
}
