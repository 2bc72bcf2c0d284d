// A hundred times as much work as the store holds at a time goes through it. Space and the cost of keeping it stay
// within their bounds at every moment, whatever else lies about.

import Holdfast
import HoldfastTestKit
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

extension Churn: CustomTestStringConvertible {
    package var testDescription: String { rawValue }
}

@Suite(.serialized, .timeLimit(.minutes(10))) struct ChurnTests {
    @Test(arguments: Churn.allCases) func spaceAndWritesStayWithinTheirBounds(churn: Churn) async throws {
        let disk = SimulatedFileSystem()
        let run = ChurnRun(churn)
        var options = JobStoreOptions()
        options.fileSystem = disk
        options.clock = ManualClock()
        run.apply(to: &options)
        let store = try await JobStore.open(at: "/store", options: options)
        let rows = try await run.run(store) { disk.snapshotFiles().values.reduce(0) { $0 + $1.count } }
        #expect(rows.count == run.rounds)
        let space = rows.map(\.share).max() ?? 0
        // What the first rounds cost is spread over few records.
        let writes = rows.dropFirst(10).map { Double($0.rewrittenBytes) / Double($0.recordBytes) }.max() ?? 0
        #expect(space <= 1)
        #expect(writes <= 3)
        if getenv("HOLDFAST_LONG") != nil { Self.report(rows, churn) }
        print("figure | churn: \(churn.rawValue), worst share of the bound on space | \(Self.hundredths(space))")
        print("figure | churn: \(churn.rawValue), bytes rewritten a byte recorded | \(Self.hundredths(writes))")
        let digest = try await store.digest()
        try await store.close()
        let again = try await JobStore.open(at: "/store", options: options)
        #expect(try await again.digest().hex == digest.hex)
        #expect(try await again.lease(from: "q", limit: 1).isEmpty)
        try await again.close()
    }

    /// Prints what lies on the disk as time goes by.
    private static func report(_ rows: [ChurnRun.Row], _ churn: Churn) {
        for (index, row) in rows.enumerated() where index == 0 || (index + 1).isMultiple(of: 10) {
            let sizes = [row.liveBytes, row.diskBytes, row.boundBytes].map { "\($0 >> 10) KiB" }
            let what = "\(row.jobs) jobs: \(sizes[0]) live, \(sizes[1]) of \(sizes[2]) on disk"
            print("figure | churn: \(churn.rawValue), \(what) | \(hundredths(row.amplification)) times")
        }
    }

    private static func hundredths(_ value: Double) -> Double { (value * 100).rounded() / 100 }
}
