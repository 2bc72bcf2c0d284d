// Reading and writing calls may take part of what they are given, and a signal may interrupt them: neither is a
// failure.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Repeats a call until all bytes are done.
enum WholeTransfer {
    /// How far it came.
    struct Outcome: Equatable {
        var done: Int
        /// Why no more was done; `nil` also when a call took nothing, which is the end of a file that is read.
        var errorNumber: Int32?
    }

    /// Calls `call` with how many bytes are done, until it has done `count`, does nothing or fails. It returns how many
    /// more it did, or a negative number and the system's error code.
    static func run(_ count: Int, _ call: (_ done: Int) -> (taken: Int, errorNumber: Int32)) -> Outcome {
        var done = 0
        while done < count {
            let (taken, errorNumber) = call(done)
            if taken == 0 { break }
            if taken > 0 {
                done += taken
                assert(done <= count, "a call does no more than it is asked for")
            } else if errorNumber != EINTR {
                return Outcome(done: done, errorNumber: errorNumber)
            }
        }
        return Outcome(done: done)
    }
}
