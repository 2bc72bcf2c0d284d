// Every sector of a store of jobs is damaged, and the store is judged as its users see it: by its digest, and by what
// verify says.

import Holdfast
import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.serialized, .timeLimit(.minutes(10))) struct SweepJobTests {
    private enum Outcome: String {
        case refused = "refused, and verify says why"
        case damaged = "opened with the state it had, verify names the damage"
        case unused = "opened with the state it had, nothing was damaged that counts"
        case cut = "opened without the last change, which nothing vouched for"
    }
    private struct Made: Sendable {
        let disk: SimulatedFileSystem
        let files: [String: [UInt8]]
        /// The state at the end, and before the last change.
        let digests: (last: String, before: String)
        let isClosed: Bool
    }

    /// A store with jobs in every state, an effect, a cursor, checkpoints and a compacted segment.
    private static func make(isClosed: Bool) throws -> Made {
        let disk = SimulatedFileSystem()
        let store = try JobStore.openBlocking(at: CrashStore.path, options: CrashTrace.options(disk))
        let steps = StoreSteps(store)
        for workload in [StoreWorkload.fullCycle, .effects, .properties, .batches] {
            for step in workload.steps(seed: 0) {
                do { try step(steps) } catch let error as JobStoreError where error.code == .leaseLost {}
            }
        }
        try store.blocking.checkpoint()
        try steps.batch(count: 6, size: 20_000)
        try store.blocking.compact()
        try steps.openCursor("c")
        try steps.enqueue("q", size: 400)
        let before = try store.blocking.wholeDigest()
        try steps.enqueue("q", size: 300)
        let last = try store.blocking.wholeDigest()
        let crashed = disk.crashImage(.nothingPending)
        try store.blocking.close()
        let end = isClosed ? disk.crashImage(.nothingPending) : crashed
        return Made(disk: end, files: end.snapshotFiles(), digests: (last, before), isClosed: isClosed)
    }

    @Test(arguments: [true, false]) func everyDamagedSectorIsRefusedOrLeavesTheState(isClosed: Bool) async throws {
        let made = try await onThread { try Self.make(isClosed: isClosed) }
        let works = made.files.keys.sorted().flatMap { path in
            stride(from: 0, to: made.files[path]?.count ?? 0, by: SweepDamage.sectorBytes).map { (path, $0) }
        }
        let step = Effort.isLong ? 1 : 7
        let jobs = stride(from: 0, to: works.count, by: step).map { works[$0] }
        let counts = Locked<[Outcome: Int]>([:])
        try await SweepCrew.work(
            through: jobs, of: "damaged sectors", millisecondsMax: 60_000,
            named: { "the sector at \($0.1) of \($0.0)" }, tools: {}
        ) { job, _ in
            for isFlip in [true, false] {
                let disk = made.disk.crashImage(.nothingPending)
                guard Self.damage(disk, made.files[job.0] ?? [], job.0, at: job.1, isFlip: isFlip) else { continue }
                let outcome = try Self.judge(disk, made, "\(isFlip ? "a bit" : "all") of \(job.1) of \(job.0)")
                counts.withLock { $0[outcome, default: 0] += 1 }
            }
        }
        let found = counts.withLock { $0 }
        for (outcome, count) in found.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            Effort.report("damage, \(isClosed ? "closed" : "crashed") store of jobs: \(outcome.rawValue)", count)
        }
        #expect(found[.refused, default: 0] > 0 && found[.damaged, default: 0] > 0)
        #expect(!isClosed || found[.cut] == nil)
    }

    /// Flips a bit in the middle of a sector, or makes it zero; false when that changes nothing.
    private static func damage(
        _ disk: SimulatedFileSystem, _ bytes: [UInt8], _ path: String, at start: Int, isFlip: Bool
    ) -> Bool {
        let end = min(start + SweepDamage.sectorBytes, bytes.count)
        if isFlip {
            disk.corrupt(path, offset: (start + end) / 2, xor: 16)
            return true
        }
        var changed = bytes
        changed.replaceSubrange(start..<end, with: [UInt8](repeating: 0, count: end - start))
        disk.replace(path, with: changed)
        return changed != bytes
    }

    private static func judge(_ disk: SimulatedFileSystem, _ made: Made, _ place: String) throws -> Outcome {
        var problems: [LogError] = []
        do throws(LogError) {
            var reader = try LogReader.open(directory: CrashStore.path, fileSystem: disk)
            problems = reader.verify(progress: { _, _ in }, { _, _ in }).problems
        } catch { problems = [error] }
        #expect(problems.allSatisfy { $0.code == .corrupt && $0.file != nil }, "\(problems) (\(place))")
        let store: JobStore
        do {
            store = try JobStore.openBlocking(at: CrashStore.path, options: CrashTrace.options(disk))
        } catch {
            #expect(error.code == .corrupt && SweepJudge.namesRemedy(error.message), "\(error) (\(place))")
            #expect(!problems.isEmpty, "verify does not notice what opening refuses (\(place))")
            return .refused
        }
        defer { try? store.blocking.close() }
        let digest: String
        do { digest = try store.blocking.wholeDigest() } catch {
            // What a cursor still has to show is read for that.
            #expect(error.code == .corrupt && SweepJudge.namesRemedy(error.message), "\(error) (\(place))")
            #expect(!problems.isEmpty, "verify does not notice what a reader refuses (\(place))")
            return .damaged
        }
        if !made.isClosed, digest == made.digests.before, problems.isEmpty { return .cut }
        #expect(digest == made.digests.last, "the state is another one (\(place))")
        return problems.isEmpty ? .unused : .damaged
    }
}
