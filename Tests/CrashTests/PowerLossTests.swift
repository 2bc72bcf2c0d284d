// Power is lost at every file operation of every workload, and the store is opened on what is left.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

/// What the store is doing when the power goes.
enum Workload: String, CaseIterable, Sendable {
    case create, commit, rollAndSeal, oversized, checkpoint, compact, close, recover

    /// Runs before the faults begin.
    func prepare(_ disk: SimulatedFileSystem, _ journalist: Journalist, _ options: LogOptions) throws {
        switch self {
        case .create, .recover: return
        case .commit, .rollAndSeal, .oversized, .checkpoint, .compact, .close:
            let store = try CrashStore(disk, journalist, options: options)
            for number in 0..<(self == .compact ? 60 : 4) {
                try store.commit([body(number, bytes: 1500)], kind: number.isMultiple(of: 3) ? 1 : 2)
            }
            try store.log.close()
        }
    }

    func run(_ disk: SimulatedFileSystem, _ journalist: Journalist, _ options: LogOptions) throws {
        let store = try CrashStore(disk, journalist, options: options)
        defer { try? store.log.close() }
        switch self {
        case .create:
            try store.commit([body(1)])
        case .commit, .recover:
            for number in 0..<6 {
                _ = try store.append([body(number * 3), body(number * 3 + 1, bytes: 5000)])
                try store.commit([body(number * 3 + 2, bytes: 9000)])
            }
        case .rollAndSeal:
            for number in 0..<30 { try store.commit([body(number, bytes: 7000), body(number, bytes: 900)]) }
        case .oversized:
            for number in 0..<3 { try store.commit([body(number, bytes: 80_000), body(number)]) }
        case .checkpoint:
            for number in 0..<3 {
                try store.commit([body(number)])
                _ = try store.log.checkpoint()
            }
        case .compact:
            _ = try store.log.compact()
            try store.commit([body(1)], kind: 2)
            _ = try store.log.compact()
        case .close:
            try store.commit([body(1)])
            try store.log.close()
        }
    }
}

@Suite(.serialized, .timeLimit(.minutes(5))) struct PowerLossTests {
    static let policies: [CrashPolicy] = [
        .nothingPending, .everythingPending, .random(seed: 1), .random(seed: 2), .random(seed: 3),
    ]

    /// Creation has many names and little else, so that each chance is cheap.
    static let morePolicies: [CrashPolicy] = (4...10).map { .random(seed: $0) }

    @Test(arguments: Workload.allCases)
    func nothingAcknowledgedIsLostWhereverThePowerGoes(workload: Workload) async throws {
        let states = try await onThread { try Self.visit(workload, options: CrashStore.options()) }
        print("power loss, \(workload.rawValue): \(states) states")
        #expect(states > 0)
    }

    @Test(arguments: [DurabilityMode.interval(milliseconds: 1), .none])
    func theWeakerModesLoseOnlyAnEnd(mode: DurabilityMode) async throws {
        let states = try await onThread {
            try [Workload.rollAndSeal, .checkpoint, .compact].reduce(0) {
                $0 + (try Self.visit($1, options: CrashStore.options(mode), keepsAcknowledged: false))
            }
        }
        print("power loss, \(mode): \(states) states")
        #expect(states > 0)
    }

    @Test func powerLostDuringARecoveryLosesNothing() async throws {
        let states = try await onThread { try Self.visitRecoveries() }
        print("power loss, recovery after a crash: \(states) states")
        #expect(states > 0)
    }

    // MARK: - Visiting

    static func visit(_ workload: Workload, options: LogOptions, keepsAcknowledged: Bool = true) throws -> Int {
        let dry = SimulatedFileSystem()
        try workload.prepare(dry, Journalist(), options)
        let first = dry.operationCount + 1
        try workload.run(dry, Journalist(), options)
        var states = 0
        // A few more than one run took: the threads make another one longer.
        for operation in first...(dry.operationCount + 3) {
            let disk = SimulatedFileSystem()
            let journalist = Journalist()
            try workload.prepare(disk, journalist, options)
            disk.faultPlan = .crash(at: operation)
            do { try workload.run(disk, journalist, options) } catch is LogError {}
            for policy in policies + (workload == .create ? morePolicies : []) {
                let check = CrashCheck(
                    disk: disk.crashImage(policy), batches: journalist.all,
                    reproduction: "\(workload.rawValue), operation \(operation), \(policy), \(options.durability)",
                    keepsAcknowledged: keepsAcknowledged, options: options)
                try check.run()
                states += 1
            }
        }
        return states
    }

    /// Crashes commits so that a torn tail is left, then crashes the recovery of that at each of its operations.
    static func visitRecoveries() throws -> Int {
        let options = CrashStore.options()
        var states = 0
        for seed in 1...12 as ClosedRange<UInt64> {
            let disk = SimulatedFileSystem()
            let journalist = Journalist()
            try Workload.commit.prepare(disk, journalist, options)
            disk.faultPlan = .crash(at: disk.operationCount + 9 + Int(seed))
            do { try Workload.commit.run(disk, journalist, options) } catch {}
            let found = disk.crashImage(.random(seed: seed))
            let recovered = found.crashImage(.everythingPending)
            try CrashStore(recovered, options: options).log.close()
            let torn = recovered.saved.first
            for operation in 1...40 {
                let image = found.crashImage(.everythingPending)
                image.faultPlan = .crash(at: operation)
                var isCut = true
                do {
                    let log = try WriteAheadLog.open(
                        directory: CrashStore.path, fileSystem: image, options: options, createIfMissing: true,
                        now: Timestamp(milliseconds: 1_700_000_000_000))
                    try? log.start(delegate: CrashDelegate(log))
                    isCut = image.isCrashed
                    // Closing writes too, which is not what this is about: power is gone by then.
                    if !isCut { image.faultPlan = .crash(at: image.operationCount + 1) }
                    try? log.close()
                } catch {}
                for policy in [CrashPolicy.nothingPending, .everythingPending, .random(seed: seed)] {
                    let left = image.crashImage(policy)
                    let reproduction = "recovery of seed \(seed), operation \(operation), \(policy)"
                    try CrashCheck(disk: left, batches: journalist.all, reproduction: reproduction, options: options)
                        .run()
                    states += 1
                    // What was cut off is whole in lost/, however often the cutting was interrupted.
                    if let torn { #expect(left.saved.contains(torn), "\(reproduction)") }
                }
                if !isCut { break }
            }
        }
        return states
    }
}

extension SimulatedFileSystem {
    /// What recoveries cut off and saved.
    var saved: [[UInt8]] { snapshotFiles().filter { $0.key.hasSuffix(".bin") }.map(\.value) }
}
