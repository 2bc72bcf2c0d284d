// What it costs to wait for another thread with nothing to wait for: the floor under every call that shares a commit.

import HoldfastLog

// SENDABLE: `waiting` and `isStopped` are guarded by `lock`.
/// A thread that resumes every task that waits, again and again.
final class WakeUps: @unchecked Sendable {
    private let lock = CallerLock()
    private let work = Signal()
    private var waiting: [UnsafeContinuation<Void, Never>] = []
    private var isStopped = false

    /// Lets so many tasks wait so often; returns the nanoseconds of one wait.
    static func measure(tasks: Int, rounds: Int) async throws -> Double {
        let wakeUps = WakeUps()
        let thread = try DedicatedThread(name: "bench-wake") { wakeUps.serve() }
        let start = MonotonicTime.now
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<tasks {
                group.addTask { for _ in 0..<rounds { await wakeUps.wait() } }
            }
        }
        let elapsed = Double(MonotonicTime.now - start)
        wakeUps.lock.withLock {
            wakeUps.isStopped = true
            wakeUps.work.notifyOne()
        }
        thread.join()
        return elapsed / Double(tasks * rounds)
    }

    private func wait() async {
        await withUnsafeContinuation { continuation in
            lock.withLock {
                waiting.append(continuation)
                if waiting.count == 1 { work.notifyOne() }
            }
        }
    }

    private func serve() {
        var group: [UnsafeContinuation<Void, Never>] = []
        lock.lock()
        while true {
            guard !waiting.isEmpty else {
                if isStopped { break }
                work.wait(lock)
                continue
            }
            swap(&group, &waiting)
            lock.unlock()
            for continuation in group { continuation.resume() }
            group.removeAll(keepingCapacity: true)
            lock.lock()
        }
        lock.unlock()
    }
}
