// The names of a simulated file system, twice: as programs see them, and as the disk has them. In between are the
// changes whose directory was not synced yet.
//
// A crash keeps any of the pending changes, not only a run of them from the start: file systems promise no order
// among names. Two things hold even so. A change to a name needs the earlier changes to the same name. And a file that
// is renamed never has no name at all: within a directory the rename is one change, across directories the new name
// comes first and both directories need a sync.

/// The names of a simulated file system.
struct SimulatedFileSystemTree {
    static let root = 0

    /// What a path leads to.
    struct Location {
        let directory: Int
        /// Empty for the root.
        let name: String
        /// `nil` when nothing has the name.
        let node: Int?
    }

    /// Why a path leads nowhere.
    enum Dead: Error { case notFound, notDirectory }

    private struct Key: Hashable {
        let directory: Int
        let name: String
    }

    private struct Change {
        let serial: Int
        /// What each name refers to afterwards.
        let targets: [(key: Key, node: Int?)]
        /// The change without which this one must not become durable.
        let requires: Int?
    }

    private(set) var directories: [Int: [String: Int]] = [root: [:]]
    private var durableDirectories: [Int: [String: Int]] = [root: [:]]
    private var pending: [Change] = []
    /// Every path and its node on the programs' side, while they stay so.
    private var knownPaths: [(path: String, node: Int)]?
    private var nextSerial = 0
    private var nextNode = root + 1

    /// A tree of nothing but the root.
    init() {}

    // MARK: - Programs' side

    /// Returns the names of `path` from the root on.
    static func components(_ path: String) -> [Substring] {
        // By bytes: telling characters apart took a tenth of a crash enumeration.
        path.utf8.split(separator: UInt8(ascii: "/")).lazy.map { Substring($0) }.filter { $0 != "." }
    }

    func isDirectory(_ node: Int) -> Bool { directories[node] != nil }

    func locate(_ path: String) throws(Dead) -> Location {
        var location = Location(directory: Self.root, name: "", node: Self.root)
        for component in Self.components(path) {
            guard let node = location.node else { throw .notFound }
            guard let names = directories[node] else { throw .notDirectory }
            let name = String(component)
            location = Location(directory: node, name: name, node: names[name])
        }
        return location
    }

    /// Gives a new node a name and returns it.
    mutating func create(at location: Location, isDirectory: Bool) -> Int {
        let node = nextNode
        nextNode += 1
        if isDirectory {
            directories[node] = [:]
            durableDirectories[node] = [:]
        }
        record([(Key(directory: location.directory, name: location.name), node)])
        return node
    }

    /// Gives a node another name.
    mutating func link(_ node: Int, at location: Location) {
        record([(Key(directory: location.directory, name: location.name), node)])
    }

    mutating func unlink(_ location: Location) {
        record([(Key(directory: location.directory, name: location.name), nil)])
    }

    mutating func rename(_ from: Location, to: Location) {
        let source = Key(directory: from.directory, name: from.name)
        let target = Key(directory: to.directory, name: to.name)
        if from.directory == to.directory {
            record([(target, from.node), (source, nil)])
        } else {
            let link = record([(target, from.node)])
            record([(source, nil)], requires: link)
        }
    }

    /// Whether `node` is `directory` or one of the directories above it.
    func contains(_ node: Int, above directory: Int) -> Bool {
        if node == directory { return true }
        return directories[node]?.values.contains { isDirectory($0) && contains($0, above: directory) } ?? false
    }

    /// Calls `body` for every node below the root with its path, on the programs' side.
    func forEachNode(_ body: (String, Int) -> Void) {
        for (path, node) in knownPaths ?? paths() { body(path, node) }
    }

    /// Finds the paths once for all copies made from here on.
    mutating func rememberPaths() { if knownPaths == nil { knownPaths = paths() } }

    private func paths() -> [(path: String, node: Int)] {
        var paths: [(path: String, node: Int)] = []
        visit(Self.root, path: "") { paths.append(($0, $1)) }
        return paths
    }

    /// The nodes that some name, durable or not, refers to.
    var referencedNodes: Set<Int> {
        var nodes: Set<Int> = [Self.root]
        for names in directories.values { nodes.formUnion(names.values) }
        for names in durableDirectories.values { nodes.formUnion(names.values) }
        for change in pending { nodes.formUnion(change.targets.compactMap(\.node)) }
        return nodes
    }

    // MARK: - The disk's side

    /// Makes the names of one directory durable, with the changes elsewhere that they rest on.
    mutating func syncDirectory(_ directory: Int) {
        var keys: Set<Key> = []
        var serials: Set<Int> = []
        for change in pending.reversed() {
            let isWanted =
                serials.contains(change.serial)
                || change.targets.contains { $0.key.directory == directory || keys.contains($0.key) }
            guard isWanted else { continue }
            serials.insert(change.serial)
            if let requires = change.requires { serials.insert(requires) }
            keys.formUnion(change.targets.map(\.key))
        }
        for change in pending where serials.contains(change.serial) { makeDurable(change) }
        pending.removeAll { serials.contains($0.serial) }
    }

    /// Returns what is found after a crash.
    func afterCrash(_ chance: inout CrashChance) -> SimulatedFileSystemTree {
        var image = self
        // Both sides are equal then.
        if pending.isEmpty { return image }
        var lostKeys: Set<Key> = []
        var lostSerials: Set<Int> = []
        for change in pending {
            let isPossible =
                !change.targets.contains { lostKeys.contains($0.key) }
                && !(change.requires.map { lostSerials.contains($0) } ?? false)
            // Asked in any case, so that items keep their numbers.
            if chance.survivors(of: 1) == 1 && isPossible {
                image.makeDurable(change)
            } else {
                lostKeys.formUnion(change.targets.map(\.key))
                lostSerials.insert(change.serial)
            }
        }
        image.pending = []
        // Directories that no durable name leads to are gone, and what is in them too.
        var reached: [Int: [String: Int]] = [:]
        var open = [Self.root]
        while let node = open.popLast() {
            guard reached[node] == nil, let names = image.durableDirectories[node] else { continue }
            reached[node] = names
            open.append(contentsOf: names.values)
        }
        image.durableDirectories = reached
        image.directories = reached
        image.knownPaths = nil
        return image
    }

    // MARK: - Damage

    /// Removes a name on both sides.
    mutating func removeDurably(_ location: Location) {
        unlink(location)
        syncDirectory(location.directory)
    }

    // MARK: - Private

    @discardableResult private mutating func record(_ targets: [(Key, Int?)], requires: Int? = nil) -> Int {
        nextSerial += 1
        knownPaths = nil
        for (key, node) in targets { directories[key.directory]?[key.name] = node }
        pending.append(Change(serial: nextSerial, targets: targets.map { (key: $0.0, node: $0.1) }, requires: requires))
        return nextSerial
    }

    private mutating func makeDurable(_ change: Change) {
        for (key, node) in change.targets { durableDirectories[key.directory]?[key.name] = node }
    }

    private func visit(_ node: Int, path: String, _ body: (String, Int) -> Void) {
        for (name, child) in (directories[node] ?? [:]).sorted(by: { $0.key < $1.key }) {
            body(path + "/" + name, child)
            visit(child, path: path + "/" + name, body)
        }
    }
}
