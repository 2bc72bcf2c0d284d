// A disk that lies, fails to read, has a quota, or takes its time.

import HoldfastLog
import HoldfastTestKit
import Testing

@Suite struct SimulatedLieTests {
    private static func disk(_ plan: (inout FaultPlan) -> Void) throws -> (SimulatedFileSystem, any File) {
        let disk = SimulatedFileSystem()
        disk.replace("/a", with: [UInt8](repeating: 1, count: 16))
        disk.replace("/b", with: [UInt8](repeating: 2, count: 16))
        var faults = FaultPlan()
        plan(&faults)
        disk.faultPlan = faults
        return (disk, try disk.open("/a", .readWrite))
    }

    @Test func aLostWriteIsReportedDoneAndNeverHappens() throws {
        let (disk, file) = try Self.disk { $0.lies[1] = .lost }
        try file.write([9, 9].span, at: 0)
        #expect(disk.snapshotFiles()["/a"] == [UInt8](repeating: 1, count: 16))
        try file.write([9, 9].span, at: 0)
        #expect(disk.snapshotFiles()["/a"]?.prefix(3) == [9, 9, 1])
        file.close()
    }

    @Test func aMisdirectedWriteLandsElsewhere() throws {
        let (disk, file) = try Self.disk {
            $0.lies[1] = .shifted(by: 4)
            $0.lies[2] = .elsewhere(path: "/b")
        }
        try file.write([9, 9].span, at: 0)
        try file.write([8].span, at: 3)
        let found = disk.crashImage(.nothingPending).snapshotFiles()
        #expect(found["/a"] == [1, 1, 1, 1, 9, 9] + [UInt8](repeating: 1, count: 10))
        #expect(found["/b"]?.prefix(5) == [2, 2, 2, 8, 2])
        file.close()
    }

    @Test func aReadFailsByItsNumber() throws {
        let (disk, file) = try Self.disk { $0.readFaults = [.init(operation: 2)] }
        var bytes = [UInt8](repeating: 0, count: 4)
        #expect(try file.read(into: &bytes, at: 0) == 4)
        let failure = #expect(throws: IOFailure.self) { _ = try file.read(into: &bytes, at: 0) }
        #expect(failure?.kind == .io)
        #expect(try file.read(into: &bytes, at: 0) == 4)
        #expect(disk.readCount == 3 && disk.longestReadBytes == 4 && disk.openFileCount == 1)
        file.close()
        #expect(disk.openFileCount == 0)
    }

    @Test func aQuotaIsAFullDiskAndLeavesWhatFits() throws {
        let (_, file) = try Self.disk {
            $0.capacityBytes = 3 * 4096
            $0.capacityFailure = .quotaExceeded
        }
        let failure = #expect(throws: IOFailure.self) {
            try file.write([UInt8](repeating: 7, count: 3 * 4096).span, at: 0)
        }
        #expect(failure?.kind == .noSpace && failure?.reason == "Disk quota exceeded")
        #expect(try file.size() == 2 * 4096)
        file.close()
    }

    @Test func whatIsWrittenDuringASlowSyncIsNotCovered() throws {
        let (disk, file) = try Self.disk { _ in }
        try file.write([9].span, at: 0)
        disk.whileSyncing { [weak file] _ in try? file?.write([8].span, at: 1) }
        try file.sync()
        disk.whileSyncing(nil)
        #expect(disk.snapshotFiles()["/a"]?.prefix(3) == [9, 8, 1])
        #expect(disk.crashImage(.nothingPending).snapshotFiles()["/a"]?.prefix(3) == [9, 1, 1])
        file.close()
    }
}
