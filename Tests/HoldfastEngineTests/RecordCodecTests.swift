import HoldfastBytes
import HoldfastEngine
import HoldfastTestKit
import Testing

@Suite struct RecordCodecTests {
    private static let lane = Lane(queue: "mail")
    private static let rich = Lane(queue: "q", priority: -2, maxAttempts: 300, group: "g")
    private static let later = Timestamp(milliseconds: 30_300)

    /// The records of this format: these bytes must never change.
    private static var labelled: Enqueue {
        var enqueue = Enqueue(lane: lane, payload: [9])
        enqueue.labels = JobLabels([(name: "l", value: "v")], owner: "me")
        enqueue.isSecret = true
        return enqueue
    }

    private static let golden: [(Mutation, String)] = [
        (.enqueue(Enqueue(lane: lane, payload: [1, 2, 3])), "ac02 00 046d61696c 010203"),
        (
            .enqueue(
                Enqueue(
                    lane: rich, runAt: later, uniqueKey: "k", uniqueUntil: later, startBy: .zero,
                    headers: [.init(name: "a", value: "bc")], payload: [9])),
            "ac02 ff01 0171 fe ac02 0167 e0d403 016b e0d403 d704 01 0161 026263 09"
        ),
        (.enqueue(labelled), "ac02 8030 046d61696c 02 00026d65 016c0176 09"),
        (.storeSettings(StoreSettings(jobs: 300)), "ac02 01 ac02"),
        (.storeSettings(StoreSettings(jobs: 0, payloadBytes: 300)), "ac02 03 00 ac02"),
        (
            .lease(LeaseGrant(job: JobID(1), lane: lane, attempt: 1, deadline: later, worker: "")),
            "ac02 00 046d61696c e0d403 e707"
        ),
        (
            .lease(LeaseGrant(job: JobID(999), lane: rich, attempt: 2, deadline: later, worker: "w")),
            "ac02 1f 0171 fe ac02 0167 02 0177 e0d403 01"
        ),
        (.heartbeat(Heartbeat(job: JobID(1), token: LeaseToken(2), deadline: later)), "ac02 00 e0d403 e707 e607"),
        (
            .heartbeat(Heartbeat(job: JobID(1), token: LeaseToken(2), deadline: later, progress: [0x31])),
            "ac02 01 e0d403 e707 e607 31"
        ),
        (.ack(Ack(job: JobID(1), token: LeaseToken(2))), "ac02 00 e707 e607"),
        (.ack(Ack(job: JobID(1), token: LeaseToken(2), result: [])), "ac02 01 e707 e607"),
        (.requeue(Requeue(job: JobID(1), token: LeaseToken(2), outcome: .ready)), "ac02 00 e707 e607"),
        (
            .requeue(Requeue(job: JobID(1), token: LeaseToken(2), outcome: .scheduled(runAt: later), error: "e")),
            "ac02 05 e0d403 e707 e607 65"
        ),
        (
            .requeue(Requeue(job: JobID(1), token: LeaseToken(2), outcome: .dead, countsAttempt: false)),
            "ac02 0a e707 e607"
        ),
        (.expire(.lease(job: JobID(1), token: LeaseToken(2), isDead: false)), "ac02 00 e707 e607"),
        (.expire(.lease(job: JobID(1), token: LeaseToken(2), isDead: true)), "ac02 04 e707 e607"),
        (.expire(.timeLimit(job: JobID(1), token: LeaseToken(2), isDead: false)), "ac02 08 e707 e607"),
        (.expire(.effect(scope: "s", key: "k")), "ac02 10 0173 016b"),
        (.effectRemove(EffectRemove(scope: "s", key: "k")), "ac02 00 0173 016b"),
        (.expire(.startBy(job: JobID(1))), "ac02 01 e707"),
        (.expire(.uniqueKey(queue: "q", key: "k", job: JobID(1))), "ac02 02 0171 016b e707"),
        (.bury(Bury(job: JobID(1), token: LeaseToken(2))), "ac02 00 01 e707 e607"),
        (
            .bury(Bury(job: JobID(1), token: LeaseToken(2), reason: .unreadable, error: "e")),
            "ac02 01 02 e707 e607 65"
        ),
        (.redrive(Redrive(job: JobID(1))), "ac02 00 e707"),
        (.cancel(Cancel(job: JobID(1), lane: rich)), "ac02 07 0171 fe ac02 0167 e707"),
        (
            .cancel(Cancel(job: JobID(1), lane: Lane(queue: "q", group: "g", weight: 300))),
            "ac02 8440 0171 0167 ac02 e707"
        ),
        (.effect(Effect(scope: "s", key: "k", value: [7])), "ac02 00 0173 016b 07"),
        (
            .effect(Effect(scope: "s", key: "k", value: [], fence: .init(job: JobID(1), token: LeaseToken(2)))),
            "ac02 01 0173 016b e707 e607"
        ),
        (.queueSettings(QueueSettings(queue: "q", isPaused: nil)), "ac02 00 0171"),
        (.queueSettings(QueueSettings(queue: "q", isPaused: false)), "ac02 01 0171"),
        (.queueSettings(QueueSettings(queue: "q", isPaused: true)), "ac02 03 0171"),
        (.queueSettings(QueueSettings(queue: "q", capacity: 300, runningMax: 0)), "ac02 0c 0171 ac02 00"),
        (
            .queueSettings(
                QueueSettings(queue: "q", sharing: SharingSettings(groupRunningMax: 300, order: .strict))),
            "ac02 40 0171 03 ac02 01"
        ),
        (
            .queueSettings(
                QueueSettings(
                    queue: "q",
                    sharing: SharingSettings(
                        rate: RateLimit(count: 5, periodMilliseconds: 300, burst: 7),
                        limiter: SharedLimiter(name: "l", size: 9)))),
            "ac02 40 0171 0c 05 ac02 07 09 016c"
        ),
        (
            .queueSettings(
                QueueSettings(
                    queue: "q", sharing: SharingSettings(rate: RateLimit.none, limiter: SharedLimiter.none))),
            "ac02 40 0171 0c 00 00"
        ),
        (
            .queueSettings(
                QueueSettings(
                    queue: "q",
                    sharing: SharingSettings(groupRate: RateLimit(count: 5, periodMilliseconds: 300, burst: 7)))),
            "ac02 40 0171 10 05 ac02 07"
        ),
        (.queueSettings(QueueSettings(queue: "q", ageing: 300)), "ac02 8010 0171 ac02"),
        (.queueSettings(QueueSettings(queue: "q", retry: .standard)), "ac02 10 0171 0a00"),
        (
            .queueSettings(
                QueueSettings(
                    queue: "q", isPaused: true, retry: RetryPolicy(.fixed(1000), jitterPercent: 5))),
            "ac02 13 0171 0501 e807"
        ),
        (
            .queueSettings(
                QueueSettings(
                    queue: "q",
                    retry: RetryPolicy(.exponential(first: 1, factor: 2000, most: 300), jitterPercent: 0))),
            "ac02 10 0171 0002 01 d00f ac02"
        ),
        (
            .queueSettings(QueueSettings(queue: "q", retry: RetryPolicy(.listed([1, 300]), jitterPercent: 0))),
            "ac02 10 0171 0003 02 01 ac02"
        ),
        (.clock(ClockAdvance()), "ac02 00"),
        (
            .cursorSet(CursorSet(name: "c", cursor: Cursor(next: SequenceNumber(1), caps: .standard))),
            "ac02 00 0163 e707"
        ),
        (
            .cursorSet(
                CursorSet(
                    name: "c",
                    cursor: Cursor(next: SequenceNumber(1000), caps: CursorCaps(bytes: 300, age: 1)))),
            "ac02 03 0163 00 ac02 01"
        ),
        (.cursorRemove(CursorRemove(name: "c")), "ac02 00 0163"),
        (
            .enqueue(Enqueue(lane: lane, uniqueKey: "k", isKeyFreedByLease: true, payload: [9])),
            "ac02 9008 046d61696c 016b 09"
        ),
        (.edit(Edit(job: JobID(1), from: lane, to: lane)), "ac02 00 046d61696c e707"),
        (.edit(Edit(job: JobID(1), from: lane, to: lane, payload: [])), "ac02 8004 046d61696c e707"),
        (
            .edit(
                Edit(
                    job: JobID(1), from: rich, to: Lane(queue: "r", group: "g"), runAt: later,
                    headers: [.init(name: "a", value: "bc")], payload: [9])),
            "ac02 ff05 0171 fe ac02 0167 0172 00 05 e0d403 e707 01 0161 026263 09"
        ),
        (.edit(Edit(job: JobID(1), from: lane, to: lane, headers: [])), "ac02 8001 046d61696c e707 00"),
        (waiting(EnqueueDependencies(after: [JobID(1), JobID(301)])), "ac02 808001 046d61696c 00 02 e707 ac02 09"),
        (
            waiting(EnqueueDependencies(policy: .die, isHeld: true, before: JobID(1))),
            "ac02 808001 046d61696c 0f e707 00 09"
        ),
        (.expire(.dependency(job: JobID(2), failed: JobID(1))), "ac02 8001 e607 e707"),
        (.release(Release(job: JobID(1))), "ac02 00 e707"),
    ]

    private static func waiting(_ dependencies: EnqueueDependencies) -> Mutation {
        var enqueue = Enqueue(lane: lane, payload: [9])
        enqueue.dependencies = dependencies
        return .enqueue(enqueue)
    }

    @Test(arguments: 0..<golden.count) func theBytesOfEveryKindArePinned(index: Int) throws {
        let (mutation, hex) = Self.golden[index]
        let record = Record(sequence: SequenceNumber(1000), time: Timestamp(milliseconds: 300), mutation: mutation)
        #expect(hexadecimal(encoded(record)) == hex.filter { $0 != " " })
        #expect(try decode(encoded(record), as: record) == record)
    }

    @Test func everyKindHasGoldenBytesAndAStableNumber() {
        #expect(Set(Self.golden.map(\.0.kind)) == Set(RecordKind.allCases))
        #expect(RecordKind.allCases.map(\.rawValue) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 23, 29])
    }

    @Test func randomRecordsComeBackAsTheyWere() throws {
        var random = SeededRandom(seed: 11)
        for step in 0..<4000 {
            let record = RecordSamples.record(&random)
            let bytes = encoded(record)
            let decoded = try decode(bytes, as: record)
            #expect(decoded == record, "seed 11, step \(step)")
            #expect(decoded.map { encoded($0) } == bytes, "seed 11, step \(step)")
            #expect(job(bytes, as: record) == record.mutation.job(record.sequence), "seed 11, step \(step)")
        }
    }

    @Test func damagedRecordsNeverTrapAndDecodeOnlyToWhatTheyEncode() {
        var random = SeededRandom(seed: 12)
        for _ in 0..<150 {
            let record = RecordSamples.record(&random)
            let good = Array(encoded(record).prefix(400))
            for count in 0..<good.count { checkCanonical(Array(good[..<count]), as: record) }
            for bit in 0..<(good.count * 8) {
                var bad = good
                bad[bit / 8] ^= 1 << (bit % 8)
                checkCanonical(bad, as: record)
            }
        }
    }

    @Test func randomBytesNeverTrap() {
        var random = SeededRandom(seed: 13)
        for _ in 0..<20_000 {
            let record = Record(
                sequence: SequenceNumber(1 << 20), time: .zero, mutation: RecordSamples.mutation(&random, before: 9))
            checkCanonical(random.bytes(random.pick(0...24)), as: record)
        }
    }

    @Test func trailingBytesAreCorruptWhereNothingIsOpaque() {
        #expect(code(8, [0, 0, 1, 0]) == .corrupt)
        #expect(code(4, [0, 0, 1, 1, 0]) == .corrupt)
        #expect(code(17, [0, 0, 0]) == .corrupt)
    }

    @Test func whatALaterVersionWroteIsToldApart() throws {
        #expect(code(21, [0, 0]) == .unsupportedFormat)
        #expect(code(18, [0, 4, 1, 0x63, 0]) == .unsupportedFormat)
        #expect(code(0, [0, 0]) == .unsupportedFormat)
        #expect(code(1, [0, 0x80, 4, 1, 0x71]) == .unsupportedFormat)
        #expect(code(7, [0, 0, 3, 1, 1]) == .unsupportedFormat)
        let bytes: [UInt8] = [0xFF]
        #expect(try Record(sequence: SequenceNumber(9), kind: 0x90, body: bytes.span) == nil)
    }

    @Test(
        arguments: [
            (1, [0, 1, 1, 0x71, 0]),  // a priority of 0 spelled out
            (1, [0, 2, 1, 0x71, 5]),  // five attempts spelled out
            (1, [0, 4, 1, 0x71, 0]),  // an empty group spelled out
            (1, [0, 32, 1, 0x71, 0]),  // a window without a key
            (1, [0, 0x80, 1, 1, 0x71, 0]),  // no headers spelled out
            (2, [0, 8, 1, 0x71, 1, 0, 1]),  // a first attempt spelled out
            (2, [0, 16, 1, 0x71, 0, 0, 1]),  // no worker spelled out
            (5, [0, 12, 0, 1, 1]),  // scheduled and dead
            (6, [0, 3, 1]),  // two reasons to expire
            (8, [0, 0, 0]),  // a record that refers to itself
            (8, [0, 0, 100]),  // to one before the first
            (16, [0, 2, 1, 0x71]),  // paused without being set
            (18, [0, 1, 1, 0x63, 0, 0x80, 0x80, 0x80, 0x80, 1]),  // the usual bytes spelled out
            (18, [0, 2, 1, 0x63, 0, 0x80, 0x88, 0xB2, 0xA0, 2]),  // the usual age spelled out
            (18, [0, 0, 1, 0x63, 100]),  // a cursor before the first record
            (3, [0, 0, 1, 1, 1]),  // a deadline before 1970
            (1, [0, 0, 1, 0xFF]),  // no UTF-8
        ] as [(UInt8, [UInt8])])
    func bytesThatNoRecordEncodesToAreCorrupt(kind: UInt8, body: [UInt8]) { #expect(code(kind, body) == .corrupt) }

    @Test func limitsHoldWhenReading() {
        let tooLong = [UInt8](repeating: 0x61, count: RecordLimits.valueBytesMax + 1)
        #expect(code(4, [0, 1, 1, 1] + tooLong) == .corrupt)
        #expect(code(4, [0, 1, 1, 1] + tooLong.dropLast()) == nil)
        #expect(code(5, [0, 1, 1, 1] + tooLong) == .corrupt)
        #expect(code(10, [0, 0, 1, 0x61, 1, 0x61] + tooLong) == .corrupt)
        #expect(code(16, [0, 0, 0xFF, 1] + tooLong.prefix(255)) == nil)
        #expect(code(16, [0, 0, 0x80, 2] + tooLong.prefix(256)) == .corrupt)
        #expect(code(1, [0, 2, 1, 0x71, 0xC1, 0x84, 0x3D]) == .corrupt)
        #expect(code(1, [0, 0x80, 1, 1, 0x71, 1, 0x81, 0x80, 4] + tooLong) == .corrupt)
        #expect(code(1, [0, 0x80, 1, 1, 0x71, 0x81, 8] + tooLong) == .corrupt)
    }

    // MARK: - Private

    private func encoded(_ record: Record) -> [UInt8] {
        var writer = ByteWriter()
        record.encodeBody(into: &writer)
        return [UInt8](copying: writer.bytes)
    }

    private func decode(_ bytes: [UInt8], as record: Record) throws -> Record? {
        try Record(sequence: record.sequence, kind: record.mutation.kind.rawValue, body: bytes.span)
    }

    /// The job by itself, which most records tell before they are read to the end.
    private func job(_ bytes: [UInt8], as record: Record) -> JobID? {
        Record.job(sequence: record.sequence, kind: record.mutation.kind.rawValue, body: bytes.span)
    }

    private func checkCanonical(_ bytes: [UInt8], as record: Record) {
        let job = job(bytes, as: record)
        guard let decoded = try? decode(bytes, as: record) else { return }
        #expect(encoded(decoded) == bytes && job == decoded.mutation.job(record.sequence))
    }

    private func code(_ kind: UInt8, _ body: [UInt8]) -> EngineError.Code? {
        do {
            _ = try Record(sequence: SequenceNumber(100), kind: kind, body: body.span)
            return nil
        } catch {
            return error.code
        }
    }

    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
