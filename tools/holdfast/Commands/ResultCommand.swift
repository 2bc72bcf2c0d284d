// `holdfast result`: what a job gave.

import ArgumentParser
import Holdfast

struct ResultCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "result",
        abstract: "Prints what a job gave when it was acked.",
        discussion: """
            A result is kept for as long as its ack or its queue says, else as long as history. Exits with 1 when \
            there is none.
            """)

    @OptionGroup var store: StoreArgument

    @Argument(help: "The job's id.", transform: Values.id)
    var id: UInt64

    @Flag(help: #"Print {"result":...,"until_ms":N}."#)
    var json = false

    func run() throws {
        let reply = try StoreAccess.with(store.directory) { try $0.request("result") { $0.field("id", id) } }
        if json { return try Terminal.write(Self.object(reply)) }
        let value = reply["result"] ?? reply["result_b64"]
        try Terminal.print(value?.string ?? String(decoding: value?.raw ?? [], as: UTF8.self))
    }

    private static func object(_ reply: JSONValue) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        for field in reply.fields ?? [] where field.name.string != "ok" {
            writer.key(dynamic: field.name.string ?? "")
            writer.value(raw: field.value.raw)
        }
        writer.endObject()
        writer.endLine()
        return writer.bytes
    }
}
