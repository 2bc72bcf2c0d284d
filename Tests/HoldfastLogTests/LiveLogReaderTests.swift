// A reader whose store's owner replaces files under its hands: sealing takes journal files for new records, compaction
// removes segments, a checkpoint the one before the last. None of that is damage.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct LiveLogReaderTests {
    private static func sequences(_ reader: inout LogReader) throws(LogError) -> [UInt64] {
        var result: [UInt64] = []
        try reader.forEachFrame(from: .zero) { (source, frame) throws(LogError) in
            _ = try frame.forEachEntry(file: source.name) { (entry, _) throws(LogError) in
                // A frame may be shown twice.
                if entry.sequence.rawValue > result.last ?? 0 { result.append(entry.sequence.rawValue) }
                return true
            }
            return true
        }
        return result
    }

    /// Commits large records until every file of the ring was used again.
    private static func goAround(_ opened: OpenedLog) async throws -> UInt64 {
        var last: UInt64 = 0
        for number in 0..<40 { last = try await opened.commit([body(number, bytes: 12_000)]).rawValue }
        _ = try opened.log.compact()
        return last
    }

    @Test func aJournalFileThatIsUsedAgainIsNoDamageToAReader() async throws {
        let disk = SimulatedFileSystem()
        let opened = try OpenedLog(disk, "/store")
        for number in 0..<8 { _ = try await opened.commit([body(number, bytes: 12_000)]) }
        var reader = try LogReader.open(directory: "/store", fileSystem: disk)
        let last = try await Self.goAround(opened)
        let found = try Self.sequences(&reader)
        // What was committed last may have no frame behind it that vouches for it.
        #expect(found.starts(with: 1...last - 1))
        try opened.log.close()
    }

    @Test func anOwnerThatComesAfterTheReaderIsFollowedToo() async throws {
        let disk = SimulatedFileSystem()
        let first = try OpenedLog(disk, "/store")
        for number in 0..<8 { _ = try await first.commit([body(number, bytes: 12_000)]) }
        try first.log.close()
        var reader = try LogReader.open(directory: "/store", fileSystem: disk)
        #expect(reader.holder == nil)
        let second = try OpenedLog(disk, "/store")
        let last = try await Self.goAround(second)
        #expect(try Self.sequences(&reader).starts(with: 1...last - 1))
        #expect(reader.holder != nil)
        try second.log.close()
    }

    @Test func whatAComputationMissesBecauseTheOwnerRemovedItIsComputedAnew() async throws {
        let disk = SimulatedFileSystem()
        let opened = try OpenedLog(disk, "/store")
        for number in 0..<20 {
            _ = try await opened.commit([body(number, bytes: 12_000)], kind: OpaqueDelegate.droppableKind)
        }
        _ = try opened.log.checkpoint()
        var attempts = 0
        let found = try LogReader.compute(directory: "/store", fileSystem: disk) { (reader) throws(LogError) in
            attempts += 1
            if attempts == 1 { _ = try opened.log.compact() }
            var reader = reader
            return try Self.sequences(&reader)
        }
        #expect(attempts == 2)
        #expect(found.count < 20)
        try opened.log.close()
    }

    @Test func damageIsReportedAtOnceBesideAnOwnerThatGoesOn() async throws {
        let disk = SimulatedFileSystem()
        let opened = try OpenedLog(disk, "/store")
        for number in 0..<20 { _ = try await opened.commit([body(number, bytes: 12_000)]) }
        _ = try opened.log.compact()
        let segment = try #require(try disk.list("/store/segments").first)
        disk.corrupt("/store/segments/\(segment)", offset: 5_000)
        var attempts = 0
        let failure = #expect(throws: LogError.self) {
            try LogReader.compute(directory: "/store", fileSystem: disk) { (reader) throws(LogError) in
                attempts += 1
                var reader = reader
                return try Self.sequences(&reader)
            }
        }
        #expect(failure?.code == .corrupt)
        #expect(attempts == 1)
        try opened.log.close()
    }
    @Test func anOwnerThatGoesOnBetweenTwoReadsDoesNoDamage() async throws {
        let disk = SimulatedFileSystem()
        let held = HeldManifestFileSystem(disk)
        let opened = try OpenedLog(held, "/store")
        defer { held.letGo() }
        held.hold()
        _ = try await opened.commit([body(0, bytes: 12_000)])
        // The reader has seen where the first file ends when the owner goes on into the second one.
        let second = opened.log.layout.path(opened.log.currentManifest.journals[1])
        let between = MidReadFileSystem(disk, path: second) {
            for number in 1..<8 {
                #expect(throws: Never.self) {
                    let appended = try opened.appendIfReady(
                        [body(number, bytes: 12_000)], kind: OpaqueDelegate.keptKind)
                    try opened.log.waitBlocking(for: try #require(appended).ticket)
                }
            }
        }
        var reader = try LogReader.open(directory: "/store", fileSystem: between)
        #expect(between.wasRead)
        #expect(reader.journalDamage == nil)
        #expect(try Self.sequences(&reader).starts(with: 1...7))
        held.letGo()
        try opened.log.close()
    }
}

// SENDABLE: `isHeld` is guarded by `lock`.
/// A disk on which a manifest that is to be installed waits while it is held.
private final class HeldManifestFileSystem: ForwardingFileSystem, @unchecked Sendable {
    let base: SimulatedFileSystem
    private let lock = CallerLock()
    private let signal = Signal()
    private var isHeld = false

    init(_ base: SimulatedFileSystem) { self.base = base }

    func hold() { lock.withLock { isHeld = true } }

    func letGo() {
        lock.withLock {
            isHeld = false
            signal.notifyAll()
        }
    }

    func rename(_ from: String, to: String) throws(IOFailure) {
        lock.withLock { while isHeld { signal.wait(lock) } }
        try base.rename(from, to: to)
    }
}

/// A disk on which something happens just before one file is read behind its header for the first time.
private final class MidReadFileSystem: ForwardingFileSystem {
    let base: SimulatedFileSystem
    private let path: String
    private let intervention: Locked<(@Sendable () -> Void)?>

    init(_ base: SimulatedFileSystem, path: String, _ intervention: @escaping @Sendable () -> Void) {
        self.base = base
        self.path = path
        self.intervention = Locked(intervention)
    }

    var wasRead: Bool { intervention.withLock { $0 == nil } }

    func open(_ path: String, _ mode: OpenMode) throws(IOFailure) -> any File {
        let file = try base.open(path, mode)
        return path == self.path ? MidReadFile(base: file, system: self) : file
    }

    func willRead(at offset: Int) {
        guard offset > 0 else { return }
        let once = intervention.withLock { body in
            defer { body = nil }
            return body
        }
        once?()
    }
}

private final class MidReadFile: ForwardingFile {
    let base: any File
    private let system: MidReadFileSystem

    init(base: any File, system: MidReadFileSystem) {
        self.base = base
        self.system = system
    }

    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOFailure) -> Int {
        system.willRead(at: offset)
        return try base.read(into: &buffer, at: offset)
    }
}
