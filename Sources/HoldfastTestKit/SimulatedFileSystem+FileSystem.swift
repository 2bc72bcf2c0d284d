// The operations of a SimulatedFileSystem. Each goes the same way: refused if power is gone; refused as the operating
// system would refuse it; numbered, and met by the planned fault; done. An operation during which power is lost is
// done as far as programs see it but not made durable: what a crash image keeps of it is up to the policy.

package import HoldfastLog
internal import Synchronization

extension SimulatedFileSystem: FileSystem {
    package func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> any File {
        let node = try access { state throws(IOFailure) in try state.open(path, mode) }
        return SimulatedFile(self, node: node, path: path, mode: mode)
    }

    package func createDirectory(_ path: String) throws(IOFailure) {
        try access { state throws(IOFailure) in
            let location = try state.locate(path, "mkdir")
            guard location.node == nil else { throw IOFailure(.exists, "mkdir", path) }
            let isCrash = try state.begin("mkdir", path)
            _ = state.tree.create(at: location, isDirectory: true)
            if isCrash { throw .powerLost("mkdir", path) }
        }
    }

    package func rename(_ from: String, to: String) throws(IOFailure) {
        try access { state throws(IOFailure) in
            let source = try state.locate(from, "rename")
            let target = try state.locate(to, "rename", reporting: from)
            guard let node = source.node else { throw IOFailure(.notFound, "rename", from) }
            guard node != target.node else { return }
            try state.checkRename(node, source, to: target, from)
            let isCrash = try state.begin("rename", from, to)
            state.tree.rename(source, to: target)
            if isCrash { throw .powerLost("rename", from) }
        }
    }

    package func unlink(_ path: String) throws(IOFailure) {
        try access { state throws(IOFailure) in
            let location = try state.locate(path, "unlink")
            guard let node = location.node else { throw IOFailure(.notFound, "unlink", path) }
            guard !state.tree.isDirectory(node) else { throw IOFailure(.io, "unlink", path, "Is a directory") }
            let isCrash = try state.begin("unlink", path)
            state.tree.unlink(location)
            if isCrash { throw .powerLost("unlink", path) }
        }
    }

    package func link(_ from: String, to: String) throws(IOFailure) -> Bool {
        try access { state throws(IOFailure) in
            let source = try state.locate(from, "link")
            guard let node = source.node else { throw IOFailure(.notFound, "link", from) }
            let target = try state.locate(to, "link", reporting: from)
            guard target.node == nil else { throw IOFailure(.exists, "link", from) }
            if state.tree.isDirectory(node) || state.plan.refusesLinks { return false }
            let isCrash = try state.begin("link", from, to)
            state.tree.link(node, at: target)
            if isCrash { throw .powerLost("link", from) }
            return true
        }
    }

    package func list(_ path: String) throws(IOFailure) -> [String] {
        try access { state throws(IOFailure) in
            let node = try state.directory(path, "opendir")
            try state.look("opendir", path)
            return (state.tree.directories[node] ?? [:]).keys.sorted()
        }
    }

    package func syncDirectory(_ path: String) throws(IOFailure) {
        try access { state throws(IOFailure) in
            let node = try state.directory(path, "open")
            if try state.begin("fsync", path) { throw .powerLost("fsync", path) }
            state.tree.syncDirectory(node)
            state.dropUnreferenced()
        }
    }

    package func status(of path: String) throws(IOFailure) -> FileStatus? {
        try access { state throws(IOFailure) in
            let node: Int?
            try state.checkPower("stat", path)
            try state.look("stat", path)
            do throws(IOFailure) {
                node = try state.locate(path, "stat").node
            } catch {
                if error.kind == .notFound { return nil }
                throw error
            }
            guard let node else { return nil }
            guard let content = state.contents[node] else {
                return FileStatus(kind: .directory, bytes: 0, allocatedBytes: 0)
            }
            let allocated = content.allocatedBlocks * SimulatedFileSystemContent.blockBytes
            return FileStatus(kind: .file, bytes: content.size, allocatedBytes: allocated)
        }
    }

    package func lock(_ path: String, note: String) throws(IOFailure) -> LockOutcome {
        let locked = try access { state throws(IOFailure) in try state.lock(path, note: note) }
        switch locked {
        case .node(let node): return .acquired(SimulatedLock(self, node: node))
        case .held(let note): return .heldByOther(note: note)
        }
    }

    package func lockHolder(_ path: String) throws(IOFailure) -> String? {
        try access { state throws(IOFailure) in
            let node: Int?
            do throws(IOFailure) { node = try state.locate(path, "open").node } catch {
                if error.kind == .notFound { return nil }
                throw error
            }
            guard let node, state.lockedNodes.contains(node) else { return nil }
            return state.note(of: node)
        }
    }
}

/// A held lock of a simulated file system.
private final class SimulatedLock: FileLock {
    private let fileSystem: SimulatedFileSystem
    private let node: Int

    init(_ fileSystem: SimulatedFileSystem, node: Int) {
        self.fileSystem = fileSystem
        self.node = node
    }

    deinit { release() }

    func release() {
        // Nodes are not used again, but the same file may be locked again: only the first release counts.
        let isFirst = released.exchange(true, ordering: .relaxed) == false
        if isFirst { fileSystem.access { _ = $0.lockedNodes.remove(node) } }
    }

    private let released = Atomic(false)
}

// MARK: - Operations on the state

extension SimulatedFileSystem.State {
    enum Locked {
        case node(Int)
        case held(note: String)
    }

    /// Numbers a mutating operation.
    ///
    /// - Returns: Whether power is lost during it: the caller does it, makes nothing durable and throws.
    /// - Throws: The planned failure; nothing has happened then, nor may it.
    mutating func begin(_ operation: String, _ path: String, _ detail: String = "") throws(IOFailure) -> Bool {
        if let fault = number(operation, path, detail) { throw .planned(fault, operation, path) }
        return isCrashed
    }

    /// Numbers a mutating operation and returns the fault it meets; sets `isCrashed` when power is lost during it.
    mutating func number(_ operation: String, _ path: String, _ detail: String) -> FaultPlan.Fault? {
        assert(!isCrashed)
        operationCount += 1
        if recordsOperations {
            operationLog.append("\(operationCount) \(operation) \(path)\(detail.isEmpty ? "" : " " + detail)")
        }
        if plan.crashOperation == operationCount {
            isCrashed = true
            faultHits += 1
            return nil
        }
        return meet(FaultPlan.fault(at: operationCount, of: plan.faults))
    }

    /// Counts a fault that is met.
    mutating func meet(_ fault: FaultPlan.Fault?) -> FaultPlan.Fault? {
        if fault != nil { faultHits += 1 }
        return fault
    }

    /// Numbers an operation that changes and reads nothing.
    mutating func look(_ operation: String, _ path: String) throws(IOFailure) {
        lookCount += 1
        if let fault = meet(FaultPlan.fault(at: lookCount, of: plan.lookFaults)) {
            throw .planned(fault, operation, path)
        }
    }

    func checkPower(_ operation: String, _ path: String) throws(IOFailure) {
        if isCrashed { throw .powerLost(operation, path) }
    }

    fileprivate func locate(
        _ path: String, _ operation: String, reporting reported: String? = nil
    ) throws(IOFailure) -> SimulatedFileSystemTree.Location {
        try checkPower(operation, path)
        do {
            return try tree.locate(path)
        } catch {
            let kind: IOFailure.Kind = error == .notFound ? .notFound : .notDirectory
            throw IOFailure(kind, operation, reported ?? path)
        }
    }

    fileprivate func directory(_ path: String, _ operation: String) throws(IOFailure) -> Int {
        guard let node = try locate(path, operation).node else { throw IOFailure(.notFound, operation, path) }
        guard tree.isDirectory(node) else { throw IOFailure(.notDirectory, operation, path) }
        return node
    }

    fileprivate mutating func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> Int {
        let location = try locate(path, "open")
        if mode == .create {
            guard location.node == nil else { throw IOFailure(.exists, "open", path) }
            let isCrash = try begin("create", path)
            let node = tree.create(at: location, isDirectory: false)
            contents[node] = SimulatedFileSystemContent()
            if isCrash { throw .powerLost("create", path) }
            openCounts[node, default: 0] += 1
            return node
        }
        guard let node = location.node else { throw IOFailure(.notFound, "open", path) }
        guard !tree.isDirectory(node) else { throw IOFailure(.io, "open", path, "Is a directory") }
        try look("open", path)
        openCounts[node, default: 0] += 1
        return node
    }

    fileprivate func checkRename(
        _ node: Int, _ source: SimulatedFileSystemTree.Location, to target: SimulatedFileSystemTree.Location,
        _ from: String
    ) throws(IOFailure) {
        // A directory that holds what is renamed is not empty, and Linux says so before anything else.
        if let replaced = target.node, tree.isDirectory(replaced), tree.contains(replaced, above: source.directory) {
            throw IOFailure(.exists, "rename", from, "Directory not empty")
        }
        if tree.isDirectory(node) {
            guard !tree.contains(node, above: target.directory) else {
                throw IOFailure(.io, "rename", from, "Invalid argument")
            }
            guard let replaced = target.node else { return }
            guard let names = tree.directories[replaced] else { throw IOFailure(.notDirectory, "rename", from) }
            guard names.isEmpty else { throw IOFailure(.exists, "rename", from, "Directory not empty") }
        } else if let replaced = target.node, tree.isDirectory(replaced) {
            throw IOFailure(.io, "rename", from, "Is a directory")
        }
    }

    fileprivate mutating func lock(_ path: String, note: String) throws(IOFailure) -> Locked {
        let location = try locate(path, "open")
        if let node = location.node {
            guard !tree.isDirectory(node) else { throw IOFailure(.io, "open", path, "Is a directory") }
            if lockedNodes.contains(node) { return .held(note: self.note(of: node)) }
        }
        let isCrash = try begin("lock", path)
        let node = location.node ?? tree.create(at: location, isDirectory: false)
        var content = contents[node] ?? SimulatedFileSystemContent()
        content.truncate(to: 0)
        content.write(Array(note.utf8).span, at: 0, durably: false)
        contents[node] = content
        if isCrash { throw .powerLost("lock", path) }
        lockedNodes.insert(node)
        return .node(node)
    }

    fileprivate func note(of node: Int) -> String {
        String(decoding: contents[node]?.bytes.prefix(Self.noteBytesMax) ?? [], as: UTF8.self)
    }

    /// As much as is read of a lock file.
    private static var noteBytesMax: Int { 4_096 }
}

extension IOFailure {
    init(_ kind: Kind, _ operation: String, _ path: String, _ reason: String? = nil) {
        let usual =
            switch kind {
            case .notFound: "No such file or directory"
            case .exists: "File exists"
            case .permission: "Permission denied"
            case .noSpace: "No space left on device"
            case .notDirectory: "Not a directory"
            case .tooManyOpenFiles: "Too many open files"
            case .io: "Input/output error"
            }
        self.init(kind, operation: operation, path: path, reason: reason ?? usual)
    }

    static func powerLost(_ operation: String, _ path: String) -> IOFailure {
        IOFailure(.io, operation, path, "crashed: power was lost")
    }

    static func planned(_ fault: FaultPlan.Fault, _ operation: String, _ path: String) -> IOFailure {
        planned(fault.kind, operation, path)
    }

    static func planned(_ kind: FaultPlan.Kind, _ operation: String, _ path: String) -> IOFailure {
        switch kind {
        case .ioError: IOFailure(.io, operation, path)
        case .noSpace: IOFailure(.noSpace, operation, path)
        case .quotaExceeded: IOFailure(.noSpace, operation, path, "Disk quota exceeded")
        }
    }
}
