// Why jobs fail, as `work` says it while it goes on and in sum at the end. What jobs say is cut to a line and counted
// by that line; the number of different ones is bounded, since a job may name itself in its error.

import Holdfast
import HoldfastLog

/// Tells people why jobs fail.
final class FailureLog: @unchecked Sendable {
    /// So many different errors are told apart.
    private static let errorsMax = 1000
    /// So many of them are listed at the end.
    private static let listedMax = 5

    // SENDABLE: `counts` and `others` are guarded by `lock`; the rest never changes.
    private let isShown: Bool
    private let write: @Sendable (String) -> Void
    private let lock = CallerLock()
    private var counts: [String: Int] = [:]
    private var others = 0

    /// Creates an empty log.
    ///
    /// - Parameter write: Takes each text that is to be seen at once.
    init(isShown: Bool, write: @escaping @Sendable (String) -> Void = Descriptor.standardError.writeText) {
        self.isShown = isShown
        self.write = write
    }

    /// Takes note of a failed attempt.
    func note(_ job: JobID, attempt: Int, error: String, isDead: Bool) {
        note(error, of: "job \(job), attempt \(attempt)\(isDead ? ", dead" : "")")
    }

    /// Takes note of a job that could not be leased.
    func note(_ error: String) { note(error, of: "no lease") }

    private func note(_ error: String, of place: String) {
        guard isShown else { return }
        let line = Terminal.firstLine(error)
        lock.withLock {
            if counts[line] != nil || counts.count < Self.errorsMax {
                counts[line, default: 0] += 1
            } else {
                others += 1
            }
        }
        // The progress line may stand where this goes.
        let erase = Descriptor.standardError.isTerminal ? ProgressLine.erase : ""
        write("\(erase)\(place): \(line)\n")
    }

    /// The errors with how often each came, most frequent first; empty when there was at most one.
    var summary: [String] {
        let (counts, others) = lock.withLock { (self.counts, self.others) }
        let sorted = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        let rest = sorted.dropFirst(Self.listedMax)
        let total = counts.values.reduce(0, +) + others
        guard total > 1 else { return [] }
        var lines = ["why attempts failed:"]
        lines += sorted.prefix(Self.listedMax).map { "\(Columns.right(Terminal.grouped($0.value), 8)) × \($0.key)" }
        let unlisted = rest.reduce(0) { $0 + $1.value } + others
        if unlisted > 0 { lines.append("\(Columns.right(Terminal.grouped(unlisted), 8)) × other errors") }
        return lines
    }
}
