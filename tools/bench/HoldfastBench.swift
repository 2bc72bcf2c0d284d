// Measures stores: one subcommand a kind of measurement.

import ArgumentParser

@main
struct HoldfastBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "holdfast-bench",
        abstract: "Measures what a store does on this machine's disk.",
        subcommands: [
            RunBench.self, LoadBench.self, CurvesBench.self, MicroBench.self, ChurnBench.self, BacklogBench.self,
            CommandBench.self,
        ],
        defaultSubcommand: RunBench.self)
}
