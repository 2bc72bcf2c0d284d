// Properties that hold for every history of operations: what a crash that loses nothing leaves, what one leaves after
// everything was synced, and that an image can be taken again.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite struct SimulatedCrashPropertyTests {
    @Test(arguments: UInt64(1)...20) func imagesAgreeWithTheHistory(_ seed: UInt64) throws {
        var history = History(seed: seed)
        for step in 0..<150 {
            history.step()
            let live = history.system.snapshotFiles()
            let whole = history.system.crashImage(.everythingPending)
            #expect(whole.snapshotFiles() == live, "seed \(seed), step \(step): a crash that loses nothing")
            // What an image holds is durable in it, so a second crash changes nothing.
            let some = history.system.crashImage(.random(seed: seed &+ UInt64(step)))
            let found = some.snapshotFiles()
            #expect(some.crashImage(.nothingPending).snapshotFiles() == found, "seed \(seed), step \(step): again")
            #expect(some.crashImage(.random(seed: 1)).snapshotFiles() == found, "seed \(seed), step \(step): again")
            let again = history.system.crashImage(.random(seed: seed &+ UInt64(step)))
            #expect(again.snapshotFiles() == found, "seed \(seed), step \(step): the same seed")
            #expect(history.system.snapshotFiles() == live, "seed \(seed), step \(step): the disk itself")
            if step % 30 == 29 {
                try history.syncAll()
                for policy in [CrashPolicy.nothingPending, .everythingPending, .random(seed: seed)] {
                    let image = history.system.crashImage(policy)
                    #expect(image.snapshotFiles() == live, "seed \(seed), step \(step): after a sync of everything")
                }
            }
        }
    }

    /// Hashes, names and blocks are kept and shared: what an image is found to hold must not depend on that.
    @Test(arguments: UInt64(1)...10) func anImageHashesAsADiskThatWasMadeAnew(_ seed: UInt64) throws {
        var history = History(seed: seed)
        history.system.recordCrashPoints { 0 }
        for step in 0..<60 {
            history.step()
            if step % 20 == 19 { try history.syncAll() }
        }
        for point in history.system.crashPoints {
            let items = (0..<min(point.itemCount, 12)).flatMap { [CrashPolicy.only(item: $0), .allBut(item: $0)] }
            let chance = [CrashPolicy.random(seed: seed), .randomBlocks(seed: seed), .torn(seed: seed)]
            for policy in [.nothingPending, .everythingPending] + chance + items {
                let image = point.image(policy)
                let anew = SimulatedFileSystem()
                if try image.status(of: "/d") != nil { try anew.createDirectory("/d") }
                for (path, bytes) in image.snapshotFiles() { anew.replace(path, with: bytes) }
                #expect(image.contentHash() == anew.contentHash(), "seed \(seed), \(point.operation), \(policy)")
            }
        }
    }

    /// A header that ends in its checksum has the same checksum as any other.
    @Test func blocksThatEndInTheirChecksumsAreToldApart() {
        let hashes = (0..<100).map { (number: UInt8) in
            var bytes = [UInt8](repeating: number, count: 60)
            let checksum = CRC32C.checksum(bytes.span)
            for shift in stride(from: UInt32(0), to: 32, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: checksum >> shift))
            }
            let disk = SimulatedFileSystem()
            disk.replace("/header", with: bytes + [UInt8](repeating: 0, count: 4_096 - bytes.count))
            return disk.contentHash()
        }
        #expect(Set(hashes).count == hashes.count)
    }

    @Test(arguments: UInt64(1)...20) func anyOperationMayBeTheLast(_ seed: UInt64) {
        var complete = History(seed: seed)
        for _ in 0..<60 { complete.step() }
        let first = History(seed: seed).system.operationCount + 1
        for last in first...max(first, complete.system.operationCount) {
            var cut = History(seed: seed)
            cut.system.faultPlan = .crash(at: last)
            for _ in 0..<60 where !cut.system.isCrashed { cut.step() }
            #expect(cut.system.isCrashed, "seed \(seed): operation \(last) was reached")
            #expect(cut.system.operationCount == last)
            for policy in [CrashPolicy.nothingPending, .everythingPending, .random(seed: seed)] {
                let image = cut.system.crashImage(policy)
                #expect(!image.isCrashed && image.operationCount == 0)
            }
        }
    }
}

/// A random history of operations on two directories.
private struct History {
    let system = SimulatedFileSystem()
    private var state: UInt64
    private static let directories = ["/", "/d"]

    init(seed: UInt64) {
        state = seed
        try? system.createDirectory("/d")
        try? system.syncDirectory("/")
    }

    private mutating func random(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(bound))
    }

    private mutating func path() -> String { ["/a", "/b", "/d/a", "/d/b"][random(4)] }

    /// Does one thing; refusals are part of a history.
    mutating func step() {
        switch random(11) {
        case 0: try? system.open(path(), .create).close()
        case 1: try? system.unlink(path())
        case 2: try? system.rename(path(), to: path())
        case 3: try? system.syncDirectory(Self.directories[random(2)])
        case 4: try? withFile { file, draw in try file.truncate(to: draw.random(12_000)) }
        case 5: try? withFile { file, _ in try file.sync() }
        case 6: _ = try? system.link(path(), to: path())
        default:
            try? withFile { file, draw in
                let bytes = [UInt8](repeating: UInt8(1 + draw.random(200)), count: 1 + draw.random(6_000))
                try file.write(bytes.span, at: draw.random(8_000))
            }
        }
    }

    private mutating func withFile(_ body: (any File, inout History) throws -> Void) throws {
        let file = try system.open(path(), .readWrite)
        defer { file.close() }
        try body(file, &self)
    }

    func syncAll() throws {
        for path in system.snapshotFiles().keys {
            let file = try system.open(path, .readWrite)
            try file.sync()
            file.close()
        }
        for directory in Self.directories { try system.syncDirectory(directory) }
    }
}
