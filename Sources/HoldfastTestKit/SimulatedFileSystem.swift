// A file system in memory that forgets what was not synced, for testing what a store finds after a crash.
//
// What it promises is the contract of FileSystem and no more: bytes are durable after a sync or a `.commit` write,
// names after a sync of their directory, and data, size and name of a file are independent of each other. Real file
// systems promise more in places; a store that lives with this one lives with them.
//
// Operations are whole: that system calls may do a part, or be interrupted, can't be seen above the contract, as
// WholeTransfer repeats them below it (and WholeTransferTests shows that it does). What a failing write leaves is up to
// the fault plan.
//
// Every mutating operation has a number, counted from 1, by which faults are placed. An operation that is refused for
// a reason that exists without any fault (a missing file, say) changes nothing and has no number.

internal import HoldfastLog

// SENDABLE: `state` is only touched with `lock` held.
/// A simulated disk.
public final class SimulatedFileSystem: @unchecked Sendable {
    /// All that changes, guarded by `lock`.
    struct State {
        var tree = SimulatedFileSystemTree()
        var contents: [Int: SimulatedFileSystemContent] = [:]
        /// How many open files each node has.
        var openCounts: [Int: Int] = [:]
        var lockedNodes: Set<Int> = []
        /// The last few files that were freed: their blocks may come to light in new ones.
        var freed: [SimulatedFileSystemContent] = []
        var plan = FaultPlan()
        var operationCount = 0
        var readCount = 0
        var lookCount = 0
        var faultHits = 0
        var longestReadBytes = 0
        var whileSyncing: (@Sendable (String) -> Void)?
        var isCrashed = false
        var recordsOperations = false
        var operationLog: [String] = []
        /// While crash points are kept: the disk in the middle of a write that is durable when it returns.
        var keepsMidpoints = false
        var midpoint: SimulatedFileSystemContent?
        var midpointNode = 0
    }

    private let lock = CallerLock()
    private var state = State()
    private var recorder: (@Sendable () -> Int)?
    private var points: [CrashPoint] = []

    /// Creates an empty disk.
    public init() {}

    init(_ state: State) { self.state = state }

    // MARK: - Faults

    /// The faults to come. May be changed at any time.
    public var faultPlan: FaultPlan {
        get { access { $0.plan } }
        set { access { $0.plan = newValue } }
    }

    /// How many mutating operations there were.
    public var operationCount: Int { access { $0.operationCount } }

    /// How many reads there were.
    public var readCount: Int { access { $0.readCount } }

    /// How many times a file that exists was opened, a directory listed, or a status or a size asked for.
    public var lookCount: Int { access { $0.lookCount } }

    /// How many operations, reads and looks met a planned fault, loss of power or lie.
    public var faultHits: Int { access { $0.faultHits } }

    /// The most bytes that one read asked for.
    public var longestReadBytes: Int { access { $0.longestReadBytes } }

    /// How many files are open.
    public var openFileCount: Int { access { $0.openCounts.values.reduce(0, +) } }

    /// Makes syncs slow: `hook` runs with the path of the file, after what the sync covers is settled and before it
    /// returns, and so does one for each write that is durable when it returns. What is written meanwhile is not
    /// covered.
    public func whileSyncing(_ hook: (@Sendable (String) -> Void)?) { access { $0.whileSyncing = hook } }

    /// Whether the planned loss of power has happened.
    public var isCrashed: Bool { access { $0.isCrashed } }

    /// Whether `operationLog` is kept.
    public var recordsOperations: Bool {
        get { access { $0.recordsOperations } }
        set { access { $0.recordsOperations = newValue } }
    }

    /// One line per mutating operation since `recordsOperations` was set: its number, what it was, and on which path.
    public var operationLog: [String] { access { $0.operationLog } }

    /// Returns the disk as it is found when power is lost now, or was lost at the planned operation. This disk is not
    /// changed. Nobody has the image's files open or locked, and it has no faults.
    ///
    /// - Complexity: O(names + pending writes), whatever the size of the files.
    public func crashImage(_ policy: CrashPolicy) -> SimulatedFileSystem {
        SimulatedFileSystem(access { $0 }.afterCrash(policy).state)
    }

    /// From now on every point at which power may be lost is kept; `note` is asked for a number to keep with it, such
    /// as how much was answered by then. It must not call this disk.
    ///
    /// - Complexity: O(names + files) in time and memory per operation.
    public func recordCrashPoints(_ note: @escaping @Sendable () -> Int) {
        access { state in
            recorder = note
            state.keepsMidpoints = true
            points = [CrashPoint(state, note: note())]
        }
    }

    /// Every point of the run since `recordCrashPoints`: before the first operation, during and after each one. Power
    /// lost during an operation is power lost after it with nothing of it durable yet.
    public var crashPoints: [CrashPoint] { access { _ in points } }

    // MARK: - Looking from outside

    /// How many bytes the disk holds, in whole blocks of 4,096: with that as `FaultPlan.capacityBytes` it is full.
    public var usedBytes: Int { access { $0.usedBlocks * SimulatedFileSystemContent.blockBytes } }

    /// Returns the content of every file by path, as programs see it. Paths begin with a slash.
    public func snapshotFiles() -> [String: [UInt8]] {
        access { state in
            var files: [String: [UInt8]] = [:]
            state.tree.forEachNode { path, node in
                if let content = state.contents[node] { files[path] = content.bytes }
            }
            return files
        }
    }

    // MARK: - Damage

    /// Inverts the bits of `mask` in one byte, as a decaying disk does: on the disk and for programs.
    ///
    /// - Precondition: The file has that byte.
    public func corrupt(_ path: String, offset: Int, xor mask: UInt8 = 1) {
        access { state in
            let node = state.existingFile(path)
            state.contents[node]?.corrupt(at: offset, xor: mask)
        }
    }

    /// Changes the size of a file, durably and with all that was written to it before.
    ///
    /// - Precondition: The file exists.
    public func truncate(_ path: String, to bytes: Int) {
        access { state in
            let node = state.existingFile(path)
            state.contents[node]?.truncate(to: bytes)
            state.contents[node]?.sync()
        }
    }

    /// Removes a file or a directory, durably.
    ///
    /// - Precondition: It exists.
    public func remove(_ path: String) {
        access { state in
            guard let location = try? state.tree.locate(path), location.node != nil else {
                preconditionFailure("nothing to remove at \(path)")
            }
            state.tree.removeDurably(location)
            state.dropUnreferenced()
        }
    }

    /// Gives a file new content, durably; creates it, and the directories above it, when they are missing.
    ///
    /// - Precondition: No file is in the way of a directory, or the other way round.
    public func replace(_ path: String, with bytes: [UInt8]) {
        access { state in
            var parent = ""
            for component in SimulatedFileSystemTree.components(path).dropLast() {
                parent += "/" + component
                if let location = try? state.tree.locate(parent), location.node == nil {
                    _ = state.tree.create(at: location, isDirectory: true)
                    state.tree.syncDirectory(location.directory)
                }
            }
            guard let location = try? state.tree.locate(path), !state.tree.isDirectory(location.node ?? -1) else {
                preconditionFailure("no file can be at \(path)")
            }
            let node = location.node ?? state.tree.create(at: location, isDirectory: false)
            state.tree.syncDirectory(location.directory)
            state.contents[node] = SimulatedFileSystemContent(durable: bytes)
        }
    }

    // MARK: - Shared with the other files of this type

    /// Runs `body` on the state with the lock held.
    func access<R, E: Error>(_ body: (inout State) throws(E) -> R) throws(E) -> R {
        lock.lock()
        let before = state.operationCount
        defer {
            if let recorder, state.operationCount != before { keepPoints(recorder()) }
            lock.unlock()
        }
        return try body(&state)
    }

    private func keepPoints(_ note: Int) {
        state.tree.rememberPaths()
        for node in state.contents.keys { state.contents[node]?.rememberHash() }
        if let midpoint = state.midpoint {
            state.midpoint = nil
            var during = state
            during.contents[state.midpointNode] = midpoint
            points.append(CrashPoint(during, note: note))
        }
        points.append(CrashPoint(state, note: note))
    }
}

extension SimulatedFileSystem.State {
    /// Returns the state after a crash, and of how many items the crash decided.
    func afterCrash(_ policy: CrashPolicy) -> (state: Self, itemCount: Int) {
        var chance = CrashChance(policy, freed: freed)
        var after = Self()
        after.freed = freed
        after.tree = tree.afterCrash(&chance)
        let survivors = after.tree.referencedNodes
        // Files that lose their name are decided too, so that items keep their numbers.
        for node in contents.keys.sorted() {
            let content = contents[node]?.afterCrash(&chance)
            if survivors.contains(node) { after.contents[node] = content } else { after.free(content) }
        }
        return (after, chance.itemCount)
    }

    /// How many blocks all files take together.
    var usedBlocks: Int { contents.values.reduce(0) { $0 + $1.allocatedBlocks } }

    fileprivate func existingFile(_ path: String) -> Int {
        guard let node = (try? tree.locate(path))?.node, contents[node] != nil else {
            preconditionFailure("no file at \(path)")
        }
        return node
    }

    /// Frees the content of files that have no name and that nobody has open.
    mutating func dropUnreferenced() {
        let referenced = tree.referencedNodes
        for node in contents.keys.sorted() where !referenced.contains(node) && openCounts[node] == nil {
            free(contents.removeValue(forKey: node))
        }
    }

    /// Keeps what the disk has of a file that is gone: until its blocks are written again it stays there.
    private mutating func free(_ content: SimulatedFileSystemContent?) {
        guard let content, content.hasDurableBlocks else { return }
        freed.append(content)
        if freed.count > Self.freedCountMax { freed.removeFirst() }
    }

    private static var freedCountMax: Int { 8 }
}
