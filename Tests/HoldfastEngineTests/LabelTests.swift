// Labels and owners: found until a job ends, whatever happens to it before.

import HoldfastBytes
import HoldfastEngine
import Testing

@Suite struct LabelTests {
    private func add(
        _ engine: inout EngineHarness, _ labels: [(name: String, value: String)], owner: String? = nil,
        queue: String = "q", delay: Int64? = nil
    ) throws -> JobID {
        var enqueue = Enqueue(lane: Lane(queue: queue), runAt: delay.map { engine.now.advanced(byMilliseconds: $0) })
        enqueue.labels = JobLabels(labels, owner: owner)
        guard case .enqueued(let job) = try engine.run(.enqueue(enqueue)) else { throw EngineError(.corrupt, "no job") }
        return job
    }

    private func find(
        _ engine: EngineHarness, _ labels: [(name: String, value: String)], owner: String? = nil,
        queue: String? = nil, state: JobState? = nil, after: JobID = JobID(0), limit: Int = 100
    ) -> [JobID] {
        engine.state.unfinishedJobs(
            labelled: JobLabels(labels, owner: owner), queue: queue, state: state, after: after, limit: limit,
            at: engine.now)
    }

    @Test func jobsAreFoundByAllThatIsAskedFor() throws {
        var engine = EngineHarness()
        let one = try add(&engine, [("tenant", "a"), ("kind", "x")], owner: "me")
        let two = try add(&engine, [("tenant", "a")], queue: "r", delay: 500)
        try engine.enqueue()
        let three = try add(&engine, [("tenant", "b"), ("kind", "x")])
        #expect(find(engine, [("tenant", "a")]) == [one, two])
        #expect(find(engine, [("kind", "x")]) == [one, three])
        #expect(find(engine, [("kind", "x"), ("tenant", "b")]) == [three])
        #expect(find(engine, [("kind", "x"), ("tenant", "c")]).isEmpty)
        #expect(find(engine, [], owner: "me") == [one])
        #expect(find(engine, [("tenant", "a")], queue: "r") == [two])
        #expect(find(engine, [("tenant", "a")], queue: "none").isEmpty)
        #expect(find(engine, [("tenant", "a")], queue: "q", state: .ready) == [one])
        #expect(find(engine, [("tenant", "a")], state: .scheduled) == [two])
        #expect(find(engine, [("tenant", "a")], after: one) == [two])
        #expect(find(engine, [("tenant", "a")], limit: 1) == [one])
        #expect(engine.state.labels(of: one).owner == "me" && engine.state.labels(of: JobID(3)).isEmpty)
    }

    @Test func labelsStayUntilTheJobEnds() throws {
        var engine = EngineHarness()
        let job = try add(&engine, [("l", "v")])
        try engine.requeue(try engine.lease()[0], delay: 0)
        #expect(find(engine, [("l", "v")]) == [job])
        var changes = JobChanges()
        changes.queue = "r"
        try engine.run(.edit(job: job, lane: nil, changes))
        #expect(find(engine, [("l", "v")], queue: "r") == [job])
        let lease = try engine.lease(from: ["r"])[0]
        #expect(find(engine, [("l", "v")], state: .leased) == [job])
        try engine.run(.bury(job: lease.job, token: lease.token, reason: .buried, error: nil))
        #expect(find(engine, [("l", "v")], state: .dead) == [job])
        try engine.run(.redrive(job: job))
        try engine.ack(try engine.lease(from: ["r"])[0])
        #expect(find(engine, [("l", "v")]).isEmpty)
        // One that was never leased has no entry to go by.
        let plain = try add(&engine, [("l", "v")])
        try engine.run(.cancel(job: plain, lane: Lane(queue: "q")))
        #expect(find(engine, [("l", "v")]).isEmpty)
        #expect(engine.state.labels(of: plain).isEmpty)
    }

    @Test func labelsArePartOfDigestAndImage() throws {
        var (with, without) = (EngineHarness(), EngineHarness())
        let job = try add(&with, [("l", "v")], owner: "o")
        try without.enqueue()
        #expect(with.state.digest() != without.state.digest())
        let restored = try with.restored()
        restored.checkInvariants()
        #expect(restored.digest() == with.state.digest() && restored.labels(of: job) == with.state.labels(of: job))
        #expect(try with.replayed().digest() == with.state.digest())
        try with.ack(try with.lease()[0])
        try without.ack(try without.lease()[0])
        #expect(with.state.digest() == without.state.digest())
    }

    @Test func anImageWithLabelsOfNoJobIsDamaged() throws {
        var engine = EngineHarness()
        _ = try add(&engine, [("l", "v")])
        let bytes = image(of: engine.state)
        // count 1 · job 1 · one label "l" = "v" · no limits of the store
        #expect(Array(bytes.suffix(8)) == [1, 1, 1, 1, 0x6C, 1, 0x76, 0])
        for (index, byte) in [(7, UInt8(2)), (6, 0), (5, 2), (4, 0), (0, 2)] as [(Int, UInt8)] {
            var damaged = bytes
            damaged[bytes.count - 1 - index] = byte
            #expect(throws: EngineError.self) { _ = try restoredState(from: damaged) }
        }
    }

    @Test func labelsAndLimitsHaveTheseBytesInAnImage() throws {
        // Jobs 1 and 2 are ready in "q"; job 2 has an owner, a label, and a payload of three bytes that counts.
        let bytes: [UInt8] =
            [4, 2, 0, 0, 1, 1, 0x71, 0, 1, 0, 0, 0, 5, 1, 0, 1, 2, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
            + [1, 2, 2, 0, 2, 0x6D, 0x65, 1, 0x6C, 1, 0x76] + [3, 5, 100, 1, 2, 3]
        let state = try restoredState(from: bytes)
        state.checkInvariants()
        #expect(state.labels(of: JobID(2)) == JobLabels([(name: "l", value: "v")], owner: "me"))
        #expect(state.storeCapacity == StoreCapacity(jobs: 5, payloadBytes: 100))
        #expect(state.storeLoad.map { [$0.jobs, $0.payloadBytes] } == [2, 3])
        #expect(image(of: state) == bytes)
    }

    @Test func namesAreToldApartByTheirBytes() throws {
        var engine = EngineHarness()
        let composed = try add(&engine, [("l", "\u{E9}")])
        let decomposed = try add(&engine, [("l", "e\u{301}")])
        #expect(find(engine, [("l", "\u{E9}")]) == [composed])
        #expect(find(engine, [("l", "e\u{301}")]) == [decomposed])
        #expect(try engine.restored().digest() == engine.state.digest())
    }

    @Test func impossibleLabelsAreNoRecord() throws {
        var engine = EngineHarness()
        let long = String(repeating: "n", count: 256)
        let many = (0...JobLabels.countMax).map { ("l\($0)", "v") }
        for labels in [[("", "v")], [("l", "")], [(long, "v")], [("l", "v"), ("l", "w")], many] {
            var enqueue = Enqueue(lane: Lane(queue: "q"))
            enqueue.labels = JobLabels(labels.map { (name: $0.0, value: $0.1) }, owner: "o")
            #expect(code { try engine.append(.enqueue(enqueue)) } == .corrupt)
        }
    }

    /// One group may hold a million jobs: another's only job has its turn as if there were one.
    @Test func aGroupOfAMillionDelaysAnotherByNoMoreThanOneTurn() throws {
        var state = QueueState()
        let now = EngineHarness.start
        for number in 1...1_000_000 {
            let enqueue = Enqueue(lane: Lane(queue: "q", group: "noisy"))
            state.apply(Record(sequence: SequenceNumber(UInt64(number)), time: now, mutation: .enqueue(enqueue)))
        }
        let quiet = JobID(state.lastSequence.next)
        state.apply(
            Record(
                sequence: quiet.sequence, time: now, mutation: .enqueue(Enqueue(lane: Lane(queue: "q", group: "quiet")))
            ))
        var leased: [JobID] = []
        for _ in 0..<2 {
            var scope = BatchScope()
            let next = state.lastSequence.next
            let command = Command.lease(queues: ["q"], limit: 1, milliseconds: 1000, worker: "w")
            let decision = try state.decide(command, at: now, next: next, in: &scope)
            guard case .leased(let grants) = decision.reply, let grant = grants.first else { break }
            leased.append(grant.job)
            state.apply(Record(sequence: next, time: now, mutation: .lease(grant)))
        }
        #expect(leased == [JobID(1), quiet])
    }
}
