// What `explain` says about places of a segment, in process.

import ArgumentParser
import Holdfast
import HoldfastLog
import HoldfastTestKit
import Testing

@testable import HoldfastCommand

@Suite(.timeLimit(.minutes(10)))
struct ExplainTests {
    private let directory: TemporaryDirectory
    private let files = POSIXFileSystem()

    init() throws { directory = try TemporaryDirectory() }

    /// Fills a store and closes it.
    private func fill(_ path: String, jobs: Int, segmentBytes: Int) async throws -> LogReader {
        var options = JobStoreOptions()
        options.journalSegmentBytes = segmentBytes
        let store = try await JobStore.open(at: path, options: options)
        for number in 1...jobs {
            _ = try await store.enqueue("q", payload: (0..<2500).map { UInt8(truncatingIfNeeded: $0 &* number) })
        }
        try await store.close()
        return try LogReader.open(directory: path, fileSystem: files)
    }

    /// Returns the paths of a sealed segment, and of a journal segment that begins with a job.
    private func segments() async throws -> (sealed: String, journal: String) {
        let full = try await fill(
            directory.store, jobs: 60, segmentBytes: JobStoreOptions.journalSegmentBytesMin)
        let small = try await fill(directory.path + "/small", jobs: 3, segmentBytes: 1 << 18)
        let sealed = try #require(full.manifest.sealed.first)
        return (full.layout.path(sealed), try #require(small.journalSources.first).path)
    }

    private func explain(_ path: String, at offset: Int, flipping bits: [(Int, Int)] = []) throws -> OffsetDiagnosis {
        var content = try files.contents(of: path)
        for (byte, bit) in bits { content[byte] ^= 1 << UInt8(bit) }
        return OffsetDiagnosis(content, offset: offset, isSealed: path.hasSuffix(".seg"))
    }

    @Test func soundPlacesPassEveryCheck() async throws {
        let (sealed, journal) = try await segments()
        for path in [sealed, journal] {
            let size = try files.contents(of: path).count
            for offset in [0, 100, 4096, 4170, size - 1] {
                let diagnosis = try explain(path, at: offset)
                #expect(diagnosis.isSound, "\(diagnosis.lines(path))")
                #expect(diagnosis.start <= offset && offset < diagnosis.end)
            }
        }
        #expect(try explain(sealed, at: files.contents(of: sealed).count - 1).region == "footer")
        #expect(try explain(journal, at: files.contents(of: journal).count - 1).region == "unused")
    }

    @Test(arguments: [(57, 3), (4093, 0), (4096, 7), (4100, 1), (4108, 2), (4096 + 56, 4), (4096 + 64, 0), (4400, 5)])
    func aFlippedBitIsNamed(byte: Int, bit: Int) async throws {
        let (sealed, journal) = try await segments()
        for path in [sealed, journal] {
            let diagnosis = try explain(path, at: byte, flipping: [(byte, bit)])
            #expect(!diagnosis.isSound)
            #expect(diagnosis.flippedBits.count == 1, "\(diagnosis.lines(path))")
            #expect(diagnosis.flippedBits.first.map { $0 == (byte, bit) } ?? false, "\(diagnosis.lines(path))")
        }
    }

    /// A frame is as long as the record that does not fit into another one.
    @Test func aFlippedBitOfALargeFrameIsNamed() async throws {
        let store = try await JobStore.open(at: directory.store)
        _ = try await store.enqueue("q", payload: [UInt8](repeating: 0x5A, count: 10))
        var random = SeededRandom(seed: 1)
        let large = (0..<(5 << 18)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        _ = try await store.enqueue("q", payload: large)
        // A close would seal so much.
        let path = try #require(try LogReader.open(directory: directory.store, fileSystem: files).journalSources.first)
            .path
        let offset = 8192 + 5000
        let diagnosis = try explain(path, at: offset, flipping: [(offset, 2)])
        try await store.close()
        #expect(diagnosis.end - diagnosis.start > 1 << 20)
        #expect(diagnosis.flippedBits.map { [$0.offset, $0.bit] } == [[offset, 2]], "\(diagnosis.lines(path))")
    }

    @Test func twoFlippedBitsAreNotTakenForOne() async throws {
        let (sealed, _) = try await segments()
        let diagnosis = try explain(sealed, at: 4300, flipping: [(4300, 1), (4301, 6)])
        #expect(!diagnosis.isSound && diagnosis.flippedBits.isEmpty)
    }

    @Test func framesAreReadBehindADamagedHeader() async throws {
        let (sealed, _) = try await segments()
        let diagnosis = try explain(sealed, at: 4200, flipping: [(57, 1), (58, 2), (59, 3)])
        #expect(diagnosis.region == "frame" && !diagnosis.isSound)
        #expect(diagnosis.checks.filter { !$0.isPassed }.map(\.name) == ["segment header checksum"])
    }

    @Test func theCommandRefusesWhatIsNoPlace() async throws {
        let (sealed, _) = try await segments()
        for place in ["x", "\(sealed)", "\(sealed):-1", "\(sealed):99999999", "\(directory.path)/none:0"] {
            #expect(throws: CommandFailure.self) { try ExplainCommand.parse([place]).run() }
        }
        let report = try JSONDocument(try explain(sealed, at: 4096).json).root
        #expect(report["sound"]?.bool == true && report["region"]?.string == "frame")
    }
}
