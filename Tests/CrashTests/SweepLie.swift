// A disk that lies: a write reports success, and nothing is written, or the bytes go elsewhere. What is left is judged
// as the store's process left it, killed and closed, and as a loss of power leaves that.

import Holdfast
import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

/// How a write lies.
enum SweepLie: String, CaseIterable, Sendable {
    case lost, blockLate, blockEarly, sectorLate, sectorEarly, elsewhere

    /// - Parameter file: Where a write goes that goes to another file.
    func lie(in file: String) -> FaultPlan.Lie {
        switch self {
        case .lost: .lost
        case .blockLate: .shifted(by: SweepDamage.blockBytes)
        case .blockEarly: .shifted(by: -SweepDamage.blockBytes)
        case .sectorLate: .shifted(by: SweepDamage.sectorBytes)
        case .sectorEarly: .shifted(by: -SweepDamage.sectorBytes)
        case .elsewhere: .elsewhere(path: file)
        }
    }

    /// Draws the turns of the threads of its runs.
    var seed: UInt64 { Effort.turnsSeed &* 100 + UInt64(Self.allCases.firstIndex(of: self) ?? 0) }

    /// What a table of figures calls it.
    var title: String {
        switch self {
        case .lost: "lost writes"
        case .blockLate, .blockEarly, .sectorLate, .sectorEarly: "shifted writes"
        case .elsewhere: "writes to another file"
        }
    }
}

/// What became of a store after one lie.
enum SweepLieOutcome: String, Hashable, Sendable {
    case whole = "nothing is missing"
    case refused = "refused as corrupt"
    case seenWhenRead = "opened, damage refused when read"
    /// The last group is gone.
    case lastGroupCut = "the last group cut off and reported"
    case lastGroupLost = "the last group gone without a trace"
}

extension SweepWorkload {
    /// What became of one lie, on each disk that it left.
    struct LieVisit {
        var outcomes: [SweepLieOutcome] = []
        var isHit = false
    }

    /// The writes of a run without lies, by number of the operation, and the files there are in the end.
    func writes(seed: UInt64) throws -> (numbers: [Int], files: [String]) {
        let disk = SimulatedFileSystem()
        _ = try run(disk, Journalist(), seed: seed, prepared: { disk.recordsOperations = true })
        let numbers = disk.operationLog.filter { $0.contains(" pwrite ") }.compactMap { line in
            line.split(separator: " ").first.flatMap { Int($0) }
        }
        return (numbers, disk.snapshotFiles().keys.filter { $0.hasPrefix(CrashStore.path) }.sorted())
    }

    /// Lets the write with that number lie, and judges the disks that are left.
    func visit(_ lie: FaultPlan.Lie, at number: Int, seed: UInt64, reproduction: String) throws -> LieVisit {
        let disk = SimulatedFileSystem()
        let known = Journalist()
        var images: [SimulatedFileSystem] = []
        var (prepared, answered) = (0, 0)
        do {
            answered = try run(disk, known, seed: seed) {
                prepared = known.all.count
                disk.faultPlan.lies[number] = lie
            } beforeClose: {
                images = [disk.crashImage(.everythingPending), disk.crashImage(.nothingPending)]
            }
        } catch let error as LogError { check(error, reproduction) } catch let error as JobStoreError {
            check(error, reproduction)
        }
        images += [disk.crashImage(.everythingPending), disk.crashImage(.nothingPending)]
        var visit = LieVisit()
        visit.isHit = disk.faultHits > 0
        for (place, image) in images.enumerated() {
            let reproduction = "\(reproduction), disk \(place)"
            switch self {
            case .log:
                let judge = SweepLieJudge(known: known.all, prepared: prepared, reproduction: reproduction)
                visit.outcomes.append(try judge.judge(image))
            case .store(_, let digests):
                visit.outcomes.append(
                    try SweepLieJudge.judge(image, digests: digests, answered: answered, reproduction: reproduction))
            }
        }
        return visit
    }

    private func check(_ error: LogError, _ reproduction: String) {
        #expect([.corrupt, .poisoned].contains(error.code), "\(error) (\(reproduction))")
    }

    private func check(_ error: JobStoreError, _ reproduction: String) {
        #expect([.corrupt, .ioError].contains(error.code), "\(error) (\(reproduction))")
    }
}

/// Judges disks that a lie left. The one thing that may be missing is the last group, for which nothing vouched yet.
struct SweepLieJudge {
    let known: [Journalist.Batch]
    /// How many of them an earlier opening wrote.
    let prepared: Int
    let reproduction: String

    func judge(_ disk: SimulatedFileSystem) throws -> SweepLieOutcome {
        let store: CrashStore
        do { store = try CrashStore(opening: disk) } catch let error as LogError {
            do { try SweepJudge.check(error) } catch { Issue.record("\(error) (\(reproduction))") }
            return .refused
        }
        defer { try? store.log.close() }
        let compacted = store.log.compactedThrough
        if store.checkpoint < compacted { return .refused }
        var found: [SequenceNumber: [UInt8]] = [:]
        for (sequence, body) in store.replayed { found[sequence] = body }
        var missing: [Int] = []
        for (place, batch) in known.enumerated() where batch.isAcknowledged {
            if batch.kind == 2, batch.last <= compacted { continue }
            for (index, body) in batch.bodies.enumerated() {
                let stored = found[batch.first.advanced(by: UInt64(index))]
                if let stored, stored != body { Issue.record("batch \(batch.first) is wrong (\(reproduction))") }
                if stored == nil, missing.last != place { missing.append(place) }
            }
        }
        try checkUse(store, disk)
        if missing.isEmpty { return .whole }
        let last = known.last { $0.isAcknowledged }
        let isLastGroup = missing.allSatisfy { $0 >= prepared && known[$0].group == last?.group }
        if !isLastGroup {
            let lost = missing.map { known[$0].first }
            Issue.record("\(lost) are missing, not the last group only (\(reproduction))")
        }
        return store.log.recovery.findings.isEmpty ? .lastGroupLost : .lastGroupCut
    }

    /// The opened store takes records and has them after the next loss of power.
    private func checkUse(_ store: CrashStore, _ disk: SimulatedFileSystem) throws {
        do {
            try store.start()
            for number in 0..<2 { try store.commit([body(number, bytes: 300)]) }
            let again = try CrashStore(opening: disk.crashImage(.nothingPending))
            let expected = store.replayed.map(\.body) + store.journalist.all.flatMap(\.bodies)
            #expect(again.replayed.map(\.body) == expected, "the next crash loses records (\(reproduction))")
            try again.log.close()
        } catch {
            Issue.record("the reopened store does not work: \(error) (\(reproduction))")
        }
    }

    /// The same for a store of jobs, by the states that it went through.
    static func judge(
        _ disk: SimulatedFileSystem, digests: [String], answered: Int, reproduction: String
    ) throws -> SweepLieOutcome {
        let store: JobStore
        do {
            store = try JobStore.openBlocking(at: CrashStore.path, options: CrashTrace.options(disk))
        } catch {
            #expect(error.code == .corrupt, "\(error) (\(reproduction))")
            #expect(SweepJudge.namesRemedy(error.message), "\(error) (\(reproduction))")
            return .refused
        }
        let digest: String?
        do { digest = try store.blocking.wholeDigest() } catch {
            // It reads what cursors have yet to see, from sealed segments.
            #expect(error.code == .corrupt && SweepJudge.namesRemedy(error.message), "\(error) (\(reproduction))")
            digest = nil
        }
        try store.blocking.close()
        var reader = try LogReader.open(directory: CrashStore.path, fileSystem: disk)
        let problems = reader.verify(progress: { _, _ in }, { _, _ in }).problems
        for problem in problems {
            #expect(problem.code == .corrupt && problem.file != nil, "\(problem) (\(reproduction))")
        }
        guard let digest else {
            #expect(!problems.isEmpty, "a digest is refused, and verify finds nothing (\(reproduction))")
            return .seenWhenRead
        }
        if digests[answered...].contains(digest) { return problems.isEmpty ? .whole : .seenWhenRead }
        if !problems.isEmpty { return .seenWhenRead }
        // Not every operation changes something.
        let isLast = digests[..<answered].last { $0 != digests[answered] } == digest
        #expect(isLast, "after \(answered) answers more than the last one is missing (\(reproduction))")
        return store.recovery.findings.isEmpty ? .lastGroupLost : .lastGroupCut
    }
}
