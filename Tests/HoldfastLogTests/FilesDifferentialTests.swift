// The same random operations, all that the seam has, on the simulated disk and on the operating system's: without
// crashes nobody may be able to tell them apart, by results, errors or the words of errors.

import HoldfastLog
import HoldfastTestKit
import Testing

@Suite struct FilesDifferentialTests {
    @Test(arguments: UInt64(1)...40) func bothFileSystemsAnswerAlike(_ seed: UInt64) throws {
        let directory = try FilesTestDirectory()
        let simulated = SimulatedFileSystem()
        try simulated.createDirectory("/base")
        var real = Driver(system: POSIXFileSystem(), base: directory.path, state: seed)
        var model = Driver(system: simulated, base: "/base", state: seed)
        for step in 0..<400 {
            let expected = real.step()
            let found = model.step()
            #expect(found == expected, "seed \(seed), step \(step)")
            guard found == expected else { return }
        }
        #expect(try model.tree("") == real.tree(""), "seed \(seed), at the end")
        real.closeAll()
        model.closeAll()
    }
}

/// Draws operations from a seed and says in words how they went.
private struct Driver {
    let system: any FileSystem
    let base: String
    var state: UInt64
    var open: [(file: any File, mode: OpenMode)] = []
    var locks: [any FileLock] = []

    private mutating func random(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(bound))
    }

    private mutating func path() -> String {
        let names = ["a", "b", "c", "d", "e"]
        var path = base + "/" + names[random(5)]
        if random(2) == 0 { path += "/" + names[random(5)] }
        if random(6) == 0 { path += "/" + names[random(5)] }
        return path
    }

    mutating func step() -> String {
        do {
            switch random(16) {
            case 0, 1: return try openFile()
            case 2, 3: return try onFile { file, mode, driver in try driver.write(file, mode) }
            case 4: return try onFile { file, _, driver in try driver.read(file) }
            case 5:
                return try onFile { file, _, driver in
                    try file.truncate(to: driver.random(20_000))
                    return "truncated to \(try file.size())"
                }
            case 6:
                return try onFile { file, _, _ in
                    try file.sync()
                    return "synced \(try file.size())"
                }
            case 7:
                try system.createDirectory(path())
                return "made"
            case 8:
                try system.rename(path(), to: path())
                return "renamed"
            case 9:
                try system.unlink(path())
                return "unlinked"
            case 10:
                let names = try system.list(random(4) == 0 ? base : path())
                return "names \(names)"
            case 11:
                guard !open.isEmpty else { return "no file" }
                open.remove(at: random(open.count)).file.close()
                return "closed"
            case 12: return try lock()
            case 13: return "linked: \(try system.link(path(), to: path()))"
            case 14: return "held by \(String(describing: try system.lockHolder(path())))"
            default:
                let place = path()
                let status = try system.status(of: place)
                if random(2) == 0 { try system.syncDirectory(place) }
                return "\(String(describing: status?.kind)) \(status?.kind == .file ? status?.bytes ?? 0 : 0)"
            }
        } catch {
            guard let failure = error as? IOFailure else { return "\(error)" }
            let path = failure.path.hasPrefix(base) ? failure.path.dropFirst(base.count) : failure.path[...]
            return "refused: \(failure.kind), \(failure.operation) \(path): \(failure.reason)"
        }
    }

    private mutating func openFile() throws -> String {
        let mode: OpenMode = [.read, .readWrite, .create, .create, .commit][random(5)]
        let file = try system.open(path(), mode)
        if open.count == 6 { open.remove(at: random(6)).file.close() }
        open.append((file, mode))
        return "opened \(try file.size())"
    }

    private mutating func onFile(
        _ body: (any File, OpenMode, inout Driver) throws -> String
    ) throws -> String {
        if open.isEmpty { return "no file" }
        let (file, mode) = open[random(open.count)]
        return try body(file, mode, &self)
    }

    private mutating func lock() throws -> String {
        if locks.count == 3 || (!locks.isEmpty && random(3) == 0) {
            locks.remove(at: random(locks.count)).release()
            return "released"
        }
        switch try system.lock(path(), note: "note \(random(1_000))") {
        case .acquired(let lock):
            locks.append(lock)
            return "locked"
        case .heldByOther(let note): return "refused: held by \(note)"
        }
    }

    private mutating func write(_ file: any File, _ mode: OpenMode) throws -> String {
        if mode == .commit {
            let offset = random(4) * 4_096
            let bytes = [UInt8](repeating: UInt8(random(3)), count: (1 + random(3)) * 4_096)
            try withAlignedBytes(bytes) { span in try file.write(span, at: offset) }
            return "committed, \(try file.size()) in all"
        }
        let offset = random(16_384)
        let byte = UInt8(random(3))
        try file.write([UInt8](repeating: byte, count: random(9_000)).span, at: offset)
        return "wrote, \(try file.size()) in all"
    }

    private mutating func read(_ file: any File) throws -> String {
        var bytes = [UInt8](repeating: 0, count: random(30_000))
        var span = bytes.mutableSpan
        let count = try file.read(into: &span, at: random(20_000))
        return "read \(count): \(bytes.prefix(count).hashValue)"
    }

    /// Every file below `path` with its content, and every directory.
    func tree(_ path: String) throws -> [String: [UInt8]?] {
        var all: [String: [UInt8]?] = [:]
        for name in try system.list(base + path) {
            let child = path + "/" + name
            if try system.status(of: base + child)?.kind == .directory {
                all[child] = .some(nil)
                all.merge(try tree(child)) { first, _ in first }
            } else {
                let file = try system.open(base + child, .read)
                all[child] = try file.readArray(at: 0, count: file.size())
                file.close()
            }
        }
        return all
    }

    mutating func closeAll() {
        for (file, _) in open { file.close() }
        for lock in locks { lock.release() }
        (open, locks) = ([], [])
    }
}
