// Safeguards that no workload of the other suites would miss.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.serialized, .timeLimit(.minutes(2))) struct SafeguardTests {
    /// The image that closing writes syncs the journal on its way; on a full disk there is none.
    @Test func aCloseFrameVouchesForNothingUnsyncedWhenTheDiskIsFull() async throws {
        try await onThread {
            let options = CrashStore.options(.none)
            let disk = SimulatedFileSystem()
            let journalist = Journalist()
            let store = try CrashStore(disk, journalist, options: options)
            for number in 0..<3 { try store.commit([body(number, bytes: 3000)]) }
            disk.recordCrashPoints { journalist.answers }
            var plan = FaultPlan()
            plan.capacityBytes = 4096
            disk.faultPlan = plan
            #expect(throws: LogError.self) { try store.log.close() }
            #expect(!disk.crashPoints.isEmpty)
            for point in disk.crashPoints {
                for item in 0..<point.itemCount {
                    for policy in [CrashPolicy.only(item: item), .allBut(item: item)] {
                        let image = point.image(policy)
                        image.faultPlan = FaultPlan()
                        try CrashCheck(
                            disk: image, batches: journalist.all,
                            reproduction: "operation \(point.operation), \(policy)", keepsAcknowledged: false,
                            options: options
                        ).run()
                    }
                }
            }
        }
    }

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
