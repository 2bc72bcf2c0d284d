// The parts that an operation is made of, each by itself on one processor: where its time goes, and what can be gained.

import ArgumentParser
import Holdfast
import HoldfastBytes
import HoldfastEngine
import HoldfastLog
import HoldfastTestKit

struct MicroBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "micro",
        abstract: "Measures the parts that an operation is made of.",
        discussion: """
            Prints the median of five runs of each, in nanoseconds: for a record of 256 bytes of payload, a block of \
            64 KiB of such payloads, or one job among a hundred thousand. --json prints one object a line.
            """)

    @Option(name: .shortAndLong, help: "Where stores are made. (a directory of its own, removed)")
    var directory: String?

    @Option(name: .shortAndLong, help: "Seconds for each run.")
    var seconds = 0.1

    @Flag(help: "Print lines of JSON.")
    var json = false

    static let jobs = 100_000

    func validate() throws {
        guard seconds > 0, seconds <= 60 else { throw ValidationError("--seconds must be between 0 and 60") }
    }

    func run() async throws {
        let place = try directory ?? ScratchDirectory.make()
        try ScratchDirectory.create(place)
        defer { if directory == nil { try? ScratchDirectory.remove(place) } }
        let payloads = try Payloads(byteCount: 256)
        try measureBytes(payloads)
        try measureRecords(payloads)
        measureSets()
        try measureState(payloads)
        for tasks in [1, 64, 1024] {
            let rounds = max(Int(seconds * 1e6) / tasks, 1)
            let nanoseconds = try await Self.median { try await WakeUps.measure(tasks: tasks, rounds: rounds) }
            print("wake-up of a task by a thread, \(tasks) tasks", nanoseconds, bytes: nil)
        }
        try await measureStore(payloads, in: place)
    }

    // MARK: - Bytes

    private func measureBytes(_ payloads: Payloads) throws {
        let block = (0..<256).flatMap { payloads.make(UInt64($0)) }
        report("CRC-32C of 64 KiB", bytes: block.count) { keep(CRC32C.checksum(block.span)) }
        var copy = [UInt8](repeating: 0, count: block.count)
        report("copy of 64 KiB", bytes: block.count) {
            copy.withUnsafeMutableBytes { target in block.withUnsafeBytes { target.copyMemory(from: $0) } }
            keep(copy[copy.count - 1])
        }
        for (name, isHigh) in [("LZ4 of 64 KiB", false), ("LZ4-HC of 64 KiB", true)] {
            report(name, bytes: block.count) {
                var writer = ByteWriter(capacity: block.count)
                keep(LZ4Block.append(block.span, to: &writer, high: isHigh))
            }
        }
        var writer = ByteWriter(capacity: block.count)
        guard LZ4Block.append(block.span, to: &writer, high: false) else { return }
        let compressed = writer.bytes
        report("LZ4 back to 64 KiB", bytes: block.count) {
            keep(LZ4Block.decompress(compressed, rawBytes: block.count)?.count ?? 0)
        }
    }

    // MARK: - Records

    private func measureRecords(_ payloads: Payloads) throws {
        let enqueue = Record(
            sequence: SequenceNumber(1), time: Timestamp(milliseconds: 1_700_000_000_000),
            mutation: .enqueue(Enqueue(lane: Lane(queue: "bench"), payload: payloads.make(1))))
        var writer = ByteWriter(capacity: 4096)
        report("encode an enqueue") {
            writer.removeAll()
            enqueue.encodeBody(into: &writer)
            keep(writer.count)
        }
        let body = [UInt8](copying: writer.bytes)
        report("decode an enqueue") {
            let record = try? Record(sequence: SequenceNumber(1), kind: RecordKind.enqueue.rawValue, body: body.span)
            keep(record?.sequence.rawValue ?? 0)
        }
    }

    // MARK: - Sets

    private func measureSets() {
        var random = SeededRandom(seed: 1)
        let numbers = (0..<Self.jobs).map { _ in random.next() % 10_000_000 }
        var bitmap = SequenceBitmap()
        for number in numbers { bitmap.insert(number) }
        var index = 0
        report("bitmap: remove and insert at random") {
            index = (index + 1) % numbers.count
            keep(bitmap.remove(numbers[index]))
            keep(bitmap.insert(numbers[index]))
        }
        var line = SequenceBitmap()
        line.insertRange(1...UInt64(Self.jobs))
        var next = UInt64(Self.jobs)
        report("bitmap: take the first, add behind") {
            if let first = line.first { line.remove(first) }
            next += 1
            line.insert(next)
        }
        var heap = DeadlineHeap<Int>()
        for (index, number) in numbers.enumerated() {
            heap.push(Timestamp(milliseconds: Int64(number)), JobID(UInt64(index)), 0)
        }
        report("heap: push and pop") {
            guard let first = heap.popFirst() else { return }
            let later = Int64(random.next() % 10_000_000)
            heap.push(Timestamp(milliseconds: later), first.job, 0)
        }
    }

    // MARK: - State

    private func measureState(_ payloads: Payloads) throws {
        var state = QueueState()
        let now = Timestamp(milliseconds: 1_700_000_000_000)
        let payload = payloads.make(1)
        func apply(_ command: Command) throws -> Reply {
            var scope = BatchScope()
            let first = state.lastSequence.advanced(by: 1)
            let decision = try state.decide(command, at: now, next: first, in: &scope)
            var sequence = first
            decision.mutations.forEach {
                state.apply(Record(sequence: sequence, time: now, mutation: $0))
                sequence = sequence.advanced(by: 1)
            }
            return decision.reply
        }
        let enqueue = Command.enqueue(Enqueue(lane: Lane(queue: "bench"), payload: payload))
        for _ in 0..<Self.jobs { _ = try apply(enqueue) }
        try report("decide and apply: enqueue, lease, ack") {
            _ = try apply(enqueue)
            let token = state.lastSequence.advanced(by: 1)
            let lease = Command.lease(queues: ["bench"], limit: 1, milliseconds: 30_000, worker: "")
            guard case .leased(let grants) = try apply(lease) else { return }
            _ = try apply(.ack(job: grants[0].job, token: LeaseToken(token), result: nil))
        }
        var writer = ByteWriter(capacity: 1 << 20)
        report("checkpoint: write an image of \(Self.jobs) ready jobs") {
            writer.removeAll()
            state.encodeImage(into: &writer)
            keep(writer.count)
        }
        let image = [UInt8](copying: writer.bytes)
        try report("checkpoint: load it") { keep(try QueueState(image: image.span).lastSequence.rawValue) }
    }

    // MARK: - Stores

    private func measureStore(_ payloads: Payloads, in place: String) async throws {
        let path = place + "/bench-micro.holdfast"
        try ScratchDirectory.remove(path)
        defer { try? ScratchDirectory.remove(path) }
        var options = JobStoreOptions()
        // No checkpoint, neither after a time nor at the end of a segment: everything is replayed.
        options.recoveryTarget = .seconds(3600)
        options.journalSegmentBytes = 64 << 20
        options.compaction = .onDemand
        let store = try await JobStore.open(at: path, options: options)
        var number: UInt64 = 0
        for _ in 0..<(Self.jobs / 1000) {
            let jobs = (0..<1000).map { _ in
                number += 1
                return BatchOperation.enqueue(queue: "bench", payload: payloads.make(number))
            }
            _ = try await store.batch(jobs)
            let leases = try await store.lease(from: "bench", limit: 1000)
            _ = try await store.batch(leases.map { .ack($0.identity) })
        }
        // As a crash leaves it: closing writes a checkpoint, and then nothing is replayed.
        let crashed = place + "/bench-crashed.holdfast"
        defer { try? ScratchDirectory.remove(crashed) }
        var records: UInt64 = 0
        let nanoseconds = try await Self.median { () async throws -> Double in
            try ScratchDirectory.remove(crashed)
            try ScratchDirectory.copy(path, to: crashed)
            let start = MonotonicTime.now
            let store = try await JobStore.open(at: crashed, options: options)
            let elapsed = Double(MonotonicTime.now - start)
            records = store.recovery.replayedRecords
            try await store.close()
            return elapsed / Double(max(records, 1))
        }
        try await store.close()
        print("replay: a record, of \(records) in an open", nanoseconds, bytes: nil)
        try await measurePipeline(payloads, in: place)
    }

    /// Enqueues of tasks into a store whose commits are written and not synced: nearly all that is not the disk.
    private func measurePipeline(_ payloads: Payloads, in place: String) async throws {
        for (callers, batch) in [(1, 1), (64, 1), (1024, 1), (1, 100)] {
            let nanoseconds = try await Self.median { () async throws -> Double in
                let path = place + "/bench-pipeline.holdfast"
                try ScratchDirectory.remove(path)
                defer { try? ScratchDirectory.remove(path) }
                var options = JobStoreOptions()
                options.durability = .none
                options.compaction = .onDemand
                options.recoveryTarget = .seconds(3600)
                let store = try await JobStore.open(at: path, options: options)
                // Fewer than a segment has room for, so that nothing is sealed meanwhile.
                let time = MeasuredTime(warmUp: 0, seconds: 600)
                let rounds = 12_000 / callers / batch
                let crew: [Caller<Lease>] = (0..<callers).map {
                    Caller(
                        .enqueue, index: $0, of: callers, batch: batch, payloads: payloads, time: time,
                        roundsMax: rounds)
                }
                let start = MonotonicTime.now
                _ = try await Crew.runInTasks(crew, on: HoldfastFace(store: store))
                let elapsed = Double(MonotonicTime.now - start)
                try await store.close()
                return elapsed / Double(rounds * callers * batch)
            }
            let what = batch > 1 ? "one of \(batch) enqueues" : "an enqueue, \(callers) tasks"
            print("commit pipeline: \(what), not synced", nanoseconds, bytes: nil)
        }
    }

    // MARK: - Measuring

    private static func median(_ body: () async throws -> Double) async rethrows -> Double {
        var values: [Double] = []
        for _ in 0..<5 { values.append(try await body()) }
        return values.sorted()[2]
    }

    /// Runs `body` over and over, five times for a while, and prints what one run takes.
    private func report(_ name: String, bytes: Int? = nil, _ body: () throws -> Void) rethrows {
        var count = 1
        var elapsed = 0.0
        func run() throws -> Double {
            let start = MonotonicTime.now
            for _ in 0..<count { try body() }
            return Double(MonotonicTime.now - start)
        }
        while true {
            elapsed = try run()
            if elapsed >= seconds * 1e9 || count > 1 << 30 { break }
            count = elapsed < seconds * 1e8 ? count * 8 : count * 2
        }
        var values = [elapsed]
        for _ in 0..<4 { values.append(try run()) }
        print(name, values.sorted()[2] / Double(count), bytes: bytes)
    }

    private func print(_ name: String, _ nanoseconds: Double, bytes: Int?) {
        let speed = bytes.map { Double($0) / nanoseconds * 1e9 / 1_048_576 }
        if json {
            let rate = speed.map { ",\"mib_per_s\":\(RunLine.rounded($0, 0))" } ?? ""
            Swift.print("{\"part\":\"\(name)\",\"ns\":\(RunLine.rounded(nanoseconds, 1))\(rate)}")
        } else {
            let padded = name + String(repeating: " ", count: max(56 - name.count, 0))
            let figure = RunLine.rounded(nanoseconds, 1)
            let space = String(repeating: " ", count: max(14 - figure.count, 0))
            Swift.print(padded, space + figure, "ns", speed.map { "  \(RunLine.rounded($0, 0)) MiB/s" } ?? "")
        }
    }
}

/// Lets the optimiser believe that a value is used.
@inline(never) private func keep<Value>(_ value: Value) { withExtendedLifetime(value) {} }
