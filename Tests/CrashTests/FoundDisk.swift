// A disk as it was found, for whoever has to see why it was not as it should be: two recordings of a workload need not
// have the same operations, so that the bytes themselves are kept.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Records what a disk violates, and where its files were put.
final class FoundDisk: Sendable {
    private let disk: SimulatedFileSystem
    private let reproduction: String
    private let place = Locked<String?>(nil)
    /// No more disks are kept than one looks at.
    private static let kept = Locked(0)
    private static let keptMax = 10

    /// Remembers the disk as it is now.
    ///
    /// - Parameter reproduction: How the disk came about.
    init(_ disk: SimulatedFileSystem, _ reproduction: String) {
        self.disk = disk.crashImage(.everythingPending)
        self.reproduction = reproduction
    }

    /// Records a violation unless `isMet`.
    func expect(
        _ isMet: Bool, _ what: @autoclosure () -> String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        if !isMet { violate(what(), sourceLocation: sourceLocation) }
    }

    /// Records a violation.
    func violate(_ what: String, sourceLocation: SourceLocation = #_sourceLocation) {
        Issue.record("\(what) (\(reproduction); the disk: \(keep()))", sourceLocation: sourceLocation)
    }

    /// Returns the directory that the files are in, or why they are in none.
    func keep() -> String {
        place.withLock { place in
            if let place { return place }
            let path =
                Self.kept.withLock {
                    $0 += 1; return $0
                } <= Self.keptMax ? write() : "not kept, as many were"
            place = path
            return path
        }
    }

    private func write() -> String {
        let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(base)/holdfast-found-XXXXXX".utf8CString)
        guard let made = unsafe template.withUnsafeMutableBufferPointer({ unsafe mkdtemp($0.baseAddress!) }) else {
            return "could not be kept"
        }
        let root = unsafe String(cString: made)
        let files = POSIXFileSystem()
        do {
            for (path, bytes) in disk.snapshotFiles() {
                var parent = root
                for name in path.split(separator: "/").dropLast() {
                    parent += "/" + name
                    if try files.status(of: parent) == nil { try files.createDirectory(parent) }
                }
                let file = try files.open(root + path, .create)
                defer { file.close() }
                try file.write(bytes.span, at: 0)
            }
            return root
        } catch {
            return "could not be kept: \(error)"
        }
    }
}
