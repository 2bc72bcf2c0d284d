// Arguments that several commands share.

import ArgumentParser
import Holdfast

/// Where the store is.
struct StoreArgument: ParsableArguments {
    @Argument(help: ArgumentHelp("The store's directory.", valueName: "store"), completion: .directory)
    var directory: String
}

/// When in the store's past.
struct AsOfOption: ParsableArguments {
    @Option(
        name: .customLong("as-of"),
        help: ArgumentHelp(
            "As it was after this sequence number, or at this time, such as 2026-11-21T02:31:18Z, or 10m for ten "
                + "minutes ago.",
            valueName: "number|time"),
        transform: Values.moment)
    var moment: StoreMoment?
}

/// Which queue is meant.
struct QueueArgument: ParsableArguments {
    @Option(
        name: [.customShort("q"), .customLong("queue")], help: ArgumentHelp("The queue.", valueName: "name"),
        transform: Values.name)
    var name: String
}

/// Settings with which a command opens a store that it will own for long.
struct OpenOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "When a reply may leave: commit (it survives power loss), interval:MS, or none.", valueName: "mode"),
        transform: Values.durability)
    var durability: JobStoreOptions.Durability?

    @Option(
        help: ArgumentHelp("Write a checkpoint after each so many bytes of records.", valueName: "bytes"),
        transform: Values.count)
    var checkpointEvery: Int?

    @Option(
        help: ArgumentHelp("The size of a journal segment; 65536 at least.", valueName: "bytes"),
        transform: Values.number(JobStoreOptions.journalSegmentBytesMin...JobStoreOptions.journalSegmentBytesMax))
    var segmentBytes: Int?

    @Option(
        help: ArgumentHelp(
            "How much is kept of finished jobs: none, bytes:N (bytes:268435456), age:TIME, or unlimited.",
            valueName: "amount"),
        transform: Values.history)
    var history: JobStoreOptions.History?

    var storeOptions: JobStoreOptions {
        var options = JobStoreOptions()
        if let durability { options.durability = durability }
        if let checkpointEvery { options.checkpointEveryBytes = checkpointEvery }
        if let segmentBytes { options.journalSegmentBytes = segmentBytes }
        if let history { options.history = history }
        return options
    }
}
