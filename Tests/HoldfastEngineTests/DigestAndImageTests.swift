import HoldfastBytes
import HoldfastEngine
import Testing

@Suite struct DigestAndImageTests {
    /// A state with something of everything in it.
    private func rich() throws -> EngineHarness {
        var engine = EngineHarness()
        for index in 0..<20 { try engine.enqueue("q\(index % 2)", priority: Int8(index % 3), group: "g\(index % 4)") }
        try engine.enqueue("q0", attempts: 1, key: "held")
        try engine.enqueue("q1", delay: 5000, key: "window", window: 90_000, startWithin: 60_000)
        try engine.enqueue("q1", delay: 50)
        try engine.run(.setPaused(queue: "paused", true))
        let retry = RetryPolicy(.listed([1, 2, 3]), jitterPercent: 4)
        try engine.run(.configure(QueueSettings(queue: "q0", capacity: 1000, runningMax: 300, retry: retry)))
        try engine.run(.effect(Effect(scope: "s", key: "k", value: [1, 2])))
        try engine.run(.moveCursor("behind", .create(at: SequenceNumber(3), CursorCaps(bytes: 9, age: 1))))
        try engine.run(.moveCursor("end", .create(at: engine.state.lastSequence.next, .standard)))
        try engine.enqueue("q1", delay: 70_000, key: "queued", freesKeyAtLease: true)
        for _ in 0..<3 { try engine.enqueue("edited", priority: -1) }
        var changes = JobChanges()
        changes.payload = [9]
        let edited = engine.state.lastSequence.rawValue
        try engine.run(.edit(job: JobID(edited), lane: Lane(queue: "edited", priority: -1), changes))
        changes.headers = []
        changes.queue = "q1"
        changes.runAt = engine.now.advanced(byMilliseconds: 80_000)
        try engine.run(.edit(job: JobID(edited - 1), lane: Lane(queue: "edited", priority: -1), changes))
        var labelled = Enqueue(lane: Lane(queue: "q0"))
        labelled.labels = JobLabels([(name: "tenant", value: "a")], owner: "me")
        for _ in 0..<2 { try engine.run(.enqueue(labelled)) }
        try engine.run(.configureStore(StoreSettings(jobs: 900, payloadBytes: 9000)))
        let leases = try engine.lease(8, from: ["q1", "q0"])
        let retention = RetentionSettings(deadMax: 5, deadAge: 70_000, results: 9)
        try engine.run(.configure(QueueSettings(queue: "q1", retention: retention)))
        try engine.run(
            .ack(job: leases[0].job, token: leases[0].token, result: [1], keepMilliseconds: 50_000))
        try engine.requeue(leases[1], delay: 10)
        try engine.requeue(leases[2], delay: 0)
        try engine.run(.bury(job: leases[3].job, token: leases[3].token, reason: .buried, error: "bad"))
        try engine.run(
            .heartbeat(job: leases[4].job, token: leases[4].token, milliseconds: 40_000, progress: [7]))
        try addWaiting(to: &engine)
        return engine
    }

    /// Adds jobs that wait for others: some for one that is dead, of which one is about to end because of that.
    private func addWaiting(to engine: inout EngineHarness) throws {
        let first = try engine.enqueue("first")
        for (policy, isHeld) in [(DependencyPolicy.die, true), (.run, false), (.wait, false), (.cancel, false)] {
            var enqueue = Enqueue(lane: Lane(queue: "q1", group: "g1"))
            enqueue.dependencies = EnqueueDependencies(after: [first], policy: policy, isHeld: isHeld)
            try engine.run(.enqueue(enqueue))
        }
        let lease = try engine.lease(from: ["first"])[0]
        try engine.run(.bury(job: lease.job, token: lease.token, reason: .buried, error: nil))
    }

    @Test func replayGivesTheSameStateWithoutPromotion() throws {
        var engine = try rich()
        engine.advance(100)
        engine.state.promoteDue(at: engine.now)
        #expect(try engine.replayed().digest() == engine.state.digest())
        try engine.lease(20, from: ["q0", "q1"])
        #expect(try engine.replayed().digest() == engine.state.digest())
    }

    @Test func promotionIsInvisible() throws {
        var engine = try rich()
        let digest = engine.state.digest()
        let before = image(of: engine.state)
        engine.advance(20_000)
        let counts = engine.state.queueCounts(at: engine.now).map(\.counts)
        engine.state.promoteDue(at: engine.now)
        engine.state.checkInvariants()
        #expect(engine.state.digest() == digest)
        #expect(image(of: engine.state) == before)
        #expect(engine.state.queueCounts(at: engine.now).map(\.counts) == counts)
    }

    @Test func theOrderOfNamesDoesNotShow() throws {
        var one = EngineHarness()
        var other = EngineHarness()
        for name in ["a", "b", "c"] { try one.run(.setPaused(queue: name, true)) }
        for name in ["c", "a", "b"] { try other.run(.setPaused(queue: name, true)) }
        #expect(one.state.digest() == other.state.digest())
        try one.append(.effect(Effect(scope: "x", key: "k", value: [])))
        #expect(one.state.digest() != other.state.digest())
    }

    @Test func lanesMadeInAnyOrderGiveOneDigest() throws {
        // The same jobs under the same ids, reached through lanes and groups made in different orders.
        func state(_ warmUp: [String]) throws -> QueueState {
            var engine = EngineHarness()
            for name in warmUp {
                let job = try engine.enqueue(name, priority: Int8(name.utf8.count), group: name)
                try engine.run(
                    .cancel(
                        job: job,
                        lane: Lane(
                            queue: name, priority: Int8(name.utf8.count), group: name)))
            }
            for name in ["a", "bb", "ccc"] {
                try engine.enqueue(name, group: "x")
                try engine.enqueue(name, group: name)
            }
            return engine.state
        }
        #expect(try state(["a", "bb", "ccc"]).digest() == state(["ccc", "a", "bb"]).digest())
    }

    @Test func anImageRestoresEverything() throws {
        var engine = try rich()
        var restored = engine
        restored.state = try engine.restored()
        restored.state.checkInvariants()
        #expect(restored.state.digest() == engine.state.digest())
        #expect(restored.state.lastSequence == engine.state.lastSequence)
        #expect(restored.state.latestTime == engine.state.latestTime)
        #expect(restored.state.completedCount == 1)
        #expect(image(of: restored.state) == image(of: engine.state))
        #expect(restored.state.nextDeadline(after: .zero) == engine.state.nextDeadline(after: .zero))
        for id in 1...engine.state.lastSequence.rawValue {
            #expect(restored.state.status(of: JobID(id)) == engine.state.status(of: JobID(id)))
            #expect(
                restored.state.isNeeded(sequence: SequenceNumber(id), kind: 1)
                    == engine.state.isNeeded(sequence: SequenceNumber(id), kind: 1))
        }
        for step in [60, 30_000, 60_000, 100_000] as [Int64] {
            engine.advance(step)
            restored.advance(step)
            #expect(
                try engine.lease(4, from: ["q0", "q1"]).map(\.job) == restored.lease(4, from: ["q0", "q1"]).map(\.job))
            #expect(engine.state.digest() == restored.state.digest())
        }
    }

    @Test func aQueueRunEmptyStaysInTheFiguresThroughAnImage() throws {
        var engine = EngineHarness()
        try engine.enqueue()
        try engine.ack(try engine.lease()[0])
        let restored = try engine.restored()
        #expect(restored.queueCounts(at: engine.now).map(\.queue) == ["q"])
        #expect(restored.digest() == QueueState().digest())
    }

    /// Stores of before hold such images.
    @Test func anImageWithSetsAsInADigestIsRead() throws {
        var engine = EngineHarness()
        for _ in 0..<3 { try engine.enqueue() }
        let bytes = image(of: engine.state)
        // One chunk with key 0: a run from 1 to 3, as two words and as start and length.
        let (now, before): ([UInt8], [UInt8]) = ([1, 0, 1, 2, 1, 0, 3, 0], [1, 0, 1, 1, 2])
        let place = try #require((0..<bytes.count).first { bytes[$0...].starts(with: now) })
        // Its last bytes say that there are no cursors, no edits, neither effects nor results kept for a time, no rates
        // of groups, no times, no dependencies, no labels and no limits.
        let old = [1] + bytes[1..<place] + before + bytes[(place + now.count)...].dropLast(9)
        #expect(try restoredState(from: old).digest() == engine.state.digest())
        #expect(image(of: try restoredState(from: old)) == bytes)
    }

    /// Stores of before hold such images.
    @Test func anImageWithoutEditsIsRead() throws {
        var engine = EngineHarness()
        try engine.enqueue(key: "k")
        try engine.run(.moveCursor("c", .create(at: SequenceNumber(1), .standard)))
        let bytes = image(of: engine.state)
        let old = [2] + bytes.dropFirst().dropLast(8)
        #expect(try restoredState(from: old).digest(withCursors: true) == engine.state.digest(withCursors: true))
        #expect(image(of: try restoredState(from: old)) == bytes)
    }

    /// Stores of before hold such images.
    @Test func anImageOfVersionThreeIsRead() throws {
        var engine = EngineHarness()
        let job = try engine.enqueue()
        var changes = JobChanges()
        changes.payload = [1]
        try engine.run(.edit(job: job, lane: Lane(queue: "q"), changes))
        let bytes = image(of: engine.state)
        let old = [3] + bytes.dropFirst().dropLast(6)
        #expect(try restoredState(from: old).digest() == engine.state.digest())
        #expect(image(of: try restoredState(from: old)) == bytes)
    }

    @Test func aCutOrExtendedImageIsRefused() throws {
        let bytes = image(of: try rich().state)
        for count in 0..<bytes.count {
            #expect(throws: EngineError.self) { try restoredState(from: Array(bytes[..<count])) }
        }
        #expect(code { _ = try restoredState(from: bytes + [0]) } == .corrupt)
        #expect(code { _ = try restoredState(from: [5] + bytes.dropFirst()) } == .unsupportedFormat)
    }

    @Test func noFlippedBitTrapsOrBreaksAnInvariant() throws {
        let bytes = image(of: try rich().state)
        for bit in 0..<(bytes.count * 8) {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            guard let state = try? restoredState(from: damaged) else { continue }
            state.checkInvariants()
            #expect(image(of: state) == damaged)
        }
    }
}
