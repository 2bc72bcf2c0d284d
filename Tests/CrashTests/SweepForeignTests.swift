// Files of another store that was used alike, mixed into a store: more than one at a time, and beside its own.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(5))) struct SweepForeignTests {
    private static let kinds = ["journal", "segments", "checkpoints"]

    /// Opens a disk and reads all of it; returns why that is refused.
    private static func refusal(_ disk: SimulatedFileSystem) -> LogError? {
        do throws(LogError) {
            let log = try WriteAheadLog.open(
                directory: CrashStore.path, fileSystem: disk, options: CrashStore.options(), createIfMissing: false,
                now: .zero)
            defer { try? log.close() }
            let checkpoint = log.nextCheckpoint()?.sequence ?? .zero
            // The layer above refuses a log that has neither its beginning nor a checkpoint.
            if checkpoint < log.compactedThrough { return LogError(.corrupt, "no checkpoint: restore it", file: "") }
            try log.forEachEntry(after: .zero) { (_, _) throws(LogError) in true }
            return nil
        } catch { return error }
    }

    @Test(arguments: SweepStore.End.allCases)
    func aManifestOfAnotherStoreIsRefusedWhateverComesWithIt(end: SweepStore.End) async throws {
        try await onThread {
            let store = try SweepStore(end)
            // All of them together would be the other store.
            for chosen in 0..<((1 << Self.kinds.count) - 1) {
                let kinds = Self.kinds.indices.filter { chosen & 1 << $0 != 0 }.map { Self.kinds[$0] }
                let disk = store.disk.crashImage(.nothingPending)
                for (path, bytes) in store.foreign {
                    let isChosen = kinds.contains { path.contains("/\($0)/") }
                    if isChosen || path.hasSuffix("/MANIFEST") { disk.replace(path, with: bytes) }
                }
                let error = try #require(Self.refusal(disk), "another MANIFEST with its \(kinds) is taken")
                #expect(error.code == .corrupt && SweepJudge.namesRemedy(error.message), "\(error)")
            }
        }
    }

    @Test(arguments: SweepStore.End.allCases)
    func allFilesOfAKindOfAnotherStoreAreRefused(end: SweepStore.End) async throws {
        try await onThread {
            let store = try SweepStore(end)
            for kind in Self.kinds {
                let disk = store.disk.crashImage(.nothingPending)
                for path in store.files.keys where path.contains("/\(kind)/") { disk.remove(path) }
                for (path, bytes) in store.foreign where path.contains("/\(kind)/") {
                    disk.replace(path, with: bytes)
                }
                let error = try #require(Self.refusal(disk), "another store's \(kind) are taken")
                #expect(error.code == .corrupt && SweepJudge.namesRemedy(error.message), "\(error)")
            }
        }
    }

    @Test(arguments: SweepStore.End.allCases)
    func filesThatTheManifestDoesNotNameAreLeftoversWhateverTheyHold(end: SweepStore.End) async throws {
        try await onThread {
            let store = try SweepStore(end)
            let disk = store.disk.crashImage(.nothingPending)
            var extra: [String] = []
            for (path, bytes) in store.foreign {
                guard let name = path.split(separator: "/").last, let dot = name.firstIndex(of: ".") else { continue }
                let other = path.dropLast(name.count) + "7" + name[..<dot].dropFirst() + name[dot...]
                guard Self.kinds.contains(where: { path.contains("/\($0)/") }) else { continue }
                extra.append(String(other))
                disk.replace(String(other), with: bytes)
            }
            let temporary = StoreLayout(root: CrashStore.path).manifestTemporary
            disk.replace(temporary, with: store.foreign["\(CrashStore.path)/MANIFEST"] ?? [])
            let verdict = try SweepBench(store).verdict(on: disk.crashImage(.nothingPending), SweepTouch())
            #expect(
                verdict.outcome == .opened(row: SweepMap.cleanEnd, passedOverCheckpoint: false, cutRecords: 0))
            let opened = try CrashStore(disk)
            #expect(opened.replayed.map(\.body) == store.records.map(\.body))
            let left = Set(disk.snapshotFiles().keys)
            #expect(extra.count > 5 && left.isDisjoint(with: extra + [temporary]))
            try opened.log.close()
        }
    }
}
