// The blocks of the page on testing, each with a store of its own. This target has no access to what is only visible
// inside the package: what compiles here compiles for a user.

import Holdfast
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct TestingPageTests {
    @Test func aJobSurvivesALossOfPower() async throws {
        // README begins: power
        let disk = SimulatedFileSystem()
        var options = JobStoreOptions()
        options.use(disk)
        let store = try await JobStore.open(at: "/store", options: options)
        let job = try await store.enqueue("mail", payload: Array("hello".utf8))

        for seed in 1...20 {
            options.use(disk.crashImage(.torn(seed: UInt64(seed))))
            let reopened = try await JobStore.open(at: "/store", options: options)
            #expect(try await reopened.job(job.id)?.payload == Array("hello".utf8))
            try await reopened.close()
        }
        // README ends
        try await store.close()
    }

    @Test func whatWasAnsweredBeforePowerWentIsThere() async throws {
        let disk = SimulatedFileSystem()
        var options = JobStoreOptions()
        options.use(disk)
        let store = try await JobStore.open(at: "/store", options: options)
        // README begins: middle
        var answered: [JobID] = []
        disk.faultPlan = .crash(at: disk.operationCount + 5)
        do {
            while true { answered.append(try await store.enqueue("mail", payload: []).id) }
        } catch {
            print("power is gone: \(error.message)")
        }
        options.use(disk.crashImage(.random(seed: 1)))
        let reopened = try await JobStore.open(at: "/store", options: options)
        for id in answered { #expect(try await reopened.job(id) != nil) }
        // README ends
        #expect(disk.isCrashed && !answered.isEmpty)
        try await reopened.close()
        try? await store.close()
    }

    @Test func aFullDiskTakesNothingNewAndLetsWorkEnd() async throws {
        // README begins: full
        let disk = SimulatedFileSystem()
        var options = JobStoreOptions()
        options.use(disk)
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        let store = try await JobStore.open(at: "/store", options: options)
        _ = try await store.enqueue("mail", payload: Array("hello".utf8))
        let leases = try await store.lease(from: "mail", for: .seconds(3600))
        disk.faultPlan.capacityBytes = disk.usedBytes
        do {
            while true { _ = try await store.enqueue("mail", payload: Array("hello".utf8)) }
        } catch {
            #expect(error.code == .noSpace)
        }
        // Work that is done can still be recorded.
        for lease in leases { try await store.ack(lease) }
        disk.faultPlan.capacityBytes = nil
        // README ends
        #expect(try await store.stats().completed == 1)
        var isTaken = false
        while !isTaken {
            do {
                _ = try await store.enqueue("mail", payload: [])
                isTaken = true
            } catch {
                try #require(error.code == .noSpace)
                await Task.yield()
            }
        }
        try await store.close()
    }

    @Test func aClockThatJumpsEndsLeasesAndNeverTakesTimeBack() async throws {
        // README begins: jump
        let clock = JumpingClock()
        var options = JobStoreOptions()
        options.use(SimulatedFileSystem())
        options.clock = clock
        let store = try await JobStore.open(at: "/store", options: options)
        _ = try await store.enqueue("mail", payload: Array("hello".utf8))
        let first = try await store.lease(from: "mail", for: .seconds(30))
        clock.moveForward(byMilliseconds: 3_600_000)
        // The lease has ended, and the job is there for the next attempt.
        let second = try await store.lease(from: "mail", for: .seconds(30))
        #expect(second.map(\.attempt) == [2])
        clock.moveBack(byMilliseconds: 3_600_000)
        // The store's time stands until the clock has caught up: the new lease is valid, the old one is not.
        for lease in first {
            await #expect(throws: JobStoreError.self) { try await store.ack(lease) }
        }
        for lease in second { try await store.ack(lease) }
        // README ends
        #expect(first.count == 1)
        #expect(try await store.stats().completed == 1)
        try await store.close()
    }
}
