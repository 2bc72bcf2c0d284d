// The comparison as a picture: what waited over time, and which share of the jobs was done how soon.

import Holdfast
import HoldfastPlot
import HoldfastWhatIf

extension WhatIfReport {
    /// The comparison as SVG.
    ///
    /// - Parameter store: What to call the store.
    func plot(store: String) -> String {
        let all = runs.map { (name: $0.name, figures: figures($0, queue)) }
        let last = all.flatMap { [$0.figures.backlog.times.last ?? 0, $0.figures.tally.lastEnd] }.max() ?? 0
        let end = Double(max(last, source.history.end) - source.history.start)
        let backlog = Chart(
            "Backlog: jobs that wait and could run", x: .init("since the beginning of the range", .milliseconds),
            y: .init("jobs", .count),
            series: all.map { name, figures in
                Chart.Series(
                    "\(name): peak \(Terminal.grouped(figures.backlog.peak.count))",
                    Self.points(figures.backlog, from: source.history.start, to: end), isStepped: true
                ).reduced(columns: SVGWriter.columns)
            })
        let latency = Chart(
            "Latency: from the instant a job could run until it was done",
            x: .init("latency", .milliseconds, isLogarithmic: true), y: .init("share of jobs", .share, end: 1),
            series: all.map { name, figures in
                let median = figures.latency.quantile(0.5).map { RunFigures.Row.Value.milliseconds($0).text }
                return Chart.Series(
                    "\(name): half within \(median ?? "-")", Self.points(figures.latency), isStepped: true)
            })
        let what = queue.map { "queue \(source.history.queues[$0])" } ?? "all queues"
        return SVGWriter.draw(
            [backlog, latency], title: "Replay of \(store), \(what)",
            subtitle: "records \(source.first) to \(source.last), "
                + "\(CalendarTime.text(Timestamp(milliseconds: source.history.start))) to "
                + CalendarTime.text(Timestamp(milliseconds: source.history.end)))
    }

    private static func points(_ backlog: Backlog, from start: Int64, to end: Double) -> [Chart.Point] {
        var points = [Chart.Point(0, 0)]
        for (time, count) in zip(backlog.times, backlog.counts) {
            points.append(Chart.Point(Double(time - start), Double(count)))
        }
        if let last = points.last, last.x < end { points.append(Chart.Point(end, last.y)) }
        return points
    }

    /// The share of values up to each, at as many places as can be told apart.
    private static func points(_ distribution: Distribution) -> [Chart.Point] {
        let values = distribution.sorted
        guard let first = values.first else { return [] }
        var points = [Chart.Point(Double(first), 0)]
        let steps = min(values.count, SVGWriter.columns)
        for step in 1...steps {
            let rank = values.count * step / steps
            points.append(Chart.Point(Double(values[rank - 1]), Double(rank) / Double(values.count)))
        }
        return points
    }
}
