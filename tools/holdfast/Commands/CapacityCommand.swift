// `holdfast capacity`: what the store takes in all.

import ArgumentParser
import Holdfast
import HoldfastEngine

struct CapacityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "capacity",
        abstract: "Limits how much the whole store takes, or shows it.",
        discussion: """
            Unfinished jobs count, dead ones don't; of payloads those count that are enqueued while they are limited. \
            An enqueue beyond a limit is refused, or waits if it is told to. What is there already stays.

              holdfast capacity /tmp/store --jobs 100000 --payload-bytes 1073741824
              holdfast capacity /tmp/store --jobs none
            """)

    @OptionGroup var store: StoreArgument

    @Option(help: ArgumentHelp("Unfinished jobs at most.", valueName: "count|none"), transform: Self.limit)
    var jobs: Int?

    @Option(help: ArgumentHelp("Bytes of their payloads at most.", valueName: "bytes|none"), transform: Self.limit)
    var payloadBytes: Int?

    @Flag(help: "One JSON object.")
    var json = false

    @Sendable private static func limit(_ text: String) throws -> Int {
        if text == "none" { return 0 }
        guard let number = Int(text), (1...QueueTerms.limitMax).contains(number) else {
            throw ValidationError("give 1 to 2^40, or none")
        }
        return number
    }

    func run() throws {
        let reply = try StoreAccess.with(store.directory) { access in
            try access.request("configure_store") { writer in
                write("jobs", jobs, to: &writer)
                write("payload_bytes", payloadBytes, to: &writer)
            }
        }
        if json { return try Terminal.print(String(decoding: reply.raw, as: UTF8.self)) }
        try Terminal.print("jobs: \(Self.line(reply, "held_jobs", "jobs"))")
        let isLimited = reply["payload_bytes"]?.integer != nil
        try Terminal.print(
            "payload bytes: " + (isLimited ? Self.line(reply, "held_payload_bytes", "payload_bytes") : "no limit"))
    }

    /// Writes a limit that is to be changed.
    private func write(_ name: StaticString, _ limit: Int?, to writer: inout JSONWriter) {
        if let limit { writer.field(name, optional: limit == 0 ? nil : limit) }
    }

    private static func line(_ reply: JSONValue, _ held: StaticString, _ limit: StaticString) -> String {
        let most = reply[limit]?.integer.map { " of \(Terminal.grouped($0))" } ?? ", no limit"
        return Terminal.grouped(reply[held]?.integer ?? 0) + most
    }
}
