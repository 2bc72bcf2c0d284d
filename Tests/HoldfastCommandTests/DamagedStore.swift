// A store with every kind of file that can be damaged in any way, and what each damage must cost: known record by
// record, so that a salvage that keeps too little is noticed as well as one that keeps too much.

import Holdfast
import HoldfastBytes
import HoldfastEngine
import HoldfastLog
import HoldfastTestKit
import Testing

@testable import HoldfastCommand

/// A store in a temporary directory whose files can be damaged.
final class DamagedStore {
    /// A commit group: where its frames are, and the records in them.
    struct Group {
        let file: String
        var bytes: Range<Int>
        /// Where its frames begin.
        var frames: [Int] = []
        var sequences: Set<UInt64> = []
    }

    let directory: TemporaryDirectory
    let files = POSIXFileSystem()
    /// Payload, state and queue of each job that has not ended.
    private(set) var jobs: [JobID: (payload: [UInt8], state: JobInfo.State, queue: String)] = [:]
    /// Every group with records, in order. Their numbers have no gaps unless some were dropped.
    private(set) var groups: [Group] = []
    /// The job that each record is about.
    private(set) var subjects: [UInt64: UInt64] = [:]
    private(set) var effectSequence: UInt64 = 0
    private(set) var lease: Lease?

    var path: String { directory.store }
    /// Where the next salvage goes.
    var target: String { directory.path + "/new\(salvageCount)" }
    private var salvageCount = 0

    init() async throws {
        directory = try TemporaryDirectory()
        var options = JobStoreOptions()
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        // Marks take room by the clock: without them every store is cut into segments at the same records.
        options.idleMarkMilliseconds = 0
        let store = try await JobStore.open(at: path, options: options)
        for number in 1...120 {
            _ = try await store.enqueue(number.isMultiple(of: 3) ? "r" : "q", payload: Self.payload(number))
        }
        for lease in try await store.lease(from: "q", limit: 20) { try await store.ack(lease) }
        _ = try await store.effect(scope: "s", key: "k", value: [7])
        for number in 121...160 { _ = try await store.enqueue("q", payload: Self.payload(number)) }
        lease = try await store.lease(from: "q", for: .seconds(86_400)).first
        for job in try await store.jobs(JobFilter(limit: 1000)) where job.state != .completed {
            guard let info = try await store.job(job.id), let payload = info.payload else { continue }
            jobs[job.id] = (payload, info.state, info.queue)
        }
        try await store.close()
        try readGroups()
        #expect(effectSequence > 0)
    }

    /// A store of what `fill` does, with none of its jobs known.
    init(
        history: JobStoreOptions.History = JobStoreOptions().history, _ fill: (JobStore) async throws -> Void
    ) async throws {
        directory = try TemporaryDirectory()
        var options = JobStoreOptions()
        options.history = history
        let store = try await JobStore.open(at: path, options: options)
        try await fill(store)
        try await store.close()
        try readGroups(isWhole: history != .none)
    }

    private func readGroups(isWhole: Bool = true) throws {
        var reader = try LogReader.open(directory: path, fileSystem: files)
        var group: Group?
        try reader.forEachFrame(from: .zero) { (source, frame) throws(LogError) in
            var current = group ?? Group(file: source.name, bytes: frame.offset..<frame.end)
            current.bytes = current.bytes.lowerBound..<frame.end
            current.frames.append(frame.offset)
            _ = try frame.forEachEntry(file: source.name) { (entry, _) throws(LogError) in
                current.sequences.insert(entry.sequence.rawValue)
                guard let record = try Record.decode(entry, "of the log") else { return true }
                subjects[entry.sequence.rawValue] = record.mutation.job(entry.sequence)?.rawValue
                if case .effect = record.mutation { effectSequence = entry.sequence.rawValue }
                return true
            }
            group = frame.header.isGroupEnd ? nil : current
            if frame.header.isGroupEnd, !current.sequences.isEmpty { groups.append(current) }
            return true
        }
        let count = groups.reduce(0) { $0 + $1.sequences.count }
        // Compaction leaves numbers out.
        #expect(records == Set(1...UInt64(count)) || !isWhole)
    }

    private var records: Set<UInt64> { groups.reduce(into: []) { $0.formUnion($1.sequences) } }

    // MARK: - Damage

    private static func payload(_ number: Int) -> [UInt8] {
        var random = SeededRandom(seed: UInt64(number))
        return (0..<2000).map { _ in UInt8.random(in: 0...255, using: &random) }
    }

    func names(_ directory: String) throws -> [String] {
        try files.list("\(path)/\(directory)").map { "\(directory)/\($0)" }
    }

    func flip(_ name: String, at offset: Int, bit: Int = 3) throws {
        let file = try files.open("\(path)/\(name)", .readWrite)
        defer { file.close() }
        var byte: [UInt8] = [0]
        _ = try file.read(into: &byte, at: offset)
        byte[0] ^= 1 << UInt8(bit)
        try file.write(byte.span, at: offset)
    }

    func remove(_ name: String) throws { try files.unlink("\(path)/\(name)") }

    /// Removes a file, and returns which records that must cost where no older copy of them is left.
    func lose(_ name: String) throws -> Set<UInt64> {
        try remove(name)
        return groups.reduce(into: []) { if $1.file == name { $0.formUnion($1.sequences) } }
    }

    /// Removes the ring, whose files still hold what was sealed last: with them a damaged segment may cost nothing.
    func loseJournals() throws -> Set<UInt64> {
        try names("journal").reduce(into: []) { $0.formUnion(try lose($1)) }
    }

    /// Every file with its bytes.
    func snapshot() throws -> [String: [UInt8]] {
        var result: [String: [UInt8]] = [:]
        for directory in ["journal", "segments", "checkpoints", "lost"] {
            for name in try names(directory) { result[name] = try files.contents(of: "\(path)/\(name)") }
        }
        for name in ["MANIFEST", "LOCK"] where try files.status(of: "\(path)/\(name)") != nil {
            result[name] = try files.contents(of: "\(path)/\(name)")
        }
        return result
    }

    // MARK: - Salvage

    /// Salvages and checks that the damaged store is untouched, that the new one is sound, that it holds exactly what
    /// the damage left, as it was, and that exactly the rest is reported.
    ///
    /// - Parameter loss: The records that the damage must have cost.
    func salvage(
        costing loss: Set<UInt64> = [], sourceLocation place: SourceLocation = #_sourceLocation
    ) async throws -> StoreSalvage {
        let before = try snapshot()
        let result = try StoreSalvage.run(path, into: target)
        #expect(try snapshot() == before, "the damaged store was changed", sourceLocation: place)
        let verification = try StoreVerification.run(target)
        #expect(verification.problems.isEmpty, "\(verification.problems)", sourceLocation: place)
        #expect(verification.log.records == UInt64(result.recordsKept), sourceLocation: place)
        try checkRecords(result, loss, place)
        checkNames(result, loss, place)
        try await checkJobs(result, loss, place)
        salvageCount += 1
        return result
    }

    /// What was kept, what makes no sense alone and what is lost are disjoint, together they are everything, and what
    /// is lost is what was hit.
    private func checkRecords(_ result: StoreSalvage, _ loss: Set<UInt64>, _ place: SourceLocation) throws {
        var kept: Set<UInt64> = []
        var reader = try LogReader.open(directory: target, fileSystem: files)
        try reader.forEachFrame(from: .zero) { (source, frame) throws(LogError) in
            _ = try frame.forEachEntry(file: source.name) { (entry, _) in
                kept.insert(entry.sequence.rawValue)
                return true
            }
            return true
        }
        let all = records
        let dropped = Set(result.dropped.map(\.sequence.rawValue))
        let lost = all.filter { sequence in result.lost.contains { $0.contains(sequence) } }
        // Beyond the last record there may be more that nothing tells of, but only behind a loss of that one.
        let last = all.max() ?? 0
        for range in result.lost where range.upperBound > last {
            #expect(range.upperBound == .max && lost.contains(last), "\(range)", sourceLocation: place)
        }
        #expect(result.recordsKept == kept.count && result.dropped.count == dropped.count, sourceLocation: place)
        #expect(kept.isDisjoint(with: lost) && kept.isDisjoint(with: dropped), sourceLocation: place)
        #expect(lost.isDisjoint(with: dropped), sourceLocation: place)
        #expect(kept.union(lost).union(dropped) == all, sourceLocation: place)
        #expect(lost == loss, "\(result.lost)", sourceLocation: place)
        // Without a checkpoint a record can't follow when one before it about the same job is lost.
        let orphans = all.subtracting(loss).filter { sequence in
            loss.contains { $0 < sequence && subjects[$0] != nil && subjects[$0] == subjects[sequence] }
        }
        #expect(dropped == (result.base == nil ? orphans : []), sourceLocation: place)
        #expect(result.isComplete == loss.isEmpty, sourceLocation: place)
    }

    /// The lost jobs are all that were lost, as far as anything tells of them: a checkpoint of all, a record that is
    /// left of the job that it is about.
    private func checkNames(_ result: StoreSalvage, _ loss: Set<UInt64>, _ place: SourceLocation) {
        var named = loss.intersection(jobs.keys.map(\.rawValue))
        if result.base == nil { named.formIntersection(result.dropped.compactMap { $0.job?.rawValue }) }
        #expect(Set(result.lostJobs.map(\.id.rawValue)) == named, sourceLocation: place)
        #expect(result.lostJobs.count == named.count, sourceLocation: place)
        for job in result.lostJobs { #expect(job.queue == jobs[job.id]?.queue, sourceLocation: place) }
        let effects = result.base != nil && loss.contains(effectSequence) ? ["s k"] : []
        #expect(result.lostEffects.map { "\($0.scope) \($0.key)" } == effects, sourceLocation: place)
        #expect(result.lostNotes == 0, sourceLocation: place)
    }

    private func checkJobs(_ result: StoreSalvage, _ loss: Set<UInt64>, _ place: SourceLocation) async throws {
        let store = try await JobStore.open(at: target)
        for (id, job) in jobs {
            let info = try await store.job(id)
            #expect((info == nil) == loss.contains(id.rawValue), "job \(id)", sourceLocation: place)
            guard let info else { continue }
            #expect(info.payload == job.payload && info.queue == job.queue, sourceLocation: place)
            if result.isComplete { #expect(info.state == job.state, sourceLocation: place) }
        }
        if result.isComplete, let lease {
            #expect(try await store.heartbeat(lease) > .zero, sourceLocation: place)
        }
        // Nothing that was given out before is given out again.
        let next = try await store.enqueue("q", payload: [])
        #expect(next.id > jobs.keys.max() ?? next.id, sourceLocation: place)
        try await store.close()
    }
}
