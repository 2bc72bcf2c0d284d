// `holdfast tail`: records as they come.

import ArgumentParser
import Holdfast
import HoldfastLog

struct TailCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tail",
        abstract: "Prints records as they are added, until interrupted.",
        discussion: """
            Works beside the store's owner, without one, and while owners come and go, and changes nothing \
            without --cursor. It shows what is known to be durable, each record once. To go on where an earlier run \
            left off, give the number after the last one it printed:

              holdfast tail /tmp/store
              holdfast tail /tmp/store --from 4712 --json | jq -r .kind

            With --cursor the store remembers what was printed, and the next run of that name goes on behind it; \
            what it has not printed is not dropped, within the cursor's limits:

              holdfast tail /tmp/store --cursor mailer --from oldest --json | deliver

            Without a cursor, where compaction has dropped records that were to be shown, it says so on standard \
            error, and goes on with those that are left.
            """)

    @OptionGroup var store: StoreArgument

    @Option(
        help: ArgumentHelp(
            "Where to begin, or a new cursor: now, oldest, or a sequence number.", valueName: "now|oldest|number"),
        transform: Start.init(argument:))
    var from = Start.now

    @Flag(help: "One JSON object a line.")
    var json = false

    @Option(
        help: ArgumentHelp("Go by this cursor, and make it if it is not there.", valueName: "name"),
        transform: Values.name)
    var cursor: String?

    @Option(
        help: ArgumentHelp(
            "What a new cursor keeps for its consumer at most: bytes of records (268435456).", valueName: "bytes"),
        transform: Values.count)
    var bytesCap: Int?

    @Option(
        help: ArgumentHelp("What a new cursor keeps for its consumer at most: records so old (7d).", valueName: "time"),
        transform: Values.time)
    var ageCap: TimeSpan?

    func validate() throws {
        guard cursor == nil, bytesCap != nil || ageCap != nil else { return }
        throw ValidationError("--bytes-cap and --age-cap go with --cursor; leave them out")
    }

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
            if let cursor {
                return try follow(
                    TailCursor(path, name: cursor, from: from, bytesCap: bytesCap, ageCap: ageCap))
            }
            let reader = try LogReader.open(directory: path, fileSystem: POSIXFileSystem())
            let first: SequenceNumber =
                switch from {
                case .now: try FileRecords(reader).lastSequence().next
                case .oldest: reader.manifest.compactedThrough.next
                case .number(let number): SequenceNumber(max(number, 1))
                }
            try follow(nil, from: first)
        } catch let error as LogError {
            throw CommandFailure(reading: path, error)
        }
    }

    /// Prints records until nobody reads them.
    private func follow(_ cursor: TailCursor?, from start: SequenceNumber = .zero) throws {
        var cursor = cursor
        let first = cursor?.next ?? start
        var dump = RecordDump(
            filter: RecordFilter(sequences: first...SequenceNumber.max), format: json ? .json : .text,
            showsPayloads: false, isForCursor: cursor != nil)
        var attempts = 0
        var reported = SequenceNumber.zero
        while true {
            var reader = try LogReader.open(directory: store.directory, fileSystem: POSIXFileSystem())
            // Going on with a new manifest inside a pass would hide what the new one says was dropped.
            reader.followsOwner = false
            let dropped = reader.manifest.compactedThrough
            if dropped >= dump.nextSequence, let known = cursor {
                // Records about cursors may go; anything else that is gone is told by whoever knows the cursor.
                cursor = try TailCursor(known.directory, name: known.name, from: from, bytesCap: nil, ageCap: nil)
                dump.skip(to: cursor?.next ?? .zero)
            } else if dropped >= dump.nextSequence, dropped > reported {
                Descriptor.standardError.writeText(
                    "holdfast: compaction has dropped some of the records \(dump.nextSequence) to \(dropped); what is "
                        + "left of them follows\n")
                reported = dropped
            }
            let (next, written) = (dump.nextSequence, dump.writtenBytes)
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
            let isMore = dump.writtenBytes > written
            dump.flush()
            if let failure = dump.failure { throw failure }
            if dump.isOver { return }
            if dump.writtenBytes > written { try cursor?.commit(dump.nextSequence) }
            if cursor != nil, isMore { continue }
            try failing { try Poll.wait(for: [], milliseconds: Self.pauseMilliseconds) }
        }
    }
}
