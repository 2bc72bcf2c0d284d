// `holdfast effects` and `holdfast effect`: what jobs have recorded of their steps.

import ArgumentParser
import Holdfast

struct EffectsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "effects",
        abstract: "Shows what is recorded of steps that run once, or runs a handler against it.",
        subcommands: [EffectListCommand.self, EffectReplayCommand.self], defaultSubcommand: EffectListCommand.self)
}

struct EffectListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Shows what is recorded of steps that run once.",
        discussion: """
            Without a scope, the scopes; with one, its keys and their values, 10,000 at most. The steps of job 7 are \
            in the scope "job 7".

              holdfast effects /tmp/store
              holdfast effects /tmp/store 'job 7' --json
            """)

    @OptionGroup var store: StoreArgument
    @Argument(help: "What the effects belong to.", transform: Values.name)
    var scope: String?

    @Flag(help: "One JSON object, as the shell's operation effects replies.")
    var json = false

    func run() throws {
        let (directory, scope) = (store.directory, scope)
        let reply = try StoreAccess.with(directory) { access in
            try access.request("effects") { writer in
                guard let scope else { return }
                writer.field("scope", scope)
                writer.field("limit", Limits.countMax)
            }
        }
        let name: StaticString = scope == nil ? "scopes" : "effects"
        let rows = reply[name]?.elements ?? []
        if json {
            var writer = JSONWriter()
            writer.beginObject()
            writer.key(name)
            writer.value(raw: [UInt8](reply[name]?.raw ?? ArraySlice("[]".utf8)))
            writer.endObject()
            writer.endLine()
            return try Terminal.write(writer.bytes)
        }
        if rows.isEmpty { return try Terminal.print(scope.map { "no effects of \($0)" } ?? "no effects") }
        for row in rows { try Terminal.print(Self.line(row)) }
    }

    private static func line(_ row: JSONValue) -> String {
        if let scope = row["scope"]?.string {
            return "\(scope): \(Terminal.count(row["count"]?.integer ?? 0, "effect"))"
        }
        let tag = row["tag"]?.string.map { " (\($0))" } ?? ""
        let value = String(decoding: row["value"]?.raw ?? [], as: UTF8.self)
        let failure = row["failed"]?.bool == true ? "failed: " : ""
        return "\(row["key"]?.string ?? "")\(tag): \(failure)\(Terminal.firstLine(value, columns: 80))"
    }
}

struct EffectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "effect", abstract: "Runs a step once for a job, or forgets a recorded one.",
        subcommands: [EffectRunCommand.self, EffectRemoveCommand.self])
}

struct EffectRemoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Forgets what a step gave, so that it runs again when it is asked for.",
        discussion: "Exits with 1 when nothing is recorded under that name.")

    @OptionGroup var store: StoreArgument
    @Argument(help: "What the effect belongs to.", transform: Values.name)
    var scope: String
    @Argument(help: "The step.", transform: Values.name)
    var key: String

    func run() throws {
        let reply = try StoreAccess.with(store.directory) { access in
            try access.request("effect_remove") {
                $0.field("scope", scope)
                $0.field("key", key)
            }
        }
        guard reply["removed"]?.bool == true else {
            throw CommandFailure(
                "nothing is recorded under `\(key)` of `\(scope)`; holdfast effects shows what is",
                exitCode: CommandFailure.refusedCode)
        }
    }
}
