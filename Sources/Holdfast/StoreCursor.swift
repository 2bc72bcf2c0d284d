// Named cursors, as callers see them.

public import HoldfastBytes
package import HoldfastEngine
package import HoldfastLog

/// How much a cursor may hold back from compaction. A consumer that lags by more finds what is left when it comes back,
/// or is told what it missed.
public struct CursorLimits: Hashable, Sendable {
    /// About so many bytes of records that it has not seen.
    public var bytes: Int
    /// Records that it has not seen for so long.
    public var age: Duration

    /// Creates limits.
    public init(bytes: Int = 256 << 20, age: Duration = .seconds(7 * 86_400)) {
        self.bytes = bytes
        self.age = age
    }

    /// The same, as records say it.
    func caps() throws(JobStoreError) -> CursorCaps {
        guard bytes >= 0, UInt64(bytes) <= CursorCaps.bytesMax else {
            throw JobStoreError(.badRequest, "`bytes_cap` is \(bytes); give 0 to \(CursorCaps.bytesMax)")
        }
        guard let age = age.wholeMilliseconds, age >= 0, UInt64(age) <= CursorCaps.ageMax else {
            throw JobStoreError(.badRequest, "`age_cap_ms` is \(self.age); give 0 ms to 8,000 years")
        }
        return CursorCaps(bytes: UInt64(bytes), age: UInt64(age))
    }

    init(_ caps: CursorCaps) {
        self.init(bytes: Int(caps.bytes), age: .milliseconds(Int64(caps.age)))
    }
}

/// How far a consumer of the log has come.
public struct StoreCursor: Hashable, Sendable {
    /// Its name.
    public let name: String
    /// The first record that it has not noted as seen.
    public let next: SequenceNumber
    /// How much it may hold.
    public let limits: CursorLimits
    /// Sequence numbers from `next` to the last record.
    public let lagRecords: UInt64
    /// About how many bytes of records those have; `nil` in a snapshot.
    public internal(set) var lagBytes: Int?
    /// How long ago the first of them was written; `nil` in a snapshot, and where there is none.
    public internal(set) var lagAge: Duration?
    /// Whether compaction keeps what it has not seen; `nil` in a snapshot.
    public internal(set) var isHolding: Bool?

    init(_ name: String, _ cursor: Cursor, last: SequenceNumber) {
        self.name = name
        next = cursor.next
        limits = CursorLimits(cursor.caps)
        lagRecords = last >= cursor.next ? last.rawValue - cursor.next.rawValue + 1 : 0
    }
}

/// The cursors of a state with all that can be told of them.
struct CursorListing {
    let state: QueueState
    let now: Timestamp
    let window: HistoryWindow
    let compactedThrough: SequenceNumber
    let records: any PastRecords

    /// What the cursors hold.
    private var pins: CursorPins {
        CursorPins(compactedThrough: compactedThrough, bytes: { window.bytes(from: $0) }, age: age)
    }

    /// Returns the cursors by name. Reads the first record that each has not seen.
    func read() throws(JobStoreError) -> [StoreCursor] {
        let pins = pins
        var list: [StoreCursor] = []
        for (name, cursor) in state.allCursors {
            var row = StoreCursor(name, cursor, last: state.lastSequence)
            row.lagBytes = row.lagRecords == 0 ? 0 : window.bytes(from: cursor.next)
            row.lagAge = try age(cursor.next).map { .milliseconds(Int64($0)) }
            row.isHolding = try pins.isHolding(cursor)
            list.append(row)
        }
        return list
    }

    /// Returns where the oldest cursor that holds anything stands.
    func held() throws(JobStoreError) -> SequenceNumber? { try pins.start(state.allCursors.map(\.cursor)) }

    /// How long ago the first record was written that a consumer at `next` has not seen.
    private func age(_ next: SequenceNumber) throws(JobStoreError) -> UInt64? {
        var age: UInt64?
        do throws(LogError) {
            try records.forEachEntry(after: SequenceNumber(next.rawValue - 1), through: state.lastSequence) {
                (entry) throws(LogError) in
                if RecordKind(rawValue: entry.kind)?.isAboutCursor == true { return true }
                guard let record = try Record(checking: entry.sequence, kind: entry.kind, body: entry.body) else {
                    return true
                }
                age = UInt64(max(0, now.milliseconds - record.time.milliseconds))
                return false
            }
        } catch { throw JobStoreError(error) }
        return age
    }
}

extension StoreCursor {
    /// Returns the cursors that the files of a store show; where damage hides how far they lag, without that.
    package static func read(_ reader: LogReader, _ state: QueueState, at now: Timestamp) -> [StoreCursor] {
        guard state.cursorCount > 0 else { return [] }
        let manifest = reader.manifest
        let listing = CursorListing(
            state: state, now: max(now, state.latestTime),
            window: HistoryWindow(last: state.lastSequence, sealed: manifest.sealed, bytes: 0),
            compactedThrough: manifest.compactedThrough, records: FileRecords(reader))
        do { return try listing.read() } catch {
            return state.allCursors.map { StoreCursor($0.name, $0.cursor, last: state.lastSequence) }
        }
    }
}

extension StoreSnapshot {
    /// The consumers' cursors by then, by name.
    public var cursors: [StoreCursor] {
        state.allCursors.map { StoreCursor($0.name, $0.cursor, last: state.lastSequence) }
    }
}
