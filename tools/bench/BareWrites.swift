// The floor under every durable call with one write at a time, and scratch directories for the stores.

import ArgumentParser

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

enum BareWrites {
    static let blockBytes = 4096
    static let fileBytes = 8 << 20

    /// Writes and syncs 4 KiB at a time, round and round a file that was filled with zeros and synced before.
    static func measure(directory: String, seconds: Double) throws -> Latencies {
        let path = directory + "/bench-bare"
        let descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw ValidationError("\(path) can't be created: is \(directory) a directory?") }
        defer {
            close(descriptor)
            unlink(path)
        }
        let block = [UInt8](repeating: 7, count: blockBytes)
        let zeros = [UInt8](repeating: 0, count: fileBytes)
        guard pwrite(descriptor, zeros, fileBytes, 0) == fileBytes, fsync(descriptor) == 0 else {
            throw ValidationError("\(path) can't be written: is the disk full?")
        }
        let clock = ContinuousClock()
        let start = clock.now
        let end = start + .seconds(seconds)
        var nanoseconds: [Int64] = []
        var offset = 0
        while true {
            let before = clock.now
            if before >= end { break }
            guard pwrite(descriptor, block, blockBytes, off_t(offset)) == blockBytes, sync(descriptor) == 0 else {
                throw ValidationError("writing \(path) failed")
            }
            let (seconds, attoseconds) = (clock.now - before).components
            nanoseconds.append(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
            offset = (offset + blockBytes) % fileBytes
        }
        return Latencies(nanoseconds: nanoseconds, elapsed: clock.now - start)
    }

    private static func sync(_ descriptor: Int32) -> Int32 {
        #if canImport(Darwin)
            fcntl(descriptor, F_FULLFSYNC)
        #else
            fdatasync(descriptor)
        #endif
    }
}

enum ScratchDirectory {
    /// Removes a store made by an earlier run, if there is one: a directory of files and directories of files.
    static func remove(_ path: String) throws {
        for name in names(path) {
            let child = path + "/" + name
            for file in names(child) { unlink(child + "/" + file) }
            if unlink(child) != 0 { rmdir(child) }
        }
        rmdir(path)
    }

    private static func names(_ path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var result: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            if name != "." && name != ".." { result.append(name) }
        }
        return result
    }
}
