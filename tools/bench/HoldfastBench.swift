// Measures stores: one subcommand a kind of measurement.

import ArgumentParser

@main
struct HoldfastBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "holdfast-bench",
        abstract: "Measures what a store does on this machine's disk.",
        subcommands: [SpeedBench.self, ChurnBench.self, BacklogBench.self, BacklogChild.self],
        defaultSubcommand: SpeedBench.self)
}
