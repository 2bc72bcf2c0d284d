// `holdfast verify`: is everything that was acknowledged still there?

import ArgumentParser
import Holdfast
import HoldfastBytes
import HoldfastLog

struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Checks every byte of a store that matters, and that the records make sense.",
        discussion: """
            Checks headers, checksums, the order of frames, indexes, the chain of sealed segments and checkpoints; \
            then that each record may follow the ones before it, and that replaying them gives the states that the \
            checkpoints hold. Works on a store in use, and changes nothing.

            With --expect it also proves, from the records, that the log up to a published head is what was \
            published, and says which records that is so of: compaction may have dropped older ones.

            Exit codes: 0 the store is sound, and every record that is left up to each head is proved; 4 it is \
            damaged; 1 it is sound, but not what was published; 5 it is sound, but a head, or a record that was kept \
            when those around it were dropped, can't be proved (any more); 2 it can't be read.
            """)

    @OptionGroup var store: StoreArgument

    @Option(
        name: .customLong("expect"),
        help: ArgumentHelp(
            "A published head, as `audit-head` printed it; may be given several times.", valueName: "seq:hash"),
        transform: Values.auditHead)
    var heads: [AuditHead] = []

    @OptionGroup var keyFile: KeyFileOption

    @Flag(help: "One JSON object.")
    var json = false

    func run() throws {
        try StorePath.requireStore(store.directory)
        let key = try keyFile.key()
        let started = ContinuousClock.now
        let result: StoreVerification
        do throws(LogError) {
            result = try StoreVerification.run(store.directory, expecting: heads, key: key)
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
                    + "\(Terminal.bytes(log.bytes)) in \((.now - started).words)"
            )
            for problem in result.problems {
                try Terminal.print("DAMAGED  \(LogMessage.plain(problem.message, store: store.directory))")
            }
            if result.problems.isEmpty { try Terminal.print("sound") }
            for finding in log.audits { try Terminal.print(finding.line) }
        }
        try judge(result)
    }

    /// Ends with what is worst.
    private func judge(_ result: StoreVerification) throws {
        guard result.problems.isEmpty else {
            let count = result.problems.count
            throw CommandFailure(
                "\(store.directory) is damaged in \(Terminal.count(count, "place")); "
                    + "restore it from a backup, or run: holdfast salvage \(store.directory) NEW",
                exitCode: CommandFailure.damagedCode)
        }
        let audits = result.log.audits
        if audits.contains(where: \.isContradicted) {
            throw CommandFailure(
                "\(store.directory) is sound, but not what was published: its records were changed, or the head or the "
                    + "key is another store's; compare it with a backup from before")
        }
        if !audits.allSatisfy(\.isWhollyProved) {
            throw CommandFailure(
                "\(store.directory) is sound, but not all of it can be proved, as is said above",
                exitCode: CommandFailure.unprovedCode)
        }
    }
}
