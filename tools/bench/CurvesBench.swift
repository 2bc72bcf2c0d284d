// How the figures change with the load: more callers at once, and more jobs waiting. Drawn as SVG.

import ArgumentParser
import HoldfastPlot

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

struct CurvesBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "curves",
        abstract: "Draws throughput and latency against callers, and cost, memory and disk against the backlog.",
        discussion: """
            Prints what it measured as lines of JSON, as `run` does, and draws it into --plot: durable enqueues of \
            more and more callers beside the bare log, what a share of the calls took at most, and a consumer's lease \
            and ack with more and more jobs waiting.
            """)

    @Option(name: .shortAndLong, help: "Where the stores are made. (a directory of its own, removed)")
    var directory: String?

    @Option(name: .shortAndLong, help: "Seconds to measure each.")
    var seconds = 1.0

    @Option(name: .shortAndLong, help: "Bytes of a payload.")
    var payload = 256

    @Option(name: [.customShort("n"), .long], help: "The most jobs that wait.")
    var backlog = 1_000_000

    @Option(help: ArgumentHelp("Draw into this file.", valueName: "file.svg"))
    var plot: String

    private static let callers = [1, 4, 16, 64, 256, 1024]
    private static let warmUp = 0.3

    func validate() throws {
        guard plot.lowercased().hasSuffix(".svg") else {
            throw ValidationError("--plot writes SVG; give a name that ends in .svg")
        }
        guard seconds > 0, seconds <= 3600 else { throw ValidationError("--seconds must be between 0 and 3600") }
        guard (1000...100_000_000).contains(backlog) else {
            throw ValidationError("--backlog must be 1000 to 100000000")
        }
    }

    func run() async throws {
        let place = try directory ?? ScratchDirectory.make()
        try ScratchDirectory.create(place)
        defer { if directory == nil { try? ScratchDirectory.remove(place) } }
        let payloads = try Payloads(byteCount: payload)
        var lines: [RunLine] = []
        func note(_ line: RunLine) {
            print(line.json)
            fflush(nil)
            lines.append(line)
        }
        for workload in [RunWorkload.w2, .w3] {
            for callers in Self.callers {
                let run = TimedRun(
                    workload: workload, callers: callers, payloads: payloads, seconds: seconds, warmUp: Self.warmUp,
                    directory: place)
                note(try await run.bare(.loop))
                note(try await run.bare(.tasks))
                note(try await run.holdfast(.loop))
                note(try await run.holdfast(.tasks))
            }
        }
        for workload in [RunWorkload.w4, .w4Next] {
            let run = BacklogRun(
                workload: workload, payloads: payloads, seconds: seconds, jobsMax: backlog, directory: place)
            defer { try? run.remove() }
            try await run.run { note($0) }
        }
        try draw(lines)
        if lines.contains(where: { !$0.faults.isEmpty }) { throw ExitCode(1) }
    }

    private func draw(_ lines: [RunLine]) throws {
        let svg = SVGWriter.draw(
            Curves(lines: lines).charts, title: "What the store does under load",
            subtitle: "\(payload) bytes of payload, every reply durable")
        guard let file = fopen(plot, "w") else { throw ValidationError("\(plot) can't be written: check the path") }
        let isWritten = fputs(svg, file) >= 0
        guard fclose(file) == 0, isWritten else { throw ValidationError("\(plot) can't be written: is the disk full?") }
    }
}

/// The charts of what was measured.
private struct Curves {
    let lines: [RunLine]

    var charts: [Chart] {
        [
            throughput("Durable enqueues a second", .w2),
            latency("A durable enqueue: half, 99 % and 99.9 % of the calls took at most", .w2),
            throughput("Cycles of enqueue, lease and ack a second", .w3),
            latency("A cycle: half, 99 % and 99.9 % took at most", .w3),
            backlogLatency,
            Chart(
                "Disk for each waiting job", x: waitingAxis, y: .init("bytes a job", .count, isLogarithmic: true),
                series: [
                    series("on disk", .w4, "holdfast", { Double($0.backlog ?? 0) }) {
                        Double($0.diskBytes) / Double(max($0.jobsOnDisk, 1))
                    }
                ]),
            Chart(
                "What the process has in memory more than before the store was open", x: waitingAxis,
                y: .init("", .bytes),
                series: [
                    series("memory", .w4, "holdfast", { Double($0.backlog ?? 0) }) { Double($0.residentBytes) }
                ]),
        ]
    }

    private var waitingAxis: Chart.Axis { .init("jobs waiting", .count, isLogarithmic: true) }
    private var callersAxis: Chart.Axis { .init("callers at once", .count, isLogarithmic: true) }

    private func throughput(_ title: String, _ workload: RunWorkload) -> Chart {
        Chart(
            title, x: callersAxis, y: .init("a second", .count),
            series: [
                ("bare log, one thread", "bare-loop"), ("bare log, tasks", "bare-async"),
                ("store, one task", "holdfast-loop"), ("store, tasks", "holdfast-async"),
            ]
            .map { name, peer in
                series(name, workload, peer, { Double($0.callers) }) { $0.jobsPerSecond }
            })
    }

    private func latency(_ title: String, _ workload: RunWorkload) -> Chart {
        let shares: [(String, (RunLine) -> Double)] = [
            ("99.9 %", { $0.p999 }), ("99 %", { $0.p99 }), ("half", { $0.p50 }),
        ]
        return Chart(
            title, x: callersAxis, y: .init("", .microseconds, isLogarithmic: true),
            series: shares.map { name, value in
                series(name, workload, "holdfast-async", { Double($0.callers) }, value)
            })
    }

    private var backlogLatency: Chart {
        let waiting: (RunLine) -> Double = { Double($0.backlog ?? 0) }
        return Chart(
            "A lease and an ack with one consumer: half of the pairs took at most", x: waitingAxis,
            y: .init("", .microseconds),
            series: [
                series("bare log", .w4, "bare", waiting) { $0.p50 },
                series("store, ack and next lease in one", .w4Next, "holdfast", waiting) { $0.p50 },
                series("store", .w4, "holdfast", waiting) { $0.p50 },
            ])
    }

    private func series(
        _ name: String, _ workload: RunWorkload, _ peer: String, _ x: (RunLine) -> Double, _ y: (RunLine) -> Double
    ) -> Chart.Series {
        let chosen = lines.filter { $0.workload == workload.rawValue && $0.peer == peer }
        return Chart.Series(name, chosen.map { .init(x($0), y($0)) })
    }
}
