// `holdfast tail`: records as they come.

import ArgumentParser
import Holdfast
import HoldfastLog

struct TailCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tail",
        abstract: "Prints records as they are added, until interrupted.",
        discussion: """
            Works beside the store's owner, without one, and while owners come and go, and changes nothing. It shows \
            what is known to be durable, each record once. To go on where an earlier run left off, give the number \
            after the last one it printed:

              holdfast tail /tmp/store
              holdfast tail /tmp/store --from 4712 --json | jq -r .kind

            Where compaction has dropped records that were to be shown, it says so on standard error, and goes on with \
            those that are left.
            """)

    @OptionGroup var store: StoreArgument

    @Option(
        help: ArgumentHelp(
            "Where to begin: now, oldest, or a sequence number.", valueName: "now|oldest|number"),
        transform: Start.init(argument:))
    var from = Start.now

    @Flag(help: "One JSON object a line.")
    var json = false

    /// Where to begin.
    enum Start: Hashable {
        case now, oldest
        case number(UInt64)

        init(argument text: String) throws {
            switch text {
            case "now": self = .now
            case "oldest": self = .oldest
            default:
                guard let number = try? Values.sequence(text) else {
                    throw ValidationError("give now, oldest, or a sequence number")
                }
                self = .number(number)
            }
        }
    }

    /// How often it looks for more.
    static let pauseMilliseconds = 200

    func run() throws {
        let path = store.directory
        try StorePath.requireStore(path)
        do {
            let reader = try LogReader.open(directory: path, fileSystem: POSIXFileSystem())
            let first: SequenceNumber =
                switch from {
                case .now: try FileRecords(reader).lastSequence().next
                case .oldest: reader.manifest.compactedThrough.next
                case .number(let number): SequenceNumber(max(number, 1))
                }
            try follow(from: first)
        } catch let error as LogError {
            throw CommandFailure(reading: path, error)
        }
    }

    /// Prints records until nobody reads them.
    private func follow(from first: SequenceNumber) throws {
        var dump = RecordDump(
            filter: RecordFilter(sequences: first...SequenceNumber.max), format: json ? .json : .text,
            showsPayloads: false)
        var attempts = 0
        var reported = SequenceNumber.zero
        while true {
            var reader = try LogReader.open(directory: store.directory, fileSystem: POSIXFileSystem())
            // Going on with a new manifest inside a pass would hide what the new one says was dropped.
            reader.followsOwner = false
            let dropped = reader.manifest.compactedThrough
            if dropped >= dump.nextSequence, dropped > reported {
                Descriptor.standardError.writeText(
                    "holdfast: compaction has dropped some of the records \(dump.nextSequence) to \(dropped); what is "
                        + "left of them follows\n")
                reported = dropped
            }
            let next = dump.nextSequence
            do throws(LogError) {
                try dump.printRecords(of: .store(reader))
            } catch {
                attempts = dump.nextSequence > next ? 1 : attempts + 1
                let now = try LogReader.open(directory: store.directory, fileSystem: POSIXFileSystem())
                guard attempts < LogReader.attemptsMax, now.manifest != reader.manifest else {
                    dump.flush()
                    throw error
                }
                continue
            }
            attempts = 0
            dump.flush()
            if let failure = dump.failure { throw failure }
            if dump.isOver { return }
            try failing { try Poll.wait(for: [], milliseconds: Self.pauseMilliseconds) }
        }
    }
}
