// What the lock file tells about its holder: process id, time of opening, and on Linux the boot it belongs to, so that
// a note left by a process of an earlier boot is not taken for a living one.

internal import HoldfastBytes

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

package enum ProcessNote {
    static func current(now: Timestamp) -> String {
        "pid \(getpid()) since_ms \(now.milliseconds) boot \(bootIdentity())\n"
    }

    /// Names the holder for a message: `process 71`.
    package static func holder(in note: String) -> String {
        let words = note.split { $0 == " " || $0 == "\n" }
        guard words.count >= 2, words[0] == "pid", let pid = Int(words[1]) else { return "another process" }
        return pid == Int(getpid()) ? "this process (pid \(pid))" : "process \(pid)"
    }

    /// What to do where the holder is in the way.
    static func remedy(in note: String) -> String {
        note.hasPrefix("pid \(getpid()) ")
            ? "use the store that is open, or close it first" : "stop it, or reach the store through it"
    }

    private static func bootIdentity() -> String {
        let path = "/proc/sys/kernel/random/boot_id"
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "unknown" }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 36)
        // SAFETY: the buffer holds as many bytes as the call may fill.
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
        return count == 36 ? String(decoding: bytes, as: UTF8.self) : "unknown"
    }
}
