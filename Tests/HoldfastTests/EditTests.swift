// Jobs that wait, changed: what their workers and whoever looks at them get, before and after crashes, checkpoints and
// compaction.

import Holdfast
import HoldfastBytes
import HoldfastTestKit
import Testing

@Suite struct EditTests {
    private let headers = [JobHeader(name: "h", value: "v")]

    @Test func whoLeasesAnEditedJobGetsWhatIsNew() async throws {
        try await withStore { store, _ in
            let first = try await store.enqueue("q", payload: [1]).id
            let second = try await store.enqueue("q", payload: [2]).id
            try await store.edit(second, JobEdit(priority: 7, maxAttempts: 9, payload: [22], headers: headers))
            let lease = try #require(try await store.lease(from: "q").first)
            #expect((lease.id, lease.priority, lease.payload) == (second, 7, [22]) && lease.headers == headers)
            // A retry gets the same, and the headers alone may be changed as well.
            try await store.requeue(lease, after: .zero)
            try await store.edit(second, JobEdit(headers: []))
            let again = try #require(try await store.lease(from: "q").first)
            #expect((again.id, again.attempt, again.payload) == (second, 2, [22]) && again.headers.isEmpty)
            let job = try #require(try await store.job(second))
            #expect((job.maxAttempts, job.payload) == (9, [22]) && job.headers.isEmpty)
            #expect(try await store.job(first)?.payload == [1])
        }
    }

    @Test func aMovedJobIsFoundInItsNewQueueAlsoWhenItIsDone() async throws {
        try await withStore { store, _ in
            let jobs = [
                try await store.enqueue("a", payload: [1]).id, try await store.enqueue("a", payload: [2]).id,
                try await store.enqueue("b", payload: [3]).id,
            ]
            try await store.move(jobs[1], to: "b")
            try await store.move(jobs[2], to: "c")
            try await store.move(jobs[2], to: "a")
            func list(_ queue: String, _ state: JobInfo.State? = nil) async throws -> [JobID] {
                try await store.jobs(JobFilter(queue: queue, state: state)).map(\.id)
            }
            #expect(try await list("a") == [jobs[0], jobs[2]])
            #expect(try await list("b") == [jobs[1]])
            for lease in try await store.lease(from: ["a", "b"], limit: 3) { try await store.ack(lease) }
            #expect(try await list("a", .completed) == [jobs[0], jobs[2]])
            #expect(try await list("b", .completed) == [jobs[1]])
            #expect(try await list("c").isEmpty)
            #expect(try await store.jobs(JobFilter(queue: "a", limit: 1)).map(\.id) == [jobs[0]])
            #expect(try await store.job(jobs[1])?.queue == "b")
            #expect(try await store.explain(jobs[1])?.reason == .completed)
            let history = try await store.history(of: jobs[1])
            #expect(history.map(\.kind) == ["enqueue", "edit", "lease", "ack"])
            #expect(history[1].fields.map(\.name) == ["queue"] && history[1].fields.first?.value == .text("b"))
        }
    }

    @Test func thePastIsShownAsItWasAndConsumersAreGivenWhatIsNew() async throws {
        try await withStore { store, _ in
            let job = try await store.enqueue("a", payload: [1]).id
            let before = try await store.digest()
            try await store.edit(job, JobEdit(queue: "b", payload: [2], headers: headers))
            let after = try await store.digest()
            try await store.edit(job, JobEdit(payload: [3]))
            for (moment, queue, payload) in [(before, "a", 1 as UInt8), (after, "b", 2)] {
                let past = try await store.state(asOf: .sequence(moment.sequence))
                #expect(past.digest() == moment)
                let shown = try #require(try await past.job(job))
                #expect(shown.queue == queue && shown.payload == [payload])
                #expect(try await past.jobs(JobFilter(queue: queue)).map(\.id) == [job])
            }
            var payloads: [[UInt8]?] = []
            for try await event in store.events(from: .oldest) {
                #expect(event.job == job)
                payloads.append(event.payload)
                if payloads.count == 3 { break }
            }
            #expect(payloads == [[1], [2], [3]])
        }
    }

    @Test func timesArePutOffAndBroughtForward() async throws {
        try await withStore { store, _ in
            let job = try await store.enqueue("q", payload: []).id
            try await store.edit(job, JobEdit(delay: .seconds(60)))
            let later = Timestamp(milliseconds: StoreFixture.start + 60_000)
            #expect(try await store.job(job)?.runAt == later)
            #expect(try await store.lease(from: "q").isEmpty)
            async let waiting = store.lease(from: "q", waitingUpTo: .seconds(3600))
            while store.waitingLeaseCount == 0 { await Task.yield() }
            try await store.edit(job, JobEdit(delay: .zero))
            #expect(try await waiting.map(\.id) == [job])
        }
    }

    @Test func aLeaseThatWaitsGetsAJobThatIsMovedToIt() async throws {
        try await withStore { store, _ in
            let job = try await store.enqueue("a", payload: [1]).id
            async let waiting = store.lease(from: "b", waitingUpTo: .seconds(3600))
            while store.waitingLeaseCount == 0 { await Task.yield() }
            try await store.move(job, to: "b")
            #expect(try await waiting.map(\.payload) == [[1]])
        }
    }

    @Test func whatCanNotBeChangedIsRefusedWithWhatToDo() async throws {
        try await withStore { store, _ in
            let job = try await store.enqueue("q", payload: []).id
            for edit in [
                JobEdit(), JobEdit(queue: ""), JobEdit(priority: 128), JobEdit(delay: .seconds(-1)),
                JobEdit(delay: .zero, runAt: .zero), JobEdit(maxAttempts: 0),
            ] {
                await expectRefusal(.badRequest) { try await store.edit(job, edit) }
            }
            await expectRefusal(.tooLarge) {
                try await store.edit(job, JobEdit(payload: [UInt8](repeating: 0, count: (16 << 20) + 1)))
            }
            await expectRefusal(.notFound) { try await store.move(JobID(99), to: "r") }
            let lease = try #require(try await store.lease(from: "q", worker: "w1").first)
            do throws(JobStoreError) {
                try await store.edit(job, JobEdit(priority: 1))
                Issue.record("a job was changed under its worker's hands")
            } catch { #expect(error.code == .invalidState && error.message.contains("is leased by w1"), "\(error)") }
            try await store.bury(lease)
            await expectRefusal(.invalidState) { try await store.move(job, to: "r") }
            try await store.redrive(job)
            try await store.move(job, to: "r")
            try await store.cancel(job)
            await expectRefusal(.invalidState) { try await store.move(job, to: "q") }
        }
    }

    @Test func aBatchMovesAllOrNone() async throws {
        try await withStore { store, _ in
            try await store.configure("b", QueueConfiguration(capacity: 2))
            var jobs: [JobID] = []
            for number in 0..<3 { jobs.append(try await store.enqueue("a", payload: [UInt8(number)]).id) }
            await expectRefusal(.queueFull, index: 2) {
                _ = try await store.batch(jobs.map { .edit($0, JobEdit(queue: "b")) })
            }
            #expect(try await store.jobs(JobFilter(queue: "a")).count == 3)
            let replies = try await store.batch([
                .edit(jobs[0], JobEdit(queue: "b", payload: [9])), .cancel(jobs[1]),
                .edit(jobs[2], JobEdit(queue: "b")), .edit(jobs[0], JobEdit(queue: "a", priority: 2)),
            ])
            #expect(replies == [.done, .done, .done, .done])
            let leases = try await store.lease(from: ["a", "b"], limit: 9)
            #expect(leases.map(\.payload) == [[9], [2]] && leases.map(\.queue) == ["a", "b"])
        }
    }

    /// The purge looks once, and lets others have their turn; what they move away is no longer meant.
    @Test func aPurgeLeavesWhatWasMovedAwayMeanwhile() async throws {
        try await withStore { store, _ in
            let replies = try await store.batch((0..<2_500).map { _ in .enqueue(queue: "a", payload: []) })
            guard case .enqueued(let last) = replies.last else { throw FixtureError(reason: "no job was added") }
            async let purge = store.purge(queue: "a", states: .all)
            // Which comes first is open. What is moved before it is cancelled stays; what is cancelled can't be moved.
            var isMoved = true
            do throws(JobStoreError) { try await store.move(last.id, to: "b") } catch {
                #expect(error.code == .invalidState, "\(error)")
                isMoved = false
            }
            #expect(try await purge.count == (isMoved ? 2_499 : 2_500))
            #expect(try await store.job(last.id)?.state == (isMoved ? .ready : .cancelled))
        }
    }

    @Test func changesAreThereAfterCrashesCheckpointsAndCompaction() async throws {
        let disk = SimulatedFileSystem()
        var options = JobStoreOptions()
        options.clock = ManualClock()
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        options.history = .none
        options.provesCompaction = true
        options.use(disk)
        let store = try await JobStore.open(at: "/store", options: options)
        var unique = EnqueueOptions()
        unique.uniqueKey = "k"
        unique.uniqueScope = .queued
        let plain = try await store.enqueue("q", payload: [1]).id
        let keyed = try await store.enqueue("q", payload: [2], options: unique).id
        try await store.edit(plain, JobEdit(priority: 3, payload: [11], headers: headers))
        unique.onCollision = .replace
        #expect(try await store.enqueue("q", payload: [22], options: unique).isUpdated)
        try await store.edit(plain, JobEdit(queue: "r", payload: [111]))
        let digest = try await store.digest().hex
        var image = disk.crashImage(.nothingPending)
        for round in 0..<4 {
            options.use(image)
            let again = try await JobStore.open(at: "/store", options: options)
            #expect(try await again.digest().hex == digest, "round \(round)")
            let job = try #require(try await again.job(plain))
            #expect((job.queue, job.priority, job.payload) == ("r", 3, [111]) && job.headers == headers)
            #expect(try await again.job(keyed)?.payload == [22])
            // Noise that compaction has something to drop of.
            for number in 0..<200 {
                let noise = try await again.enqueue("noise", payload: [UInt8](repeating: UInt8(number), count: 500))
                try await again.cancel(noise.id)
            }
            if round.isMultiple(of: 2) { try await again.checkpoint() } else { _ = try await again.compact() }
            if round == 3 {
                let leases = try await again.lease(from: ["q", "r"], limit: 9)
                #expect(leases.map(\.payload) == [[22], [111]])
                #expect(try await again.enqueue("q", payload: [], options: unique).isDuplicate == false)
            }
            try await again.close()
            image = image.crashImage(.nothingPending)
        }
        try await store.close()
    }
}
