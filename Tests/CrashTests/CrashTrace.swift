// A run whose every crash point was kept, and how to judge a disk that a crash at one of them leaves.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

/// A recorded run.
struct CrashTrace: Sendable {
    let name: String
    let points: [CrashPoint]
    /// Checks the disk found after a crash at a point.
    let judge: @Sendable (SimulatedFileSystem, CrashPoint, _ reproduction: String, KnownStates) throws -> Void
}

extension CrashTrace {
    /// Records a workload of the log.
    static func log(
        _ workload: Workload, options: LogOptions = CrashStore.options(), keepsAcknowledged: Bool = true, seed: Int = 0
    ) throws -> CrashTrace {
        let disk = SimulatedFileSystem()
        let journalist = Journalist()
        try workload.prepare(disk, journalist, options, seed: seed)
        disk.recordCrashPoints { journalist.answers }
        try workload.run(disk, journalist, options, seed: seed)
        return CrashTrace(
            name: "\(workload.rawValue) \(options.durability), seed \(seed)", points: disk.crashPoints,
            batches: journalist.all, options: options, keepsAcknowledged: keepsAcknowledged)
    }

    /// Records the opening of a disk that a crash left.
    static func recovery(of disk: SimulatedFileSystem, knowing batches: [Journalist.Batch], name: String) throws -> Self
    {
        let options = CrashStore.options()
        disk.recordCrashPoints { .max }
        try CrashStore(opening: disk, options: options).log.close()
        return CrashTrace(name: name, points: disk.crashPoints, batches: batches, options: options)
    }

    /// Records recoveries of torn commits, and recoveries of disks that crashed recoveries left.
    static func recoveries(seed: Int) throws -> [CrashTrace] {
        var random = SeededRandom(seed: UInt64(seed))
        let disk = SimulatedFileSystem()
        let journalist = Journalist()
        try Workload.commit.prepare(disk, journalist, CrashStore.options(), seed: seed)
        disk.recordCrashPoints { journalist.answers }
        try Workload.commit.run(disk, journalist, CrashStore.options(), seed: seed)
        let points = disk.crashPoints.filter { $0.itemCount > 1 }
        var traces: [CrashTrace] = []
        for _ in 0..<3 {
            let point = random.pick(from: points)
            let batches = journalist.all.known(at: point.note)
            let torn = point.image(.torn(seed: random.next()))
            let first = try recovery(of: torn, knowing: batches, name: "recovery")
            traces.append(first)
            let again = random.pick(from: first.points).image(.torn(seed: random.next()))
            traces.append(try recovery(of: again, knowing: batches, name: "recovery of a crashed recovery"))
        }
        return traces
    }

    private init(
        name: String, points: [CrashPoint], batches: [Journalist.Batch], options: LogOptions,
        keepsAcknowledged: Bool = true
    ) {
        self.init(name: name, points: points) { disk, point, reproduction, known in
            try CrashCheck(
                disk: disk, batches: batches.known(at: point.note), reproduction: reproduction,
                keepsAcknowledged: keepsAcknowledged, options: options, known: known
            ).run()
        }
    }
}
