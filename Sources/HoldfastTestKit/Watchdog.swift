// A run that never ends would tell nothing about itself. The watchdog names it.

internal import HoldfastLog

/// Notices when one run takes far longer than any should.
package final class Watchdog: Sendable {
    private let lock = CallerLock()
    private let signal = Signal()
    private let running = Locked<String?>("the first run")
    private let millisecondsMax: Int
    private let onHang: @Sendable (String) -> Never

    private init(millisecondsMax: Int, onHang: @escaping @Sendable (String) -> Never) {
        self.millisecondsMax = millisecondsMax
        self.onHang = onHang
    }

    /// Runs `body` under the eyes of a watchdog, which it tells of each run that begins.
    ///
    /// - Parameters:
    ///   - millisecondsMax: How long one run may take.
    ///   - onHang: Ends the process; it is told which run hangs.
    /// - Throws: What `body` throws, or that no thread could be started.
    package static func watching<Value>(
        millisecondsMax: Int, onHang: @escaping @Sendable (String) -> Never, _ body: (Watchdog) throws -> Value
    ) throws -> Value {
        let watchdog = Watchdog(millisecondsMax: millisecondsMax, onHang: onHang)
        let thread = try DedicatedThread(name: "watchdog") { watchdog.watch() }
        defer {
            watchdog.note(nil)
            thread.join()
        }
        return try body(watchdog)
    }

    /// Notes that a run begins, and how to see it again.
    package func begin(_ name: String) { note(name) }

    private func note(_ name: String?) {
        lock.withLock {
            running.withLock { $0 = name }
            signal.notifyAll()
        }
    }

    private func watch() {
        lock.withLock {
            while let name = running.withLock({ $0 }) {
                guard !signal.wait(lock, milliseconds: millisecondsMax) else { continue }
                guard name == running.withLock({ $0 }) else { continue }
                onHang(name)
            }
        }
    }
}
