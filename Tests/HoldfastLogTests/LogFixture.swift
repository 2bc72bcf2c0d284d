// A log of opaque records in a directory that goes away with the test, and a delegate that knows as little of records
// as the log does: a checkpoint image is the sequence number it stands for, kind 2 may be dropped by compaction, and
// the first byte of a body is its key.

import HoldfastBytes
import HoldfastLog

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Stands in for the layer that knows what records mean.
final class OpaqueDelegate: LogDelegate, @unchecked Sendable {
    // SENDABLE: `log` is set before the log starts; the failures are guarded by the log's lock.
    private weak var log: WriteAheadLog?
    private var failures: [LogError] = []

    init(_ log: WriteAheadLog) { self.log = log }

    static let keptKind: UInt8 = 1
    static let droppableKind: UInt8 = 2

    func writeCheckpointImage(into image: inout ByteWriter) -> (sequence: SequenceNumber, ticket: CommitTicket) {
        guard let log else { return (.zero, CommitTicket(group: 0)) }
        let (last, ticket) = log.lock.withLock { (SequenceNumber(log.nextSequence.rawValue - 1), log.ticket) }
        image.append(littleEndian: last.rawValue)
        return (last, ticket)
    }

    func retention() -> any RetentionPolicy { KeepsKeptKind() }

    func key(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> UInt64? {
        body.isEmpty ? nil : UInt64(body[0])
    }

    func logDidFail(_ error: LogError) { log?.lock.withLock { failures.append(error) } }

    var failureCount: Int { log?.lock.withLock { failures.count } ?? 0 }

    private struct KeepsKeptKind: RetentionPolicy {
        func mustKeep(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> Bool {
            kind != OpaqueDelegate.droppableKind
        }
    }
}

/// A started log with its delegate.
struct OpenedLog {
    let log: WriteAheadLog
    let delegate: OpaqueDelegate
    /// Every record that was replayed, by sequence number.
    let replayed: [SequenceNumber: [UInt8]]
    /// The newest checkpoint found.
    let checkpoint: (sequence: SequenceNumber, image: ArraySlice<UInt8>)?

    /// Opens or creates the store and starts it.
    init(
        _ fileSystem: any FileSystem, _ directory: String, options: LogOptions = .small, createIfMissing: Bool = true
    ) throws {
        log = try WriteAheadLog.open(
            directory: directory, fileSystem: fileSystem, options: options, createIfMissing: createIfMissing,
            now: Timestamp(milliseconds: 1_700_000_000_000))
        delegate = OpaqueDelegate(log)
        checkpoint = log.nextCheckpoint()
        replayed = try log.replayed()
        try log.start(delegate: delegate)
    }

    /// Appends one atomic batch and returns its first sequence number with the ticket that covers it.
    func append(
        _ bodies: [[UInt8]], kind: UInt8 = OpaqueDelegate.keptKind
    ) async throws -> (first: SequenceNumber, ticket: CommitTicket) {
        while true {
            if let appended = try appendIfReady(bodies, kind: kind) { return appended }
            await log.waitForRoom()
        }
    }

    func appendIfReady(
        _ bodies: [[UInt8]], kind: UInt8, isSettling: Bool = false
    ) throws(LogError) -> (first: SequenceNumber, ticket: CommitTicket)? {
        try log.lock.withLock { () throws(LogError) -> (first: SequenceNumber, ticket: CommitTicket)? in
            guard case .ready = try log.admission(isSettling: isSettling) else { return nil }
            let first = log.nextSequence
            for body in bodies {
                log.append(kind: kind, time: Timestamp(milliseconds: 1_700_000_000_001)) { $0.append(body) }
            }
            return (first, log.ticket)
        }
    }

    /// Appends one batch and waits until it is durable.
    @discardableResult
    func commit(_ bodies: [[UInt8]], kind: UInt8 = OpaqueDelegate.keptKind) async throws -> SequenceNumber {
        let (first, ticket) = try await append(bodies, kind: kind)
        try await log.wait(for: ticket)
        return first
    }
}

extension WriteAheadLog {
    /// Every record that a replay from the beginning gives. Before `start` only.
    func replayed() throws -> [SequenceNumber: [UInt8]] {
        var result: [SequenceNumber: [UInt8]] = [:]
        try forEachEntry(after: .zero) { (entry, _) throws(LogError) in
            result[entry.sequence] = [UInt8](copying: entry.body)
            return true
        }
        return result
    }
}

extension LogOptions {
    /// The smallest ring there is, and no marks, so that a test decides what is written.
    static var small: LogOptions {
        var options = LogOptions()
        options.journalSegmentBytes = journalSegmentBytesMin
        options.journalSegmentCount = 3
        options.idleMarkMilliseconds = 0
        return options
    }
}

/// A directory on the real disk that is removed with the value.
final class TemporaryDirectory: Sendable {
    let path: String
    let fileSystem = POSIXFileSystem()

    init() {
        var template = Array("/tmp/holdfast-log-XXXXXX".utf8CString)
        template.withUnsafeMutableBufferPointer { _ = mkdtemp($0.baseAddress!) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { Self.remove(path, fileSystem) }

    /// A path in the directory.
    func file(_ name: String) -> String { path + "/" + name }

    /// Copies a store as it is found on the disk now, as after a crash of the process that has it open.
    func copy(_ store: String, to target: String) throws {
        try fileSystem.createDirectory(target)
        for name in try fileSystem.list(store) {
            let source = store + "/" + name
            if try fileSystem.status(of: source)?.kind == .directory {
                try copy(source, to: target + "/" + name)
            } else {
                let bytes = try fileSystem.contents(of: source)
                let file = try fileSystem.open(target + "/" + name, .create)
                defer { file.close() }
                try file.write(bytes.span, at: 0)
            }
        }
    }

    private static func remove(_ path: String, _ fileSystem: POSIXFileSystem) {
        for name in (try? fileSystem.list(path)) ?? [] {
            let child = path + "/" + name
            if (try? fileSystem.status(of: child))?.kind == .directory {
                remove(child, fileSystem)
            } else {
                try? fileSystem.unlink(child)
            }
        }
        rmdir(path)
    }
}

/// A body that tells its number and has `count` bytes.
func body(_ number: Int, bytes count: Int = 24) -> [UInt8] {
    precondition(count >= 9, "a body holds its key and its number")
    var result = [UInt8](repeating: UInt8(truncatingIfNeeded: number &* 31), count: count)
    result[0] = UInt8(number % 5)
    for index in 0..<8 { result[1 + index] = UInt8(truncatingIfNeeded: number >> (8 * index)) }
    return result
}
