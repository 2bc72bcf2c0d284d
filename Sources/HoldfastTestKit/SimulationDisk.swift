// The disk of a simulation: a simulated file system that is full for a while and not for ever. Space comes back after a
// number of refusals, because an operation that the store has accepted may wait for it, and nobody else could free any.

internal import HoldfastLog

/// A simulated disk on which space runs out and comes back.
final class SimulationDisk: ForwardingFileSystem {
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
}

/// A file of such a disk. Only writing takes space.
private final class SimulationFile: ForwardingFile {
    let base: any File
    private let disk: SimulationDisk

    init(base: any File, disk: SimulationDisk) {
        self.base = base
        self.disk = disk
    }

    func write(_ bytes: Span<UInt8>, at offset: Int) throws(IOFailure) {
        do { try base.write(bytes, at: offset) } catch {
            disk.note(error)
            throw error
        }
    }
}
