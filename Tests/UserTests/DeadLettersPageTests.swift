// What Getting Started shows of dead letters compiles and does what it says.

import Foundation
import Holdfast
import Testing

@Suite(.timeLimit(.minutes(10))) struct DeadLettersPageTests {
    @Test func deadJobsAreFoundByWhatIsKnownOfThem() async throws {
        let path = ReadmeTests.newPath()
        defer { ReadmeTests.remove(path) }
        let store = try await JobStore.open(at: path)
        var options = EnqueueOptions()
        options.maxAttempts = 1
        for error in ["it timed out", "no such user"] {
            _ = try await store.enqueue("mail", payload: [1], options: options)
            for lease in try await store.lease(from: "mail") { try await store.requeue(lease, error: error) }
        }
        // README begins: dead
        let timeouts = DeadFilter(reasons: [.attemptsUsedUp], errorContains: "timed out")
        let report = try await store.redrive(queue: "mail", where: timeouts, perSecond: 10, isDryRun: true)
        print("\(report.count) jobs, until \(String(describing: report.lastRunAt)), first \(report.firstIDs)")
        // README ends
        #expect(report.count == 1)
        #expect(try await store.stats().queues.first?.dead == 2)
        try await store.close()
    }
}
