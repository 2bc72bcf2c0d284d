// `holdfast salvage`: what is left of a damaged store, as a store that opens.

import ArgumentParser
import Holdfast
import HoldfastLog

struct SalvageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "salvage",
        abstract: "Copies everything that verifies from a damaged store into a new one.",
        discussion: """
            Reads every file of the damaged store and changes none, also without a MANIFEST. The new store has the \
            same jobs under the same ids, and running jobs keep their leases. Says which records and jobs are lost, \
            and where the damage is. Restore a backup instead where there is one that is recent enough.

            Exit codes: 0 nothing was lost; 1 something was; 2 it could not be done.
            """)

    @Argument(help: ArgumentHelp("The damaged store's directory.", valueName: "damaged"), completion: .directory)
    var damaged: String

    @Argument(
        help: ArgumentHelp("Where the new store goes; nothing, or an empty directory.", valueName: "new"),
        completion: .directory)
    var target: String

    @Flag(help: "One JSON object.")
    var json = false

    func run() throws {
        try requirePaths()
        let result: StoreSalvage
        do throws(LogError) {
            result = try StoreSalvage.run(damaged, into: target)
        } catch {
            throw CommandFailure(
                "could not salvage \(damaged): \(LogMessage.plain(error.message))",
                exitCode: CommandFailure.notOpenedCode)
        }
        if json {
            try Terminal.write(result.json)
        } else {
            for line in result.lines(of: damaged, into: target) { try Terminal.print(line) }
        }
        guard result.isComplete else {
            throw CommandFailure("not everything in \(damaged) could be kept", exitCode: CommandFailure.refusedCode)
        }
    }

    /// Refuses what is no directory, and a place for the new store that is taken or inside the damaged one.
    private func requirePaths() throws(CommandFailure) {
        let sentence: String
        switch try StorePath.examine(damaged) {
        case .missing, .empty, .file: sentence = "there is no store at \(damaged); check the path"
        case .store, .withoutManifest, .foreign:
            return try StorePath.requireFree(target, outside: damaged)
        }
        throw CommandFailure(sentence, exitCode: CommandFailure.notOpenedCode)
    }
}
