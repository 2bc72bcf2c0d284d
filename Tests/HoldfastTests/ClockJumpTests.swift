// A wall clock that somebody sets, in both directions and by years, while the store is open and while it is not: the
// store's time is the latest it has seen, nothing is lost, and nothing traps.

import Holdfast
import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

/// A clock that is set; what waits by it goes on.
private final class WallClock: StoreClock {
    private let time: Locked<Timestamp>

    init(_ milliseconds: Int64) { time = Locked(Timestamp(milliseconds: milliseconds)) }

    func wallNow() -> Timestamp { time.withLock { $0 } }
    func monotonicNow() -> Duration { .zero }
    func set(to milliseconds: Int64) { time.withLock { $0 = Timestamp(milliseconds: milliseconds) } }
    func move(by milliseconds: Int64) {
        time.withLock { $0 = Timestamp(milliseconds: $0.milliseconds + milliseconds) }
    }
}

@Suite(.timeLimit(.minutes(10))) struct ClockJumpTests {
    private static let start: Int64 = 1_700_000_000_000
    private static let hour: Int64 = 3_600_000
    private static let year: Int64 = 365 * 24 * hour

    private static func open(_ disk: SimulatedFileSystem, _ clock: any StoreClock) async throws -> JobStore {
        var options = JobStoreOptions()
        options.fileSystem = disk
        options.clock = clock
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        options.history = .unlimited
        return try await JobStore.open(at: "/store", options: options)
    }

    /// The times in the headers of all frames never go back along the log.
    private static func expectRisingFrameTimes(_ disk: SimulatedFileSystem) throws {
        var reader = try LogReader.open(directory: "/store", fileSystem: disk)
        var last = Timestamp.zero
        var frames = 0
        try reader.forEachFrame(from: .zero) { (_, frame) throws(LogError) in
            #expect(frame.header.time >= last)
            last = frame.header.time
            frames += 1
            return true
        }
        #expect(frames > 0)
    }

    @Test func aClockSetBackStopsTheStoresTimeAndOneSetAheadEndsLeases() async throws {
        let disk = SimulatedFileSystem()
        let clock = WallClock(Self.start)
        let store = try await Self.open(disk, clock)
        var delayed = EnqueueOptions()
        delayed.delay = .seconds(1800)
        let first = try await store.enqueue("q", payload: [1]).id
        let later = try await store.enqueue("later", payload: [2], options: delayed).id
        let lease = try #require(try await store.lease(from: "q", for: .seconds(60)).first)
        // Back: nothing ends early, nothing is due early, and a new lease is as long as it was asked for.
        clock.move(by: -Self.year)
        #expect(try await store.now().milliseconds == Self.start)
        try await store.heartbeat(lease, for: .seconds(60))
        #expect(try await store.lease(from: "later").isEmpty)
        let third = try await store.enqueue("q", payload: [3]).id
        #expect(try await store.job(third)?.enqueuedAt?.milliseconds == Self.start)
        // Ahead: the lease has ended, and what was delayed is due.
        clock.set(to: Self.start + Self.hour)
        await expectRefusal(.leaseLost) { try await store.ack(lease) }
        let due = try await store.lease(from: ["q", "later"], limit: 10, for: .seconds(60))
        #expect(due.map(\.id) == [first, third, later])
        #expect(due.first?.attempt == 2)
        // Back again: what was leased ahead stays leased until the clock has caught up.
        clock.set(to: Self.start)
        #expect(try await store.lease(from: "q").isEmpty)
        try await store.ack(due[0])
        clock.set(to: Self.start + Self.hour + 59_999)
        try await store.ack(due[1])
        clock.set(to: Self.start + Self.hour + 60_000)
        await expectRefusal(.leaseLost) { try await store.ack(due[2]) }
        try await store.close()
        try Self.expectRisingFrameTimes(disk)
    }

    /// Leases, delays, checkpoints and headers were written by a clock that is years off when the store is opened
    /// again.
    @Test(arguments: [-30 * year, -year, -hour, -1, 1, hour, year, 30 * year])
    func aClockThatJumpsWhileTheStoreIsClosedLosesNothing(_ jump: Int64) async throws {
        for closes in [true, false] {
            var disk = SimulatedFileSystem()
            var store = try await Self.open(disk, WallClock(Self.start))
            for number in 0..<60 {
                _ = try await store.enqueue("q", payload: [UInt8](repeating: UInt8(number), count: 2000))
            }
            let leases = try await store.lease(from: "q", limit: 20, for: .seconds(1800))
            for lease in leases.prefix(10) { try await store.ack(lease) }
            try await store.checkpoint()
            try await store.compact()
            _ = try await store.enqueue("q", payload: [60])
            if closes {
                try await store.close()
            } else {
                let image = disk.crashImage(.nothingPending)
                try await store.close()
                disk = image
            }
            let clock = WallClock(Self.start + jump)
            store = try await Self.open(disk, clock)
            let now = try await store.now().milliseconds
            #expect(now == max(Self.start, Self.start + jump))
            let hasEnded = now >= Self.start + 1_800_000
            let stats = try #require(try await store.stats().queues.first { $0.name == "q" })
            #expect(stats.leased == (hasEnded ? 0 : 10))
            #expect(stats.ready == (hasEnded ? 51 : 41))
            if hasEnded {
                await expectRefusal(.leaseLost) { try await store.ack(leases[10]) }
            } else {
                try await store.ack(leases[10])
            }
            try await store.checkpoint()
            try await store.compact()
            clock.set(to: Self.start + 40 * Self.year)
            var found = 0
            while true {
                let leases = try await store.lease(from: "q", limit: 100, for: .seconds(60))
                if leases.isEmpty { break }
                found += leases.count
                for lease in leases { try await store.ack(lease) }
            }
            #expect(found == (hasEnded ? 51 : 50))
            try await store.close()
            try Self.expectRisingFrameTimes(disk)
        }
    }

    /// Hours and years in both directions between operations and between openings.
    @Test(arguments: UInt64(1)...12) func timeIsTheLatestThatWasSeenWhateverTheClockDoes(_ seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        var disk = SimulatedFileSystem()
        let clock = WallClock(Self.start)
        var store = try await Self.open(disk, clock)
        var latest: Int64 = 0
        /// Of the latest record: what was seen after it and not written down is not known after an opening.
        var recorded: Int64 = 0
        var leases: [(lease: Lease, deadline: Int64)] = []
        var lengths: [JobID: Int] = [:]
        for step in 0..<150 {
            let jump = random.pick(from: [1, 1_000, Self.hour, 24 * Self.hour, Self.year])
            let sign: Int64 = random.chance(1, in: 2) ? 1 : -1
            if random.chance(1, in: 3) {
                clock.set(to: max(0, min(clock.wallNow().milliseconds + sign * jump, 100 * Self.year)))
            }
            latest = max(latest, clock.wallNow().milliseconds)
            switch random.pick(0...9) {
            case 0...3:
                let id = try await store.enqueue("q", payload: [UInt8](repeating: 1, count: step)).id
                lengths[id] = step
                recorded = latest
            case 4...5:
                for lease in try await store.lease(from: "q", limit: 3, for: .seconds(600)) {
                    recorded = latest
                    #expect(lease.payload.count == lengths[lease.id])
                    #expect(lease.deadline.milliseconds == latest + 600_000)
                    leases.removeAll { $0.lease.id == lease.id }
                    leases.append((lease, lease.deadline.milliseconds))
                }
            case 6...7:
                guard !leases.isEmpty else { continue }
                let (lease, deadline) = leases.remove(at: random.pick(0...leases.count - 1))
                if deadline > latest {
                    try await store.ack(lease)
                    lengths[lease.id] = nil
                    recorded = latest
                } else {
                    await expectRefusal(.leaseLost) { try await store.ack(lease) }
                }
            case 8: try await store.checkpoint()
            default:
                let image = disk.crashImage(.everythingPending)
                let isCrash = random.chance(1, in: 2)
                try await store.close()
                if isCrash { disk = image }
                store = try await Self.open(disk, clock)
                let found = try await store.now().milliseconds
                #expect(found >= recorded && found >= clock.wallNow().milliseconds && found <= latest)
                latest = found
            }
            #expect(try await store.now().milliseconds == latest, "seed \(seed), step \(step)")
        }
        let states = try await store.stats().queues.first { $0.name == "q" }
        let count = (states?.ready ?? 0) + (states?.leased ?? 0) + (states?.dead ?? 0) + (states?.scheduled ?? 0)
        #expect(count == lengths.count, "seed \(seed)")
        for id in lengths.keys {
            let times = try await store.history(of: id).map(\.time)
            #expect(!times.isEmpty && times == times.sorted())
        }
        try await store.close()
        try Self.expectRisingFrameTimes(disk)
    }

    /// A broken clock: before 1970, and after the year 9999.
    @Test(arguments: [Int64.min, -1, 0, Timestamp.max.milliseconds, Timestamp.max.milliseconds + 1, Int64.max])
    func aClockOutOfAllBoundsTrapsNothingAndTheStoreOpensAgain(_ reading: Int64) async throws {
        let disk = SimulatedFileSystem()
        let clock = WallClock(reading)
        var store = try await Self.open(disk, clock)
        let id = try await store.enqueue("q", payload: [1]).id
        if let lease = try? await store.lease(from: "q", for: .seconds(60)).first {
            _ = try? await store.heartbeat(lease, for: .seconds(60))
            _ = try? await store.requeue(lease, error: "e")
        }
        try await store.checkpoint()
        try await store.compact()
        try await store.close()
        store = try await Self.open(disk, WallClock(Self.start))
        #expect(try await store.job(id)?.payload == [1])
        let now = try await store.now()
        #expect((Timestamp.zero...Timestamp.max).contains(now))
        try await store.close()
        try Self.expectRisingFrameTimes(disk)
    }
}
