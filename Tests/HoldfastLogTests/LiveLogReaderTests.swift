// A reader whose store's owner replaces files under its hands: sealing takes journal files for new records, compaction
// removes segments, a checkpoint the one before the last. None of that is damage.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct LiveLogReaderTests {
    private static func sequences(_ reader: inout LogReader) throws(LogError) -> [UInt64] {
        var result: [UInt64] = []
        try reader.forEachFrame(from: .zero) { (source, frame) throws(LogError) in
            _ = try frame.forEachEntry(file: source.name) { (entry, _) throws(LogError) in
                // A frame may be shown twice.
                if entry.sequence.rawValue > result.last ?? 0 { result.append(entry.sequence.rawValue) }
                return true
            }
            return true
        }
        return result
    }

    /// Commits large records until every file of the ring was used again.
    private static func goAround(_ opened: OpenedLog) async throws -> UInt64 {
        var last: UInt64 = 0
        for number in 0..<40 { last = try await opened.commit([body(number, bytes: 12_000)]).rawValue }
        _ = try opened.log.compact()
        return last
    }

    @Test func aJournalFileThatIsUsedAgainIsNoDamageToAReader() async throws {
        let disk = SimulatedFileSystem()
        let opened = try OpenedLog(disk, "/store")
        for number in 0..<8 { _ = try await opened.commit([body(number, bytes: 12_000)]) }
        var reader = try LogReader.open(directory: "/store", fileSystem: disk)
        let last = try await Self.goAround(opened)
        let found = try Self.sequences(&reader)
        // What was committed last may have no frame behind it that vouches for it.
        #expect(found.starts(with: 1...last - 1))
        try opened.log.close()
    }

    @Test func anOwnerThatComesAfterTheReaderIsFollowedToo() async throws {
        let disk = SimulatedFileSystem()
        let first = try OpenedLog(disk, "/store")
        for number in 0..<8 { _ = try await first.commit([body(number, bytes: 12_000)]) }
        try first.log.close()
        var reader = try LogReader.open(directory: "/store", fileSystem: disk)
        #expect(reader.holder == nil)
        let second = try OpenedLog(disk, "/store")
        let last = try await Self.goAround(second)
        #expect(try Self.sequences(&reader).starts(with: 1...last - 1))
        #expect(reader.holder != nil)
        try second.log.close()
    }

    @Test func whatAComputationMissesBecauseTheOwnerRemovedItIsComputedAnew() async throws {
        let disk = SimulatedFileSystem()
        let opened = try OpenedLog(disk, "/store")
        for number in 0..<20 {
            _ = try await opened.commit([body(number, bytes: 12_000)], kind: OpaqueDelegate.droppableKind)
        }
        _ = try opened.log.checkpoint()
        var attempts = 0
        let found = try LogReader.compute(directory: "/store", fileSystem: disk) { (reader) throws(LogError) in
            attempts += 1
            if attempts == 1 { _ = try opened.log.compact() }
            var reader = reader
            return try Self.sequences(&reader)
        }
        #expect(attempts == 2)
        #expect(found.count < 20)
        try opened.log.close()
    }

    @Test func damageIsReportedAtOnceBesideAnOwnerThatGoesOn() async throws {
        let disk = SimulatedFileSystem()
        let opened = try OpenedLog(disk, "/store")
        for number in 0..<20 { _ = try await opened.commit([body(number, bytes: 12_000)]) }
        _ = try opened.log.compact()
        let segment = try #require(try disk.list("/store/segments").first)
        disk.corrupt("/store/segments/\(segment)", offset: 5_000)
        var attempts = 0
        let failure = #expect(throws: LogError.self) {
            try LogReader.compute(directory: "/store", fileSystem: disk) { (reader) throws(LogError) in
                attempts += 1
                var reader = reader
                return try Self.sequences(&reader)
            }
        }
        #expect(failure?.code == .corrupt)
        #expect(attempts == 1)
        try opened.log.close()
    }
}
