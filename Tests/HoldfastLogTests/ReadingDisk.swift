import HoldfastLog
import HoldfastTestKit
import Synchronization

/// Tells when a journal segment is read, as sealing does where nothing is in memory.
final class ReadingDisk: ForwardingFileSystem {
    let base = SimulatedFileSystem()
    /// Called before each read, with how many bytes are asked for.
    let hook = Mutex<@Sendable (Int) -> Void>({ _ in })

    func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> any File {
        let file = try base.open(path, mode)
        return path.hasSuffix(".jnl") && mode == .read ? ReadFile(base: file, disk: self) : file
    }
}

private final class ReadFile: ForwardingFile {
    let base: any File
    private let disk: ReadingDisk

    init(base: any File, disk: ReadingDisk) { (self.base, self.disk) = (base, disk) }

    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOFailure) -> Int {
        disk.hook.withLock { $0 }(buffer.count)
        return try base.read(into: &buffer, at: offset)
    }
}
