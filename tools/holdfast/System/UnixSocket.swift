// Stream sockets with a name in a directory. The name's length is limited (about 100 bytes), a store's path is not; on
// Linux a longer one is reached through the directory's descriptor in /proc, elsewhere it is refused with a reason.

import HoldfastLog

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Makes and reaches sockets.
enum UnixSocket {
    /// Creates the socket `directory/name`, for the owner only, replacing what a dead process left there.
    static func listen(directory: String, name: String) throws(SystemError) -> Descriptor {
        let operation = "make the socket \(directory)/\(name)"
        let listener = try make(operation)
        do throws(SystemError) {
            remove(directory: directory, name: name)
            // Linux gives the new name the descriptor's mode, so it is never open to others, not even for an instant.
            _ = fchmod(listener.number, 0o600)
            try withAddress(directory: directory, name: name, operation) { address, length in
                bindSocket(listener.number, address, length)
            }
            _ = chmod("\(directory)/\(name)", 0o600)
            guard listenOn(listener.number) == 0 else { throw SystemError(operation) }
            listener.setNonBlocking()
            return listener
        } catch {
            listener.close()
            throw error
        }
    }

    /// Connects to the socket `directory/name`; `nil` when nobody listens there.
    ///
    /// - Parameter isPatient: Whether to wait while too many others wait for the listener. Otherwise the connection
    ///   never blocks.
    static func connect(directory: String, name: String, isPatient: Bool = true) throws(SystemError) -> Descriptor? {
        let operation = "connect to \(directory)/\(name)"
        let connection = try make(operation)
        if !isPatient { connection.setNonBlocking() }
        do throws(SystemError) {
            try withAddress(directory: directory, name: name, operation) { address, length in
                connectSocket(connection.number, address, length)
            }
            return connection
        } catch {
            connection.close()
            if [ENOENT, ECONNREFUSED, ENOTDIR, ENOTSOCK].contains(error.number) { return nil }
            throw error
        }
    }

    /// Removes the name, if it is there.
    static func remove(directory: String, name: String) { _ = unlink("\(directory)/\(name)") }

    /// Takes a waiting connection; `nil` when there is none (any more).
    static func accept(_ listener: Descriptor) -> Descriptor? {
        let number = Descriptor.creation.withLock {
            let number = acceptSocket(listener.number)
            if number >= 0 { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
            return number
        }
        guard number >= 0 else { return nil }
        // Some systems let the connection inherit the listener's mode.
        let flags = fcntl(number, F_GETFL)
        if flags >= 0 { _ = fcntl(number, F_SETFL, flags & ~O_NONBLOCK) }
        return Descriptor(number: number)
    }

    /// Ends the reading side, or both; whoever is blocked in it returns.
    static func shutDown(_ connection: Descriptor, writingToo: Bool) {
        _ = shutdown(connection.number, Int32(writingToo ? SHUT_RDWR : SHUT_RD))
    }

    /// Tells the other side that no more will be sent.
    static func endWriting(_ connection: Descriptor) { _ = shutdown(connection.number, Int32(SHUT_WR)) }

    private static func make(_ operation: String) throws(SystemError) -> Descriptor {
        #if canImport(Glibc)
            let type = Int32(SOCK_STREAM.rawValue)
        #else
            let type = SOCK_STREAM
        #endif
        let number = Descriptor.creation.withLock {
            let number = socket(AF_UNIX, type, 0)
            if number >= 0 { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
            return number
        }
        guard number >= 0 else { throw SystemError(operation) }
        return Descriptor(number: number)
    }

    private static func withAddress(
        directory: String, name: String, _ operation: String,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) throws(SystemError) {
        var path = "\(directory)/\(name)"
        var directoryNumber: Int32 = -1
        defer { if directoryNumber >= 0 { Descriptor(number: directoryNumber).close() } }
        var address = sockaddr_un()
        let room = MemoryLayout.size(ofValue: address.sun_path)
        #if os(Linux)
            if path.utf8.count >= room {
                directoryNumber = open(directory, O_DIRECTORY | O_RDONLY | O_CLOEXEC)
                guard directoryNumber >= 0 else { throw SystemError(operation) }
                path = "/proc/self/fd/\(directoryNumber)/\(name)"
            }
        #endif
        guard path.utf8.count < room else { throw SystemError(operation, number: ENAMETOOLONG) }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        if status != 0 { throw SystemError(operation) }
    }
}

// The system's functions by names that do not collide with the ones above.

private func bindSocket(_ number: Int32, _ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> Int32 {
    bind(number, address, length)
}

private func connectSocket(_ number: Int32, _ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> Int32 {
    connect(number, address, length)
}

private func listenOn(_ number: Int32) -> Int32 { listen(number, 64) }

private func acceptSocket(_ number: Int32) -> Int32 { accept(number, nil, nil) }
