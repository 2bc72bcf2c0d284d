// Three ways to wait for the bare log, as there are for a store: threads, of which the first to come writes for all;
// tasks, for which a thread writes; and one thread that has all calls outstanding and so wakes nobody. The last is the
// limit of what one processor and one disk allow, and how clients of servers work that send many requests at once.

import HoldfastLog

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
    import Dispatch
#endif

// SENDABLE: `waiting`, `isWriting` and the log are guarded by `lock`; a seat's `leads` by handing its semaphore over.
/// Threads: one that finds nobody writing writes for all that wait, then hands the pen on.
final class BareThreads: BlockingFace, @unchecked Sendable {
    private final class Seat {
        let semaphore = Semaphore()
        var leads = false
    }

    private let log: BareLog
    private let lock = CallerLock()
    private let seats: [Seat]
    private var waiting: [Seat] = []
    private var isWriting = false

    init(_ log: BareLog, callers: Int) {
        self.log = log
        seats = (0..<callers).map { _ in Seat() }
    }

    func perform(_ call: Call<BareJob>, caller: Int) throws -> Outcome<BareJob> {
        let seat = seats[caller]
        lock.lock()
        let outcome = log.perform(call)
        if isWriting {
            waiting.append(seat)
            lock.unlock()
            seat.semaphore.wait()
            guard seat.leads else { return outcome }
            seat.leads = false
            lock.lock()
        }
        isWriting = true
        let group = waiting
        waiting.removeAll(keepingCapacity: true)
        log.swapBuffers()
        lock.unlock()
        // The others wait for this thread, so there is no going on without it.
        do { try log.write() } catch { preconditionFailure("\(error)") }
        lock.lock()
        let heir = waiting.isEmpty ? nil : waiting.removeFirst()
        isWriting = heir != nil
        lock.unlock()
        heir?.leads = true
        heir?.semaphore.signal()
        for seat in group { seat.semaphore.signal() }
        return outcome
    }
}

// SENDABLE: `waiting`, `isStopped` and the log are guarded by `lock`.
/// Tasks: a thread writes for all that wait, and resumes them.
final class BareTasks: AsyncFace, @unchecked Sendable {
    private let log: BareLog
    private let lock = CallerLock()
    private let work = Signal()
    private var waiting: [UnsafeContinuation<Void, any Error>] = []
    private var isStopped = false

    init(_ log: BareLog) { self.log = log }

    func perform(_ call: Call<BareJob>) async throws -> Outcome<BareJob> {
        var outcome = Outcome<BareJob>.settled
        try await withUnsafeThrowingContinuation { continuation in
            lock.withLock {
                outcome = log.perform(call)
                waiting.append(continuation)
                if waiting.count == 1 { work.notifyOne() }
            }
        }
        return outcome
    }

    /// Runs `body` while the writing thread is there.
    func serving<Result>(_ body: () async throws -> Result) async throws -> Result {
        let thread = try DedicatedThread(name: "bench-bare") { self.serve() }
        defer {
            lock.withLock {
                isStopped = true
                work.notifyOne()
            }
            thread.join()
        }
        return try await body()
    }

    private func serve() {
        var group: [UnsafeContinuation<Void, any Error>] = []
        lock.lock()
        while true {
            guard !waiting.isEmpty else {
                if isStopped { break }
                work.wait(lock)
                continue
            }
            swap(&group, &waiting)
            log.swapBuffers()
            lock.unlock()
            let result = Result { try log.write() }
            for continuation in group { continuation.resume(with: result) }
            group.removeAll(keepingCapacity: true)
            lock.lock()
        }
        lock.unlock()
    }
}

/// One thread with all calls outstanding.
enum BareLoop {
    static func run(_ callers: [Caller<BareJob>], on log: BareLog) throws -> [CallerLedger] {
        var callers = callers
        var done: [CallerLedger] = []
        var outcomes: [Outcome<BareJob>] = []
        while true {
            outcomes.removeAll(keepingCapacity: true)
            var index = 0
            while index < callers.count {
                if let call = callers[index].begin() {
                    outcomes.append(log.perform(call))
                    index += 1
                } else {
                    done.append(callers[index].ledger)
                    callers.remove(at: index)
                }
            }
            if callers.isEmpty { return done }
            log.swapBuffers()
            try log.write()
            for index in callers.indices { callers[index].finish(outcomes[index]) }
        }
    }
}

// SENDABLE: the semaphore is at an address that never changes, and its calls are thread-safe.
/// Lets one thread wait for another.
private final class Semaphore: @unchecked Sendable {
    #if canImport(Darwin)
        private let semaphore = DispatchSemaphore(value: 0)
        func signal() { semaphore.signal() }
        func wait() { semaphore.wait() }
    #else
        private let semaphore: UnsafeMutablePointer<sem_t> = .allocate(capacity: 1)

        init() {
            semaphore.initialize(to: sem_t())
            sem_init(semaphore, 0, 0)
        }

        deinit {
            sem_destroy(semaphore)
            semaphore.deallocate()
        }

        func signal() { sem_post(semaphore) }
        func wait() { while sem_wait(semaphore) != 0 {} }
    #endif
}
