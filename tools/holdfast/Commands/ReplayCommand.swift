// `holdfast replay`: what would have happened under other settings.

import ArgumentParser
import Holdfast
import HoldfastEngine
import HoldfastLog
import HoldfastWhatIf

struct ReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Drives what was recorded again under other settings, and compares.",
        discussion: """
            Reads the files of the store, which may be in use, and changes nothing; of a damaged one it takes what \
            stands before the damage, and exits with 4 if that is in the range. The jobs come when they came, and \
            each attempt takes as long and ends as it did; retry delays, attempts, lease length and the number of \
            workers are what the settings say, a JSON object:

              {"workers": 8, "retry": {"fixed_ms": 1000}, "queues": {"mail": {"limit": 2}}}

            For every queue, or for one under "queues": workers, limit (jobs leased at once), lease_ms, max_attempts, \
            speed (2 halves the time that jobs take) and retry: {"fixed_ms": N}, {"exponential": {"base_ms": N, \
            "factor": N, "cap_ms": N}}, {"custom_ms": [N, ...]} or "default", attempt^4 seconds. "shared_workers" \
            serve all queues that name no workers. "recorded", or nothing, leaves a setting as it was; workers are \
            then as many as jobs were leased at once.

              holdfast replay /tmp/store
              holdfast replay /tmp/store --settings new.json --plot new.svg

            Without settings it drives the recorded ones again: how far this baseline is from what was recorded says \
            how far a what-if can be trusted. Attempts that never took place are drawn from the queue's recorded ones, \
            or where it has none from those of the queue that has most.
            """)

    @OptionGroup var store: StoreArgument

    @Option(
        help: ArgumentHelp("From this sequence number or time on (the oldest kept).", valueName: "number|time"),
        transform: Values.moment)
    var from: StoreMoment?

    @Option(
        help: ArgumentHelp("Up to this sequence number or time (the newest).", valueName: "number|time"),
        transform: Values.moment)
    var to: StoreMoment?

    @Option(
        help: ArgumentHelp("What is different, as JSON; - for standard input.", valueName: "file"), completion: .file())
    var settings: String?

    @Option(
        name: [.short, .long], help: ArgumentHelp("Show only this queue.", valueName: "name"), transform: Values.name)
    var queue: String?

    @Option(help: ArgumentHelp("Draw the comparison into this file.", valueName: "file.svg"), completion: .file())
    var plot: String?

    @Flag(help: "One JSON object.")
    var json = false

    func validate() throws {
        if let plot, !plot.lowercased().hasSuffix(".svg") {
            throw ValidationError("--plot writes SVG; give a name that ends in .svg")
        }
        if case .sequence(let first) = from, case .sequence(let last) = to, last < first {
            throw ValidationError("--to \(last) is before --from \(first); give a range")
        }
        if case .time(let first) = from, case .time(let last) = to, last < first {
            throw ValidationError("--to is before --from; give a range")
        }
    }

    func run() throws {
        // Standard input first: who feeds it need not wait for the store.
        let file = try settings.map { path in
            try SettingsFile(TextFile.read(path, bytesMax: SettingsFile.bytesMax), path: path)
        }
        try StorePath.requireStore(store.directory)
        var progress = ProgressLine()
        let source = try HistoryReader(directory: store.directory, from: from, to: to).read { count in
            progress.update("reading: \(Terminal.count(count, "record"))")
        }
        progress.clear()
        let history = source.history
        guard history.records > 0 else {
            throw CommandFailure("there are no records in that range of \(store.directory); give another one")
        }
        var index: Int?
        if let queue {
            guard let known = history.queues.firstIndex(of: queue) else {
                throw CommandFailure("there are no jobs of the queue \(queue) in that range; check its name")
            }
            index = known
        }
        let recorded = WhatIfSettings(queues: history.queues.count)
        var runs: [WhatIfReport.Run] = [
            .init(name: "recorded", measurement: source.measurement, settings: recorded),
            .init(name: "baseline", measurement: try simulate(history, recorded, "baseline"), settings: recorded),
        ]
        if let file {
            let changed = try file.settings(for: history.queues)
            guard !history.attempts.isEmpty else {
                throw CommandFailure(
                    "no job was leased in that range of \(store.directory), so nothing says how long one takes; "
                        + "give another range")
            }
            runs.append(
                .init(name: "what-if", measurement: try simulate(history, changed, "what-if"), settings: changed))
        }
        let report = WhatIfReport(source: source, runs: runs, queue: index)
        if let plot { try TextFile.write(report.plot(store: store.directory), to: plot) }
        if json {
            try Terminal.write(report.json)
        } else {
            try Terminal.print(report.lines.joined(separator: "\n"))
        }
        if let damage = source.damage { throw CommandFailure(reading: store.directory, damage) }
    }

    private func simulate(
        _ history: RecordedHistory, _ settings: WhatIfSettings, _ name: String
    ) throws -> RunMeasurement {
        var progress = ProgressLine()
        defer { progress.clear() }
        do throws(EngineError) {
            return try Simulation(history, settings).run { count in
                progress.update(
                    "\(name): \(Terminal.grouped(count)) of \(Terminal.count(history.jobs.count, "job"))")
            }
        } catch { throw CommandFailure("the replay stopped: \(error.message)") }
    }
}
