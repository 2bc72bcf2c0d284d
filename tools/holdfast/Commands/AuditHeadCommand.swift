// `holdfast audit-head`: one line to publish, against which `verify --expect` proves the log later.

import ArgumentParser
import Holdfast
import HoldfastBytes
import HoldfastLog

struct AuditHeadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit-head",
        abstract: "Prints the head of the audit chain, to be published.",
        discussion: """
            The head is SEQ:HASH: a hash over every record up to SEQ, in order. Keep it where whoever can change the \
            store's files can't change it; `holdfast verify --expect SEQ:HASH` proves later that the records up to \
            there are the same, however they were sealed, compressed, moved or forked meanwhile.

            Works on a store in use, and changes nothing. Beside an owner the head is that of what the files show to \
            be durable: all that was answered up to some milliseconds before.
            """)

    @OptionGroup var store: StoreArgument
    @OptionGroup var keyFile: KeyFileOption

    @Flag(help: "One JSON object.")
    var json = false

    func run() throws {
        try StorePath.requireStore(store.directory)
        let key = try keyFile.key()
        let head: AuditHead
        do throws(LogError) {
            head = try LogReader.compute(directory: store.directory, fileSystem: POSIXFileSystem()) {
                (reader) throws(LogError) in try reader.auditHead(key: key)
            }
        } catch {
            throw CommandFailure(reading: store.directory, error)
        }
        guard json else { return try Terminal.print(head.description) }
        var writer = JSONWriter()
        writer.beginObject()
        writer.field("seq", head.sequence.rawValue)
        writer.field("hash", head.hexadecimal)
        writer.field("head", head.description)
        writer.field("authenticated", key != nil)
        writer.endObject()
        writer.endLine()
        try Terminal.write(writer.bytes)
    }
}

/// Where the secret is with which heads are authenticated. It is in a file, so that no list of processes shows it.
struct KeyFileOption: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The file with the key of authenticated heads: 16 to 4096 bytes, all of which count.", valueName: "file"),
        completion: .file())
    var keyFile: String?

    /// Reads the key, if one was named.
    func key() throws(CommandFailure) -> AuditKey? {
        guard let keyFile else { return nil }
        let range = AuditKey.byteCounts
        do throws(IOFailure) {
            let file = try POSIXFileSystem().open(keyFile, .read)
            defer { file.close() }
            // One more than may be: what is longer shows.
            var bytes = [UInt8](repeating: 0, count: range.upperBound + 1)
            let count = try file.read(into: &bytes, at: 0)
            if range.contains(count) { return AuditKey(Array(bytes[..<count])) }
        } catch {
            throw CommandFailure("could not read the key file \(keyFile): \(error.reason); check its path and mode")
        }
        throw CommandFailure(
            "the key file \(keyFile) must hold \(range.lowerBound) to \(range.upperBound) bytes; make one: "
                + "head -c 32 /dev/urandom > \(keyFile)", exitCode: CommandFailure.usageCode)
    }
}
