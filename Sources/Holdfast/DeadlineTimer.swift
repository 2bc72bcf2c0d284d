// The thread that notices passing time while leases wait, or callers for the end of a job: a scheduled job that falls
// due, a lease that ends, a wait whose time is up. It starts with the first that waits and sleeps when there is none;
// without it deadlines are noticed by the next operation, which is all that correctness needs.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// Wakes waiting leases when their time or that of a job comes.
final class DeadlineTimer: @unchecked Sendable {
    // SENDABLE: every `var` is read and written only under the store's lock.
    private let signal = Signal()
    private var thread: DedicatedThread?
    private var isStopped = false
    private var isPoked = false
    /// When the thread looks again unless poked, in the store's time.
    private(set) var wakesAt = Timestamp.zero

    /// The longest sleep, so that a wall clock that was set is noticed.
    private static let sleepMillisecondsMax: Int64 = 60_000
    /// How long it waits before it tries again to record what is overdue, as on a full disk.
    private static let retryMilliseconds: Int64 = 1_000

    /// What a look came to.
    fileprivate enum Finding { case served, noRoom, refused }

    /// Starts the thread unless it runs. The caller does not hold the store's lock.
    func start(on core: StoreCore) throws(JobStoreError) {
        core.lock.lock()
        defer { core.lock.unlock() }
        guard thread == nil, !isStopped else { return }
        do {
            thread = try DedicatedThread(name: "holdfast-timer") { self.serve(core) }
        } catch {
            throw JobStoreError(.ioError, "a lease can't wait: \(error); raise the limit of threads")
        }
    }

    /// Makes the thread look at once. The caller holds the store's lock.
    func poke() {
        isPoked = true
        signal.notifyOne()
    }

    /// Ends the thread and waits for that. The caller does not hold the store's lock.
    func stop(on core: StoreCore) {
        let thread = core.lock.withLock {
            isStopped = true
            signal.notifyAll()
            defer { self.thread = nil }
            return self.thread
        }
        thread?.join()
    }

    private func serve(_ core: StoreCore) {
        core.lock.lock()
        while !isStopped {
            isPoked = false
            // Awake: no deadline is earlier than that.
            wakesAt = .zero
            var served: [WaitingCaller] = []
            let finding = core.look(&served)
            served += core.takeEnded()
            if !served.isEmpty || finding == .noRoom {
                core.lock.unlock()
                for caller in served { caller.wake() }
                if finding == .noRoom { core.log.waitForRoomBlocking() }
                core.lock.lock()
                continue
            }
            if isPoked { continue }
            sleep(core, atLeast: finding == .refused ? Self.retryMilliseconds : 1)
        }
        core.lock.unlock()
    }

    private func sleep(_ core: StoreCore, atLeast shortest: Int64) {
        guard core.isAwaited else {
            wakesAt = .max
            signal.wait(core.lock)
            return
        }
        let now = core.readTime()
        let milliseconds = max(min(core.millisecondsToNextEvent(at: now), Self.sleepMillisecondsMax), shortest)
        wakesAt = now.advanced(byMilliseconds: milliseconds)
        if core.manualClock != nil {
            // Its time moves by operations and by `advance`, and both poke.
            signal.wait(core.lock)
        } else {
            _ = signal.wait(core.lock, milliseconds: Int(milliseconds))
        }
    }
}

extension StoreCore {
    /// Whether anybody waits for time to pass.
    fileprivate var isAwaited: Bool { !waiters.isEmpty || !outcomes.isEmpty || !roomWaiters.isEmpty }

    /// Records what is overdue and serves the waiters. The caller holds the lock.
    ///
    fileprivate func look(_ served: inout [WaitingCaller]) -> DeadlineTimer.Finding {
        guard isAwaited, failure == nil, !isClosed else { return .served }
        let now = readTime()
        do {
            guard try recordOverdue(at: now), try hasRoom(isSettling: false) else { return .noRoom }
        } catch {
            let pending = Pending<[Lease]>(core: self, ticket: nil, outcome: .refused(error))
            for waiter in waiters.removeAll() {
                waiter.settle(pending)
                served.append(waiter.caller)
            }
            roomWaiters.failAll(error, on: self)
            return .refused
        }
        var lacksLogRoom = false
        if !roomWaiters.isEmpty {
            lacksLogRoom = serveRoomWaiters(at: now)
            if endTimedOutRoomWaiters() { lacksLogRoom = serveRoomWaiters(at: now) }
        }
        serveWaiters(at: now, &served)
        endTimedOut(&served)
        return lacksLogRoom ? .noRoom : .served
    }

    /// How long until a deadline passes or a wait ends, at least 1 ms.
    fileprivate func millisecondsToNextEvent(at now: Timestamp) -> Int64 {
        var result = Int64.max
        if let deadline = state.nextDeadline(after: now) { result = deadline.milliseconds - now.milliseconds }
        let timeouts = [waiters.nextTimeout, roomWaiters.nextTimeout].compactMap(\.self)
        if let timeout = timeouts.min(), let left = (timeout - clock.monotonicNow()).wholeMilliseconds {
            // Rounded up: waking early would only sleep again.
            result = min(result, left + 1)
        }
        return max(result, 1)
    }
}
