// Safeguards that no workload of the other suites would miss.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.serialized, .timeLimit(.minutes(10))) struct SafeguardTests {
    /// A log that is never idle is synced by its commits.
    @Test func aCommitSyncsWhenTheIntervalHasPassed() async throws {
        try await onThread {
            let disk = SimulatedFileSystem()
            let store = try CrashStore(disk, options: CrashStore.options(.interval(milliseconds: 0)))
            for number in 0..<50 {
                try store.commit([body(number, bytes: 3000)])
                let found = try CrashStore(opening: disk.crashImage(.nothingPending))
                #expect(found.replayed.count == number + 1)
                try found.log.close()
            }
            try store.log.close()
        }
    }
}
