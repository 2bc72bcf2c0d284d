// Plain jobs are taken as a range; that must be what their records do one by one.

import HoldfastBytes
import HoldfastTestKit
import Testing

@testable import HoldfastEngine

@Suite struct PlainJobsTests {
    @Test(arguments: UInt64(0)..<24) func aRangeIsWhatItsRecordsAreOneByOne(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var (atOnce, oneByOne) = (EngineHarness(), EngineHarness())
        var settings = QueueSettings(queue: "q", ageing: random.pick(from: [nil, 1000]))
        settings.sharing = SharingSettings(
            groupRunningMax: random.pick(from: [nil, 2, 9]), order: random.pick(from: [nil, .strict, .parking]),
            groupRate: random.pick(from: [nil, RateLimit(count: 3, periodMilliseconds: 900, burst: 4)]))
        try atOnce.run(.configure(settings))
        try oneByOne.run(.configure(settings))
        let groups = random.pick(from: [[""], ["", "a"], ["a", "b", "c"]])
        for _ in 0..<60 {
            if random.chance(1, in: 3) {
                let milliseconds = Int64(random.pick(from: [1, 700, 31_000]))
                atOnce.advance(milliseconds)
                oneByOne.advance(milliseconds)
            }
            switch random.pick(0...3) {
            case 0, 1:
                let group = random.pick(from: groups)
                let lane = Lane(
                    queue: random.pick(from: ["q", "r"]), priority: Int8(random.pick(0...2)), group: group,
                    weight: group.isEmpty ? 1 : UInt32(random.pick(1...2)))
                let count = random.pick(from: [1, 2, 30, 120])
                // A gap now and then, so that some run over the border of what a bitmap keeps together.
                let first = atOnce.state.lastSequence.advanced(by: random.pick(from: [1, 1, 1, 40_000, 65_300]))
                atOnce.state.apply(
                    PlainJobs(lane: lane, first: first, count: count, time: max(atOnce.now, atOnce.state.latestTime)))
                for index in 0..<UInt64(count) {
                    let record = Record(
                        sequence: first.advanced(by: index),
                        time: max(oneByOne.now, oneByOne.state.latestTime), mutation: .enqueue(Enqueue(lane: lane)))
                    try oneByOne.state.validate(record)
                    oneByOne.state.apply(record)
                }
            case 2:
                let limit = random.pick(from: [1, 7, 40])
                let queues = random.pick(from: [["q"], ["r"], ["r", "q"]])
                let leases = try atOnce.lease(limit, from: queues)
                #expect(try oneByOne.lease(limit, from: queues).map(\.job) == leases.map(\.job))
                for lease in leases where random.chance(3, in: 4) {
                    try atOnce.ack(lease)
                    try oneByOne.ack(lease)
                }
            default:
                let reply = try atOnce.enqueue("q", delay: 5_000)
                #expect(try oneByOne.enqueue("q", delay: 5_000) == reply)
            }
            let digest = oneByOne.state.digest(withCursors: true)
            try #require(atOnce.state.digest(withCursors: true) == digest)
            try #require(try atOnce.restored().digest(withCursors: true) == digest)
            try #require(atOnce.state.needed == oneByOne.state.needed)
            try #require(atOnce.state.lastShown == oneByOne.state.lastShown)
            try #require(times(atOnce.state) == times(oneByOne.state))
            atOnce.state.checkInvariants()
        }
    }

    private func times(_ state: QueueState) -> EnqueueTimes? {
        state.table.queue("q").flatMap { state.table.queues[$0].times }
    }

    @Test(arguments: UInt64(0)..<200) func theHeadAndAPayloadAreTheBodyOfTheRecord(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let jobs = PlainJobs(
            lane: RecordSamples.lane(&random), first: SequenceNumber(UInt64(random.pick(1...1 << 40))),
            count: random.pick(1...9), time: RecordSamples.instant(&random))
        var head = ByteWriter()
        jobs.encodeHead(into: &head)
        for index in 0..<jobs.count {
            let payload = (0..<random.pick(from: [0, 1, 300])).map { _ in UInt8(random.pick(0...255)) }
            let record = jobs.record(index, payload: payload)
            #expect(record.sequence.rawValue == jobs.first.rawValue + UInt64(index))
            var body = ByteWriter()
            record.encodeBody(into: &body)
            let expected = [UInt8](copying: body.bytes)
            #expect([UInt8](copying: head.bytes) + payload == expected)
        }
        #expect(jobs.last == jobs.record(jobs.count - 1, payload: []).sequence)
    }

    @Test(arguments: UInt64(0)..<400) func onlyThePayloadOfAPlainJobIsFound(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let sample = RecordSamples.enqueue(&random, before: 300)
        let enqueue = random.chance(1, in: 2) ? sample : Enqueue(lane: sample.lane, payload: sample.payload)
        let record = Record(
            sequence: SequenceNumber(300), time: RecordSamples.instant(&random), mutation: .enqueue(enqueue))
        var body = ByteWriter()
        record.encodeBody(into: &body)
        let bytes = [UInt8](copying: body.bytes)
        let found = PlainJobs.payload(in: bytes.span)
        let isPlain = enqueue == Enqueue(lane: enqueue.lane, payload: enqueue.payload)
        #expect((found != nil) == isPlain)
        guard let found else { return }
        #expect(Array(bytes[found.range]) == enqueue.payload && found.time == record.time)
        // What ends early gives nothing, or what is left of the payload.
        for count in 0..<found.range.lowerBound {
            let start = Array(bytes[..<count])
            let isNothing = PlainJobs.payload(in: start.span) == nil
            #expect(isNothing)
        }
    }

    @Test func aCapacityAnywhereEndsThem() throws {
        var engine = EngineHarness()
        #expect(engine.state.takesPlainJobs)
        try engine.run(.configure(QueueSettings(queue: "q", capacity: 5)))
        #expect(!engine.state.takesPlainJobs)
        try engine.run(.configure(QueueSettings(queue: "q", capacity: 0)))
        #expect(engine.state.takesPlainJobs)
        try engine.run(.configureStore(StoreSettings(jobs: 5)))
        #expect(!engine.state.takesPlainJobs)
    }
}
