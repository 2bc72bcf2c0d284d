// Threads that go through the runs of a sweep. Each has a watchdog, so that a run that hangs ends the tests and says
// which it was.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit

enum SweepCrew {
    /// Does every job once, on as many threads as an enumeration has.
    ///
    /// - Parameters:
    ///   - millisecondsMax: How long one job may take.
    ///   - tools: Makes what one thread needs for all its jobs.
    static func work<Job: Sendable, Tools>(
        through jobs: [Job], millisecondsMax: Int, named name: @escaping @Sendable (Job) -> String,
        tools: @escaping @Sendable () -> Tools, _ body: @escaping @Sendable (Job, inout Tools) throws -> Void
    ) async throws {
        let next = Locked(0)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<CrashEnumeration.threads {
                group.addTask {
                    try await onThread {
                        try Watchdog.watching(
                            millisecondsMax: millisecondsMax, onHang: { fatalError("this hangs: \($0)") }
                        ) { watchdog in
                            var own = tools()
                            while let job = next.withLock({ next -> Job? in
                                defer { next += 1 }
                                return next < jobs.count ? jobs[next] : nil
                            }) {
                                watchdog.begin(name(job))
                                try body(job, &own)
                            }
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}
