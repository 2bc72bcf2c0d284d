// What a damaged store may do: open with everything that was vouched for, or refuse and say which file, where and what
// to do, or refuse to read the damaged part. Never less, never something else.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// What became of a damaged store.
enum SweepOutcome: Hashable, Sendable, CustomStringConvertible {
    /// Opening was refused by this row of the recovery table, or because of this kind of file.
    case refused(String)
    /// It opens by this row; reading a file of this kind is refused.
    case unreadable(row: String, kind: String)
    /// It opens by this row with all that something vouches for.
    case opened(row: String, passedOverCheckpoint: Bool, cutRecords: Int)

    var description: String {
        switch self {
        case .refused(let what): "refused, \(what)"
        case .unreadable(let row, let kind): "opened, \(row), damage in \(kind) refused when read"
        case .opened(let row, let passedOver, let cut):
            "opened, \(row)\(passedOver ? ", checkpoint passed over" : "")\(cut > 0 ? ", last group cut" : "")"
        }
    }
}

/// A violation of what a store promises.
struct SweepViolation: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Judges damaged disks of one store by opening them and reading every record.
struct SweepJudge: Sendable {
    let store: SweepStore

    func judge(_ disk: SimulatedFileSystem) throws -> SweepOutcome {
        let log: WriteAheadLog
        do {
            log = try WriteAheadLog.open(
                directory: CrashStore.path, fileSystem: disk, options: CrashStore.options(), createIfMissing: false,
                now: .zero)
        } catch {
            try Self.check(error)
            return .refused(Self.row(in: error) ?? Self.kind(of: error.file ?? ""))
        }
        defer { try? log.close() }
        let found = log.nextCheckpoint()
        let checkpoint = found?.sequence ?? .zero
        if let found, UInt64(littleEndian: Array(found.image)) != found.sequence.rawValue {
            throw SweepViolation("a checkpoint has another content")
        }
        // The layer above refuses a log that has neither its beginning nor a checkpoint.
        if checkpoint < log.compactedThrough {
            guard let finding = log.passedOverCheckpoints.last, finding.contains("checkpoints/") else {
                throw SweepViolation("no checkpoint is left and nothing says why")
            }
            return .refused("no checkpoint")
        }
        let row = log.recovery.row
        let count: Int
        do { count = try readAll(log) } catch let error as LogError {
            try Self.check(error)
            try readTheRest(log, without: error.file ?? "")
            return .unreadable(row: row, kind: Self.kind(of: error.file ?? ""))
        }
        guard count >= store.vouched else {
            throw SweepViolation("\(store.vouched - count) records are missing silently (\(row))")
        }
        return .opened(
            row: row, passedOverCheckpoint: !log.passedOverCheckpoints.isEmpty, cutRecords: store.records.count - count)
    }

    /// What no reader needs is damage all the same to whoever verifies.
    func checkVerifyNotices(_ disk: SimulatedFileSystem) throws {
        var reader = try LogReader.open(directory: CrashStore.path, fileSystem: disk)
        let problems = reader.verify(progress: { _, _ in }, { _, _ in }).problems
        if problems.isEmpty { throw SweepViolation("verify does not notice it") }
    }

    /// Reads every record in order; each must be the next one known.
    private func readAll(_ log: WriteAheadLog) throws -> Int {
        var count = 0
        var wrong: SequenceNumber?
        try log.forEachEntry(after: .zero) { (entry, _) throws(LogError) in
            guard count < store.records.count, store.records[count].sequence == entry.sequence,
                isEqual(entry.body, store.records[count].body)
            else {
                wrong = entry.sequence
                return false
            }
            count += 1
            return true
        }
        if let wrong { throw SweepViolation("record \(wrong) is not the one known (number \(count))") }
        return count
    }

    /// Damage in one file keeps nobody from reading the others.
    private func readTheRest(_ log: WriteAheadLog, without damaged: String) throws {
        var read = 0
        var refusal: LogError?
        for record in store.records {
            do {
                guard let entry = try log.entry(record.sequence) else {
                    throw SweepViolation("record \(record.sequence) is missing silently")
                }
                guard isEqual(entry.body.span, record.body) else {
                    throw SweepViolation("record \(record.sequence) is wrong")
                }
                read += 1
            } catch let error as LogError {
                // All records of a damaged frame get the same.
                if error == refusal { continue }
                refusal = error
                try Self.check(error)
                if error.file != damaged { throw SweepViolation("\(error) because of \(damaged)") }
            }
        }
        if read == 0 { throw SweepViolation("nothing can be read because of \(damaged)") }
    }

    /// In one call: comparing the bytes one by one took a third of a sweep.
    private func isEqual(_ bytes: Span<UInt8>, _ known: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { bytes in
            known.withUnsafeBytes { known in
                guard bytes.count == known.count, let start = bytes.baseAddress, let other = known.baseAddress else {
                    return bytes.count == known.count
                }
                return memcmp(start, other, bytes.count) == 0
            }
        }
    }

    /// Damage is called damage, with file, place and remedy.
    static func check(_ error: LogError) throws {
        guard error.code == .corrupt else { throw SweepViolation("\(error.code): \(error)") }
        guard let file = error.file, error.message.contains(file), error.offset != nil else {
            throw SweepViolation("no file or offset: \(error)")
        }
        guard namesRemedy(error.message) else { throw SweepViolation("no remedy: \(error)") }
    }

    /// Whether a message says what to do about damage.
    static func namesRemedy(_ message: String) -> Bool {
        ["restore", "salvage", "put the right file back"].contains { message.contains($0) }
    }

    /// The row of the recovery table that a message names.
    static func row(in error: LogError) -> String? {
        if error.message.contains("is missing or does not have the") { return SweepMap.missing }
        return RecoveryDecision.rows.map(\.name).first { error.message.contains($0) }
    }

    /// What kind of file a path inside the store names.
    static func kind(of name: String) -> String {
        switch name.split(separator: "/").first {
        case "MANIFEST": "manifest"
        case "journal": "journal header or file"
        case "segments": "sealed segment"
        case "checkpoints": "checkpoint"
        default: name
        }
    }
}
