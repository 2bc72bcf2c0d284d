// Visits the states that a crash may leave: for every point of every run nothing, everything, each single change and
// each single omission of what was pending, all subsets where they are few, and seeded random ones. An equal disk with
// equal expectations is judged once.

import HoldfastLog
import HoldfastTestKit
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// What an enumeration visited.
struct CrashFigures: Sendable {
    var points = 0
    var tried = 0
    var distinct = 0
    var duration = Duration.zero

    /// A line for whoever watches the tests.
    func line(_ what: String) -> String {
        let seconds = max(duration / .seconds(1), 0.001)
        let rate = Int(Double(tried) / seconds)
        return "crash states, \(what): \(points) points, \(tried) states tried, \(distinct) distinct, \(rate) a second"
    }
}

/// Judges the crash states of recorded runs on several threads.
final class CrashEnumeration: Sendable {
    private struct Work {
        var next = 0
        var figures = CrashFigures()
        var failure: (any Error)?
    }
    private let states = KnownStates()
    private let judged = KnownStates()
    private let recovered = KnownStates()
    private let work = Locked(Work())
    /// More than there are processors: a judge waits for the threads of the log that it judges.
    static let threads = 6

    var figures: CrashFigures {
        var figures = work.withLock { $0.figures }
        figures.distinct += states.count
        return figures
    }

    /// Forgets which states were seen, lest a soak fills the memory; those that come again count again.
    func forget() {
        let seen = states.count
        work.withLock { $0.figures.distinct += seen }
        for known in [states, judged, recovered] { known.removeAll() }
    }

    /// Judges the states of the traces; `seed` draws the random ones.
    ///
    /// - Parameters:
    ///   - randomStates: How many random states are tried per point.
    ///   - singlesMax: Points with more items than this are left to chance.
    func visit(_ traces: [CrashTrace], seed: UInt64, randomStates: Int = 2, singlesMax: Int = .max) async throws {
        let started = ContinuousClock.now
        let jobs = traces.flatMap { trace in trace.points.map { (trace, $0) } }
        work.withLock {
            $0.next = 0
            $0.figures.points += jobs.count
        }
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<Self.threads {
                group.addTask { [self] in
                    do {
                        try await onThread {
                            try self.runWorker(jobs, seed: seed, randomStates: randomStates, singlesMax: singlesMax)
                        }
                    } catch {
                        work.withLock { $0.failure = $0.failure ?? error }
                    }
                }
            }
        }
        work.withLock { $0.figures.duration += ContinuousClock.now - started }
        if let failure = work.withLock({ $0.failure }) { throw failure }
    }

    private func runWorker(
        _ jobs: [(CrashTrace, CrashPoint)], seed: UInt64, randomStates: Int, singlesMax: Int
    ) throws {
        while true {
            let number = work.withLock { work in
                defer { work.next += 1 }
                return work.next
            }
            guard number < jobs.count else { return }
            let (trace, point) = jobs[number]
            var tried = 0
            /// Returns whether the state was new.
            func visit(_ policy: CrashPolicy) throws -> Bool {
                tried += 1
                let disk = point.image(policy)
                let hash = disk.contentHash()
                _ = states.insert(hash)
                let expected = UInt64(truncatingIfNeeded: point.note) &* 0x9E37_79B9_7F4A_7C15
                guard judged.insert(hash ^ expected) else { return false }
                try trace.judge(disk, point, "\(trace.name), operation \(point.operation), \(policy)", recovered)
                return true
            }
            for policy in policies(for: point, singlesMax: singlesMax) { _ = try visit(policy) }
            // Where few things are pending, chance finds few new states: it tries elsewhere then.
            var misses = 0
            for draw in 0..<UInt64(point.itemCount > 0 ? randomStates : 0) where misses < Self.missesMax {
                let policy = Self.random(draw, seed: seed &+ UInt64(number) &* 1_000_003)
                misses = try visit(policy) ? 0 : misses + 1
            }
            work.withLock { $0.figures.tried += tried }
        }
    }

    private static let missesMax = 3

    private static func random(_ draw: UInt64, seed: UInt64) -> CrashPolicy {
        switch draw % 4 {
        case 0, 1: .torn(seed: seed &+ draw)
        case 2: .random(seed: seed &+ draw)
        default: .randomBlocks(seed: seed &+ draw)
        }
    }

    private func policies(for point: CrashPoint, singlesMax: Int) -> [CrashPolicy] {
        let items = point.itemCount
        guard items > 0 else { return [.nothingPending] }
        var policies: [CrashPolicy] = [.nothingPending, .everythingPending]
        if items <= 6 {
            policies += (1..<(1 << UInt64(items))).map { .subset(items: $0) }
        } else if items <= singlesMax {
            policies += (0..<items).flatMap { [.only(item: $0), .allBut(item: $0)] }
        }
        return policies
    }
}

/// How much the tests do, as the environment says.
enum Effort {
    /// The full sweeps: `tools/test --long` sets it.
    static let isLong = value("HOLDFAST_LONG") != nil
    /// How many seconds a soak goes on, if one was asked for.
    static let soakSeconds = value("HOLDFAST_SOAK_SECONDS").flatMap { Int($0) }

    /// Draws the turns of threads: other ones in each full sweep, unless HOLDFAST_SWEEP_SEED says which.
    static let turnsSeed: UInt64 = {
        if let seed = value("HOLDFAST_SWEEP_SEED").flatMap({ UInt64($0) }) { return seed }
        return isLong ? UInt64.random(in: 1...1_000_000) : 0
    }()

    /// Prints a figure for the table at the end of `tools/test --long`.
    static func report(_ what: String, _ value: Int) { print("figure | \(what) | \(value)") }

    /// Tells whoever waits for a sweep how far it is; `tools/test --long` shows it. Unbuffered.
    static func progress(_ line: String) {
        var text = "progress | \(line)\n"
        text.withUTF8 { bytes in _ = unsafe write(2, bytes.baseAddress, bytes.count) }
    }

    private static func value(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        return String(cString: value)
    }
}
