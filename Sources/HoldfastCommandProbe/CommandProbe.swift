// Where fuzzers reach what the command does with text and files that are not its own. As with the decoders, refusing is
// fine; whatever the bytes are, nothing may trap, and what is accepted has the properties that are checked here.

import Holdfast
import HoldfastBytes
import HoldfastLog
import HoldfastTestKit

/// Feeds arbitrary bytes to the parsers and printers of the command.
public enum CommandProbe {
    private static let linesMax = 32
    private static let path = "/store"

    // MARK: - JSON and other text

    /// Reads a JSON text, writes its values anew and reads them again; and reads the text as base 64 and as a time.
    public static func json(_ bytes: [UInt8]) {
        if let decoded = Base64.decode(bytes) {
            precondition(Base64.encode(decoded) == bytes, "a value has one text in base 64")
        }
        precondition(Base64.decode(Base64.encode(bytes)) == bytes, "base 64 stands for what was encoded")
        if let time = CalendarTime.parse(String(decoding: bytes, as: UTF8.self), now: ManualClock.defaultStart),
            (Timestamp.zero...Timestamp.max).contains(time)
        {
            precondition(
                CalendarTime.parse(CalendarTime.text(time), now: .zero) == time, "a time is read as it is written")
        }
        let document: JSONDocument
        do throws(JSONError) {
            document = try JSONDocument(bytes)
        } catch {
            precondition((0...bytes.count).contains(error.offset), "an error lies inside the text")
            return
        }
        var writer = JSONWriter()
        write(document.root, into: &writer)
        guard let again = try? JSONDocument(writer.bytes) else { preconditionFailure("what was written is JSON") }
        precondition(areEqual(document.root, again.root), "a text written anew says the same")
    }

    private static func write(_ value: JSONValue, into writer: inout JSONWriter) {
        if let text = value.stringBytes {
            precondition(text == value.string.map { [UInt8]($0.utf8) }, "a string is UTF-8")
            writer.value(utf8: text)
        } else if let flag = value.bool {
            writer.value(flag)
        } else if let number = value.integer {
            writer.value(number)
        } else if let elements = value.elements {
            writer.beginArray()
            for element in elements { write(element, into: &writer) }
            writer.endArray()
        } else if let fields = value.fields {
            writer.beginObject()
            for (name, value) in fields {
                writer.key(dynamic: name.string ?? "")
                write(value, into: &writer)
            }
            writer.endObject()
        } else {
            writer.value(raw: value.raw)
        }
    }

    private static func areEqual(_ a: JSONValue, _ b: JSONValue) -> Bool {
        guard a.kind == b.kind, a.stringBytes == b.stringBytes, a.bool == b.bool, a.integer == b.integer else {
            return false
        }
        if let left = a.elements, let right = b.elements {
            return left.count == right.count && zip(left, right).allSatisfy { areEqual($0, $1) }
        }
        if let left = a.fields, let right = b.fields {
            return left.count == right.count
                && zip(left, right).allSatisfy { areEqual($0.name, $1.name) && areEqual($0.value, $1.value) }
        }
        return true
    }

    // MARK: - Requests

    /// Serves each line to a new store, as `shell` does: one reply a line, well formed, with the request's `req`; then
    /// closes the store, which must be the same when it is opened again.
    public static func shell(_ bytes: [UInt8]) {
        var options = JobStoreOptions()
        options.fileSystem = SimulatedFileSystem()
        options.clock = ManualClock()
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        do throws(JobStoreError) {
            let store = try JobStore.openBlocking(at: path, options: options)
            // Each reply is taken at once, and nobody else makes room.
            store.endRoomWaits()
            let dispatcher = ShellDispatcher(store: store)
            for line in bytes.split(separator: 0x0A, maxSplits: linesMax).prefix(linesMax) {
                check(dispatcher.submit([UInt8](line)), to: [UInt8](line))
            }
            let before = try store.blocking.digest()
            try store.blocking.close()
            let again = try JobStore.openBlocking(at: path, options: options)
            let after = try again.blocking.digest()
            try again.blocking.close()
            precondition(before.hex == after.hex, "a store that is opened again is the same")
        } catch {
            preconditionFailure("no request breaks a store: \(error)")
        }
    }

    private static func check(_ reply: PendingReply, to line: [UInt8]) {
        var writer = JSONWriter()
        let error = reply.write(into: &writer)
        precondition(!writer.bytes.contains(0x0A), "a reply is one line")
        guard let root = (try? JSONDocument(writer.bytes))?.root, let isOK = root["ok"]?.bool else {
            preconditionFailure("a reply is an object that says whether it went well")
        }
        precondition(isOK == (error == nil), "a reply says whether it went well")
        if !isOK {
            let text = root["error"]?["message"]?.string ?? ""
            precondition(!text.isEmpty && root["error"]?["code"]?.string != nil, "a refusal says why")
        }
        guard let request = (try? JSONDocument(line))?.root, request.kind == .object else {
            return precondition(!isOK, "what is no object is refused")
        }
        let wanted = request["req"]
        precondition((root["req"] == nil) == (wanted == nil), "a reply has the request's `req`")
        if let wanted, let given = root["req"] { precondition(areEqual(wanted, given), "`req` comes back") }
    }

    // MARK: - Printing what files hold

    /// Prints records and frames of a store as `dump` does, and works out its state; see `StoreImage` for how bytes
    /// stand for a store.
    public static func dump(_ bytes: [UInt8]) {
        let disk = StoreImage(bytes).disk()
        guard let reader = try? LogReader.open(directory: StoreImage.path, fileSystem: disk) else { return }
        let all = RecordFilter(sequences: SequenceNumber.zero...SequenceNumber.max)
        var one = all
        one.queue = "mail"
        one.since = ManualClock.defaultStart
        for (filter, format) in [(all, RecordDump.Format.text), (all, .json), (one, .text)] {
            var records = RecordDump(filter: filter, format: format, showsPayloads: true)
            expectDamage { () throws(LogError) in try records.printRecords(of: .store(reader)) }
            var frames = RecordDump(filter: filter, format: format, showsPayloads: false)
            expectDamage { () throws(LogError) in try frames.printFrames(of: .store(reader)) }
        }
        expectDamage { () throws(LogError) in _ = try FileRecords(reader).newestState() }
    }

    private static func expectDamage(_ body: () throws(LogError) -> Void) {
        do throws(LogError) {
            try body()
        } catch {
            precondition(
                error.code == .corrupt || error.code == .unsupportedFormat, "damage is called damage: \(error)")
            precondition(!error.message.isEmpty, "an error says what is wrong")
        }
    }
}
