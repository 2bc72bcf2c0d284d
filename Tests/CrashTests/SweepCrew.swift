// Threads that go through the runs of a sweep. Each has a watchdog, so that a run that hangs ends the tests and says
// which it was.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit

enum SweepCrew {
    /// Does every job once, on as many threads as an enumeration has.
    ///
    /// - Parameters:
    ///   - what: What a sweep that takes long is called where it says how far it is.
    ///   - millisecondsMax: How long one job may take.
    ///   - tools: Makes what one thread needs for all its jobs.
    static func work<Job: Sendable, Tools>(
        through jobs: [Job], of what: String, millisecondsMax: Int, named name: @escaping @Sendable (Job) -> String,
        tools: @escaping @Sendable () -> Tools, _ body: @escaping @Sendable (Job, inout Tools) throws -> Void
    ) async throws {
        let next = Locked(Progress(what: what, count: jobs.count))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<CrashEnumeration.threads {
                group.addTask {
                    try await onThread {
                        try Watchdog.watching(
                            millisecondsMax: millisecondsMax, onHang: { fatalError("this hangs: \($0)") }
                        ) { watchdog in
                            var own = tools()
                            while let number = next.withLock({ $0.take() }) {
                                let job = jobs[number]
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

    /// Which job is next, and when that was last told.
    private struct Progress {
        let what: String
        let count: Int
        private var next = 0
        private let started = ContinuousClock.now
        private var told = ContinuousClock.now

        init(what: String, count: Int) { (self.what, self.count) = (what, count) }

        mutating func take() -> Int? {
            guard next < count else { return nil }
            defer { next += 1 }
            let now = ContinuousClock.now
            if now - told >= .seconds(30) {
                told = now
                Effort.progress("\(what): \(next) of \(count) after \((now - started).components.seconds) s")
            }
            return next
        }
    }
}
