// Every file of a store is damaged in every place and every way, and each outcome is one that the recovery table and
// the rules of the guarantees allow. By default a sample; with HOLDFAST_LONG every bit.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.serialized) struct SweepDamageTests {
    /// One run of variants.
    private struct Work: Sendable {
        let damage: SweepDamage
        let path: String
        let variants: [Int]
    }
    private struct Tally {
        var next = 0
        var counts: [SweepOutcome: Int] = [:]
        var kinds: [String: Int] = [:]
        var violations: [String] = []
        var longestRead = 0
    }

    @Test(.timeLimit(.minutes(Effort.isLong ? 60 : 20)), arguments: SweepStore.End.allCases)
    func damageIsRefusedOrDoesNotMatterWhereverItIs(end: SweepStore.End) async throws {
        let store = try await onThread { try SweepStore(end) }
        let started = ContinuousClock.now
        let tally = try await Self.sweep(store, isFull: Effort.isLong)
        let seconds = (ContinuousClock.now - started) / .seconds(1)
        let bytes = store.files.values.reduce(0) { $0 + $1.count }
        #expect(bytes >= 256 << 10)
        for (outcome, count) in tally.counts.sorted(by: { $0.key.description < $1.key.description }) {
            Effort.report("damage, \(end) store: \(outcome)", count)
        }
        for (kind, count) in tally.kinds.sorted(by: { $0.key < $1.key }) {
            Effort.report("damage, \(end) store: \(kind)", count)
        }
        Effort.report("damage, \(end) store: bytes of files", bytes)
        Effort.report("damage, \(end) store: seconds", Int(seconds.rounded()))
        for violation in tally.violations { Issue.record("\(violation)") }
        let largest = store.files.values.map(\.count).max() ?? 0
        #expect(tally.longestRead <= largest, "no read is larger than the largest file")
        #expect(tally.kinds[SweepDamage.flippedBit.title, default: 0] > 500)
    }

    private static func sweep(_ store: SweepStore, isFull: Bool) async throws -> Tally {
        let works = plan(store, isFull: isFull)
        let shared = Locked(Tally())
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<CrashEnumeration.threads {
                group.addTask {
                    try await onThread {
                        var bench = SweepBench(store)
                        while let work = shared.withLock({ tally -> Work? in
                            defer { tally.next += 1 }
                            return tally.next < works.count ? works[tally.next] : nil
                        }) { run(work, on: &bench, into: shared) }
                    }
                }
            }
            try await group.waitForAll()
        }
        return shared.withLock { $0 }
    }

    private static func run(_ work: Work, on bench: inout SweepBench, into shared: borrowing Locked<Tally>) {
        var counts: [SweepOutcome: Int] = [:]
        var violations: [String] = []
        for variant in work.variants {
            do {
                guard let outcome = try bench.judge(work.damage, variant, of: work.path) else { continue }
                counts[outcome, default: 0] += 1
                if work.damage == .flippedBit {
                    try checkPlace(outcome, offset: variant / 8, of: work.path, in: bench.store)
                }
            } catch {
                violations.append("\(work.damage) \(variant) of \(work.path): \(error)")
            }
        }
        let judged = counts.values.reduce(0, +)
        let longest = bench.longestReadBytes
        shared.withLock { tally in
            tally.counts.merge(counts, uniquingKeysWith: +)
            tally.kinds[work.damage.title, default: 0] += judged
            tally.longestRead = max(tally.longestRead, longest)
            if tally.violations.count < 20 { tally.violations += violations.prefix(5) }
        }
    }

    /// A flip behind the journal's end: behind a close frame nothing; else in a file's first use a torn tail up to the
    /// in-flight bound and a refusal beyond it, since zeros were expected; in a recycled file, where anything may lie,
    /// nothing.
    private static func checkPlace(
        _ outcome: SweepOutcome, offset: Int, of path: String, in store: SweepStore
    ) throws {
        guard path == store.tail.path, offset >= store.tail.end else { return }
        let expected: SweepOutcome =
            if store.tail.wasRecycled || store.end == .closed {
                .opened(row: "C1 clean end", passedOverCheckpoint: false, cutRecords: 0)
            } else if offset < store.tail.bound {
                .opened(row: "T2 torn tail", passedOverCheckpoint: false, cutRecords: 0)
            } else {
                .refused("R4 beyond what can have been in flight")
            }
        if outcome != expected { throw SweepViolation("behind the end: \(outcome), not \(expected)") }
    }

    /// All variants, or of each kind and file some, half of them near the places where structures begin and end.
    private static func plan(_ store: SweepStore, isFull: Bool) -> [Work] {
        var random = SeededRandom(seed: 11)
        var works: [Work] = []
        for (path, bytes) in store.files.sorted(by: { $0.key < $1.key }) {
            for damage in SweepDamage.allCases {
                let count = damage.variants(bytes: bytes.count, files: store.files.count)
                guard count > 0 else { continue }
                // How the last owner left it shows in the journal and the manifest; the other files are swept once.
                let differs = path.contains("/journal/") || path.hasSuffix("/MANIFEST")
                if isFull && (differs || store.end == .closed) {
                    for start in stride(from: 0, to: count, by: 4096) {
                        works.append(
                            Work(damage: damage, path: path, variants: Array(start..<min(start + 4096, count))))
                    }
                    continue
                }
                let wanted = damage == .flippedBit ? 60 : 4
                let perByte = max(1, count / max(1, bytes.count))
                let variants = (0..<wanted).map { number -> Int in
                    if number.isMultiple(of: 2) { return random.pick(0...(count - 1)) }
                    // Structures begin at multiples of 4,096 and at the ends of a file.
                    let pages = (bytes.count + 4095) / 4096
                    let place = random.pick(0...pages) * 4096 + random.pick(0...96)
                    return min(count - 1, (place < bytes.count ? place : bytes.count - 1 - place % 97) * perByte)
                }
                works.append(Work(damage: damage, path: path, variants: variants.filter { $0 >= 0 }))
            }
        }
        return works
    }

    /// In the first use of a file everything behind the journal's end is zero, and what is not was being written;
    /// unless the store was closed.
    @Test(.timeLimit(.minutes(2)), arguments: SweepStore.End.allCases)
    func aFlipInTheIdleZerosOfAJournalIsATornTailOrRefused(end: SweepStore.End) async throws {
        try await onThread {
            let store = try SweepStore(end, recycles: false)
            var bench = SweepBench(store)
            let bytes = store.files[store.tail.path]?.count ?? 0
            for offset in [store.tail.end, store.tail.end + 4_097, store.tail.bound - 1, store.tail.bound, bytes - 1] {
                guard offset < bytes else { continue }
                let outcome = try #require(try bench.judge(.flippedBit, offset * 8 + 3, of: store.tail.path))
                try Self.checkPlace(outcome, offset: offset, of: store.tail.path, in: store)
            }
        }
    }

    /// The file held another segment before, so that what lies behind its end says nothing; a damaged header that still
    /// names its place does.
    @Test(.timeLimit(.minutes(2))) func aDamagedHeaderOfTheLastGroupInARecycledFileIsNoCleanEnd() async throws {
        try await onThread {
            let store = try SweepStore(.crashed)
            var bench = SweepBench(store)
            let layout = StoreLayout(root: CrashStore.path)
            let manifest = try #require(try ManifestStore(layout: layout, fileSystem: store.disk).read())
            let scan = try JournalScan(manifest, layout: layout, fileSystem: store.disk)
            let start = try #require(scan.segments[scan.tail].frames.last?.offset)
            for bit in 0..<(FrameFormat.headerBytes * 8) {
                let outcome = try bench.judge(.flippedBit, start * 8 + bit, of: store.tail.path)
                #expect(outcome == .opened(row: "T2 torn tail", passedOverCheckpoint: false, cutRecords: 1))
            }
        }
    }
}
