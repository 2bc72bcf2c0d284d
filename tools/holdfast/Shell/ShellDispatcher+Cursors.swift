// The operations on cursors: how far each consumer of the log has come.

import Holdfast

extension ShellDispatcher {
    /// Submits an operation on cursors; `nil` when `name` is none.
    func cursorOperation(_ name: String, _ fields: RequestFields) throws(JobStoreError) -> PendingReply.Body? {
        switch name {
        case "cursors":
            return PendingReply.body(store.submitCursors()) { cursors, writer in
                writer.field("cursors", cursors.map(CursorRow.init))
            }
        case "cursor_open":
            var limits = CursorLimits()
            if let bytes = try fields.count("bytes_cap") { limits.bytes = Int(bytes) }
            if let age = try fields.count("age_cap_ms") { limits.age = .milliseconds(age) }
            let opened = store.submitOpenCursor(
                try fields.requiredText("cursor"), from: try fields.start("from") ?? .oldest, limits: limits)
            return PendingReply.body(opened) { place, writer in
                writer.field("next", place.next.rawValue)
                writer.field("created", place.isNew)
            }
        case "cursor_advance":
            let next = SequenceNumber(UInt64(try fields.requiredCount("to")))
            return PendingReply.body(store.submitAdvance(cursor: try fields.requiredText("cursor"), to: next)) {
                $1.field("next", $0.next.rawValue)
            }
        case "cursor_reset":
            guard let start = try fields.start("to") else {
                throw JobStoreError(.badRequest, "`to` is missing; give now, oldest, or a sequence number")
            }
            return PendingReply.body(store.submitReset(cursor: try fields.requiredText("cursor"), to: start)) {
                $1.field("next", $0.next.rawValue)
            }
        case "cursor_remove":
            return PendingReply.body(store.submitRemoveCursor(try fields.requiredText("cursor"))) { _, _ in }
        default: return nil
        }
    }
}

extension RequestFields {
    /// Reads a place in the log.
    fileprivate func start(_ name: StaticString) throws(JobStoreError) -> StoreEvents.Start? {
        guard let value = object[name] else { return nil }
        switch value.string {
        case "now": return .now
        case "oldest": return .oldest
        default:
            guard let number = value.integer, number > 0 else {
                throw JobStoreError(.badRequest, "`\(name)` is no place; give now, oldest, or a sequence number")
            }
            return .sequence(SequenceNumber(UInt64(number)))
        }
    }
}
