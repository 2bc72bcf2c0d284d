// Whole stores under seeds; see Simulation.swift for what is checked. HOLDFAST_SIMULATION_SEED=n runs one seed,
// HOLDFAST_LONG=1 many.

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
    private static let seedsOfShortRun: UInt64 = 100
    private static let seedsOfLongRun: UInt64 = 10_000
    private static let threads: UInt64 = 2

    @Test(.timeLimit(.minutes(20))) func storesHoldWhatTheySaidUnderEverySeed() async throws {
        if let seed = Self.environment("HOLDFAST_SIMULATION_SEED").flatMap({ UInt64($0) }) {
            let (report, failures) = await Self.run([seed])
            print("simulation of seed \(seed): \(report)")
            for failure in failures { Issue.record("\(failure)") }
            return
        }
        let count = Self.environment("HOLDFAST_LONG") == "1" ? Self.seedsOfLongRun : Self.seedsOfShortRun
        let (report, failures) = await withTaskGroup { group in
            for thread in 0..<Self.threads {
                group.addTask { await Self.run(Array(stride(from: thread + 1, through: count, by: Int(Self.threads)))) }
            }
            return await group.reduce(into: (SimulationReport(), [SimulationFailure]())) { total, part in
                total.0.add(part.0)
                total.1 += part.1
            }
        }
        print("simulation: \(report)")
        #expect(report.seeds == Int(count))
        #expect(report.crashes > 0 && report.faults > 0 && report.unanswered > 0 && report.refusals > 0)
        for failure in failures { Issue.record("\(failure)") }
    }

    @Test(.timeLimit(.minutes(10))) func aDiskThatForgetsIsFoundOut() async throws {
        let found = await Self.onThread {
            (1...10 as ClosedRange<UInt64>).count { seed in
                do throws(SimulationFailure) { _ = try Simulation.run(seed: seed, hasForgetfulDisk: true) } catch {
                    return true
                }
                return false
            }
        }
        #expect(found > 0)
    }

    /// Runs seeds one after the other on a thread of their own; ends when a few have failed.
    private static func run(_ seeds: [UInt64]) async -> (SimulationReport, [SimulationFailure]) {
        await onThread {
            var (report, failures) = (SimulationReport(), [SimulationFailure]())
            let watchdog = Watchdog()
            let watching = try? DedicatedThread(name: "watchdog") { watchdog.watch() }
            defer {
                watchdog.begin(nil)
                watching?.join()
            }
            for seed in seeds where failures.count < 3 {
                watchdog.begin(seed)
                do throws(SimulationFailure) { report.add(try Simulation.run(seed: seed)) } catch {
                    failures.append(error)
                }
            }
            return (report, failures)
        }
    }

    private static func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            do {
                _ = try DedicatedThread(name: "simulation") { continuation.resume(returning: body()) }
            } catch { continuation.resume(returning: body()) }
        }
    }

    private static func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
}
