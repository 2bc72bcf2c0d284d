// The disk of a simulation: a simulated file system each of whose operations is a point at which another thread may go
// on, whose syncs take time, and that is full for a while and not for ever. Space comes back after a number of
// refusals, because an operation that the store has accepted may wait for it, and nobody else could free any.

internal import HoldfastBytes
internal import HoldfastLog

/// A simulated disk on which space runs out and comes back.
final class SimulationDisk: ForwardingFileSystem {
    let base: SimulatedFileSystem
    fileprivate let schedule: SeededSchedule
    /// Whether writes that should be durable when they return are not.
    private let forgets: Bool
    /// How long a sync takes, and a write that is durable when it returns.
    fileprivate let syncMilliseconds: Int
    private let refusalsLeft = Locked(Int.max)
    private let returns = Locked(0)

    init(_ base: SimulatedFileSystem, schedule: SeededSchedule, forgets: Bool, syncMilliseconds: Int) {
        self.base = base
        self.schedule = schedule
        self.forgets = forgets
        self.syncMilliseconds = syncMilliseconds
    }

    /// How often space came back.
    var returnCount: Int { returns.withLock { $0 } }

    /// Limits what the disk holds until it has refused `refusals` operations for that.
    func limit(to bytes: Int, refusals: Int, failure: FaultPlan.Kind) {
        refusalsLeft.withLock { $0 = refusals }
        base.faultPlan.capacityFailure = failure
        base.faultPlan.capacityBytes = bytes
    }

    /// Gives all space back.
    func free() {
        base.faultPlan.capacityBytes = nil
        base.faultPlan.capacityFailure = .noSpace
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
        free()
    }

    // MARK: - Operations

    func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> any File {
        schedule.pass("open \(path) \(mode)")
        let file = try base.open(path, forgets && mode == .commit ? .readWrite : mode)
        return SimulationFile(base: file, path: path, isSyncing: mode == .commit, disk: self)
    }

    func createDirectory(_ path: String) throws(IOFailure) {
        schedule.pass("mkdir \(path)")
        try base.createDirectory(path)
    }

    func rename(_ from: String, to: String) throws(IOFailure) {
        schedule.pass("rename \(from) \(to)")
        try base.rename(from, to: to)
    }

    func unlink(_ path: String) throws(IOFailure) {
        schedule.pass("unlink \(path)")
        try base.unlink(path)
    }

    func list(_ path: String) throws(IOFailure) -> [String] {
        schedule.pass("list \(path)")
        return try base.list(path)
    }

    func syncDirectory(_ path: String) throws(IOFailure) {
        schedule.pass("sync \(path)")
        try base.syncDirectory(path)
        schedule.delay(milliseconds: syncMilliseconds)
    }

    func status(of path: String) throws(IOFailure) -> FileStatus? {
        schedule.pass("status \(path)")
        return try base.status(of: path)
    }

    func lock(_ path: String, note: String) throws(IOFailure) -> LockOutcome {
        schedule.pass("lock \(path)")
        return try base.lock(path, note: note)
    }
}

/// A file of such a disk. Only writing takes space.
private final class SimulationFile: ForwardingFile {
    let base: any File
    private let path: String
    /// Whether a write is also a sync.
    private let isSyncing: Bool
    private let disk: SimulationDisk

    init(base: any File, path: String, isSyncing: Bool, disk: SimulationDisk) {
        self.base = base
        self.path = path
        self.isSyncing = isSyncing
        self.disk = disk
    }

    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOFailure) -> Int {
        let count = buffer.count
        disk.schedule.pass("read \(path) \(count) at \(offset)")
        return try base.read(into: &buffer, at: offset)
    }

    func write(_ bytes: Span<UInt8>, at offset: Int) throws(IOFailure) {
        var hash = ContentHash()
        if disk.schedule.keepsEvents { hash.add(bytes) }
        disk.schedule.pass("write \(path) \(bytes.count) at \(offset), hash \(hash.value)")
        do { try base.write(bytes, at: offset) } catch {
            disk.note(error)
            throw error
        }
        if isSyncing { disk.schedule.delay(milliseconds: disk.syncMilliseconds) }
    }

    func sync() throws(IOFailure) {
        disk.schedule.pass("sync \(path)")
        try base.sync()
        // What is written meanwhile is not covered.
        disk.schedule.delay(milliseconds: disk.syncMilliseconds)
    }

    func size() throws(IOFailure) -> Int {
        disk.schedule.pass("size \(path)")
        return try base.size()
    }

    func truncate(to bytes: Int) throws(IOFailure) {
        disk.schedule.pass("truncate \(path) to \(bytes)")
        try base.truncate(to: bytes)
    }
}
