// `holdfast explain`: what stands at an offset of a segment, check by check.

import ArgumentParser
import Holdfast
import HoldfastLog

struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Says what stands at an offset of a segment, and what is wrong with it.",
        discussion: """
            Shows the header or frame that covers the offset field by field, makes each check, and says whether a \
            single flipped bit explains what is wrong, and which.

            Exit codes: 0 all checks pass; 4 one does not; 2 the file can't be read.
            """)

    @Argument(
        help: ArgumentHelp("A segment's file and an offset in bytes.", valueName: "segment:offset"))
    var place: String

    @Flag(help: "One JSON object.")
    var json = false

    func run() throws {
        guard let colon = place.lastIndex(of: ":"), let offset = Int(place[place.index(after: colon)...]), offset >= 0
        else { throw CommandFailure("\(place) is no SEGMENT:OFFSET", exitCode: CommandFailure.usageCode) }
        let path = String(place[..<colon])
        let content: [UInt8]
        do throws(IOFailure) {
            content = try POSIXFileSystem().contents(of: path)
        } catch {
            throw CommandFailure(
                "could not read \(path): \(error.reason); check the path", exitCode: CommandFailure.notOpenedCode)
        }
        guard offset < content.count else {
            throw CommandFailure(
                "\(path) ends at offset \(content.count), before \(offset)", exitCode: CommandFailure.notOpenedCode)
        }
        let diagnosis = OffsetDiagnosis(content, offset: offset, isSealed: path.hasSuffix(".seg"))
        if json {
            try Terminal.write(diagnosis.json)
        } else {
            for line in diagnosis.lines(path) { try Terminal.print(line) }
        }
        guard diagnosis.isSound else {
            throw CommandFailure(
                "\(path) is damaged in the \(diagnosis.region) at offset \(diagnosis.start)",
                exitCode: CommandFailure.damagedCode)
        }
    }
}

extension OffsetDiagnosis {
    var json: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.field("sound", isSound)
        writer.field("region", region)
        writer.field("start", start)
        writer.field("end", end)
        writer.field("fields", objects: fields) { field, writer in
            writer.field("name", field.name)
            writer.field("offset", field.offset)
            writer.field("value", field.value)
        }
        writer.field("checks", objects: checks) { check, writer in
            writer.field("name", check.name)
            writer.field("passed", check.isPassed)
            writer.field("detail", check.detail)
        }
        writer.field("flipped_bits", objects: flippedBits) { flipped, writer in
            writer.field("offset", flipped.offset)
            writer.field("bit", flipped.bit)
        }
        writer.endObject()
        writer.endLine()
        return writer.bytes
    }

    /// Lines for people.
    func lines(_ path: String) -> [String] {
        var lines = ["\(path): \(region), offset \(start) to \(end)"]
        lines += fields.map {
            "  \(Columns.right("\($0.offset)", 10))  \(Columns.left($0.name, 30))\($0.value)"
        }
        lines += checks.map { "\($0.isPassed ? "good" : "BAD ")  \($0.name)\($0.isPassed ? "" : ": \($0.detail)")" }
        for flipped in flippedBits {
            lines.append("one flipped bit explains it: bit \(flipped.bit) of the byte at offset \(flipped.offset)")
        }
        return lines
    }
}
