// The space that a store keeps for a full disk: new work rests on it only where it is there, and what was written of
// one that did not fit is given back.

import Holdfast
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct ReserveTests {
    private static func options(_ system: any FileSystem) -> JobStoreOptions {
        var options = JobStoreOptions()
        options.fileSystem = system
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        return options
    }

    /// Such a file system takes every write and says in the sync that there was no room.
    @Test func aReserveIsThereOnceItWasSynced() async throws {
        let system = LateFileSystem()
        let store = try await JobStore.open(at: "/store", options: Self.options(system))
        await expectRefusal(.noSpace) { _ = try await store.enqueue("q", payload: [1]) }
        system.isFull.withLock { $0 = false }
        var isTaken = false
        while !isTaken {
            do {
                _ = try await store.enqueue("q", payload: [1])
                isTaken = true
            } catch {
                try #require(error.code == .noSpace)
                await Task.yield()
            }
        }
        try await store.close()
    }

    /// Sealing needs the room that was taken for the part of a reserve that did fit.
    @Test func whatWasWrittenOfAReserveThatDoesNotFitIsGivenBack() async throws {
        let disk = SimulatedFileSystem()
        var store = try await JobStore.open(at: "/store", options: Self.options(disk))
        for number in 0..<300 { _ = try await store.enqueue("q", payload: [UInt8(number % 256)]) }
        let leases = try await store.lease(from: "q", limit: 300, for: .seconds(3600))
        try await store.close()
        disk.remove("/store/RESERVE")
        disk.faultPlan.capacityBytes = disk.usedBytes + (256 << 10)
        store = try await JobStore.open(at: "/store", options: Self.options(disk))
        await expectRefusal(.noSpace) { _ = try await store.enqueue("q", payload: [1]) }
        for lease in leases { try await store.ack(lease) }
        #expect(try await store.stats().completed == 300)
        disk.faultPlan.capacityBytes = nil
        try await store.close()
    }

    /// A mark after each settlement would take as much room as they do.
    @Test func anIdleStoreOnAFullDiskLeavesTheRoomToWorkThatEnds() async throws {
        let disk = SimulatedFileSystem()
        var options = Self.options(disk)
        options.idleMarkMilliseconds = 1
        let store = try await JobStore.open(at: "/store", options: options)
        for _ in 0..<40 { _ = try await store.enqueue("q", payload: [1]) }
        let leases = try await store.lease(from: "q", limit: 40, for: .seconds(86_400))
        disk.faultPlan.capacityBytes = disk.usedBytes
        do { while true { _ = try await store.enqueue("q", payload: [1]) } } catch { #expect(error.code == .noSpace) }
        disk.recordsOperations = true
        for lease in leases.prefix(8) {
            try await store.ack(lease)
            try await Task.sleep(for: .milliseconds(5))
        }
        // At 0 is the header of a segment that is made ready. One may end among them.
        let frames = disk.operationLog.filter {
            $0.contains("pwrite") && $0.contains("/journal/") && !$0.hasSuffix(" at 0")
        }
        #expect(frames.count < 12, "\(frames)")
        disk.faultPlan.capacityBytes = nil
        try await store.close()
    }
}

/// A disk that allocates late and has no room for the reserve.
private final class LateFileSystem: ForwardingFileSystem {
    let base = SimulatedFileSystem()
    let isFull = Locked(true)

    func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> any File {
        LateFile(base: try base.open(path, mode), path: path, system: self)
    }
}

private final class LateFile: ForwardingFile {
    let base: any File
    private let path: String
    private let system: LateFileSystem

    init(base: any File, path: String, system: LateFileSystem) {
        self.base = base
        self.path = path
        self.system = system
    }

    func sync() throws(IOFailure) {
        if path == "/store/RESERVE", system.isFull.withLock({ $0 }) {
            throw IOFailure(.noSpace, operation: "fdatasync", path: path, reason: "No space left on device")
        }
        try base.sync()
    }
}
