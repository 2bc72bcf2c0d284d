// Cursors as `cursors` and `stat` show them, and as the shell's operation `cursors` replies.

import Holdfast
import HoldfastLog

/// One consumer of the log.
struct CursorRow: Sendable {
    let name: String
    let next: UInt64
    let lagRecords: UInt64
    let lagBytes: Int?
    let lagMilliseconds: Int64?
    let bytesCap: Int
    let ageCapMilliseconds: Int64
    /// Whether compaction keeps what it has not seen; `nil` for a store as it was.
    let isHolding: Bool?

    init(_ cursor: StoreCursor) {
        name = cursor.name
        next = cursor.next.rawValue
        lagRecords = cursor.lagRecords
        lagBytes = cursor.lagBytes
        lagMilliseconds = cursor.lagAge.map { Int64($0 / .milliseconds(1)) }
        bytesCap = cursor.limits.bytes
        ageCapMilliseconds = Int64(cursor.limits.age / .milliseconds(1))
        isHolding = cursor.isHolding
    }

    init(_ reply: JSONValue) {
        name = reply["cursor"]?.string ?? ""
        next = UInt64(max(0, reply["next"]?.integer ?? 0))
        lagRecords = UInt64(max(0, reply["lag_records"]?.integer ?? 0))
        lagBytes = reply["lag_bytes"]?.integer.map { Int($0) }
        lagMilliseconds = reply["lag_ms"]?.integer
        bytesCap = Int(reply["bytes_cap"]?.integer ?? 0)
        ageCapMilliseconds = reply["age_cap_ms"]?.integer ?? 0
        isHolding = reply["holds"]?.bool
    }

    /// Takes the rows from the reply to `cursors`; none from an owner that does not know the operation.
    static func rows(_ reply: JSONValue?) -> [CursorRow] { (reply?["cursors"]?.elements ?? []).map(CursorRow.init) }

    /// Lines for people, titles first.
    static func lines(_ rows: [CursorRow]) -> [String] {
        guard !rows.isEmpty else { return [] }
        let nameColumns = max(6, min(30, rows.map(\.name.count).max() ?? 0))
        let titles = ["next", "lag", "bytes", "age"]
        func line(_ name: String, _ cells: [String], _ note: String) -> String {
            Columns.left(name, nameColumns) + "  " + cells.map { Columns.right($0, 11) }.joined(separator: "  ") + note
        }
        return [line("cursor", titles, "")]
            + rows.map { row in
                let age = row.lagMilliseconds.map { Self.age($0) } ?? "-"
                let cells = [
                    Terminal.grouped(row.next), Terminal.grouped(row.lagRecords),
                    row.lagBytes.map { Terminal.bytes($0) } ?? "-", age,
                ]
                return line(row.name, cells, row.isHolding == false ? "  beyond its limits: holds nothing" : "")
            }
    }

    private static func age(_ milliseconds: Int64) -> String {
        switch milliseconds {
        case ..<120_000: "\(milliseconds / 1000) s"
        case ..<7_200_000: "\(milliseconds / 60_000) min"
        case ..<172_800_000: "\(milliseconds / 3_600_000) h"
        default: "\(milliseconds / 86_400_000) days"
        }
    }
}

extension JSONWriter {
    /// Writes cursors, as a list of objects.
    mutating func field(_ name: StaticString, _ cursors: [CursorRow]) {
        key(name)
        beginArray()
        for cursor in cursors {
            beginObject()
            field("cursor", cursor.name)
            field("next", cursor.next)
            field("lag_records", cursor.lagRecords)
            if let bytes = cursor.lagBytes { field("lag_bytes", bytes) }
            if let milliseconds = cursor.lagMilliseconds { field("lag_ms", milliseconds) }
            field("bytes_cap", cursor.bytesCap)
            field("age_cap_ms", cursor.ageCapMilliseconds)
            if let isHolding = cursor.isHolding { field("holds", isHolding) }
            endObject()
        }
        endArray()
    }
}
