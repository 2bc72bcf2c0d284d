// Signals as events. They are blocked everywhere and taken by one thread, so that no system call is interrupted and no
// code runs in a handler. That thread also collects ended child processes and tells whoever waits for each.

import HoldfastLog

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Takes `SIGTERM`, `SIGINT` and `SIGCHLD` for the process from its creation on.
///
/// - Precondition: Created once, before any other thread is.
final class SignalWatch: @unchecked Sendable {
    // SENDABLE: all mutable state is guarded by `lock`.
    private let lock = CallerLock()
    private var exits: [pid_t: ChildExit] = [:]
    private var waiters: [pid_t: Descriptor] = [:]
    private var onStop: (@Sendable () -> Void)?
    private var stopCount = 0

    init() throws {
        var signals = Self.signals()
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        // A signal that is ignored by default is thrown away on some systems even while blocked.
        signal(SIGCHLD) { _ in }
        _ = try DedicatedThread(name: "signals") { [self] in watch() }
    }

    /// How many times the process has been asked to stop.
    var stops: Int { lock.withLock { stopCount } }

    /// Calls `body` each time the process is asked to stop: on the watching thread, or at once for the times before.
    func whenStopped(_ body: @escaping @Sendable () -> Void) {
        let missed = lock.withLock {
            onStop = body
            return stopCount
        }
        for _ in 0..<missed { body() }
    }

    /// Writes a byte to `waiter` once the child has ended, or at once if it has already.
    func expect(_ child: pid_t, waking waiter: Descriptor) {
        let hasEnded = lock.withLock {
            if exits[child] != nil { return true }
            waiters[child] = waiter
            return false
        }
        if hasEnded { _ = try? waiter.writeSome([0]) }
    }

    /// Returns how the child ended, once; `nil` while it runs.
    func takeExit(of child: pid_t) -> ChildExit? {
        lock.withLock {
            guard let exit = exits.removeValue(forKey: child) else { return nil }
            waiters[child] = nil
            return exit
        }
    }

    private static func signals() -> sigset_t {
        var signals = sigset_t()
        sigemptyset(&signals)
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGCHLD] { sigaddset(&signals, signal) }
        return signals
    }

    private func watch() {
        var signals = Self.signals()
        while true {
            var signal: Int32 = 0
            guard sigwait(&signals, &signal) == 0 else { continue }
            if signal == SIGCHLD {
                collect()
            } else {
                let action = lock.withLock {
                    stopCount += 1
                    return onStop
                }
                action?()
            }
        }
    }

    private func collect() {
        while true {
            var status: Int32 = 0
            let child = waitpid(-1, &status, WNOHANG)
            if child <= 0 { return }
            lock.withLock {
                exits[child] = ChildExit(waitStatus: status)
                // Under the lock: the waiter closes its pipe only after it has taken the exit.
                if let waiter = waiters[child] { _ = try? waiter.writeSome([0]) }
            }
        }
    }
}
