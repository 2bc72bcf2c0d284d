// `holdfast verify`: is everything that was acknowledged still there?

import ArgumentParser
import Holdfast
import HoldfastLog

struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Checks every byte of a store that matters, and that the records make sense.",
        discussion: """
            Checks headers, checksums, the order of frames, indexes, the chain of sealed segments and checkpoints; \
            then that each record may follow the ones before it, and that replaying them gives the states that the \
            checkpoints hold. Works on a store in use, and changes nothing.

            Exit codes: 0 the store is sound; 4 it is damaged; 2 it can't be read.
            """)

    @OptionGroup var store: StoreArgument

    @Flag(help: "One JSON object.")
    var json = false

    func run() throws {
        try StorePath.requireStore(store.directory)
        let started = ContinuousClock.now
        let result: StoreVerification
        do throws(LogError) {
            result = try StoreVerification.run(store.directory)
        } catch {
            throw CommandFailure(reading: store.directory, error)
        }
        if json {
            try Terminal.write(result.json)
        } else {
            let log = result.log
            try Terminal.print(
                "\(Terminal.count(log.segments, "segment")), \(Terminal.count(log.frames, "frame")), "
                    + "\(Terminal.count(log.records, "record")), "
                    + "\(Terminal.count(log.checkpoints, "checkpoint")): "
                    + "\(Terminal.bytes(log.bytes)) in \(Terminal.duration(.now - started))"
            )
            for problem in result.problems {
                try Terminal.print("DAMAGED  \(LogMessage.plain(problem.message, store: store.directory))")
            }
            if result.problems.isEmpty { try Terminal.print("sound") }
        }
        guard result.problems.isEmpty else {
            let count = result.problems.count
            throw CommandFailure(
                "\(store.directory) is damaged in \(Terminal.count(count, "place")); "
                    + "restore it from a backup, or run: holdfast salvage \(store.directory) NEW",
                exitCode: CommandFailure.damagedCode)
        }
    }
}
