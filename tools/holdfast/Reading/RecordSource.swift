// Where `dump`, `verify` and `stat` read from: a store, whoever owns it and whatever its state, or one segment file.
// Nothing is locked and nothing is written.

import HoldfastBytes
import HoldfastEngine
import HoldfastLog

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Frames and records in the order of the log.
enum RecordSource {
    case store(LogReader)
    case segment(SegmentSource)

    /// Opens a store's directory or a segment's file.
    init(_ path: String) throws(LogError) {
        let fileSystem = POSIXFileSystem()
        var isDirectory = true
        do { isDirectory = try fileSystem.status(of: path)?.kind != .file } catch {
            throw LogError(error, doing: "looking at \(path)")
        }
        self =
            isDirectory
            ? .store(try LogReader.open(directory: path, fileSystem: fileSystem))
            : .segment(try LogReader.openSegment(path, fileSystem: fileSystem))
    }

    /// Calls `body` with each frame from the one that may hold `sequence` on, until it returns false.
    func forEachFrame(
        from sequence: SequenceNumber, _ body: (SegmentSource, Frame) throws(LogError) -> Bool
    ) throws(LogError) {
        switch self {
        case .store(var reader): try reader.forEachFrame(from: sequence, body)
        case .segment(let source):
            try source.forEachFrame(POSIXFileSystem()) { (frame) throws(LogError) in try body(source, frame) }
        }
    }

    /// Calls `body` with each record from `sequence` on, each once, until it returns false. Records of kinds that a
    /// reader may skip are left out.
    func forEachRecord(
        from sequence: SequenceNumber, _ body: (Record) throws(LogError) -> Bool
    ) throws(LogError) {
        var next = sequence
        try forEachFrame(from: sequence) { (source, frame) throws(LogError) in
            try frame.forEachEntry(file: source.name) { (entry, _) throws(LogError) in
                guard entry.sequence >= next else { return true }
                next = entry.sequence.next
                let record = try Record.decode(
                    entry, "in the frame at offset \(frame.offset) of \(source.name)", file: source.name,
                    offset: frame.offset)
                guard let record else { return true }
                return try body(record)
            }
        }
    }
}

extension RecordSource {
    /// Whether the payload in a record is for who holds a lease of its job alone. Of an edit the enqueue record tells;
    /// where that is gone, nothing is shown.
    func hidesPayload(of record: Record) throws(LogError) -> Bool {
        switch record.mutation {
        case .enqueue(let enqueue): return enqueue.isSecret
        case .edit(let edit) where edit.payload != nil:
            var isHidden = true
            try forEachRecord(from: edit.job.sequence) { (first) throws(LogError) in
                if first.sequence == edit.job.sequence, case .enqueue(let enqueue) = first.mutation {
                    isHidden = enqueue.isSecret
                }
                return false
            }
            return isHidden
        default: return false
        }
    }
}

extension Record {
    /// Decodes an entry of the log; `nil` when it is of a kind that a reader may skip.
    ///
    /// - Parameter place: Where it stands, for the message; evaluated when it is damaged.
    static func decode(
        _ entry: borrowing EntryView, _ place: @autoclosure () -> String, file: String? = nil, offset: Int? = nil
    ) throws(LogError) -> Record? {
        do throws(EngineError) {
            return try Record(sequence: entry.sequence, kind: entry.kind, body: entry.body)
        } catch {
            throw LogError(
                error.code == .unsupportedFormat ? .unsupportedFormat : .corrupt,
                "record \(entry.sequence) \(place()) can't be decoded (\(error.message))", file: file, offset: offset,
                sequences: entry.sequence...entry.sequence)
        }
    }
}

extension Mutation {
    /// The queue that it names, if it names one; of a move the one that it leads to.
    var queue: String? {
        switch self {
        case .enqueue(let enqueue): enqueue.lane.queue
        case .lease(let grant): grant.lane.queue
        case .cancel(let cancel): cancel.lane.queue
        case .edit(let edit): edit.to.queue
        case .queueSettings(let settings): settings.queue
        case .expire(.uniqueKey(let queue, _, _)): queue
        default: nil
        }
    }
}

extension RecordKind {
    /// What `dump` and `history` call it.
    var printedName: String {
        switch self {
        case .queueSettings: "queue_settings"
        case .effectRemove: "effect_remove"
        case .cursorSet: "cursor_set"
        case .cursorRemove: "cursor_remove"
        case .storeSettings: "store_settings"
        default: "\(self)"
        }
    }
}
