// Where records of the past are read from: the log of an open store, or the files of one that somebody else may own.
// Neither keeps what it reads from being rewritten meanwhile; `PastReplay` notices and begins anew.

package import HoldfastBytes
package import HoldfastEngine
package import HoldfastLog

/// Reads the records and images that a store still holds.
package protocol PastRecords: Sendable {
    /// What the store consists of now.
    var manifest: Manifest { get }
    /// Returns the record at `sequence`, or `nil` when it is not there (any more).
    func record(_ sequence: SequenceNumber) throws(LogError) -> Record?
    /// Returns the records of a job up to and including `last`, oldest first.
    func records(of job: JobID, through last: SequenceNumber) throws(LogError) -> [Record]
    /// Calls `body` with each entry after `first` up to `last`, each once, until it returns false.
    func forEachEntry(
        after first: SequenceNumber, through last: SequenceNumber,
        _ body: (borrowing EntryView) throws(LogError) -> Bool
    ) throws(LogError)
    /// Reads the image of a checkpoint that `manifest` names.
    func image(of checkpoint: Manifest.Checkpoint) throws(LogError) -> ArraySlice<UInt8>
    /// Returns a sequence number up to which no record is later than `time`, near to the last such one.
    func sequence(through time: Timestamp) throws(LogError) -> SequenceNumber
}

/// Reads from the log of an open store.
struct LogRecords: PastRecords {
    let log: WriteAheadLog

    var manifest: Manifest { log.currentManifest }

    func record(_ sequence: SequenceNumber) throws(LogError) -> Record? {
        guard let entry = try log.entry(sequence) else { return nil }
        return try decoded(entry)
    }

    /// As `record`, without reading a file.
    func recordAtHand(_ sequence: SequenceNumber) throws(LogError) -> Record? {
        guard let entry = log.entryAtHand(sequence) else { return nil }
        return try decoded(entry)
    }

    func records(of job: JobID, through last: SequenceNumber) throws(LogError) -> [Record] {
        try records(of: job, from: job.sequence, through: last)
    }

    /// Returns the records of a job from `first` up to and including `last`, oldest first.
    func records(
        of job: JobID, from first: SequenceNumber, through last: SequenceNumber
    ) throws(LogError) -> [Record] {
        guard job.rawValue > 0, first <= last else { return [] }
        var result: [Record] = []
        for entry in try log.entries(key: job.rawValue, from: first) {
            guard entry.sequence <= last else { break }
            if let record = try decoded(entry) { result.append(record) }
        }
        return result
    }

    func forEachEntry(
        after first: SequenceNumber, through last: SequenceNumber,
        _ body: (borrowing EntryView) throws(LogError) -> Bool
    ) throws(LogError) {
        var position = first
        var failures = 0
        while position < last {
            let start = position
            do throws(LogError) {
                try log.forEachEntry(after: start) { (entry, _) throws(LogError) in
                    guard entry.sequence <= last else { return false }
                    let goesOn = try body(entry)
                    position = entry.sequence
                    return goesOn && position < last
                }
                return
            } catch {
                // A segment may have been recycled or rewritten while it was read; damage stays, that passes.
                failures = position > start ? 0 : failures + 1
                if failures == Self.readAttemptsMax { throw error }
            }
        }
    }

    func image(of checkpoint: Manifest.Checkpoint) throws(LogError) -> ArraySlice<UInt8> {
        try log.image(of: checkpoint)
    }

    func sequence(through time: Timestamp) throws(LogError) -> SequenceNumber { try log.sequence(through: time) }

    private static let readAttemptsMax = 4

    private func decoded(_ entry: StoredEntry) throws(LogError) -> Record? {
        try Record(checking: entry.sequence, kind: entry.kind, body: entry.body.span)
    }
}

/// Reads from the files of a store, as a reader found them.
package struct FileRecords: PastRecords {
    /// What it reads from.
    package let reader: LogReader

    /// Reads what `reader` shows.
    package init(_ reader: LogReader) { self.reader = reader }

    package var manifest: Manifest { reader.manifest }

    /// The sequence number of the last record.
    ///
    /// - Throws: `.corrupt` at the first damage behind the sealed segments.
    package func lastSequence() throws(LogError) -> SequenceNumber {
        let (last, damage) = try soundEnd()
        if let damage { throw damage }
        return last
    }

    /// The sequence number of the last record before the first damage behind the sealed segments, and that damage.
    ///
    /// - Throws: `.ioFailed`; `.corrupt` when the owner has replaced files since they were found, so that what was read
    ///   looks like damage: `LogReader.compute` begins anew then.
    package func soundEnd() throws(LogError) -> (last: SequenceNumber, damage: LogError?) {
        // Compaction may have left no record at all, but then an image.
        var last = max(manifest.sealed.last?.lastSequence ?? .zero, manifest.checkpoints.first?.sequence ?? .zero)
        var reader = reader
        do throws(LogError) {
            try reader.forEachFrame(from: last.next) { (_, frame) throws(LogError) in
                let header = frame.header
                // What is read is a journal: numbers are left out in sealed segments only.
                if header.recordCount > 0 {
                    last = max(last, SequenceNumber(header.firstSequence.rawValue + UInt64(header.recordCount) - 1))
                }
                return true
            }
        } catch {
            guard error.code == .corrupt, try reader.isUpToDate() else { throw error }
            return (last, error)
        }
        return (last, nil)
    }

    package func record(_ sequence: SequenceNumber) throws(LogError) -> Record? {
        guard sequence > .zero else { return nil }
        var found: Record?
        try forEachEntry(after: SequenceNumber(sequence.rawValue - 1), through: sequence) { (entry) throws(LogError) in
            found = try Record(checking: entry.sequence, kind: entry.kind, body: entry.body)
            return false
        }
        return found
    }

    package func records(of job: JobID, through last: SequenceNumber) throws(LogError) -> [Record] {
        guard job.rawValue > 0, job.sequence <= last else { return [] }
        var result: [Record] = []
        let before = SequenceNumber(job.rawValue - 1)
        try forEachEntry(after: before, through: last) { (entry) throws(LogError) in
            let record = try Record(checking: entry.sequence, kind: entry.kind, body: entry.body)
            if let record, record.mutation.job(record.sequence) == job { result.append(record) }
            return true
        }
        return result
    }

    package func forEachEntry(
        after first: SequenceNumber, through last: SequenceNumber,
        _ body: (borrowing EntryView) throws(LogError) -> Bool
    ) throws(LogError) {
        guard first < last else { return }
        var position = first
        var reader = reader
        try reader.forEachFrame(from: first.next) { (source, frame) throws(LogError) in
            guard frame.header.recordCount > 0 else { return true }
            return try frame.forEachEntry(file: source.name) { (entry, _) throws(LogError) in
                guard entry.sequence > position else { return true }
                guard entry.sequence <= last else { return false }
                position = entry.sequence
                // What stands behind the last one is not looked at: it may be damaged.
                return try body(entry) && position < last
            }
        }
    }

    package func image(of checkpoint: Manifest.Checkpoint) throws(LogError) -> ArraySlice<UInt8> {
        try CheckpointFile.read(
            checkpoint, layout: reader.layout, fileSystem: reader.fileSystem, store: manifest.store
        ).image
    }

    package func sequence(through time: Timestamp) throws(LogError) -> SequenceNumber {
        try manifest.sequence(through: time) { (segment) throws(LogError) in try reader.sealedSource(segment).seal }
    }
}
