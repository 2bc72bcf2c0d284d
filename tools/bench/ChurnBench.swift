// Space under churn on a real disk: the run that the tests do on a simulated one, as a table and as a picture.

import ArgumentParser
import Holdfast
import HoldfastLog
import HoldfastPlot
import HoldfastTestKit

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

struct ChurnBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "churn",
        abstract: "Measures what a store takes of the disk while jobs come and go.",
        discussion: """
            A hundred times as many jobs go through a store as it holds at a time, while something else lies about. \
            Prints what is needed, what is on disk, and what may be: 2.5 times what is needed, eight journal segments, \
            the checkpoints and the reserve. --plot draws it over time.
            """)

    @Argument(help: "A directory on the disk to measure; stores are made in it and removed.")
    var directory: String

    @Option(help: "What lies about: \(Churn.allCases.map(\.rawValue).joined(separator: ", ")); may be repeated (all).")
    var kind: [Churn] = []

    @Option(help: "Jobs that are unfinished at a time.")
    var live = 200

    @Option(help: "How often as many go through.")
    var rounds = 100

    @Option(help: ArgumentHelp("Draw what is on disk over time into this file.", valueName: "file.svg"))
    var plot: String?

    private static let rowsShown = 10

    func validate() throws {
        guard (1...10_000).contains(live) else { throw ValidationError("--live must be 1 to 10000") }
        guard (1...100_000).contains(rounds) else { throw ValidationError("--rounds must be 1 to 100000") }
        if let plot, !plot.lowercased().hasSuffix(".svg") {
            throw ValidationError("--plot writes SVG; give a name that ends in .svg")
        }
    }

    func run() async throws {
        var charts: [Chart] = []
        print(Self.line("churn", "jobs", "live KiB", "disk KiB", "bound KiB", "amplification", "rewritten"))
        for churn in kind.isEmpty ? Churn.allCases : kind {
            let rows = try await measure(churn)
            for (index, row) in rows.enumerated() where Self.isShown(index, of: rows.count) {
                print(
                    Self.line(
                        churn.rawValue, "\(row.jobs)", "\(row.liveBytes >> 10)", "\(row.diskBytes >> 10)",
                        "\(row.boundBytes >> 10)", Self.hundredths(row.amplification),
                        Self.hundredths(Double(row.rewrittenBytes) / Double(row.recordBytes))))
            }
            charts.append(Self.chart(churn, rows))
        }
        guard let plot else { return }
        let svg = SVGWriter.draw(
            charts, title: "What a store takes of the disk while jobs come and go",
            subtitle: "\(live) jobs at a time, \(rounds) times as many in all")
        guard let file = fopen(plot, "w") else { throw ValidationError("\(plot) can't be written: check the path") }
        let isWritten = fputs(svg, file) >= 0
        guard fclose(file) == 0, isWritten else { throw ValidationError("\(plot) can't be written: is the disk full?") }
    }

    private func measure(_ churn: Churn) async throws -> [ChurnRun.Row] {
        let path = directory + "/bench-churn-\(churn.rawValue).holdfast"
        try ScratchDirectory.remove(path)
        defer { try? ScratchDirectory.remove(path) }
        var run = ChurnRun(churn)
        run.liveCount = live
        run.rounds = rounds
        var options = JobStoreOptions()
        run.apply(to: &options)
        let store = try await JobStore.open(at: path, options: options)
        let rows = try await run.run(store) { try Self.usedBytes(path) }
        try await store.close()
        return rows
    }

    /// What the files below a directory hold. Files that go away meanwhile count for nothing.
    private static func usedBytes(_ path: String) throws -> Int {
        let files = POSIXFileSystem()
        var bytes = 0
        for name in try files.list(path) {
            guard let status = try files.status(of: path + "/" + name) else { continue }
            bytes += status.kind == .directory ? try usedBytes(path + "/" + name) : status.bytes
        }
        return bytes
    }

    private static func chart(_ churn: Churn, _ rows: [ChurnRun.Row]) -> Chart {
        func series(_ name: String, _ value: (ChurnRun.Row) -> Int) -> Chart.Series {
            Chart.Series(name, rows.map { .init(Double($0.jobs), Double(value($0))) })
                .reduced(columns: SVGWriter.columns)
        }
        let most = rows.map(\.amplification).max() ?? 0
        return Chart(
            "\(churn.rawValue): at most \(hundredths(most)) times what is needed",
            x: .init("jobs that went through", .count), y: .init("bytes", .bytes),
            series: [
                series("what may be on disk") { $0.boundBytes }, series("what is needed") { $0.liveBytes },
                series("what is on disk") { $0.diskBytes },
            ])
    }

    // MARK: - The table

    private static func isShown(_ index: Int, of count: Int) -> Bool {
        let step = max(count / rowsShown, 1)
        return index == 0 || index == count - 1 || (index + 1).isMultiple(of: step)
    }

    private static func line(_ cells: String...) -> String {
        cells.enumerated().map { index, cell in
            let space = String(repeating: " ", count: max((index == 0 ? 10 : 13) - cell.count, 0))
            return index == 0 ? cell + space : space + cell
        }.joined(separator: " ")
    }

    private static func hundredths(_ value: Double) -> String {
        let hundredths = Int((value * 100).rounded())
        return "\(hundredths / 100)." + (hundredths % 100 < 10 ? "0" : "") + "\(hundredths % 100)"
    }
}

extension Churn: ExpressibleByArgument {}
