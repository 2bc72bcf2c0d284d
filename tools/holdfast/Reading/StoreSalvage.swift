// Salvage: the newest state that can be read, the intact records after it as far as each may follow the ones before,
// and every intact record before it, written as a new store. Sequence numbers, and with them ids and tokens, stay.

import Holdfast
import HoldfastBytes
import HoldfastEngine
import HoldfastLog

/// What a salvage kept and what it had to leave.
struct StoreSalvage {
    /// A record that is intact and makes no sense without what is lost.
    struct Dropped {
        let sequence: SequenceNumber
        let kind: String
        let job: JobID?
        let reason: String
    }

    struct LostJob {
        let id: JobID
        /// `nil` when no record that is left names it.
        var queue: String?
    }

    private(set) var places: [DamagedPlace] = []
    private(set) var lost: [ClosedRange<UInt64>] = []
    private(set) var lostJobs: [LostJob] = []
    private(set) var lostEffects: [ForgottenContent.EffectName] = []
    private(set) var lostNotes = 0
    /// Jobs that waited for others of which nothing is left: nobody knows whether they may run.
    private(set) var heldJobs: [JobID] = []
    private(set) var dropped: [Dropped] = []
    private(set) var recordsKept = 0
    private(set) var jobsKept = 0
    private(set) var leasesKept = 0
    /// The checkpoint that the state was built on.
    private(set) var base: SequenceNumber?

    private var state = QueueState()
    private var kept = SequenceBitmap()
    /// Jobs whose enqueue record is not among the kept ones, as dropped records tell of them; nil once they ended.
    private var evidence: [JobID: String?] = [:]

    var isComplete: Bool {
        lost.isEmpty && lostJobs.isEmpty && lostEffects.isEmpty && lostNotes == 0 && dropped.isEmpty
    }

    /// Copies what is intact in `damaged` to a new store at `target`.
    static func run(_ damaged: String, into target: String) throws(LogError) -> StoreSalvage {
        let fileSystem = POSIXFileSystem()
        let source = try LogSalvage.read(directory: damaged, fileSystem: fileSystem)
        guard !source.isEmpty else {
            throw LogError(.notAStore, "\(damaged) holds nothing of a store that can be read: check the path")
        }
        var salvage = StoreSalvage()
        salvage.places = source.places
        salvage.lost = source.lost
        try salvage.findBase(source)
        var writer = try NewStoreWriter(directory: target, fileSystem: fileSystem)
        try source.forEachEntry { (entry, time) throws(LogError) in
            try salvage.take(entry, time, into: &writer)
        }
        salvage.settle()
        salvage.notePast(source)
        let last = salvage.state.lastSequence
        if last > .zero {
            // Records before it may be gone, so the state is all there is of them: it is kept twice.
            var image = ByteWriter()
            salvage.state.encodeImage(into: &image)
            try writer.addCheckpoint(last, image: image.bytes, copies: 2)
        }
        _ = try writer.complete(
            reserved: salvage.reserved(source), compactedThrough: last, ancestors: source.ancestors(through: last))
        try writer.install()
        return salvage
    }

    /// Beyond everything that was ever answered: the manifest knows; without it, far beyond everything seen.
    private func reserved(_ source: LogSalvage) -> SequenceNumber {
        let seen = max(source.highest, state.lastSequence.rawValue)
        let bound = source.manifest?.reserved.rawValue ?? (seen + 1 << 32)
        return SequenceNumber(max(bound, seen + 1))
    }

    private mutating func findBase(_ source: LogSalvage) throws(LogError) {
        for checkpoint in source.checkpoints {
            let image = try source.image(of: checkpoint)
            do throws(EngineError) {
                let found = try QueueState(image: image.span)
                guard found.lastSequence == checkpoint.sequence else { continue }
                state = found
                base = checkpoint.sequence
                return
            } catch {
                guard error.code != .unsupportedFormat else {
                    throw LogError(.unsupportedFormat, "\(checkpoint.path): \(error.message)")
                }
            }
        }
    }

    // MARK: - Records

    private mutating func take(
        _ entry: borrowing EntryView, _ time: Timestamp, into writer: inout NewStoreWriter
    ) throws(LogError) {
        let record: Record?
        do throws(LogError) { record = try Record.decode(entry, "of the log") } catch {
            guard error.code == .corrupt else { throw error }
            dropped.append(
                Dropped(sequence: entry.sequence, kind: "\(entry.kind)", job: nil, reason: error.message))
            return
        }
        if let record, record.sequence > state.lastSequence, let reason = refusal(of: record) {
            return drop(record, reason)
        }
        try writer.append(entry, time: time, key: record?.mutation.job(entry.sequence)?.rawValue)
        kept.insert(entry.sequence.rawValue)
        recordsKept += 1
    }

    /// Applies a record, or returns why it can't follow.
    private mutating func refusal(of record: Record) -> String? {
        do throws(EngineError) {
            try state.validate(record)
        } catch {
            // What was leased did not wait: how the others ended is lost.
            var isUnblocked = false
            if case .lease(let grant) = record.mutation {
                isUnblocked = state.unblock(lostEndsOf: grant.job, record.time)
            }
            let mended = Record(sequence: record.sequence, time: record.time, mutation: mended(record.mutation))
            guard isUnblocked || mended != record, (try? state.validate(mended)) != nil else { return error.message }
            state.apply(mended)
            if let job = mended.heldJob, record.heldJob == nil { heldJobs.append(job) }
            return nil
        }
        state.apply(record)
        return nil
    }

    /// Returns what is left of a record when others are lost.
    private func mended(_ mutation: Mutation) -> Mutation {
        switch mutation {
        case .effect(var effect):
            // What was recorded happened, also where the lease that it was recorded under is lost.
            effect.fence = nil
            return .effect(effect)
        case .enqueue(let enqueue): return .enqueue(state.mended(enqueue))
        default: return mutation
        }
    }

    private mutating func drop(_ record: Record, _ reason: String) {
        let job = record.mutation.job(record.sequence)
        let sentence = reason.split(separator: ";").first.map(String.init) ?? reason
        dropped.append(
            Dropped(
                sequence: record.sequence, kind: record.mutation.kind.printedName, job: job,
                reason: sentence))
        guard let job else { return }
        switch record.mutation {
        case .ack, .cancel, .expire(.deadLetter), .expire(.result): evidence[job] = nil
        case .effect, .expire(.uniqueKey): break
        default: evidence[job] = .some(record.mutation.queue ?? evidence[job].flatMap(\.self))
        }
    }

    /// Notes as lost what compaction dropped, and no checkpoint that is left accounts for.
    private mutating func notePast(_ source: LogSalvage) {
        let known = base ?? .zero
        guard let through = source.manifest?.compactedThrough, through > known else { return }
        let past = known.rawValue + 1...through.rawValue
        var ranges: [ClosedRange<UInt64>] = []
        kept.forEachRange { if $0.overlaps(past) { ranges.append($0) } }
        for record in dropped { ranges.append(record.sequence.rawValue...record.sequence.rawValue) }
        lost = LogSalvage.subtract([], from: lost + LogSalvage.subtract(ranges, from: [past]))
    }

    private mutating func settle() {
        let forgotten = state.forget(recordsOutside: kept)
        lostJobs = forgotten.jobs.map { LostJob(id: $0.id, queue: $0.queue) }
        let known = Set(lostJobs.map(\.id))
        for (job, queue) in evidence where !known.contains(job) && !kept.contains(job.rawValue) {
            lostJobs.append(LostJob(id: job, queue: queue))
        }
        lostJobs.sort { $0.id < $1.id }
        lostEffects = forgotten.effects
        lostNotes = forgotten.noteCount
        heldJobs.removeAll { state.status(of: $0, at: state.latestTime)?.dependencies?.isHeld != true }
        for queue in state.queueCounts(at: state.latestTime) {
            let counts = queue.counts
            jobsKept += counts.ready + counts.scheduled + counts.leased + counts.dead
            leasesKept += counts.leased
        }
    }
}

extension Record {
    /// The job that this record enqueues to be held, if it does.
    fileprivate var heldJob: JobID? {
        guard case .enqueue(let enqueue) = mutation, enqueue.dependencies?.isHeld ?? false else { return nil }
        return JobID(sequence)
    }
}
