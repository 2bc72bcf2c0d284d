// Work that may wait goes to a thread that the system gives a processor when nobody else wants it: to compress a
// segment takes a processor for a twentieth of a second, and callers that want one meanwhile would be put off for
// milliseconds at a time. A thread that has said that it may wait can't take that back, so there are two: when somebody
// begins to wait for the work, the maintenance thread goes on with the rest of it itself.

internal import CHoldfast
internal import HoldfastBytes
internal import Synchronization

extension WriteAheadLog {
    /// Runs `body` on the background thread, and returns when it does; it must return soon once `isHurried` says so.
    /// It had better not change files: whoever is put off in the middle of that puts others off.
    ///
    /// The maintenance thread calls it, without the lock.
    ///
    /// - Parameter bytes: What there is to read, of which `body` says in `backgroundBytes` how much it has.
    /// - Returns: False when the maintenance thread is to go on itself: somebody waits for it. Where that is so from
    ///   the beginning, `body` is not run.
    func inBackground(_ bytes: Int, _ body: () -> Void) -> Bool {
        if background == nil {
            background = try? DedicatedThread(name: "holdfast-seal") { [self] in runBackground() }
            // Without one, the maintenance thread does it.
            if background == nil { return false }
        }
        lock.lock()
        defer { lock.unlock() }
        if isSomebodyWaiting { return false }
        isHurried.store(false, ordering: .relaxed)
        backgroundBytes.store(0, ordering: .relaxed)
        let (wasActive, wasFull) = (activeBytes, full.count)
        withoutActuallyEscaping(body) { body in
            backgroundWork = body
            backgroundSignal.notifyOne()
            while backgroundWork != nil {
                _ = maintenanceSignal.wait(lock, milliseconds: Self.hurryMilliseconds)
                let filled = activeBytes - wasActive + (full.count - wasFull) * options.journalSegmentBytes
                let done = backgroundBytes.load(ordering: .relaxed)
                // What falls behind what comes in is waited for sooner or later.
                if isSomebodyWaiting || filled - done > bytes / 16 { isHurried.store(true, ordering: .relaxed) }
            }
        }
        return !isHurried.load(ordering: .relaxed)
    }

    private static let hurryMilliseconds = 5

    /// Whether something can't go on until the maintenance thread has time for it. The caller holds the lock.
    private var isSomebodyWaiting: Bool {
        if case .open = state.phase, !isClosing {} else { return true }
        return isStarving || isTight || full.count > 1 || !requests.isEmpty || oversizedWantedBytes > 0
            || isReservationShort
    }

    private func runBackground() {
        holdfast_thread_give_way()
        lock.lock()
        while true {
            if let work = backgroundWork {
                lock.unlock()
                work()
                lock.lock()
                backgroundWork = nil
                maintenanceSignal.notifyOne()
            } else if isBackgroundStopping {
                break
            } else {
                backgroundSignal.wait(lock)
            }
        }
        lock.unlock()
    }

    /// Ends the thread, if there is one.
    func endBackground() {
        lock.withLock {
            isBackgroundStopping = true
            backgroundSignal.notifyOne()
        }
        background?.join()
        background = nil
    }
}
