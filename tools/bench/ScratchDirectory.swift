// Where stores are made to be measured. It should be a disk: a file system in memory measures something else.

import ArgumentParser
import HoldfastLog

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Directories that the measurements make and remove.
enum ScratchDirectory {
    /// Makes a directory of our own where temporary files go, or in `parent`.
    static func make(in parent: String? = nil) throws -> String {
        let place = parent ?? getenv("TMPDIR").map { String(cString: $0) } ?? "/var/tmp"
        var template = Array((place + "/holdfast-bench.XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else {
            throw ValidationError("no directory can be made in \(place): give another one with --directory")
        }
        return String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Makes the directory if it is missing.
    static func create(_ path: String) throws {
        guard mkdir(path, 0o700) != 0, errno != EEXIST else { return }
        throw ValidationError("\(path) can't be created: check the path")
    }

    /// Removes a directory with all that is in it, if it is there.
    static func remove(_ path: String) throws {
        for name in names(path) {
            let child = path + "/" + name
            if unlink(child) != 0 { try remove(child) }
        }
        guard rmdir(path) == 0 || errno == ENOENT else {
            throw ValidationError("\(path) can't be removed: check its owner and mode")
        }
    }

    /// Copies a directory of files and directories. What comes next need not wait for the disk.
    static func copy(_ path: String, to copy: String) throws {
        try create(copy)
        for name in names(path) {
            let (source, target) = (path + "/" + name, copy + "/" + name)
            switch try POSIXFileSystem().status(of: source)?.kind {
            case .directory: try Self.copy(source, to: target)
            case .file: try copyFile(source, to: target)
            default: break
            }
        }
    }

    private static func copyFile(_ path: String, to copy: String) throws {
        // A file that has gone meanwhile is not needed.
        guard let source = fopen(path, "r") else { return }
        defer { fclose(source) }
        guard let target = fopen(copy, "w") else { throw ValidationError("\(copy) can't be created") }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = fread(&bytes, 1, bytes.count, source)
            if count == 0 { break }
            guard fwrite(bytes, 1, count, target) == count else {
                fclose(target)
                throw ValidationError("\(copy) can't be written: is the disk full?")
            }
        }
        let isDurable = fflush(target) == 0 && fsync(fileno(target)) == 0
        guard fclose(target) == 0, isDurable else {
            throw ValidationError("\(copy) can't be written: is the disk full?")
        }
    }

    /// Whether nothing is there.
    static func isEmpty(_ path: String) -> Bool { names(path).isEmpty }

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
