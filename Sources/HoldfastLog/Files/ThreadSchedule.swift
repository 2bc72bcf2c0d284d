// The seam by which something other than the system decides when the store's threads run, what time it is to them and
// what they draw by chance: a simulation, which must go the same way each time. A thread is under a schedule when it
// has a seat; threads that it starts get one too, and signals made by it are the schedule's. Without a seat all is as
// the system has it, and costs the look at one thread-local pointer where a thread, a signal or an instant is made.

internal import CHoldfast

/// Decides which of its threads runs: one at a time. A thread gives its turn up where it waits for a signal or for
/// another thread's end, and when it ends; none of that happens while it holds a lock.
package protocol ThreadSchedule: AnyObject, Sendable {
    /// The time, as its threads see it.
    var now: ContinuousClock.Instant { get }

    /// Reckons with a thread that is about to be started.
    func admit(_ seat: ThreadSeat)
    /// No longer reckons with it: it could not be started.
    func dismiss(_ seat: ThreadSeat)
    /// Returns once it is the turn of `seat`, the calling thread's, for the first time.
    func begin(_ seat: ThreadSeat)
    /// Ends the last turn of `seat`, the calling thread's.
    func end(_ seat: ThreadSeat)
    /// Returns once another thread has had its last turn.
    func waitForEnd(of seat: ThreadSeat)

    /// Releases `lock`, waits for a notification of `signal`, and takes `lock` again.
    ///
    /// - Returns: False when `milliseconds` have passed.
    func wait(for signal: ObjectIdentifier, releasing lock: CallerLock, milliseconds: Int?) -> Bool
    /// Lets one of those go on who wait for `signal`, or all.
    func notify(_ signal: ObjectIdentifier, all: Bool)

    /// Returns bytes that pass for random ones.
    func randomBytes(_ count: Int) -> [UInt8]
}

/// A thread's place in a schedule.
package final class ThreadSeat: Sendable {
    /// What decides when the thread runs.
    package let schedule: any ThreadSchedule
    /// The thread's name.
    package let name: String
    /// For the schedule to tell the thread that its turn has come.
    package let turn = Signal(in: nil)

    /// Makes a seat for a thread that is about to be started.
    package init(_ name: String, in schedule: any ThreadSchedule) {
        self.schedule = schedule
        self.name = name
        schedule.admit(self)
    }

    /// The schedule of the calling thread; `nil` where the system decides.
    package static var schedule: (any ThreadSchedule)? {
        guard let pointer = unsafe holdfast_thread_seat() else { return nil }
        // SAFETY: the pointer is to the seat that `occupy` keeps alive on this thread until it clears the pointer.
        return unsafe Unmanaged<ThreadSeat>.fromOpaque(pointer).takeUnretainedValue().schedule
    }

    /// Runs `body` as the seat's thread, from its first turn to its last.
    package func occupy<Value, Failure: Error>(_ body: () throws(Failure) -> Value) throws(Failure) -> Value {
        precondition(ThreadSeat.schedule == nil, "a thread has one seat")
        // SAFETY: this call keeps the seat alive, and takes the pointer back before it returns.
        unsafe holdfast_set_thread_seat(Unmanaged.passUnretained(self).toOpaque())
        schedule.begin(self)
        defer {
            holdfast_set_thread_seat(nil)
            schedule.end(self)
        }
        return try body()
    }

    /// Gives the seat up: no thread could be started for it.
    func dismiss() { schedule.dismiss(self) }

    /// Returns once its thread has had its last turn.
    func waitForEnd() { schedule.waitForEnd(of: self) }
}

/// The time by which the log paces itself, rests and tries again. It goes into no record and no answer.
enum PaceClock {
    /// The system's, or that of the schedule which the calling thread is under.
    static var now: ContinuousClock.Instant { ThreadSeat.schedule?.now ?? .now }
}
