// What a salvage says: for people the sums and the first of each list, for programs everything.

import HoldfastBytes
import HoldfastEngine
import HoldfastLog

extension StoreSalvage {
    private static let listedMax = 20

    var json: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.field("complete", isComplete)
        writer.field("records_kept", recordsKept)
        writer.field("jobs_kept", jobsKept)
        writer.field("leases_kept", leasesKept)
        writer.key("checkpoint")
        if let base { writer.value(base.rawValue) } else { writer.null() }
        writer.field("lost", objects: lost) { range, writer in
            writer.field("first", range.lowerBound)
            writer.key("last")
            if range.upperBound < .max { writer.value(range.upperBound) } else { writer.null() }
        }
        writer.field("lost_jobs", objects: lostJobs) { job, writer in
            writer.field("id", job.id.rawValue)
            writer.field("queue", optional: job.queue)
        }
        writer.field("lost_effects", objects: lostEffects) { effect, writer in
            writer.field("scope", effect.scope)
            writer.field("key", effect.key)
        }
        writer.field("lost_notes", lostNotes)
        writer.field("held_jobs", objects: heldJobs) { job, writer in writer.field("id", job.rawValue) }
        writer.field("dropped", objects: dropped) { record, writer in
            writer.field("seq", record.sequence.rawValue)
            writer.field("kind", record.kind)
            writer.key("job")
            if let job = record.job { writer.value(job.rawValue) } else { writer.null() }
            writer.field("reason", record.reason)
        }
        writer.field("damage", objects: places) { place, writer in
            writer.field("file", place.file)
            writer.key("offset")
            if let offset = place.offset { writer.value(offset) } else { writer.null() }
            writer.field("what", place.what)
        }
        writer.endObject()
        writer.endLine()
        return writer.bytes
    }

    /// Lines for people.
    func lines(of damaged: String, into target: String) -> [String] {
        var lines = [
            "\(target): kept \(Terminal.count(recordsKept, "record")), \(Terminal.count(jobsKept, "job"))"
                + (leasesKept > 0 ? ", of which \(Terminal.grouped(leasesKept)) leased" : "")
        ]
        lines += Self.listed("damaged places in \(damaged)", places) { place in
            place.offset.map { "\(place.file) at offset \($0): \(place.what)" } ?? "\(place.file): \(place.what)"
        }
        lines += Self.listed("lost records", lost) { range in
            if range.upperBound == .max { return "\(range.lowerBound) and all after it" }
            return range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound) to \(range.upperBound)"
        }
        lines += Self.listed("lost jobs", lostJobs) {
            "job \($0.id) of \($0.queue.map { "queue \($0)" } ?? "some queue")"
        }
        lines += Self.listed("lost effects", lostEffects) { "\($0.scope) \($0.key)" }
        if lostNotes > 0 { lines.append("lost errors, progress and results: \(lostNotes)") }
        lines += Self.listed("jobs that waited for lost ones, and are held until they are released", heldJobs) {
            "job \($0)"
        }
        lines += Self.listed("records that make no sense without the lost ones", dropped) { record in
            record.reason.hasPrefix("record") ? record.reason : "record \(record.sequence) \(record.reason)"
        }
        lines.append(isComplete ? "nothing was lost" : "lost: \(summary); everything else is in \(target)")
        return lines
    }

    /// How much was lost.
    private var summary: String {
        var parts: [String] = []
        if let last = lost.last {
            let isOpen = last.upperBound == .max
            let count = (isOpen ? lost.dropLast() : lost[...]).reduce(0) { $0 + $1.count }
            if count > 0 { parts.append(Terminal.count(count, "record")) }
            if isOpen { parts.append("all records from \(last.lowerBound) on") }
        }
        parts.append(lostJobs.isEmpty ? "no job" : Terminal.count(lostJobs.count, "job"))
        if !lostEffects.isEmpty { parts.append(Terminal.count(lostEffects.count, "effect")) }
        if lostNotes > 0 { parts.append(Terminal.count(lostNotes, "error, progress note or result")) }
        if !dropped.isEmpty { parts.append(Terminal.count(dropped.count, "record") + " without sense") }
        return parts.joined(separator: ", ")
    }

    private static func listed<Element>(
        _ title: String, _ elements: [Element], _ text: (Element) -> String
    ) -> [String] {
        guard !elements.isEmpty else { return [] }
        var lines = ["\(title):"] + elements.prefix(listedMax).map { "  " + text($0) }
        if elements.count > listedMax {
            lines.append("  and \(Terminal.grouped(elements.count - listedMax)) more; --json lists them all")
        }
        return lines
    }
}
