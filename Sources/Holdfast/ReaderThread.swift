// Reading files blocks, and Swift's pool must not be blocked, so asynchronous callers have their reads done here. Under
// load the thread stays awake and a read costs no more than a queue entry. It starts when first needed: a program that
// only uses the blocking interface never has it.

internal import HoldfastLog

/// A thread that runs blocking reads for asynchronous callers, in order.
final class ReaderThread: @unchecked Sendable {
    // SENDABLE: every `var` is read and written only under `lock`.
    private let lock = CallerLock()
    private let signal = Signal()
    private var work: [@Sendable () -> Void] = []
    private var thread: DedicatedThread?
    private var isStopped = false

    /// Runs `body` on the thread and returns what it returns.
    func run<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            let isAccepted = accept { continuation.resume(returning: body()) }
            // Stopped, or out of threads: a read that blocks is better than none.
            if !isAccepted { continuation.resume(returning: body()) }
        }
    }

    /// Runs `body` on the thread and returns or throws what it does.
    func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(JobStoreError) -> Value
    ) async throws(JobStoreError) -> Value {
        let result: Result<Value, JobStoreError> = await run { Result(catching: body) }
        return try result.get()
    }

    /// Ends the thread once all that was accepted is done, and waits for that.
    func stop() {
        let thread = lock.withLock {
            isStopped = true
            signal.notifyAll()
            defer { self.thread = nil }
            return self.thread
        }
        thread?.join()
    }

    private func accept(_ body: @escaping @Sendable () -> Void) -> Bool {
        lock.withLock {
            guard !isStopped else { return false }
            if thread == nil {
                do { thread = try DedicatedThread(name: "holdfast-read") { self.serve() } } catch { return false }
            }
            work.append(body)
            if work.count == 1 { signal.notifyOne() }
            return true
        }
    }

    private func serve() {
        var batch: [@Sendable () -> Void] = []
        while true {
            lock.lock()
            while work.isEmpty && !isStopped { signal.wait(lock) }
            swap(&work, &batch)
            lock.unlock()
            if batch.isEmpty { return }
            for body in batch { body() }
            batch.removeAll(keepingCapacity: true)
        }
    }
}
