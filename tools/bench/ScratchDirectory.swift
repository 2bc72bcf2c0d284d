// Where stores are made to be measured. It should be a disk: a file system in memory measures something else.

import ArgumentParser

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

    /// Removes a store made by an earlier run, if there is one: a directory of files and directories of files.
    static func remove(_ path: String) throws {
        for name in names(path) {
            let child = path + "/" + name
            for file in names(child) { unlink(child + "/" + file) }
            if unlink(child) != 0 { rmdir(child) }
        }
        rmdir(path)
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
