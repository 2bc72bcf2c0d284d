// Picks records and prints them. State is kept from pass to pass, so that following a store shows each record once.

import Holdfast
import HoldfastEngine
import HoldfastLog

/// Which records to show.
struct RecordFilter {
    var sequences: ClosedRange<SequenceNumber>
    var since: Timestamp?
    var until: Timestamp?
    var queue: String?
    var job: JobID?
    var kinds: Set<String> = []
}

/// Prints records or frames.
struct RecordDump {
    enum Format { case text, json }

    private static let outputBytes = 64 << 10

    private let filter: RecordFilter
    private let format: Format
    private let showsPayloads: Bool
    private let showsSecrets: Bool
    /// Whether a pass ends when the output was written, and records about cursors are left out.
    private let isForCursor: Bool
    /// The jobs seen so far that belong to the queue that is asked for: most records name the job alone.
    private var jobsOfQueue: Set<JobID> = []
    /// The next record to look for.
    private(set) var nextSequence: SequenceNumber
    private var nextPosition: (segment: UInt64, offset: Int) = (0, 0)
    private var writer = JSONWriter()
    private var text: [UInt8] = []
    /// How much was written.
    private(set) var writtenBytes = 0
    /// Whether nothing more can match, or nobody reads.
    private(set) var isOver = false
    /// Why the output could not be written, other than that nobody reads it.
    private(set) var failure: CommandFailure?

    init(
        filter: RecordFilter, format: Format, showsPayloads: Bool, showsSecrets: Bool = false, isForCursor: Bool = false
    ) {
        self.showsSecrets = showsSecrets
        self.isForCursor = isForCursor
        self.filter = filter
        self.format = format
        self.showsPayloads = showsPayloads
        if filter.queue != nil {
            nextSequence = .zero
        } else {
            nextSequence = max(filter.sequences.lowerBound, filter.job?.sequence ?? .zero)
        }
    }

    /// Goes on at `next` at the earliest: what lies before it is not to be shown.
    mutating func skip(to next: SequenceNumber) { nextSequence = max(nextSequence, next) }

    // MARK: - Records

    mutating func printRecords(of source: RecordSource) throws(LogError) {
        var me = self
        defer { self = me }
        try source.forEachRecord(from: me.nextSequence) { (record) throws(LogError) in
            me.nextSequence = record.sequence.next
            return try me.show(record, of: source)
        }
    }

    private mutating func show(_ record: Record, of source: RecordSource) throws(LogError) -> Bool {
        if record.sequence > filter.sequences.upperBound || filter.until.map({ record.time > $0 }) == true {
            isOver = true
            return false
        }
        let job = record.mutation.job(record.sequence)
        if let queue = filter.queue {
            guard isOfQueue(record, job, queue) else { return true }
        }
        guard record.sequence >= filter.sequences.lowerBound else { return true }
        if let since = filter.since, record.time < since { return true }
        if let wanted = filter.job, wanted != job { return true }
        if isForCursor, record.mutation.isAboutCursor { return true }
        let history = HistoryRecord(record)
        if !filter.kinds.isEmpty && !filter.kinds.contains(history.kind) { return true }
        let payload = showsPayloads ? record.mutation.payload : nil
        let isHidden = payload == nil || showsSecrets ? false : try source.hidesPayload(of: record)
        switch format {
        case .json: appendJSON(payload, isHidden: isHidden, history, job)
        case .text: appendText(payload, isHidden: isHidden, history, job)
        }
        return flushIfFull()
    }

    /// Whether a record is about a queue: by its name, or by its job, which may be moved in and out.
    private mutating func isOfQueue(_ record: Record, _ job: JobID?, _ queue: String) -> Bool {
        let wasInQueue = job.map(jobsOfQueue.contains) ?? false
        let isInQueue = record.mutation.queue.map { $0 == queue } ?? wasInQueue
        if let job, isInQueue != wasInQueue {
            if isInQueue { jobsOfQueue.insert(job) } else { jobsOfQueue.remove(job) }
        }
        if case .edit(let edit) = record.mutation { return isInQueue || edit.from.queue == queue }
        return isInQueue
    }

    private mutating func appendJSON(_ payload: [UInt8]?, isHidden: Bool, _ history: HistoryRecord, _ job: JobID?) {
        writer.beginObject()
        writer.fieldsOfHead(history)
        if let job { writer.field("id", job.rawValue) }
        writer.fields(of: history)
        if let payload, !isHidden { writer.text("payload", payload) }
        if isHidden {
            writer.key("payload")
            writer.null()
        }
        writer.endObject()
        writer.endLine()
    }

    private mutating func appendText(_ payload: [UInt8]?, isHidden: Bool, _ history: HistoryRecord, _ job: JobID?) {
        var line = "\(Columns.right("\(history.sequence)", 10))  \(CalendarTime.text(history.time))  "
        line += Columns.left(history.kind, 9)
        if let job { line += "  job \(job)" }
        for field in history.fields { line += "  \(field.name)=\(Self.text(field))" }
        if let payload { line += "  payload=\(isHidden ? "(not shown)" : Self.text(payload))" }
        text += [UInt8](line.utf8) + [0x0A]
    }

    /// A field's value for people; times as times, text that could be mistaken in quotes.
    static func text(_ field: HistoryRecord.Field) -> String {
        switch field.value {
        case .integer(let number):
            field.name.hasSuffix("_ms") ? CalendarTime.text(Timestamp(milliseconds: number)) : "\(number)"
        case .flag(let flag): flag ? "yes" : "no"
        case .text(let text): Self.text([UInt8](text.utf8))
        case .bytes(let bytes): Self.text(bytes)
        }
    }

    private static func text(_ bytes: [UInt8]) -> String {
        guard let string = String(validating: bytes.span) else {
            return "base64:" + String(decoding: Base64.encode(bytes), as: UTF8.self)
        }
        let isPlain = !bytes.isEmpty && bytes.allSatisfy { $0 > 0x20 && $0 != UInt8(ascii: "\"") && $0 != 0x7F }
        return isPlain ? string : String(decoding: JSONWriter.quoted(string), as: UTF8.self)
    }

    // MARK: - Frames

    mutating func printFrames(of source: RecordSource) throws(LogError) {
        var me = self
        defer { self = me }
        try source.forEachFrame(from: me.nextSequence) { (segment, frame) throws(LogError) in
            let header = frame.header
            let last = header.firstSequence.rawValue + UInt64(max(header.recordCount, 1)) - 1
            guard last >= me.filter.sequences.lowerBound.rawValue else { return true }
            if header.firstSequence > me.filter.sequences.upperBound
                || me.filter.until.map({ header.time > $0 }) == true
            {
                me.isOver = true
                return false
            }
            if let since = me.filter.since, header.time < since { return true }
            // Frames without records share a sequence number with what follows: go by place.
            let place = (segment: segment.header.id.rawValue, offset: frame.offset)
            guard place >= me.nextPosition || segment.header.role == .sealed else { return true }
            me.nextPosition = (place.segment, place.offset + 1)
            me.nextSequence = max(me.nextSequence, header.firstSequence)
            me.append(segment, frame)
            return me.flushIfFull()
        }
    }

    private mutating func append(_ segment: SegmentSource, _ frame: Frame) {
        let header = frame.header
        let last = header.recordCount == 0 ? nil : header.firstSequence.rawValue + UInt64(header.recordCount) - 1
        if format == .json {
            writer.beginObject()
            writer.field("file", segment.name)
            writer.field("offset", frame.offset)
            writer.field("kind", "\(header.kind)")
            writer.field("codec", "\(header.codec)")
            writer.field("stored_bytes", header.storedBytes)
            writer.field("raw_bytes", header.rawBytes)
            writer.field("first_seq", header.firstSequence.rawValue)
            writer.field("records", header.recordCount)
            writer.field("ends_group", header.isGroupEnd)
            writer.field("epoch", header.epoch.rawValue)
            writer.field("position", header.position.rawValue)
            writer.field("durable", header.durable.rawValue)
            writer.field("at_ms", header.time.milliseconds)
            writer.endObject()
            writer.endLine()
            return
        }
        var line = "\(Columns.left(segment.name, 44))  \(Columns.right("\(frame.offset)", 10))  "
        line += "\(Columns.left("\(header.kind)", 5))  \(CalendarTime.text(header.time))  "
        line +=
            last.map { last in
                "\(Terminal.count(header.recordCount, "record")) \(header.firstSequence)"
                    + (header.recordCount > 1 ? "…\(last)" : "")
            } ?? "no records"
        line += ", \(header.storedBytes) bytes"
        if header.codec != .raw { line += " (\(header.codec) of \(header.rawBytes))" }
        if !header.isGroupEnd { line += ", group goes on" }
        text += [UInt8](line.utf8) + [0x0A]
    }

    // MARK: - Output

    private mutating func flushIfFull() -> Bool {
        guard text.count + writer.bytes.count >= Self.outputBytes else { return !isOver }
        flush()
        return !isOver && !isForCursor
    }

    /// Writes what was printed so far; nobody reading it ends the dump.
    mutating func flush() {
        let bytes = format == .json ? writer.bytes : text
        writer.removeAll()
        text.removeAll(keepingCapacity: true)
        guard !bytes.isEmpty else { return }
        writtenBytes += bytes.count
        do throws(CommandFailure) {
            if try !Terminal.isRead(after: bytes) { isOver = true }
        } catch {
            failure = error
            isOver = true
        }
    }
}
