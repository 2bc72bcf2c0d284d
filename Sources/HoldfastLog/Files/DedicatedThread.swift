// A thread of our own for blocking file operations, which must not run on Swift's pool. It takes no signals: they stay
// with the threads of the program that embeds the store, so no file operation of ours is interrupted by them. A thread
// is under the schedule of the one that starts it, if that has one.

internal import CHoldfast

// SENDABLE: `isJoined` is guarded by `lock`; the handle never changes.
/// A named thread that runs one closure.
package final class DedicatedThread: @unchecked Sendable {
    /// What the closure may use of stack.
    package static let stackBytes = 1 << 20

    /// What the new thread takes over from the one that starts it.
    private final class Start {
        let name: String
        let seat: ThreadSeat?
        let body: @Sendable () -> Void
        init(name: String, seat: ThreadSeat?, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.seat = seat
            self.body = body
        }
    }

    private let thread: UInt
    private let seat: ThreadSeat?
    private let lock = CallerLock()
    private var isJoined = false

    /// Starts a thread that runs `body` and ends with it.
    ///
    /// - Parameter name: What debuggers and `top` show; Linux keeps 15 bytes of it.
    /// - Throws: When the system's limit of threads is reached; nothing runs then.
    package init(name: String, _ body: @escaping @Sendable () -> Void) throws(IOFailure) {
        let seat = ThreadSeat.schedule.map { ThreadSeat(name, in: $0) }
        // SAFETY: `start` is retained here and consumed once: by the thread, or below when there is none.
        let start = unsafe Unmanaged.passRetained(Start(name: name, seat: seat, body: body))
        var handle: UInt = 0
        let result = unsafe holdfast_thread_start(
            &handle, Self.stackBytes,
            { argument in
                if let argument = unsafe argument { unsafe DedicatedThread.run(argument) }
                return nil
            }, start.toOpaque())
        guard result == 0 else {
            unsafe start.release()
            seat?.dismiss()
            throw IOFailure(errorNumber: -result, operation: "pthread_create", path: name)
        }
        thread = handle
        self.seat = seat
    }

    deinit {
        if !isJoined { holdfast_thread_detach(thread) }
    }

    /// Waits until the closure has returned.
    ///
    /// - Precondition: Called at most once, and not on the thread itself.
    package func join() {
        let isFirst = lock.withLock {
            defer { isJoined = true }
            return !isJoined
        }
        precondition(isFirst, "a thread can be joined once")
        seat?.waitForEnd()
        let result = holdfast_thread_join(thread)
        precondition(result == 0, "a thread cannot wait for itself")
    }

    /// Offers the processor to those who want it now: called between pieces of work, so that nobody is put off by a
    /// whole time slice, which is milliseconds. Costs less than a microsecond where nobody wants it.
    static func giveWay() { holdfast_thread_give_way() }

    private static func run(_ argument: UnsafeMutableRawPointer) {
        // SAFETY: `argument` is the retained `Start` that `init` passed, and this is the only place that consumes it.
        let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        unsafe holdfast_thread_set_name(start.name)
        if let seat = start.seat { seat.occupy(start.body) } else { start.body() }
    }
}
