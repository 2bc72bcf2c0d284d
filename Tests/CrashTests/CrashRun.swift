// A store on a simulated disk and what its user knows: which batches were appended, in which order, and which were
// answered.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

/// What a workload knows of its records, in the order in which they were appended.
final class Journalist: Sendable {
    struct Batch: Sendable {
        let first: SequenceNumber
        let bodies: [[UInt8]]
        let kind: UInt8
        /// The commit group that holds it, by its number in the opening that wrote it.
        var group: UInt64 = 0
        /// How many answers there were with this one; `nil` while there is none.
        var acknowledgedAt: Int?
        var isAcknowledged: Bool { acknowledgedAt != nil }
        var last: SequenceNumber { SequenceNumber(first.rawValue + UInt64(bodies.count) - 1) }
    }
    private struct Knowledge {
        var batches: [Batch] = []
        var answers = 0
    }
    private let knowledge = Locked(Knowledge())

    /// Called with the log's lock held, so the order is the log's.
    func appended(_ batch: Batch) { knowledge.withLock { $0.batches.append(batch) } }

    func acknowledged(_ first: SequenceNumber) {
        knowledge.withLock { knowledge in
            guard let index = knowledge.batches.firstIndex(where: { $0.first == first }) else { return }
            knowledge.answers += 1
            knowledge.batches[index].acknowledgedAt = knowledge.answers
        }
    }

    var all: [Batch] { knowledge.withLock { $0.batches } }

    /// How many batches were answered so far.
    var answers: Int { knowledge.withLock { $0.answers } }
}

extension [Journalist.Batch] {
    /// What was known when `answers` batches had been answered.
    func known(at answers: Int) -> Self {
        map { batch in
            var batch = batch
            if let answer = batch.acknowledgedAt, answer > answers { batch.acknowledgedAt = nil }
            return batch
        }
    }
}

/// Stands in for the layer that knows what records mean: kind 2 may be dropped by compaction.
final class CrashDelegate: LogDelegate, @unchecked Sendable {
    // SENDABLE: `log` is set before the log starts and never again.
    private weak var log: WriteAheadLog?

    init(_ log: WriteAheadLog) { self.log = log }

    func writeCheckpointImage(into image: inout ByteWriter) -> (sequence: SequenceNumber, ticket: CommitTicket) {
        guard let log else { return (.zero, CommitTicket(group: 0)) }
        let (last, ticket) = log.lock.withLock { (SequenceNumber(log.nextSequence.rawValue - 1), log.ticket) }
        image.append(littleEndian: last.rawValue)
        return (last, ticket)
    }
    func retention() -> any RetentionPolicy { Retention() }
    func key(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> UInt64? { UInt64(body[0]) }
    func logDidFail(_ error: LogError) {}

    private struct Retention: RetentionPolicy {
        func mustKeep(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> Bool { kind != 2 }
    }
}

/// A store on a simulated disk, used from the calling thread.
struct CrashStore {
    static let path = "/store"
    let log: WriteAheadLog
    let journalist: Journalist
    let replayed: [(sequence: SequenceNumber, body: [UInt8])]
    let checkpoint: SequenceNumber

    static func options(_ durability: DurabilityMode = .commit, idleMarkMilliseconds: Int = 0) -> LogOptions {
        var options = LogOptions()
        options.journalSegmentBytes = LogOptions.journalSegmentBytesMin
        options.journalSegmentCount = 3
        options.reserveBytes = 8 << 10
        // So segments are sealed partly from memory and partly from their files.
        options.cachedBytesMax = 20_000
        options.idleMarkMilliseconds = idleMarkMilliseconds
        options.durability = durability
        return options
    }

    /// Opens the store and starts it.
    init(
        _ disk: any FileSystem, _ journalist: Journalist = Journalist(), options: LogOptions = Self.options()
    ) throws {
        try self.init(opening: disk, journalist, options: options)
        try start()
    }

    /// Opens the store, replays it and repairs what a crash left; nothing can be appended before `start`.
    init(
        opening disk: any FileSystem, _ journalist: Journalist = Journalist(),
        options: LogOptions = Self.options()
    ) throws {
        let log = try WriteAheadLog.open(
            directory: Self.path, fileSystem: disk, options: options, createIfMissing: true,
            now: Timestamp(milliseconds: 1_700_000_000_000))
        self.log = log
        self.journalist = journalist
        var checkpoint = SequenceNumber.zero
        if let found = log.nextCheckpoint() {
            checkpoint = found.sequence
            #expect(UInt64(littleEndian: Array(found.image)) == found.sequence.rawValue)
        }
        self.checkpoint = checkpoint
        var replayed: [(SequenceNumber, [UInt8])] = []
        try log.forEachEntry(after: .zero) { (entry, _) throws(LogError) in
            replayed.append((entry.sequence, [UInt8](copying: entry.body)))
            return true
        }
        self.replayed = replayed
        do { try log.takeOver() } catch {
            try? log.close()
            throw error
        }
    }

    func start() throws { try log.start(delegate: CrashDelegate(log)) }

    /// Appends a batch in one hold of the lock; waits for room as long as it takes.
    func append(
        _ bodies: [[UInt8]], kind: UInt8 = 1, isSettling: Bool = false
    ) throws -> (first: SequenceNumber, ticket: CommitTicket) {
        while true {
            let appended = try log.lock.withLock { () throws(LogError) -> (SequenceNumber, CommitTicket)? in
                guard case .ready = try log.admission(isSettling: isSettling) else { return nil }
                let first = log.nextSequence
                for body in bodies {
                    log.append(kind: kind, time: Timestamp(milliseconds: 1_700_000_000_001)) { $0.append(body) }
                }
                journalist.appended(.init(first: first, bodies: bodies, kind: kind, group: log.ticket.group))
                return (first, log.ticket)
            }
            if let appended { return appended }
            log.waitForRoomBlocking()
        }
    }

    func commit(_ bodies: [[UInt8]], kind: UInt8 = 1, isSettling: Bool = false) throws {
        let (first, ticket) = try append(bodies, kind: kind, isSettling: isSettling)
        try log.waitBlocking(for: ticket)
        journalist.acknowledged(first)
    }
}

extension UInt64 {
    init(littleEndian bytes: [UInt8]) {
        self = bytes.prefix(8).enumerated().reduce(0) { $0 | UInt64($1.element) << UInt64(8 * $1.offset) }
    }
}

/// A body that tells its number.
func body(_ number: Int, bytes count: Int = 24) -> [UInt8] {
    var result = [UInt8](repeating: UInt8(truncatingIfNeeded: number &* 31 &+ 7), count: count)
    result[0] = UInt8(number % 5)
    for index in 0..<8 { result[1 + index] = UInt8(truncatingIfNeeded: number >> (8 * index)) }
    return result
}

/// Runs blocking work on a thread of its own: the pool's must not be blocked.
func onThread<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    try await ThreadExecutor.run(body)
}
