// The comparison, for people and for programs. Recorded, baseline and what-if stand side by side: how far the baseline
// is from what was recorded tells how far the what-if can be trusted.

import Holdfast
import HoldfastLog
import HoldfastWhatIf

/// A recording and its simulated runs.
struct WhatIfReport {
    struct Run {
        let name: String
        let measurement: RunMeasurement
        let settings: WhatIfSettings
    }

    let source: HistoryReader.Result
    /// Recorded and baseline, and what-if if it was asked for.
    let runs: [Run]
    /// Only this queue.
    let queue: Int?

    private static let labelColumns = 32
    private static let columns = 14

    private var history: RecordedHistory { source.history }

    /// Returns a run's figures for a queue, or for all.
    func figures(_ run: Run, _ queue: Int?) -> RunFigures {
        let tally = run.measurement.tally(queue)
        func workers(_ queue: Int) -> Int? {
            if let own = run.settings.queues[queue].workers { return own }
            return run.settings.sharedWorkers == nil ? history.leasedMax[queue] : nil
        }
        if let queue { return RunFigures(tally, workers: workers(queue)) }
        let own = history.queues.indices.reduce(0) { $0 + (workers($1) ?? 0) }
        let hasShared = history.queues.indices.contains { workers($0) == nil }
        return RunFigures(tally, workers: own + (hasShared ? run.settings.sharedWorkers ?? 0 : 0))
    }

    /// The queues to show: all together first, where there are several.
    private var shown: [Int?] {
        if let queue { return [queue] }
        let sorted = history.queues.indices.sorted { history.queues[$0] < history.queues[$1] }
        return (sorted.count == 1 ? [] : [nil]) + sorted.map { $0 }
    }

    // MARK: - For people

    /// The comparison as lines of at most 100 columns.
    var lines: [String] {
        var lines = ["records \(source.first) to \(source.last), \(Terminal.count(history.jobs.count, "job")):"]
        lines.append("\(time(history.start)) to \(time(history.end))")
        if source.isCutOff { lines.append("older records were dropped; a store opened with more history keeps more") }
        if source.damage != nil {
            lines.append("the log is damaged behind record \(source.last); this is what stands before")
        }
        if history.carriedOver > 0 {
            lines.append(
                "\(Terminal.count(history.carriedOver, "job")) \(history.carriedOver == 1 ? "was" : "were") there "
                    + "before; times of those are counted from the beginning")
        }
        if history.leftOut > 0 {
            lines.append("\(Terminal.count(history.leftOut, "job")) delayed beyond the end are left out")
        }
        for queue in shown { lines += table(queue) }
        lines += drawn + stopped
        return lines
    }

    private func time(_ milliseconds: Int64) -> String { CalendarTime.text(Timestamp(milliseconds: milliseconds)) }

    private func table(_ queue: Int?) -> [String] {
        let all = runs.map { figures($0, queue).rows(since: history.start) }
        let name = queue.map { "queue " + Terminal.firstLine(history.queues[$0], columns: 24) } ?? "all queues"
        var lines = ["", row(name, runs.map(\.name) + [runs.count > 2 ? "change" : "difference"])]
        for index in all[0].indices {
            let values = all.map { $0[index].value }
            let change: String =
                if let last = values[values.count - 1], let before = values[values.count - 2] {
                    last.change(from: before)
                } else { "" }
            lines.append(row(all[0][index].label, values.map { $0?.text ?? "-" } + [change]))
        }
        return lines
    }

    private func row(_ label: String, _ cells: [String]) -> String {
        var line = label + String(repeating: " ", count: max(Self.labelColumns - label.count, 0))
        for cell in cells { line += String(repeating: " ", count: max(Self.columns - cell.count, 1)) + cell }
        return line
    }

    /// How much is not recorded but drawn.
    private var drawn: [String] {
        var lines: [String] = []
        for run in runs.dropFirst() {
            let tally = run.measurement.tally(queue)
            guard tally.drawn > 0, tally.attempts > 0 else { continue }
            let share = RunFigures.Row.Value.share(Double(tally.drawn) / Double(tally.attempts)).text
            lines.append(
                "\(run.name): \(Terminal.count(tally.drawn, "attempt")) of \(Terminal.grouped(tally.attempts)) "
                    + "(\(share)) took place in no recording")
        }
        if lines.isEmpty { return [] }
        let samples = queue.map { [history.samples[$0]] } ?? history.samples
        if history.samples.allSatisfy(\.isEmpty) {
            lines.append("no recorded one tells how they end: each ends well, after as long as one that was recorded")
        } else {
            lines.append("they are drawn from the queue's recorded ones, after a failure if there are such")
            if samples.contains(where: \.isEmpty) {
                lines.append("a queue that has none to draw from draws from the queue that has most")
            }
        }
        return [""] + lines
    }

    /// What was not driven to its end.
    private var stopped: [String] {
        runs.filter(\.measurement.isStopped).map { run in
            "\(run.name): stopped, too many attempts took place in no recording; the rest counts as unfinished"
        }
    }

    // MARK: - For programs

    /// The comparison as one JSON object.
    var json: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.field("first_seq", source.first.rawValue)
        writer.field("last_seq", source.last.rawValue)
        writer.field("start_ms", history.start)
        writer.field("end_ms", history.end)
        writer.field("records", history.records)
        writer.field("carried_over", history.carriedOver)
        writer.field("left_out", history.leftOut)
        writer.field("cut_off", source.isCutOff)
        writer.field("damage", optional: source.damage.map { LogMessage.plain($0.message) })
        if queue == nil {
            writer.key("all")
            write(nil, to: &writer)
        }
        writer.key("queues")
        writer.beginObject()
        for index in queue.map({ [$0] }) ?? Array(history.queues.indices) {
            writer.key(dynamic: history.queues[index])
            write(index, to: &writer)
        }
        writer.endObject()
        writer.endObject()
        writer.endLine()
        return writer.bytes
    }

    private func write(_ queue: Int?, to writer: inout JSONWriter) {
        writer.beginObject()
        for run in runs {
            writer.key(dynamic: run.name == "what-if" ? "what_if" : run.name)
            writer.beginObject()
            let figures = figures(run, queue)
            for row in figures.rows(since: history.start) {
                writer.key(row.name)
                if let value = row.value { value.write(to: &writer) } else { writer.null() }
            }
            writer.field("drawn_attempts", figures.tally.drawn)
            writer.field("stopped", run.measurement.isStopped)
            writer.endObject()
        }
        writer.endObject()
    }
}
