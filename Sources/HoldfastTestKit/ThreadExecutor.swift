// Blocking work of a test, on a thread of its own but within the test's task: Swift's pool must not be blocked, and an
// issue that the work records must still be known to be that test's.

internal import HoldfastLog

/// Runs every part of a task on a new thread.
package final class ThreadExecutor: TaskExecutor {
    private init() {}

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        do throws(IOFailure) {
            _ = try DedicatedThread(name: "test") { [self] in
                // SAFETY: the executor is kept by this closure until the job is through, and a job runs once.
                unsafe job.runSynchronously(on: asUnownedTaskExecutor())
            }
        } catch { preconditionFailure("a test needs a thread: \(error)") }
    }

    /// Runs blocking work on a thread of its own, within the calling task.
    package static func run<Value: Sendable>(_ body: @Sendable () throws -> Value) async throws -> Value {
        try await withTaskExecutorPreference(ThreadExecutor()) { try await runHere(body) }
    }

    /// Being concurrent, it begins on the executor that is preferred.
    @concurrent private static func runHere<Value: Sendable>(
        _ body: @Sendable () throws -> Value
    ) async throws -> Value { try body() }
}
