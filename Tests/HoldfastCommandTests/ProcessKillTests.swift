// A process that owns a store is killed with SIGKILL at random moments, on a real disk. In every durability mode
// nothing that was answered may be lost then: what was written stays, only the process is gone.

import Holdfast
import HoldfastLog
import HoldfastTestKit
import Testing

@testable import HoldfastCommand

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// How much the tests with real processes do, as the environment says.
enum ProcessEffort {
    /// `HOLDFAST_LONG`: a thousand kills.
    static let isLong = getenv("HOLDFAST_LONG") != nil
    /// `HOLDFAST_SOAK_SECONDS`: how long to go on.
    static let soakSeconds = getenv("HOLDFAST_SOAK_SECONDS").flatMap { Int(String(cString: $0)) }
}

/// Runs `body` on a thread of its own: waiting for processes must not keep the pool of the test runner.
func onProcessThread<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    try await withCheckedThrowingContinuation { continuation in
        do {
            _ = try DedicatedThread(name: "process-test") { continuation.resume(with: Result { try body() }) }
        } catch {
            continuation.resume(throwing: error)
        }
    }
}

@Suite(.serialized) struct ProcessKillTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let durability: String
        let history: String
        let rounds: Int
        var testDescription: String { durability }
    }

    /// As little history as makes compaction drop records in so short a run.
    private static let cases = [
        Case(durability: "commit", history: "none", rounds: 40),
        Case(durability: "interval:5", history: "bytes:16384", rounds: 35),
        Case(durability: "none", history: "bytes:32768", rounds: 35),
    ]

    @Test(arguments: cases) func whatWasAnsweredSurvivesAKillAtAnyMoment(_ test: Case) async throws {
        // Whoever writes to a process that has ended learns it from the write.
        signal(SIGPIPE, SIG_IGN)
        try await onProcessThread { try Self.run(test) }
    }

    /// What the rounds check is worth something only if a store that forgot is noticed.
    @Test func aStoreThatForgotWhatItAnsweredIsNoticed() async throws {
        signal(SIGPIPE, SIG_IGN)
        try await onProcessThread {
            let directory = try TemporaryDirectory()
            let run = KillRun(directory.store, arguments: [], seed: 3)
            while run.figures.answered < 20 { try run.round() }
            let older = directory.path + "/older"
            _ = try CommandHarness.run("/bin/cp", ["-a", directory.store, older])
            let before = run.figures.answered
            while run.figures.answered < before + 30 { try run.round() }
            try #require(rename(directory.store, directory.path + "/newer") == 0)
            try #require(rename(older, directory.store) == 0)
            let answered = run.figures.answered
            // A round that is killed while it opens the store sees nothing.
            #expect(throws: KillMismatch.self) {
                while run.figures.answered == answered { try run.round() }
            }
        }
    }

    private static func run(_ test: Case) throws {
        let started = ContinuousClock.now
        let seconds = ProcessEffort.soakSeconds.map { $0 / cases.count }
        let rounds = ProcessEffort.isLong ? 334 : test.rounds
        var total = KillRun.Figures()
        var seed: UInt64 = 1
        repeat {
            let directory = try TemporaryDirectory()
            let run = KillRun(
                directory.store,
                arguments: ["--durability", test.durability, "--history", test.history], seed: seed)
            do {
                let isOver = { seconds.map { ContinuousClock.now - started >= .seconds($0) } ?? false }
                while run.figures.rounds < rounds && !isOver() { try run.round() }
                try run.drain()
            } catch {
                let kept = "\(directory.path)-killed"
                rename(directory.store, kept)
                throw KillMismatch(
                    "\(test.durability), seed \(seed), round \(run.figures.rounds): \(error); see \(kept)")
            }
            total.add(run.figures)
            seed += 1
        } while seconds.map { ContinuousClock.now - started < .seconds($0) } ?? false
        // Killing a store that never rolls, seals or compacts shows little.
        #expect(total.turnover.seals > 5 && total.turnover.compactions > 0 && total.turnover.checkpoints > 2)
        report(total, test, seconds: (ContinuousClock.now - started) / .seconds(1))
    }

    private static func report(_ figures: KillRun.Figures, _ test: Case, seconds: Double) {
        let what = "figure | killed processes: \(test.durability)"
        print("\(what), kills | \(figures.rounds), \(figures.openingKills) of them while opening")
        print("\(what), requests answered | \(figures.answered)")
        print("\(what), requests in flight at a kill | \(figures.unanswered), \(figures.survived) of them had happened")
        print("\(what), stores verified | \(figures.verified)")
        let turnover = figures.turnover
        print("\(what), rounds that sealed | \(turnover.seals)")
        print("\(what), rounds that dropped records | \(turnover.compactions)")
        print("\(what), rounds that wrote checkpoints | \(turnover.checkpoints)")
        print("\(what), kills over a file that no manifest names yet | \(turnover.leftovers)")
        print("\(what), seconds | \(Int(seconds))")
    }
}

extension KillRun.Figures {
    fileprivate mutating func add(_ other: Self) {
        rounds += other.rounds
        openingKills += other.openingKills
        answered += other.answered
        unanswered += other.unanswered
        survived += other.survived
        verified += other.verified
        turnover.add(other.turnover)
    }
}
