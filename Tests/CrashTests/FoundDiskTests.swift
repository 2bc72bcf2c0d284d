// What a crash test leaves for whoever looks into its failure.

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

@Suite struct FoundDiskTests {
    @Test func aDiskThatIsNotAsItShouldBeIsKeptAsItWasFound() async throws {
        try await onThread {
            let disk = SimulatedFileSystem()
            try CrashStore(disk).commit([body(1)])
            let image = disk.crashImage(.nothingPending)
            let files = image.snapshotFiles()
            let found = FoundDisk(image, "a seed")
            image.remove("\(CrashStore.path)/MANIFEST")
            let root = found.keep()
            #expect(root.hasPrefix("/") && found.keep() == root)
            let system = POSIXFileSystem()
            for (path, bytes) in files { #expect(try system.contents(of: root + path) == bytes, "\(path)") }
            for path in files.keys { try system.unlink(root + path) }
            let directories = Set(files.keys.map { $0.split(separator: "/").dropLast().joined(separator: "/") })
            for path in directories.union([""]).sorted(by: >) { #expect(rmdir("\(root)/\(path)") == 0, "\(path)") }
        }
    }
}
