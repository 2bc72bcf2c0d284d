// Following a store: records in order, read from the log in small batches. Nothing is buffered for a consumer, so none
// can fall behind but into what compaction has dropped, and then it is told.
//
// A batch is complete if, after it was read, the manifest does not say that any record in it or before it may have been
// dropped. It goes as far as the log had released records to their callers before it was read.

public import HoldfastBytes
package import HoldfastEngine
package import HoldfastLog

/// One record of a store.
public struct StoreEvent: Hashable, Sendable {
    /// The job it is about, if it is about one.
    public let job: JobID?
    /// What happened, and when.
    public let record: HistoryRecord
    /// What was enqueued, for an enqueue; for an edit what it gave instead, if it did.
    ///
    /// `nil` for a secret; as it is stored where it is encoded, see `JobStoreOptions.payloadCodec`.
    public let payload: [UInt8]?

    /// Its place in the log.
    public var sequence: SequenceNumber { record.sequence }

    init(_ record: Record, isSecret: Bool) {
        job = record.mutation.job(record.sequence)
        payload = isSecret ? nil : record.mutation.payload
        self.record = HistoryRecord(record)
    }
}

extension Mutation {
    /// The payload that it gives a job.
    package var payload: [UInt8]? {
        switch self {
        case .enqueue(let enqueue): enqueue.payload
        case .edit(let edit): edit.payload
        default: nil
        }
    }
}

extension PastRecords {
    /// Whether the payload in a record is for who holds a lease of its job alone. Of an edit the enqueue record tells;
    /// where that is gone, nothing is shown.
    package func hidesPayload(of record: Record) throws(LogError) -> Bool {
        switch record.mutation {
        case .enqueue(let enqueue): return enqueue.isSecret
        case .edit(let edit) where edit.payload != nil:
            guard case .enqueue(let enqueue) = try self.record(edit.job.sequence)?.mutation else { return true }
            return enqueue.isSecret
        default: return false
        }
    }
}

/// The records of a store, as they were and as they come.
public struct StoreEvents: AsyncSequence, Sendable {
    /// Where to begin.
    public enum Start: Hashable, Sendable {
        /// Behind everything that has happened.
        case now
        /// At this record, or the next one there is.
        case sequence(SequenceNumber)
        /// At the first record from which none is missing.
        case oldest
    }

    /// A record.
    public typealias Element = StoreEvent
    /// Why there are no more.
    public typealias Failure = JobStoreError

    let core: StoreCore
    let next: SequenceNumber?

    /// Begins to read.
    public func makeAsyncIterator() -> Iterator { Iterator(core: core, position: next) }

    /// One walk over the records.
    public struct Iterator: AsyncIteratorProtocol {
        let core: StoreCore
        /// The next sequence number to look for; `nil` before the first of `.oldest`.
        var position: SequenceNumber?
        /// The cursor of whoever reads, if it goes by one.
        private let cursor: String?
        private var batch: ArraySlice<StoreEvent> = []

        init(core: StoreCore, position: SequenceNumber?, cursor: String? = nil) {
            self.core = core
            self.position = position
            self.cursor = cursor
        }

        /// Returns the next record, once there is one.
        public mutating func next() async throws(JobStoreError) -> StoreEvent? {
            try await next(isolation: nil)
        }

        /// Returns the next record, once there is one.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(JobStoreError) -> StoreEvent? {
            while batch.isEmpty {
                guard !Task.isCancelled, try core.isFollowable() else { return nil }
                let (core, start, cursor) = (core, position, cursor)
                let read: EventBatch
                do throws(JobStoreError) {
                    read = try await core.readers.run { () throws(JobStoreError) in
                        try core.events(from: start, cursor: cursor)
                    }
                } catch {
                    // Closing takes the files away from those who read.
                    guard try core.isFollowable() else { return nil }
                    throw error
                }
                batch = read.events[...]
                position = read.next
                if batch.isEmpty { await core.log.waitForRecord(after: SequenceNumber(read.next.rawValue - 1)) }
            }
            return batch.removeFirst()
        }
    }
}

/// Some records in order.
struct EventBatch: Sendable {
    var events: [StoreEvent] = []
    /// The next sequence number to look for.
    var next: SequenceNumber
    private var bytes = 0

    private static let countMax = 256
    private static let bytesMax = 1 << 20

    init(next: SequenceNumber) { self.next = next }

    /// Adds a record; returns whether another one may follow.
    mutating func add(_ event: StoreEvent) -> Bool {
        events.append(event)
        next = event.sequence.next
        bytes += event.payload?.count ?? 0
        return events.count < Self.countMax && bytes < Self.bytesMax
    }
}

extension StoreCore {
    /// Whether records may be read: false once the store was closed.
    fileprivate func isFollowable() throws(JobStoreError) -> Bool {
        try lock.withLock { () throws(JobStoreError) in
            if let failure { throw failure }
            return !isClosed
        }
    }

    /// Reads the next records that are durable, from `start` on; from the oldest when `nil`. For a consumer that goes
    /// by a cursor those about cursors are left out.
    fileprivate func events(from start: SequenceNumber?, cursor: String?) throws(JobStoreError) -> EventBatch {
        let records = LogRecords(log: log)
        while true {
            // What lies between the consumer's place and its cursor is about cursors, and may have been dropped.
            let (dropped, last, known) = lock.withLock {
                (log.compactedThrough, log.durableSequence, cursor.flatMap { state.cursor($0)?.next })
            }
            let first = max(start ?? dropped.next, known ?? .zero)
            guard first > dropped else {
                if let cursor { throw JobStoreError(lost: first, of: cursor, oldest: dropped.next) }
                throw JobStoreError(beyondHistory: "record \(first)", oldest: dropped.next)
            }
            var batch = EventBatch(next: first)
            var isFull = false
            do throws(LogError) {
                let before = SequenceNumber(first.rawValue - 1)
                try records.forEachEntry(after: before, through: last) { (entry) throws(LogError) in
                    if cursor != nil, RecordKind(rawValue: entry.kind)?.isAboutCursor == true { return true }
                    let record = try Record(checking: entry.sequence, kind: entry.kind, body: entry.body)
                    guard let record else { return true }
                    isFull = !batch.add(StoreEvent(record, isSecret: try records.hidesPayload(of: record)))
                    return !isFull
                }
            } catch { throw JobStoreError(error) }
            // What was dropped meanwhile is missing: told by the next turn, or passed over from the oldest on.
            guard lock.withLock({ log.compactedThrough }) < first else { continue }
            if !isFull { batch.next = max(batch.next, last.next) }
            return batch
        }
    }
}
