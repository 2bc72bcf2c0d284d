// The figures of one run as they are compared and printed.

import Holdfast
import HoldfastWhatIf

/// What a run came to, for one queue or for all.
struct RunFigures {
    let tally: QueueTally
    /// `nil` for a queue that has none of its own.
    let workers: Int?
    let latency: Distribution
    let wait: Distribution
    let backlog: Backlog

    init(_ tally: QueueTally, workers: Int?) {
        self.tally = tally
        self.workers = workers
        latency = tally.latency
        wait = tally.wait
        backlog = tally.backlog
    }

    /// One line of the comparison.
    struct Row {
        enum Value { case count(Int), milliseconds(Int64), share(Double) }

        let label: String
        /// What programs call it.
        let name: StaticString
        let value: Value?
    }

    /// Every figure, always in this order.
    ///
    /// - Parameter start: The instant that times are counted from.
    func rows(since start: Int64) -> [Row] {
        func count(_ label: String, _ name: StaticString, _ value: Int) -> Row {
            Row(label: label, name: name, value: .count(value))
        }
        func time(_ label: String, _ name: StaticString, _ value: Int64?) -> Row {
            Row(label: label, name: name, value: value.map { .milliseconds($0) })
        }
        return [
            count("jobs", "jobs", tally.jobs),
            count("completed", "completed", tally.completed),
            count("  by the end of the recording", "completed_in_time", tally.completedInTime),
            count("dead letters", "dead", tally.dead),
            count("cancelled", "cancelled", tally.cancelled),
            count("unfinished", "unfinished", tally.unfinished),
            count("attempts", "attempts", tally.attempts),
            count("  expired", "expired", tally.expired),
            time("latency, runnable to done, p50", "latency_p50_ms", latency.quantile(0.5)),
            time("  p90", "latency_p90_ms", latency.quantile(0.9)),
            time("  p99", "latency_p99_ms", latency.quantile(0.99)),
            time("  longest", "latency_max_ms", latency.sorted.last),
            time("wait for the first lease, p50", "wait_p50_ms", wait.quantile(0.5)),
            time("  p99", "wait_p99_ms", wait.quantile(0.99)),
            count("peak backlog", "peak_backlog", backlog.peak.count),
            time(
                "  reached after", "peak_after_ms", backlog.peak.count > 0 ? backlog.peak.time - start : nil),
            time("first runnable to last done", "makespan_ms", tally.makespan),
            Row(label: "workers", name: "workers", value: workers.map { .count($0) }),
            Row(
                label: "  busy until the recording ended", name: "utilisation",
                value: workers.flatMap { tally.utilisation(workers: $0) }.map { .share($0) }),
        ]
    }
}

extension RunFigures.Row.Value {
    /// The figure as people read it.
    var text: String {
        switch self {
        case .count(let count): Terminal.grouped(count)
        case .milliseconds(let time): Duration.milliseconds(time).words
        case .share(let share): Terminal.decimal(tenths: Int((share * 1000).rounded())) + " %"
        }
    }

    private var number: Double {
        switch self {
        case .count(let count): Double(count)
        case .milliseconds(let time): Double(time)
        case .share(let share): share
        }
    }

    /// Returns how this differs from `other`: in per cent, or for shares in points of it.
    func change(from other: Self) -> String {
        if number == other.number { return "=" }
        if case .share = self {
            let points = Int(((number - other.number) * 1000).rounded())
            return Self.signed(points) + " points"
        }
        guard other.number > 0 else { return "" }
        let ratio = number / other.number
        if ratio >= 10 { return "\(Terminal.decimal(tenths: Int(min(ratio, 1e12) * 10))) times" }
        return Self.signed(Int(((ratio - 1) * 1000).rounded())) + " %"
    }

    private static func signed(_ tenths: Int) -> String {
        (tenths < 0 ? "-" : "+") + Terminal.decimal(tenths: abs(tenths))
    }

    func write(to writer: inout JSONWriter) {
        switch self {
        case .count(let count): writer.value(count)
        case .milliseconds(let time): writer.value(time)
        case .share(let share): writer.value(raw: Array("\(Double(Int((share * 10_000).rounded())) / 10_000)".utf8))
        }
    }
}
