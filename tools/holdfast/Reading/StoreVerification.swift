// Verification beyond bytes: the records, replayed, must be legal and must give the states that the checkpoints hold.

import Holdfast
import HoldfastBytes
import HoldfastEngine
import HoldfastLog

/// The result of checking a store.
struct StoreVerification {
    /// What the log layer counted and found.
    private(set) var log = LogVerification()
    /// What is wrong with the records or the checkpoints' states.
    private var stateProblems: [LogError] = []

    var problems: [LogError] { log.problems + stateProblems }

    /// Checks the store at `directory`.
    ///
    /// - Parameters:
    ///   - heads: Published heads that the log must prove.
    ///   - key: That with which they were made, if any.
    /// - Throws: When there is nothing to check: no store, or its manifest can't be read.
    static func run(
        _ directory: String, expecting heads: [AuditHead] = [], key: AuditKey? = nil
    ) throws(LogError) -> StoreVerification {
        var attempts = 0
        while true {
            let reader = try LogReader.open(directory: directory, fileSystem: POSIXFileSystem())
            let result = check(reader, expecting: heads, key: key)
            attempts += 1
            if result.problems.isEmpty { return result }
            // What the owner has replaced meanwhile is not damaged, but then not all was checked either.
            let now = try LogReader.open(directory: directory, fileSystem: POSIXFileSystem())
            if now.manifest == reader.manifest { return result }
            var kept = result
            kept.log.problems.removeAll { problem in
                !(problem.file.map { now.keeps($0, of: reader.manifest) } ?? false)
            }
            kept.stateProblems.removeAll()
            if !kept.problems.isEmpty { return kept }
            // An owner that is always faster: what it left in place is sound, the rest was replaced before it was read.
            if attempts == LogReader.attemptsMax {
                kept.log.audits = kept.log.audits.map { finding in
                    guard finding.verdict == .damaged else { return finding }
                    return AuditFinding(head: finding.head, verdict: .replaced, unproved: finding.unproved)
                }
                return kept
            }
        }
    }

    private static func check(
        _ reader: LogReader, expecting heads: [AuditHead], key: AuditKey?
    ) -> StoreVerification {
        var reader = reader
        var result = StoreVerification()
        var replay = Replay(FileRecords(reader))
        var progress = ProgressLine()
        result.log = reader.verify(expecting: heads, key: key) { done, total in
            progress.update("\(Terminal.bytes(done)) of \(Terminal.bytes(total))")
        } _: { (entry, _) throws(LogError) in
            try replay.take(entry)
        }
        progress.clear()
        // Records that can't be read leave a gap: what follows would be reported as illegal for no fault of its own.
        if result.log.problems.isEmpty { result.stateProblems = replay.finish() }
        return result
    }

    /// Replays records and compares with each checkpoint that is passed.
    private struct Replay {
        private var state: QueueState?
        private let records: FileRecords
        /// Oldest first.
        private var ahead: [Manifest.Checkpoint]
        private var problems: [LogError] = []

        init(_ records: FileRecords) {
            self.records = records
            ahead = records.manifest.replayBases.reversed()
            do throws(LogError) { state = try records.oldestState() } catch { problems.append(error) }
            if records.manifest.compactedThrough > .zero, !ahead.isEmpty { ahead.removeFirst() }
        }

        mutating func take(_ entry: borrowing EntryView) throws(LogError) {
            guard let last = state?.lastSequence, entry.sequence > last else { return }
            while let checkpoint = ahead.first, checkpoint.sequence < entry.sequence { compare(checkpoint) }
            // Taken out and put back, so that it is changed in place; after an illegal record it is gone.
            guard var current = state.take() else { return }
            do throws(LogError) {
                try current.replay(entry)
                state = current
            } catch {
                problems.append(error)
            }
        }

        mutating func finish() -> [LogError] {
            while let checkpoint = ahead.first, let last = state?.lastSequence, checkpoint.sequence <= last {
                compare(checkpoint)
            }
            return problems
        }

        private mutating func compare(_ checkpoint: Manifest.Checkpoint) {
            ahead.removeFirst()
            guard let state else { return }
            do throws(LogError) {
                let found = try records.state(at: checkpoint).digest(withCursors: true)
                guard found != state.digest(withCursors: true) else { return }
                let name = records.reader.layout.relative(records.reader.layout.path(checkpoint, copy: 0))
                throw LogError(
                    .corrupt, "\(name) holds another state than the records up to \(checkpoint.sequence) give",
                    file: name, offset: 0)
            } catch {
                problems.append(error)
            }
        }
    }

    // MARK: - Output

    var json: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.field("sound", problems.isEmpty)
        writer.field("segments", log.segments)
        writer.field("frames", log.frames)
        writer.field("records", log.records)
        writer.field("checkpoints", log.checkpoints)
        writer.field("bytes", log.bytes)
        writer.field("problems", objects: problems) { problem, writer in
            writer.field("message", LogMessage.plain(problem.message))
            writer.field("file", optional: problem.file)
            writer.key("offset")
            if let offset = problem.offset { writer.value(offset) } else { writer.null() }
        }
        writer.field("audits", objects: log.audits) { $0.writeFields(to: &$1) }
        writer.endObject()
        writer.endLine()
        return writer.bytes
    }
}
