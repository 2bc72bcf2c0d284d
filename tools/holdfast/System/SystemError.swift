// What the system said when a call failed, for the commands' own descriptors, sockets and processes. The store's
// files are not touched from here.

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A failed system call.
struct SystemError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was tried, such as `connect to store/socket`.
    let operation: String
    /// The system's number for the reason.
    let number: Int32

    /// Takes the reason from `errno`, which the failed call has just set, unless one is given.
    init(_ operation: String, number: Int32 = errno) {
        self.operation = operation
        self.number = number
    }

    /// The system's text for the reason.
    var reason: String { String(cString: strerror(number)) }

    var description: String { "could not \(operation): \(reason)" }
}

extension SystemError {
    /// An argument list is longer than the system takes.
    static let argumentTooLong = E2BIG
    /// Nobody reads any more.
    static let brokenPipe = EPIPE
    /// The system is short of processes, memory or descriptors just now.
    static let shortages: Set<Int32> = [EAGAIN, ENOMEM, EMFILE, ENFILE]
}
