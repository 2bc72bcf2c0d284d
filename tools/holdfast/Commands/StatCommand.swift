// `holdfast stat`: what a store holds, at a glance.

import ArgumentParser

struct StatCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stat",
        abstract: "Shows how many jobs are waiting, running and dead in each queue.",
        discussion: """
            Works on a store in use, a closed one and, up to the damage, one whose journal is damaged, and changes \
            nothing. \
            The bars show running ▓, ready █, scheduled ░ and dead × jobs.
            """)

    @OptionGroup var store: StoreArgument

    @OptionGroup var past: AsOfOption

    @Flag(help: "One JSON object, with the fields of the shell's operation stats.")
    var json = false

    func run() throws {
        try StorePath.requireStore(store.directory)
        let report = try StoreReport.of(store.directory, asOf: past.moment)
        if json {
            try Terminal.write(report.json)
        } else {
            for line in report.lines(of: store.directory) { try Terminal.print(line) }
        }
        if let damage = report.damage { throw CommandFailure(reading: store.directory, damage) }
    }
}
