// An open file of a SimulatedFileSystem. It refers to the file, not to its name: it goes on working when the file is
// renamed or unlinked, as with any operating system of the kind.

internal import HoldfastLog

// SENDABLE: `isClosed` is only touched in `access`, under the file system's lock; the rest never changes.
/// An open file of a simulated file system.
final class SimulatedFile: File, @unchecked Sendable {
    private let fileSystem: SimulatedFileSystem
    private let node: Int
    private let path: String
    private let mode: OpenMode
    private var isClosed = false

    init(_ fileSystem: SimulatedFileSystem, node: Int, path: String, mode: OpenMode) {
        self.fileSystem = fileSystem
        self.node = node
        self.path = path
        self.mode = mode
    }

    deinit {
        if !isClosed { releaseNode() }
    }

    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOFailure) -> Int {
        precondition(offset >= 0, "an offset cannot be negative")
        let wanted = buffer.count
        // A span cannot be passed on by a closure that is not its only user, so the content is taken out first; it is
        // a copy in name only.
        let content = try access("pread") { state throws(IOFailure) in
            state.readCount += 1
            state.longestReadBytes = max(state.longestReadBytes, wanted)
            if let fault = state.meet(FaultPlan.fault(at: state.readCount, of: state.plan.readFaults)) {
                throw .planned(fault, "pread", path)
            }
            if state.plan.makesUnreadable(path) { throw IOFailure(.io, "pread", path) }
            if mode == .commit { throw IOFailure(.io, "pread", path, "Bad file descriptor") }
            return state.contents[node]
        }
        return content?.read(into: &buffer, at: offset) ?? 0
    }

    func write(_ bytes: Span<UInt8>, at offset: Int) throws(IOFailure) {
        precondition(offset >= 0, "an offset cannot be negative")
        let block = SimulatedFileSystemContent.blockBytes
        if mode == .commit {
            precondition(bytes.isAligned(to: block) && offset % block == 0, "a commit write must be aligned")
        }
        try access("pwrite") { state throws(IOFailure) in
            if mode == .read { throw IOFailure(.io, "pwrite", path, "Bad file descriptor") }
            let fault = state.number("pwrite", path, "\(bytes.count) bytes at \(offset)")
            if state.isCrashed {
                state.contents[node]?.write(bytes, at: offset, durably: false)
                throw .powerLost("pwrite", path)
            }
            if let fault {
                state.contents[node]?.writePart(of: bytes, at: offset, fault)
                throw .planned(fault, "pwrite", path)
            }
            if let lie = state.plan.lies[state.operationCount] { return state.tell(lie, bytes, at: offset, of: node) }
            let fitting = state.fittingBytes(node, offset: offset, count: bytes.count)
            let part = bytes.extracting(0..<fitting)
            if state.keepsMidpoints && mode == .commit {
                state.midpoint = state.contents[node]
                state.midpoint?.write(part, at: offset, durably: false)
                state.midpointNode = node
            }
            state.contents[node]?.write(part, at: offset, durably: mode == .commit)
            if fitting < bytes.count { throw .planned(state.plan.capacityFailure, "pwrite", path) }
        }
        if mode == .commit { waitForSync() }
    }

    func sync() throws(IOFailure) {
        try access("fdatasync") { state throws(IOFailure) in
            let fault = state.number("fdatasync", path, "")
            if state.isCrashed { throw .powerLost("fdatasync", path) }
            if let fault {
                if fault.effect == .pagesMarkedClean { state.contents[node]?.markPagesClean() }
                throw .planned(fault, "fdatasync", path)
            }
            state.contents[node]?.sync()
        }
        waitForSync()
    }

    func size() throws(IOFailure) -> Int {
        try access("fstat") { state throws(IOFailure) in
            try state.look("fstat", path)
            return state.contents[node]?.size ?? 0
        }
    }

    func truncate(to bytes: Int) throws(IOFailure) {
        precondition(bytes >= 0, "a size cannot be negative")
        try access("ftruncate") { state throws(IOFailure) in
            if mode == .read { throw IOFailure(.io, "ftruncate", path, "Invalid argument") }
            let isCrash = try state.begin("ftruncate", path, "to \(bytes)")
            state.contents[node]?.truncate(to: bytes)
            if isCrash { throw .powerLost("ftruncate", path) }
        }
    }

    func close() {
        fileSystem.access { _ in
            precondition(!isClosed, "a file is closed once")
            isClosed = true
        }
        releaseNode()
    }

    // MARK: - Private

    private func access<R>(
        _ operation: String, _ body: (inout SimulatedFileSystem.State) throws(IOFailure) -> R
    ) throws(IOFailure) -> R {
        try fileSystem.access { state throws(IOFailure) in
            precondition(!isClosed, "the file is closed")
            try state.checkPower(operation, path)
            return try body(&state)
        }
    }

    /// What goes on while the device is busy.
    private func waitForSync() { fileSystem.access { $0.whileSyncing }?(path) }

    private func releaseNode() {
        fileSystem.access { state in
            let count = (state.openCounts[node] ?? 1) - 1
            state.openCounts[node] = count == 0 ? nil : count
        }
    }
}

extension SimulatedFileSystem.State {
    /// Does what a write that lies does. What was meant to be durable is so wherever it lands.
    fileprivate mutating func tell(_ lie: FaultPlan.Lie, _ bytes: Span<UInt8>, at offset: Int, of node: Int) {
        faultHits += 1
        switch lie {
        case .lost: return
        case .shifted(let distance):
            let start = offset + distance
            guard start >= 0, start + bytes.count <= contents[node]?.size ?? 0 else { return }
            contents[node]?.write(bytes, at: start, durably: true)
        case .elsewhere(let path):
            guard let other = (try? tree.locate(path))?.node else { return }
            contents[other]?.write(bytes, at: offset, durably: true)
        }
    }

    /// Returns how many bytes of a write the disk has room for.
    fileprivate func fittingBytes(_ node: Int, offset: Int, count: Int) -> Int {
        guard let capacity = plan.capacityBytes, let content = contents[node] else { return count }
        let block = SimulatedFileSystemContent.blockBytes
        var room = max(0, capacity / block - usedBlocks)
        var fitting = 0
        while fitting < count {
            let start = offset + fitting
            let needed = content.newBlocks(for: start..<start + 1)
            if needed > room { break }
            room -= needed
            fitting = min(count, fitting + block - start % block)
        }
        return fitting
    }
}

extension SimulatedFileSystemContent {
    /// Writes what a failing write leaves behind. Nothing of it is durable.
    fileprivate mutating func writePart(of bytes: Span<UInt8>, at offset: Int, _ fault: FaultPlan.Fault) {
        switch fault.effect {
        case .none, .pagesMarkedClean: break
        case .shortWrite: write(bytes.extracting(0..<bytes.count / 2), at: offset, durably: false)
        case .tornWrite:
            var chance = CrashChance(.random(seed: UInt64(fault.operation)))
            var done = 0
            while done < bytes.count {
                let length = min(Self.sectorBytes - (offset + done) % Self.sectorBytes, bytes.count - done)
                if chance.survivors(of: 1) == 1 {
                    write(bytes.extracting(done..<done + length), at: offset + done, durably: false)
                }
                done += length
            }
        }
    }
}
