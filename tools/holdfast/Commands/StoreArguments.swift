// Arguments that several commands share.

import ArgumentParser
import Holdfast
import HoldfastEngine

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

/// Queues to take jobs from.
struct QueuesArgument: ParsableArguments {
    /// One of them.
    struct Queue: Sendable {
        let name: String
        let weight: Int?
    }

    @Option(
        name: [.customShort("q"), .customLong("queue")],
        help: ArgumentHelp(
            "The queue. Of several, earlier ones come first; with weights, as mail=3, they share.",
            valueName: "name[=weight]"),
        transform: Values.queue)
    var list: [Queue]

    /// Their names.
    var names: [String] { list.map(\.name) }
    /// Their weights; none where earlier ones come first.
    var weights: [Int] { list.contains { $0.weight != nil } ? list.map { $0.weight ?? 1 } : [] }
    /// Why they can't be shared; `nil` when they can.
    var refusal: String? {
        if names.count > LeaseTurns.queuesMax { return "give \(LeaseTurns.queuesMax) queues at most" }
        let isTwice = Set(names.map { Array($0.utf8) }).count < names.count
        return isTwice ? "a queue is named twice; give each once, with one weight" : nil
    }
    /// Which they are, for people.
    var text: String { names.joined(separator: ", ") }
}

/// Which jobs are meant by what they say of themselves.
struct LabelOptions: ParsableArguments {
    @Option(
        name: [.customLong("label")],
        help: ArgumentHelp("Only jobs with this label; may be repeated.", valueName: "name=value"),
        transform: Values.header)
    var labels: [JobHeader] = []

    @Option(help: ArgumentHelp("Only jobs that belong to this owner.", valueName: "name"), transform: Values.name)
    var owner: String?

    /// Whether nothing is asked for.
    var isEmpty: Bool { labels.isEmpty && owner == nil }

    /// Writes what is asked for as fields of a request.
    func write(to writer: inout JSONWriter) {
        if !labels.isEmpty { writer.field("labels", labels: Values.labels(labels)) }
        if let owner { writer.field("owner", owner) }
    }
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
