// A real file system that is soon full. It is taken out of the tree of names as soon as it is mounted and lives through
// a descriptor alone, so it goes with this process, however that ends, and never stays behind.

import Testing

@testable import HoldfastCommand

#if os(Linux)
    #if canImport(Glibc)
        import Glibc
    #else
        import Musl
    #endif

    /// A mounted file system of a few MiB.
    final class SmallFileSystem {
        enum Kind: String, CaseIterable, Sendable { case tmpfs, ext4 }

        /// Its root, as this process and its children reach it.
        let path: String
        private let directory: TemporaryDirectory
        private let descriptor: Int32

        /// Mounts one; `nil` where that is not permitted, or there are no loop devices.
        init?(_ kind: Kind, mebibytes: Int) throws {
            directory = try TemporaryDirectory()
            let place = directory.path + "/mount"
            mkdir(place, 0o700)
            switch kind {
            case .tmpfs:
                guard mount("tmpfs", place, "tmpfs", 0, "size=\(mebibytes)m") == 0 else { return nil }
            case .ext4:
                let image = directory.path + "/image"
                let made = try Self.run("truncate -s \(mebibytes)M \(image) && mkfs.ext4 -q -F -m 0 \(image)")
                try #require(made.exit == .code(0), "the package e2fsprogs is needed: \(made.errors)")
                guard try Self.run("mount -o loop \(image) \(place)").exit == .code(0) else { return nil }
            }
            descriptor = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            let isDetached = umount2(place, Int32(MNT_DETACH)) == 0
            path = "/proc/\(getpid())/fd/\(descriptor)"
            try #require(descriptor >= 0 && isDetached)
        }

        deinit { close(descriptor) }

        private static func run(_ script: String) throws -> ProcessResult {
            try CommandHarness.run("/bin/sh", ["-c", "PATH=$PATH:/sbin:/usr/sbin; \(script)"])
        }

        private var ballast: String { path + "/ballast" }

        /// Takes all the space that is left.
        func fill() throws {
            let file = open(ballast, O_WRONLY | O_CREAT | O_APPEND | O_SYNC | O_CLOEXEC, 0o600)
            try #require(file >= 0)
            defer { close(file) }
            for size in [64 << 10, 4 << 10, 1 << 10] {
                let bytes = [UInt8](repeating: 0x55, count: size)
                while bytes.withUnsafeBytes({ write(file, $0.baseAddress, $0.count) }) > 0 {}
                try #require(errno == ENOSPC)
            }
        }

        /// Gives that space back.
        func free() throws { try #require(unlink(ballast) == 0) }
    }
#endif
