// A fork: a new store that holds another one's records up to some point, and goes on by itself. Backups and restores
// are forks, too. The source is read as any reader reads it, without its lock and beside a living owner, and is not
// changed.
//
//  1. The state at the moment: the newest checkpoint before it, and the records in between.
//  2. Sealed segments that end before the point are linked; records behind them are written into new ones.
//  3. The state is written twice; the oldest checkpoint from which the history can be replayed is taken over, so that
//     the new store can be forked at any point that the source could.
//  4. All of it is verified, byte for byte, and replayed to the same state.
//  5. The manifest makes it a store.
//
// A crash before 5 leaves a directory that is no store. What the owner has replaced meanwhile makes it start over.

internal import HoldfastBytes
internal import HoldfastEngine
package import HoldfastLog

/// Makes new stores out of others.
package struct StoreFork {
    private let source: LogReader
    private let records: FileRecords
    private let target: String
    private var state = QueueState()
    private var summary = ForkSummary()

    /// Makes a store at `target` that is what the one at `directory` was at `moment`, by default the newest.
    ///
    /// - Parameters:
    ///   - durable: What the source's owner says is durable, where the files may not say so yet.
    /// - Throws: `.beyondHistory` for a moment that can't be reached; `.notAStore` when there is no source or the
    ///   target is taken; `.corrupt` when anything of the source that is needed is damaged; `.noSpace`, `.ioFailed`.
    ///   There is no new store then, unless the last sync was what failed.
    @discardableResult
    package static func run(
        _ directory: String, to target: String, at moment: StoreMoment?, fileSystem: any FileSystem,
        durable: LogPosition = .zero
    ) throws(LogError) -> ForkSummary {
        try LogReader.compute(directory: directory, fileSystem: fileSystem) { (reader) throws(LogError) in
            var reader = reader
            reader.knownDurable = durable
            var fork = StoreFork(source: reader, target: target)
            try fork.findState(at: moment)
            return try fork.build()
        }
    }

    private init(source: LogReader, target: String) {
        self.source = source
        records = FileRecords(source)
        self.target = target
    }

    // MARK: - The state

    private mutating func findState(at moment: StoreMoment?) throws(LogError) {
        let last = try records.lastSequence()
        let moment = moment ?? .sequence(last)
        switch try PastReplay(records, last: last).state(asOf: moment) {
        case .found(let found): state = found
        case .dropped(let oldest):
            let remedy = oldest.map { "the oldest sequence number available is \($0)" } ?? "none is available"
            throw LogError(
                .beyondHistory,
                "the history that \(source.layout.root) keeps does not reach back to \(moment.words): \(remedy)",
                sequences: oldest.map { $0...SequenceNumber.max })
        case .future(let last):
            throw LogError(
                .beyondHistory, "\(source.layout.root) holds no record for \(moment.words) yet: its newest is \(last)")
        }
        summary.sequence = state.lastSequence
        summary.time = state.latestTime
    }

    // MARK: - The new store

    private mutating func build() throws(LogError) -> ForkSummary {
        var writer = try NewStoreWriter(
            directory: target, fileSystem: source.fileSystem, continuing: source.manifest,
            through: state.lastSequence)
        do throws(LogError) {
            let ancestors = try addSegments(to: &writer)
            try addCheckpoints(to: &writer)
            let fork = try writer.complete(
                reserved: max(source.manifest.reserved, state.lastSequence.next),
                compactedThrough: source.manifest.compactedThrough, ancestors: ancestors)
            summary.writtenBytes = writer.writtenBytes
            try verify(fork)
        } catch {
            writer.giveUp()
            throw error
        }
        try writer.install()
        return summary
    }

    /// Returns whose segments the new store may hold.
    private mutating func addSegments(to writer: inout NewStoreWriter) throws(LogError) -> [Manifest.Ancestor] {
        let last = state.lastSequence
        var owners: Set<StoreIdentity> = []
        var rest: [SegmentSource] = []
        for segment in source.manifest.sealed where segment.firstSequence <= last {
            let (file, _) = try source.sealedSource(segment)
            guard segment.lastSequence <= last else {
                rest.append(file)
                continue
            }
            owners.insert(file.header.store)
            if try writer.adopt(segment, from: file.path) {
                summary.linkedSegments += 1
                summary.linkedBytes += segment.bytes
            }
        }
        rest += source.journalSources
        var reached = source.manifest.sealed.last { $0.lastSequence <= last }?.lastSequence ?? .zero
        for file in rest {
            try file.forEachFrame(source.fileSystem) { (frame) throws(LogError) in
                guard frame.header.recordCount > 0 else { return true }
                guard frame.header.firstSequence <= last else { return false }
                return try frame.forEachEntry(file: file.name) { (entry, time) throws(LogError) in
                    guard entry.sequence <= last else { return false }
                    guard entry.sequence > reached else { return true }
                    reached = entry.sequence
                    let record = try Record(checking: entry.sequence, kind: entry.kind, body: entry.body)
                    try writer.append(entry, time: time, key: record?.mutation.job(entry.sequence)?.rawValue)
                    return true
                }
            }
        }
        return source.manifest.ancestors(ofFork: last, owning: owners)
    }

    private func addCheckpoints(to writer: inout NewStoreWriter) throws(LogError) {
        if source.manifest.compactedThrough > .zero {
            let oldest = try records.oldestState()
            if oldest.lastSequence < state.lastSequence {
                var image = ByteWriter()
                oldest.encodeImage(into: &image)
                try writer.addCheckpoint(oldest.lastSequence, image: image.bytes, copies: 1)
            }
        }
        guard state.lastSequence > .zero else { return }
        var image = ByteWriter()
        state.encodeImage(into: &image)
        try writer.addCheckpoint(state.lastSequence, image: image.bytes, copies: 2)
    }

    /// Reads all of the new store, and replays it.
    private mutating func verify(_ fork: LogReader) throws(LogError) {
        var fork = fork
        var replayed = try FileRecords(fork).oldestState()
        let result = fork.verify(progress: { _, _ in }) { (entry, _) throws(LogError) in
            guard entry.sequence > replayed.lastSequence else { return }
            try replayed.replay(entry)
        }
        if let problem = result.problems.first { throw problem }
        let isSame = replayed.digest(withCursors: true) == state.digest(withCursors: true)
        guard replayed.lastSequence == state.lastSequence, isSame else {
            throw LogError(
                .corrupt,
                "the records up to \(state.lastSequence) give another state than the checkpoints of "
                    + "\(source.layout.root): run: holdfast verify \(source.layout.root)")
        }
        summary.records = result.records
    }
}
