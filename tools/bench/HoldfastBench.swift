// Measures stores: one subcommand a kind of measurement.

import ArgumentParser

@main
struct HoldfastBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "holdfast-bench", abstract: "Measures stores.",
        subcommands: [CommitBench.self, BacklogBench.self, BacklogChild.self], defaultSubcommand: CommitBench.self)
}
