// Reading and writing whole buffers on descriptors that belong to the commands: standard streams, pipes, sockets.

import HoldfastLog

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// An open file of the system. A plain number: who opened it closes it.
struct Descriptor: Hashable, Sendable {
    let number: Int32

    static let standardInput = Descriptor(number: 0)
    static let standardOutput = Descriptor(number: 1)
    static let standardError = Descriptor(number: 2)

    /// Whether people look at it.
    var isTerminal: Bool { isatty(number) == 1 }

    /// Opens the standard streams that are closed on `/dev/null`. Otherwise the first files that the store opens
    /// would get their numbers, and an error message would be written into a journal.
    static func occupyStandardStreams() {
        for number in Int32(0)...2 where fcntl(number, F_GETFD) == -1 && errno == EBADF {
            let opened = open("/dev/null", number == 0 ? O_RDONLY : O_WRONLY)
            precondition(opened == number, "descriptors below a closed one are open")
        }
    }

    /// Reads what there is, up to the buffer's size; 0 at the end.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> Int {
        while true {
            let count = systemRead(number, buffer)
            if count >= 0 { return count }
            if errno != EINTR { throw SystemError("read") }
        }
    }

    /// Writes as much of `bytes` as there is room for; `nil` when there is none just now.
    func writeSome(_ bytes: ArraySlice<UInt8>) throws(SystemError) -> Int? {
        let count = bytes.withUnsafeBytes { systemWrite(number, $0) }
        if count >= 0 { return count }
        if errno == EAGAIN || errno == EINTR { return nil }
        throw SystemError("write")
    }

    /// Writes all of `bytes`, waiting where the other side is slow.
    func writeAll(_ bytes: [UInt8]) throws(SystemError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            if let count = try writeSome(rest) {
                rest = rest.dropFirst(count)
            } else {
                try Poll.wait(for: [(self, .write)], milliseconds: nil)
            }
        }
    }

    /// Writes text, and does without it when nobody reads it any more.
    func writeText(_ text: String) { try? writeAll([UInt8](text.utf8)) }

    func setNonBlocking() {
        let flags = fcntl(number, F_GETFL)
        if flags >= 0 { _ = fcntl(number, F_SETFL, flags | O_NONBLOCK) }
    }

    func close() { _ = systemClose(number) }

    /// Makes a pipe whose ends no child process inherits.
    static func pipe() throws(SystemError) -> (read: Descriptor, write: Descriptor) {
        var numbers: [Int32] = [-1, -1]
        let status = creation.withLock {
            let status = makePipe(&numbers)
            for number in numbers where status == 0 { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
            return status
        }
        guard status == 0 else { throw SystemError("make a pipe") }
        return (Descriptor(number: numbers[0]), Descriptor(number: numbers[1]))
    }

    /// Held from making a descriptor to marking it as not to be inherited, and while a process is started: between the
    /// two steps another thread's child would take it along and keep a pipe open for ever.
    static let creation = CallerLock()
}

// The system's functions, which the methods of the same names hide.

private func makePipe(_ numbers: inout [Int32]) -> Int32 { pipe(&numbers) }

private func systemRead(_ number: Int32, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
    read(number, buffer.baseAddress, buffer.count)
}

private func systemWrite(_ number: Int32, _ buffer: UnsafeRawBufferPointer) -> Int {
    write(number, buffer.baseAddress, buffer.count)
}

private func systemClose(_ number: Int32) -> Int32 { close(number) }

/// Waiting for descriptors.
enum Poll {
    enum Interest: Sendable {
        case read, write
        /// That the other side is gone, in both directions.
        case hangUp

        fileprivate var events: Int32 {
            switch self {
            case .read: Int32(POLLIN)
            case .write: Int32(POLLOUT)
            // It is reported unasked.
            case .hangUp: 0
            }
        }
    }

    /// Waits until one of `sources` can go on or the time is over, and says for each whether it can.
    ///
    /// - Parameter milliseconds: `nil` for no limit.
    @discardableResult
    static func wait(
        for sources: [(descriptor: Descriptor, interest: Interest)], milliseconds: Int?
    ) throws(SystemError) -> [Bool] {
        var entries = sources.map { source in
            pollfd(fd: source.descriptor.number, events: Int16(source.interest.events), revents: 0)
        }
        let timeout = milliseconds.map { Int32(clamping: max($0, 0)) } ?? -1
        let count = poll(&entries, nfds_t(entries.count), timeout)
        if count < 0 && errno != EINTR { throw SystemError("poll") }
        return entries.map { count > 0 && $0.revents != 0 }
    }
}
