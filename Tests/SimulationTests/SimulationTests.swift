// Whole stores under seeds; see Simulation.swift for what is checked. HOLDFAST_SIMULATION_SEED=n runs one seed,
// HOLDFAST_LONG=1 many, HOLDFAST_SOAK_SECONDS=n others for so long.

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

@Suite(.serialized) struct SimulationTests {
    private typealias Outcome = (report: SimulationReport, failures: [SimulationFailure])

    private static let seedsOfShortRun: UInt64 = 100
    private static let seedsOfLongRun: UInt64 = 10_000
    private static let seedsRunTwice: UInt64 = 30
    private static let threads: UInt64 = 2
    /// No seed takes a hundredth of that.
    private static let seedMillisecondsMax = 120_000
    private static let isLong = environment("HOLDFAST_LONG") != nil
    private static let soakSeconds = environment("HOLDFAST_SOAK_SECONDS").flatMap { Int($0) }

    @Test(.timeLimit(.minutes(soakSeconds.map { $0 / 60 + 20 } ?? (isLong ? 60 : 20))))
    func storesHoldWhatTheySaidUnderEverySeed() async throws {
        if let seed = Self.environment("HOLDFAST_SIMULATION_SEED").flatMap({ UInt64($0) }) {
            let (report, failures) = try await Self.run([seed])
            print("simulation of seed \(seed): \(report)")
            for failure in failures { Issue.record("\(failure)") }
            return
        }
        let started = ContinuousClock.now
        let (report, failures) = try await withThrowingTaskGroup { group in
            for thread in 0..<Self.threads { group.addTask { try await Self.runShare(of: thread, from: started) } }
            return try await group.reduce(into: Outcome(SimulationReport(), [])) { total, part in
                total.report.add(part.report)
                total.failures += part.failures
            }
        }
        let seconds = (ContinuousClock.now - started) / .seconds(1)
        print("simulation: \(report)")
        Self.report("seeds", report.seeds)
        Self.report("simulated hours", Int(report.milliseconds / 3_600_000))
        Self.report("operations", report.operations)
        Self.report("crashes", report.crashes)
        Self.report("faults", report.faults)
        Self.report("openings", report.openings)
        Self.report("seconds", Int(seconds.rounded()))
        for failure in failures { Issue.record("\(failure)") }
        guard Self.soakSeconds == nil else { return }
        #expect(report.seeds == Int(Self.isLong ? Self.seedsOfLongRun : Self.seedsOfShortRun))
        #expect(report.crashes > 0 && report.faults > 0 && report.unanswered > 0 && report.refusals > 0)
    }

    @Test(.timeLimit(.minutes(10))) func aSeedGoesTheSameWayEachTime() async throws {
        let seeds: ClosedRange<UInt64> = 1...Self.seedsRunTwice
        // Each runs while another one does.
        async let others = Self.onThread { seeds.reversed().map { Simulation.events(seed: $0) } }
        let traces = try await Self.onThread { seeds.map { Simulation.events(seed: $0) } }
        for (seed, (first, second)) in zip(seeds, zip(traces, try await others.reversed())) where first != second {
            let index = zip(first, second).prefix { $0 == $1 }.count
            let (one, other) = (first[index...].prefix(1), second[index...].prefix(1))
            Issue.record("seed \(seed) differs at \(index): \(one), \(other)")
        }
        // The store's own threads come in, and seeds differ.
        for name in ["client", "holdfast-commit", "holdfast-maint"] {
            #expect(traces.allSatisfy { $0.contains { $0.contains(" \(name): write ") } })
        }
        #expect(Set(traces).count == traces.count)
    }

    @Test(.timeLimit(.minutes(10))) func aDiskThatForgetsIsFoundOut() async throws {
        let found = try await Self.onThread {
            (1...10 as ClosedRange<UInt64>).count { seed in
                do throws(SimulationFailure) { _ = try Simulation.run(seed: seed, hasForgetfulDisk: true) } catch {
                    return true
                }
                return false
            }
        }
        #expect(found > 0)
    }

    /// Runs every other seed: the same ones in each run, or, in a soak, seeds that nobody has seen.
    private static func runShare(of thread: UInt64, from started: ContinuousClock.Instant) async throws -> Outcome {
        guard let soakSeconds else {
            let last = isLong ? seedsOfLongRun : seedsOfShortRun
            return try await run(Array(stride(from: thread + 1, through: last, by: Int(threads))))
        }
        let end = started + .seconds(soakSeconds)
        return try await run(
            sequence(state: UInt64.random(in: 1 << 32...1 << 62)) { seed in
                seed += 1
                return ContinuousClock.now < end ? seed : nil
            })
    }

    /// Runs seeds one after the other on a thread of their own; ends when a few have failed.
    private static func run(_ seeds: some Sequence<UInt64> & Sendable) async throws -> Outcome {
        try await onThread {
            try Watchdog.watching(
                millisecondsMax: seedMillisecondsMax, onHang: { fatalError("a seed hangs: \($0)") }
            ) { watchdog in
                var outcome = Outcome(SimulationReport(), [])
                for seed in seeds {
                    watchdog.begin(Simulation.command(seed: seed))
                    do throws(SimulationFailure) {
                        outcome.report.add(try Simulation.run(seed: seed, onStandstill: { fatalError($0) }))
                    } catch {
                        outcome.failures.append(error)
                        if outcome.failures.count == 3 { break }
                    }
                }
                return outcome
            }
        }
    }

    static func onThread<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            do {
                _ = try DedicatedThread(name: "simulation") { continuation.resume(with: Result { try body() }) }
            } catch { continuation.resume(throwing: error) }
        }
    }

    /// Prints a figure for the table at the end of `tools/test --long`.
    private static func report(_ what: String, _ value: Int) { print("figure | simulation: \(what) | \(value)") }

    private static func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
}
