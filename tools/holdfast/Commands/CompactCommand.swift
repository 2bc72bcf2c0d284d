// `holdfast compact`: gives back the space of what is done.

import ArgumentParser

struct CompactCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compact",
        abstract: "Rewrites the log without what is no longer needed.",
        discussion: """
            The owner of a store compacts by itself; this does all of it now and shows what it gained. How much of \
            finished jobs is kept for history, the store's owner says when it opens the store.
            """)

    @OptionGroup var store: StoreArgument

    @Flag(
        help: """
            Replay the store before and after and compare; what would change it is not installed (exit code 4).
            """)
    var prove = false

    @Flag(help: "One JSON object, as the shell's operation compact replies.")
    var json = false

    func run() throws {
        let reply = try StoreAccess.with(store.directory) { access in
            let reply = try access.reply("compact") { if prove { $0.field("prove", true) } }
            guard reply["ok"]?.bool != true else { return reply }
            var failure = StoreAccess.failure(reply)
            if prove, reply["error"]?["code"]?.string == "corrupt" {
                let message = LogMessage.plain(failure.message, store: store.directory)
                failure = CommandFailure(message, exitCode: CommandFailure.damagedCode)
            }
            throw failure
        }
        let proof = reply["proof"]
        func integer(_ name: StaticString) -> Int { Int(reply[name]?.integer ?? 0) }
        if json {
            var writer = JSONWriter()
            writer.beginObject()
            writer.field("bytes_before", integer("bytes_before"))
            writer.field("bytes_after", integer("bytes_after"))
            writer.field("segments_before", integer("segments_before"))
            writer.field("segments_after", integer("segments_after"))
            if let proof {
                writer.key("proof")
                writer.value(raw: [UInt8](proof.raw))
            }
            writer.endObject()
            writer.endLine()
            return try Terminal.write(writer.bytes)
        }
        if prove, proof == nil, integer("segments_before") > 0 {
            throw CommandFailure(
                "the store's owner compacted, but proved nothing: it is of an earlier version; restart it, then repeat")
        }
        if prove {
            try Terminal.print(
                proof.map { proof in
                    let (before, after) = (proof["digest_before"]?.string ?? "", proof["digest_after"]?.string ?? "")
                    return "proved: after record \(Terminal.grouped(proof["seq"]?.integer ?? 0)) the state is "
                        + "\(before) before and \(after) after"
                } ?? "nothing to prove: there is no segment to rewrite")
        }
        let rows = [
            ["", "before", "after"],
            ["segments", Terminal.grouped(integer("segments_before")), Terminal.grouped(integer("segments_after"))],
            ["bytes", Terminal.grouped(integer("bytes_before")), Terminal.grouped(integer("bytes_after"))],
        ]
        let width = max(12, rows.flatMap { $0.dropFirst() }.map(\.count).max() ?? 0)
        for row in rows {
            try Terminal.print(
                Columns.left(row[0], 10) + row.dropFirst().map { Columns.right($0, width) }.joined(separator: "  "))
        }
    }
}
