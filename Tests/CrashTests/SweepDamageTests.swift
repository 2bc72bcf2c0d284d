// Every file of a store is damaged in every place and every way, and each outcome is one that the recovery table and
// the rules of the guarantees allow. By default a sample; with HOLDFAST_LONG every bit.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

@Suite(.serialized) struct SweepDamageTests {
    /// One run of variants.
    private struct Work: Sendable {
        let damage: SweepDamage
        let path: String
        let variants: [Int]
    }
    private struct Tally {
        var rows: [String: Int] = [:]
        var kinds: [String: Int] = [:]
        var violations: [String] = []
        var longestRead = 0
    }
    /// No run of variants takes a tenth of that.
    private static let runMillisecondsMax = 120_000
    /// What a sweep may add to the most memory that the process ever took: several times what its threads need for
    /// their disks, and less than two of the largest frames that a damaged length can ask for.
    private static let memoryBytesMax = 96 << 20

    @Test(.timeLimit(.minutes(Effort.isLong ? 60 : 20)), arguments: SweepStore.End.allCases)
    func damageIsRefusedOrDoesNotMatterWhereverItIs(end: SweepStore.End) async throws {
        let store = try await onThread { try SweepStore(end) }
        let memory = Self.peakMemoryBytes()
        let started = ContinuousClock.now
        let tally = try await Self.sweep(store, isFull: Effort.isLong)
        let seconds = (ContinuousClock.now - started) / .seconds(1)
        let growth = Self.peakMemoryBytes() - memory
        for (row, count) in tally.rows.sorted(by: { $0.key < $1.key }) {
            Effort.report("damage, \(end) store: \(row)", count)
        }
        for (kind, count) in tally.kinds.sorted(by: { $0.key < $1.key }) {
            Effort.report("damage, \(end) store: \(kind)", count)
        }
        Effort.report("damage, \(end) store: bytes of files", store.files.values.reduce(0) { $0 + $1.count })
        Effort.report("damage, \(end) store: longest read, bytes", tally.longestRead)
        Effort.report("damage, \(end) store: growth of memory, bytes", growth)
        Effort.report("damage, \(end) store: seconds", Int(seconds.rounded()))
        for violation in tally.violations { Issue.record("\(violation)") }
        let largest = store.files.values.map(\.count).max() ?? 0
        #expect(tally.longestRead <= largest, "no read is larger than the largest file")
        // Other tests may run beside a sample.
        if Effort.isLong { #expect(growth <= Self.memoryBytesMax, "damage makes the store take memory") }
        #expect(tally.kinds[SweepDamage.flippedBit.title, default: 0] > 500)
        for row in [SweepMap.missing, SweepMap.belowWatermark, SweepMap.tornTail, SweepMap.cleanEnd] {
            #expect(tally.rows.keys.contains { $0.contains(row) }, "no damage led to \(row)")
        }
    }

    /// The most memory that the process took so far.
    private static func peakMemoryBytes() -> Int {
        var usage = rusage()
        // RUSAGE_SELF, which has another type on each platform.
        getrusage(0, &usage)
        #if canImport(Darwin)
            return usage.ru_maxrss
        #else
            return usage.ru_maxrss << 10
        #endif
    }

    private static func sweep(_ store: SweepStore, isFull: Bool) async throws -> Tally {
        let shared = Locked(Tally())
        try await SweepCrew.work(
            through: plan(store, isFull: isFull), of: "damage, \(store.end) store", millisecondsMax: runMillisecondsMax,
            named: { "\($0.damage) from \($0.variants.first ?? 0) on, of \($0.path)" }, tools: { SweepBench(store) }
        ) { work, bench in run(work, on: &bench, into: shared) }
        return shared.withLock { $0 }
    }

    private static func run(_ work: Work, on bench: inout SweepBench, into shared: borrowing Locked<Tally>) {
        var rows: [String: Int] = [:]
        var judged = 0
        var violations: [String] = []
        for variant in work.variants {
            do {
                guard let verdict = try bench.judge(work.damage, variant, of: work.path) else { continue }
                judged += 1
                rows[Self.row(verdict), default: 0] += 1
            } catch {
                violations.append("\(work.damage) \(variant) of \(work.path): \(error)")
            }
        }
        let longest = bench.longestReadBytes
        shared.withLock { tally in
            tally.rows.merge(rows, uniquingKeysWith: +)
            tally.kinds[work.damage.title, default: 0] += judged
            tally.longestRead = max(tally.longestRead, longest)
            if tally.violations.count < 20 { tally.violations += violations.prefix(5) }
        }
    }

    /// A row of the table of outcomes: what was damaged, and what came of it.
    private static func row(_ verdict: SweepBench.Verdict) -> String {
        let parts = Set(verdict.parts.map(\.title))
        return (parts.count == 1 ? parts.first ?? "" : "several parts") + ": \(verdict.outcome)"
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
        works.append(Work(damage: .flippedBit, path: store.map.last.path, variants: lastFrame(store)))
        return works
    }

    /// Some bits of the frame that nobody vouches for, which a sample may miss.
    private static func lastFrame(_ store: SweepStore) -> [Int] {
        stride(from: 5, to: FrameFormat.headerBytes * 8, by: 31).map { store.map.last.offset * 8 + $0 }
    }

    /// In the first use of a file everything behind the journal's end is zero, and what is not was being written;
    /// unless the store was closed.
    @Test(.timeLimit(.minutes(2)), arguments: SweepStore.End.allCases)
    func aFlipInTheIdleZerosOfAJournalIsATornTailOrRefused(end: SweepStore.End) async throws {
        try await onThread {
            let store = try SweepStore(end, recycles: false)
            var bench = SweepBench(store)
            let tail = store.tail
            let bytes = store.files[tail.path]?.count ?? 0
            for offset in [tail.end, tail.end + 4_097, tail.bound - 1, tail.bound, bytes - 1] where offset < bytes {
                let verdict = try #require(try bench.judge(.flippedBit, offset * 8 + 3, of: tail.path))
                let row = end == .closed ? SweepMap.cleanEnd : SweepMap.tornTail
                let isRefused = end == .crashed && offset >= tail.bound
                #expect(
                    verdict.outcome
                        == (isRefused
                            ? .refused(SweepMap.beyondBound)
                            : .opened(row: row, passedOverCheckpoint: false, cutRecords: 0)))
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
                #expect(
                    outcome?.outcome == .opened(row: SweepMap.tornTail, passedOverCheckpoint: false, cutRecords: 1))
            }
        }
    }
}
