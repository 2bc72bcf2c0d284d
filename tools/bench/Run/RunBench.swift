// The workloads, one after the other, each beside the bare log in the same process: so the figures to read are ratios.

import ArgumentParser

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

struct RunBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Measures the store on the workloads of a job queue, beside the least that any could do.",
        discussion: """
            \(RunWorkload.allCases.map { "\($0.rawValue): \($0.summary)." }.joined(separator: "\n"))

            `bare` is a log and a list in memory: one write and one fdatasync for all that wait, one at a time, and \
            nothing else. `-loop` has all calls outstanding on one thread, or in one task. Each workload checks \
            that what went in came out, byte by byte, and that no id was given twice; a failed check ends with code 1.
            """)

    @Argument(help: "Which workloads (all).")
    var workloads: [RunWorkload] = []

    @Option(
        name: .shortAndLong,
        help: "Where the stores are made; it keeps that of W4, which W5 opens. (a directory of its own, removed)")
    var directory: String?

    @Option(name: .shortAndLong, help: "Bytes of a payload; may be repeated (256).")
    var payload: [Int] = []

    @Option(name: .shortAndLong, help: "Seconds to measure each.")
    var seconds = 2.0

    @Option(name: [.customShort("u"), .customLong("warmup")], help: "Seconds to run before.")
    var warmUp = 0.5

    @Option(name: .shortAndLong, help: "Callers at once, where there are many.")
    var callers = 64

    @Option(name: [.customShort("n"), .long], help: "The most jobs that wait in W4 and W5.")
    var backlog = 1_000_000

    @Option(name: .shortAndLong, help: "How often everything is measured.")
    var rounds = 1

    @Flag(exclusivity: .exclusive, help: "Lines of JSON, or a table (a table on a terminal).")
    var format: Format?

    @Flag(help: "Leave the bare log out.")
    var withoutBare = false

    enum Format: String, EnumerableFlag { case json, table }

    func validate() throws {
        guard payload.allSatisfy(Payloads.byteCounts.contains) else {
            let counts = Payloads.byteCounts
            throw ValidationError("--payload must be \(counts.lowerBound) to \(counts.upperBound)")
        }
        guard seconds > 0, seconds <= 3600 else { throw ValidationError("--seconds must be between 0 and 3600") }
        guard (0...600).contains(warmUp) else { throw ValidationError("--warmup must be 0 to 600") }
        guard (1...4096).contains(callers) else { throw ValidationError("--callers must be 1 to 4096") }
        guard (1000...100_000_000).contains(backlog) else {
            throw ValidationError("--backlog must be 1000 to 100000000")
        }
        guard (1...1000).contains(rounds) else { throw ValidationError("--rounds must be 1 to 1000") }
    }

    func run() async throws {
        let place = try directory ?? ScratchDirectory.make()
        try ScratchDirectory.create(place)
        defer { if directory == nil { try? ScratchDirectory.remove(place) } }
        var report = RunReport(isTable: (format ?? (isatty(STDOUT_FILENO) == 1 ? .table : .json)) == .table)
        for _ in 0..<rounds {
            for bytes in payload.isEmpty ? [256] : payload {
                let payloads = try Payloads(byteCount: bytes)
                for workload in workloads.isEmpty ? RunWorkload.allCases : workloads {
                    try await measure(workload, payloads, in: place, &report)
                }
            }
        }
        if report.hasFaults { throw ExitCode(1) }
    }

    private func measure(
        _ workload: RunWorkload, _ payloads: Payloads, in place: String, _ report: inout RunReport
    ) async throws {
        switch workload {
        case .w4, .w4Next, .w5:
            let run = BacklogRun(
                workload: workload, payloads: payloads, seconds: seconds, jobsMax: backlog, directory: place)
            if workload == .w5 {
                try await run.restart { report.add($0) }
            } else {
                try await run.run { if !withoutBare || !$0.peer.hasPrefix("bare") { report.add($0) } }
            }
        default:
            let run = TimedRun(
                workload: workload, callers: workload.callers(callers), payloads: payloads, seconds: seconds,
                warmUp: warmUp, directory: place)
            for style in workload.styles {
                if !withoutBare { report.add(try await run.bare(style)) }
                report.add(try await run.holdfast(style))
            }
        }
    }
}

/// Prints results as they come.
private struct RunReport {
    let isTable: Bool
    private(set) var hasFaults = false
    private var hasHead = false
    /// The last result of each kind of bare log, for the ratio.
    private var bare: [String: RunLine] = [:]

    init(isTable: Bool) { self.isTable = isTable }

    mutating func add(_ line: RunLine) {
        if !line.faults.isEmpty { hasFaults = true }
        if line.peer.hasPrefix("bare") { bare[key(line)] = line }
        if isTable {
            if !hasHead { print(RunLine.tableHead) }
            hasHead = true
            let limit = line.peer.hasPrefix("bare") ? nil : bare[key(line)]
            print(line.tableRow(ratio: limit.map { line.jobsPerSecond / $0.jobsPerSecond }))
        } else {
            print(line.json)
        }
        fflush(nil)
    }

    /// What two lines have in common that can be compared: all but whether it is the store or the bare log.
    private func key(_ line: RunLine) -> String {
        let style = line.peer.split(separator: "-").dropFirst().joined()
        return "\(line.workload) \(line.backlog ?? 0) \(line.payload) \(style)"
    }
}
