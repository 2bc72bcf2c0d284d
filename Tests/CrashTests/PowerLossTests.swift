// Power is lost at every file operation of every workload, and the store is opened on what is left.
//
// The log has threads of its own, so two runs of a workload need not have the same operations. Each run is recorded as
// it happened, and the states are made from the record: a failure names workload, operation and policy.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

/// What the log is doing when the power goes. The sizes of records vary with the seed.
enum Workload: String, CaseIterable, Sendable {
    case create, commit, rollAndSeal, oversized, checkpoint, compact, close, reopen, mark

    /// The options it runs with.
    func options(_ durability: DurabilityMode = .commit) -> LogOptions {
        CrashStore.options(durability, idleMarkMilliseconds: self == .mark ? 1 : 0)
    }

    /// Runs before the faults begin.
    func prepare(
        _ disk: any FileSystem, _ journalist: Journalist, _ options: LogOptions, seed: Int = 0
    ) throws {
        switch self {
        case .create, .reopen: return
        case .commit, .rollAndSeal, .oversized, .checkpoint, .compact, .close, .mark:
            let store = try CrashStore(disk, journalist, options: options)
            for number in 0..<(self == .compact ? 60 : 4) {
                try store.commit([body(number, bytes: 1500 + seed % 977)], kind: number.isMultiple(of: 3) ? 1 : 2)
            }
            try store.log.close()
        }
    }

    /// Runs what the faults are for; `beforeClose` when all is done and, as a rule, the store still open.
    ///
    /// - Parameter drive: What the store uses instead of the disk that it leads to.
    func run(
        _ disk: SimulatedFileSystem, through drive: (any FileSystem)? = nil, _ journalist: Journalist,
        _ options: LogOptions, seed: Int = 0, beforeClose: () -> Void = {}
    ) throws {
        let store = try CrashStore(drive ?? disk, journalist, options: options)
        defer {
            beforeClose()
            try? store.log.close()
        }
        do { try use(store, disk, seed: seed) } catch let error as LogError where error.code == .poisoned {
            // A store whose closing failed is closed.
            if self == .close { throw error }
            #expect(throws: error) { try store.append([body(99)]) }
            #expect(throws: error) { _ = try store.log.checkpoint() }
            throw error
        }
    }

    private func use(_ store: CrashStore, _ disk: SimulatedFileSystem, seed: Int) throws {
        switch self {
        case .create:
            try store.commit([body(1)])
        case .commit, .reopen:
            for number in 0..<6 {
                _ = try store.append([body(number * 3), body(number * 3 + 1, bytes: 5000 - seed % 4093)])
                try store.commit([body(number * 3 + 2, bytes: 9000 + seed % 3001)])
            }
        case .rollAndSeal:
            for number in 0..<30 {
                try store.commit([body(number, bytes: 7000 + seed % 1009), body(number, bytes: 900)])
            }
        case .oversized:
            for number in 0..<3 { try store.commit([body(number, bytes: 80_000 + seed % 5003), body(number)]) }
        case .checkpoint:
            for number in 0..<3 {
                try store.commit([body(number, bytes: 24 + seed % 401)])
                _ = try store.log.checkpoint()
            }
        case .compact:
            _ = try store.log.compact()
            try store.commit([body(1)], kind: 2)
            _ = try store.log.compact()
        case .close:
            try store.commit([body(1, bytes: 24 + seed % 4001)])
            try store.log.close()
        case .mark:
            for number in 0..<2 {
                let operations = disk.operationCount
                try store.commit([body(number, bytes: 24 + seed % 4001)])
                // The commit is one operation; the mark that confirms it follows by itself.
                while disk.operationCount < operations + 2 {
                    // It does not after a failure of another operation: then this throws.
                    _ = try store.log.lock.withLock { () throws(LogError) in
                        try store.log.admission(isSettling: true)
                    }
                    TakingTurns.yield()
                }
            }
        }
    }
}

@Suite(.serialized) struct PowerLossTests {
    /// A few states for tests that make their own disks.
    static let policies: [CrashPolicy] = [
        .nothingPending, .everythingPending, .random(seed: 1), .random(seed: 2), .torn(seed: 3),
    ]

    @Test(.timeLimit(.minutes(10)), arguments: Workload.allCases)
    func nothingAcknowledgedIsLostWhereverThePowerGoes(workload: Workload) async throws {
        let enumeration = CrashEnumeration()
        let trace = try await onThread { try CrashTrace.log(workload, options: workload.options()) }
        try await enumeration.visit([trace], seed: 1)
        print(enumeration.figures.line(workload.rawValue))
        #expect(enumeration.figures.distinct >= trace.points.count / 2)
    }

    @Test(.timeLimit(.minutes(10)), arguments: [DurabilityMode.interval(milliseconds: 1), .none])
    func theWeakerModesLoseOnlyAnEnd(mode: DurabilityMode) async throws {
        let enumeration = CrashEnumeration()
        let traces = try await onThread {
            try [Workload.rollAndSeal, .checkpoint, .compact].map {
                try CrashTrace.log($0, options: $0.options(mode), keepsAcknowledged: false)
            }
        }
        try await enumeration.visit(traces, seed: 2)
        print(enumeration.figures.line("\(mode)"))
        #expect(enumeration.figures.distinct > 100)
    }

    @Test(.timeLimit(.minutes(10)), arguments: StoreWorkload.allCases)
    func aStoreIsFoundAsItWasAfterSomeOperation(workload: StoreWorkload) async throws {
        let enumeration = CrashEnumeration()
        let trace = try await onThread { try CrashTrace.store(workload) }
        try await enumeration.visit([trace], seed: 4)
        print(enumeration.figures.line(workload.rawValue))
        #expect(enumeration.figures.distinct >= trace.points.count / 2)
    }

    /// The full enumeration, or as much as fits into a soak. A soak begins elsewhere each time; what fails names its
    /// seed.
    @Test(.enabled(if: Effort.isLong || Effort.soakSeconds != nil))
    func aMillionStatesLoseNothing() async throws {
        let enumeration = CrashEnumeration()
        let end = ContinuousClock.now + .seconds(Effort.soakSeconds ?? 3_000)
        let first = Effort.soakSeconds == nil ? 1 : Int.random(in: 1...1_000_000)
        var seed = first
        while ContinuousClock.now < end, Effort.soakSeconds != nil || enumeration.figures.distinct < 1_000_000 {
            let number = seed
            // Every single change and omission once; what later rounds vary is the sizes of records, and chance.
            let singlesMax = number == first ? Int.max : 24
            let logs = try await onThread {
                try Workload.allCases.map { try CrashTrace.log($0, options: $0.options(), seed: number * 7919) }
                    + CrashTrace.recoveries(seed: number)
            }
            let draw = UInt64(number) << 32
            try await enumeration.visit(logs, seed: draw, randomStates: 400, singlesMax: singlesMax)
            // A store takes five times as long to judge as a log.
            let stores = try await onThread {
                try StoreWorkload.allCases.map { try CrashTrace.store($0, seed: number * 7919) }
            }
            try await enumeration.visit(stores, seed: draw, randomStates: 16, singlesMax: singlesMax)
            seed += 1
            if Effort.soakSeconds != nil { enumeration.forget() }
            Effort.progress(enumeration.figures.line("all workloads, round \(number)"))
        }
        let figures = enumeration.figures
        let seconds = figures.duration / .seconds(1)
        Effort.report("crash states: tried", figures.tried)
        Effort.report("crash states: distinct", figures.distinct)
        Effort.report("crash states: tried per second", Int(Double(figures.tried) / max(seconds, 0.001)))
        Effort.report("crash states: seconds", Int(seconds.rounded()))
        if Effort.soakSeconds == nil { #expect(enumeration.figures.distinct >= 1_000_000) }
    }

    @Test(.timeLimit(.minutes(10))) func powerLostDuringARecoveryLosesNothing() async throws {
        let enumeration = CrashEnumeration()
        let traces = try await onThread { try (1...6).flatMap { try CrashTrace.recoveries(seed: $0) } }
        try await enumeration.visit(traces, seed: 3)
        print(enumeration.figures.line("recovery, and recovery of a crashed recovery"))
        #expect(enumeration.figures.distinct > 100)
    }

    /// What was cut off is whole in lost/, however often the cutting was interrupted.
    @Test(.timeLimit(.minutes(10))) func whatIsCutOffIsSavedWhole() async throws {
        try await onThread {
            let trace = try CrashTrace.log(.commit)
            for point in trace.points where point.itemCount > 1 {
                let found = point.image(.torn(seed: UInt64(point.operation)))
                let recovered = found.crashImage(.everythingPending)
                try CrashStore(opening: recovered).log.close()
                guard let torn = recovered.saved.first else { continue }
                found.recordCrashPoints { 0 }
                try CrashStore(opening: found).log.close()
                for interrupted in found.crashPoints {
                    let left = interrupted.image(.random(seed: UInt64(interrupted.operation)))
                    try CrashStore(opening: left).log.close()
                    #expect(left.saved.contains(torn), "operation \(point.operation), then \(interrupted.operation)")
                }
            }
        }
    }
}

extension SimulatedFileSystem {
    /// What recoveries cut off and saved, with a whole note on it.
    var saved: [[UInt8]] {
        let files = snapshotFiles()
        return files.filter { file in
            guard file.key.hasSuffix(".bin"), let note = files[file.key.dropLast(4) + ".txt"] else { return false }
            return String(decoding: note, as: UTF8.self).hasSuffix(".bin\n")
        }.map(\.value)
    }
}
