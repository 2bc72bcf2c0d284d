// What a close leaves for the next opening to read.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct ClosingTests {
    private let disk = SimulatedFileSystem()

    private func open() throws -> OpenedLog {
        // Segments as users have them: in a small ring nothing is ever much.
        var options = LogOptions()
        options.idleMarkMilliseconds = 0
        return try OpenedLog(disk, "/store", options: options)
    }

    /// Commits records of 10,000 bytes that can't be compressed, and returns their bodies by number.
    private func fill(_ opened: OpenedLog, records: Int) async throws -> [SequenceNumber: [UInt8]] {
        var bodies: [SequenceNumber: [UInt8]] = [:]
        var random = SeededRandom(seed: 7)
        for _ in 0..<records {
            let bytes = (0..<10_000).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            bodies[try await opened.commit([bytes])] = bytes
        }
        return bodies
    }

    @Test func whatIsMuchIsSealedSoThatTheNextOpeningNeedNotReadIt() async throws {
        let first = try open()
        var expected = try await fill(first, records: 150)
        #expect(first.log.statistics.sealedSegments == 0)
        try first.log.close()

        let second = try open()
        #expect(second.log.recovery.wasClosedCleanly)
        #expect(second.log.statistics.sealedSegments == 1)
        #expect(second.log.statistics.journalSegments == LogOptions().journalSegmentCount)
        #expect(second.checkpoint?.sequence == SequenceNumber(150))
        #expect(second.replayed == expected)
        expected[try await second.commit([body(150)])] = body(150)
        try second.log.close()
        #expect(try open().replayed == expected)
    }

    @Test func powerMayBeLostAtAnyMomentOfIt() async throws {
        let first = try open()
        let expected = try await fill(first, records: 110)
        disk.recordCrashPoints { 0 }
        try first.log.close()
        var options = LogOptions()
        options.idleMarkMilliseconds = 0
        var sealed: Set<Int> = []
        for point in disk.crashPoints {
            for policy in [CrashPolicy.nothingPending, .everythingPending, .torn(seed: UInt64(point.operation))] {
                let again = try OpenedLog(point.image(policy), "/store", options: options)
                #expect(again.replayed == expected, "power lost at operation \(point.operation), \(policy)")
                sealed.insert(again.log.statistics.sealedSegments)
                try again.log.close()
            }
        }
        #expect(sealed == [0, 1], "before and after the sealing")
    }

    @Test func aLittleStaysInTheJournalSoThatACloseCostsLittle() async throws {
        let first = try open()
        let expected = try await fill(first, records: 50)
        try first.log.close()
        let second = try open()
        #expect(second.log.statistics.sealedSegments == 0)
        #expect(second.replayed == expected)
        try second.log.close()
    }

    @Test func aFullDiskLeavesItInTheJournal() async throws {
        let first = try open()
        let expected = try await fill(first, records: 150)
        // Room for the checkpoint and the manifest, not for a copy of the records.
        disk.faultPlan.capacityBytes = disk.usedBytes + (8 << 10)
        try first.log.close()
        disk.faultPlan.capacityBytes = nil
        let second = try open()
        #expect(second.log.recovery.wasClosedCleanly)
        #expect(second.log.statistics.sealedSegments == 0)
        #expect(second.checkpoint?.sequence == SequenceNumber(150))
        #expect(second.replayed == expected)
        try second.log.close()
    }
}
