// Arguments that several commands share, and how they are spelt.

import ArgumentParser
import Holdfast

/// A length of time: `250ms`, `30` or `30s`, `5m`, `2h`, `7d`.
struct TimeSpan: ExpressibleByArgument, Hashable, Sendable {
    let milliseconds: Int64

    init(seconds: Int64) { milliseconds = seconds * 1000 }

    init?(argument: String) {
        let digits = argument.prefix { $0.isASCII && $0.isNumber }
        let units: [String: Int64] = ["": 1000, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000]
        guard let number = Int64(digits), let unit = units[String(argument.dropFirst(digits.count))] else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: unit)
        if overflow { return nil }
        milliseconds = product
    }

    var duration: Duration { .milliseconds(milliseconds) }

    var defaultValueDescription: String {
        milliseconds.isMultiple(of: 1000) ? "\(milliseconds / 1000)s" : "\(milliseconds)ms"
    }
}

/// `commit`, `interval:MS` or `none`.
struct DurabilityArgument: ExpressibleByArgument {
    let value: JobStoreOptions.Durability

    init?(argument: String) {
        switch argument {
        case "commit": value = .commit
        case "none": value = .none
        default:
            guard argument.hasPrefix("interval:"), let milliseconds = Int(argument.dropFirst("interval:".count)),
                milliseconds > 0
            else { return nil }
            value = .interval(milliseconds: milliseconds)
        }
    }
}

/// `none`, `bytes:N` or `unlimited`.
struct HistoryArgument: ExpressibleByArgument {
    let value: JobStoreOptions.History

    init?(argument: String) {
        switch argument {
        case "none": value = .none
        case "unlimited": value = .unlimited
        default:
            guard argument.hasPrefix("bytes:"), let count = Int(argument.dropFirst("bytes:".count)), count >= 0
            else { return nil }
            value = .bytes(count)
        }
    }
}

/// Where the store is.
struct StoreArgument: ParsableArguments {
    @Argument(help: ArgumentHelp("The store's directory.", valueName: "store"), completion: .directory)
    var directory: String
}

/// Settings with which a command opens a store that it will own for long.
struct OpenOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "When a reply may leave: commit (it survives power loss), interval:MS, or none.", valueName: "mode"))
    var durability: DurabilityArgument?

    @Option(help: ArgumentHelp("Write a checkpoint after each so many bytes of records.", valueName: "bytes"))
    var checkpointEvery: Int?

    @Option(help: ArgumentHelp("The size of a journal segment; 65536 at least.", valueName: "bytes"))
    var segmentBytes: Int?

    @Option(
        help: ArgumentHelp(
            "How much is kept of finished jobs: none, bytes:N (bytes:268435456), or unlimited.", valueName: "amount"))
    var history: HistoryArgument?

    var storeOptions: JobStoreOptions {
        var options = JobStoreOptions()
        if let durability { options.durability = durability.value }
        if let checkpointEvery { options.checkpointEveryBytes = checkpointEvery }
        if let segmentBytes { options.journalSegmentBytes = segmentBytes }
        if let history { options.history = history.value }
        return options
    }
}
