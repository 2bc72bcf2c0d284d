// Whole files by their path, for what people write and look at.

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Reading and writing whole files.
enum TextFile {
    /// Reads a file, or standard input when `path` is `-`.
    ///
    /// - Parameter bytesMax: A longer one is refused.
    static func read(_ path: String, bytesMax: Int) throws(CommandFailure) -> [UInt8] {
        let source = path == "-" ? Descriptor.standardInput : try open(path, O_RDONLY, "read")
        defer { if path != "-" { source.close() } }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        do throws(SystemError) {
            while true {
                let outcome: Result<Int, SystemError> = chunk.withUnsafeMutableBytes { buffer in
                    do throws(SystemError) { return .success(try source.read(into: buffer)) } catch {
                        return .failure(error)
                    }
                }
                let count = try outcome.get()
                if count == 0 { return bytes }
                bytes += chunk[..<count]
                if bytes.count > bytesMax { break }
            }
        } catch { throw CommandFailure("could not read \(path): \(error.reason)") }
        throw CommandFailure("\(path) is longer than \(bytesMax) bytes; it can't be what is wanted here")
    }

    /// Writes a file in the place of what is there.
    static func write(_ text: String, to path: String) throws(CommandFailure) {
        let target = try open(path, O_WRONLY | O_CREAT | O_TRUNC, "write")
        defer { target.close() }
        do throws(SystemError) { try target.writeAll([UInt8](text.utf8)) } catch {
            throw CommandFailure("could not write \(path): \(error.reason)")
        }
    }

    private static func open(_ path: String, _ flags: Int32, _ verb: String) throws(CommandFailure) -> Descriptor {
        let number = systemOpen(path, flags | O_CLOEXEC)
        guard number >= 0 else {
            throw CommandFailure("could not \(verb) \(path): \(SystemError("open").reason); check the path")
        }
        return Descriptor(number: number)
    }
}

private func systemOpen(_ path: String, _ flags: Int32) -> Int32 { open(path, flags, 0o644) }
