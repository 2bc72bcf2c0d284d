// Every way in which a file is damaged, numbered, so that a sweep can visit all of them or some.

import HoldfastTestKit

/// A kind of damage. Each has variants, counted by `variants`.
enum SweepDamage: String, CaseIterable, Sendable {
    case flippedBit, zeroByte, onesByte
    case zeroSector, doubledSector, swappedSectors, shiftedSector, olderSector
    case truncated, deleted, foreign, swappedFiles

    static let sectorBytes = 512
    static let blockBytes = 4096

    /// What a table of figures calls it.
    var title: String {
        switch self {
        case .flippedBit: "flipped bits"
        case .zeroByte, .onesByte: "bytes set to 00 or FF"
        case .zeroSector, .doubledSector, .swappedSectors, .shiftedSector, .olderSector:
            "sectors zero, doubled, swapped, shifted, old"
        case .truncated: "truncations"
        case .deleted, .foreign, .swappedFiles: "files deleted, foreign, swapped"
        }
    }

    /// How many variants there are for a file of this size.
    func variants(bytes: Int, files: Int) -> Int {
        let sectors = (bytes + Self.sectorBytes - 1) / Self.sectorBytes
        return switch self {
        case .flippedBit: bytes * 8
        case .zeroByte, .onesByte, .truncated: bytes
        case .zeroSector, .olderSector: sectors
        case .doubledSector, .swappedSectors, .shiftedSector: max(0, sectors - 1)
        case .deleted, .foreign: 1
        case .swappedFiles: files
        }
    }

    /// The byte that a variant of damage to one byte changes, and how; no bits when it is so already.
    func change(_ variant: Int, in bytes: [UInt8]) -> (offset: Int, mask: UInt8) {
        switch self {
        case .flippedBit: (variant / 8, 1 << UInt8(variant % 8))
        case .zeroByte: (variant, bytes[variant])
        default: (variant, ~bytes[variant])
        }
    }

    /// The content of a file after damage to a sector, or `nil` when that changes nothing.
    func damaged(_ variant: Int, _ bytes: [UInt8], older: [UInt8]) -> [UInt8]? {
        var result = bytes
        let start = variant * Self.sectorBytes
        let end = min(start + Self.sectorBytes, bytes.count)
        switch self {
        case .zeroSector: result.replaceSubrange(start..<end, with: [UInt8](repeating: 0, count: end - start))
        case .olderSector:
            guard older.count >= end else { return nil }
            result.replaceSubrange(start..<end, with: older[start..<end])
        case .doubledSector:
            let next = min(end + Self.sectorBytes, bytes.count)
            result.replaceSubrange(end..<next, with: bytes[start..<(start + next - end)])
        case .swappedSectors:
            let next = min(end + Self.sectorBytes, bytes.count)
            result.replaceSubrange(start..<next, with: bytes[end..<next] + bytes[start..<end])
        case .shiftedSector:
            // The rest of the block comes one sector late. A shift of the rest of the file would take the last group
            // together with what vouches for it, and that can't be told from a write that never happened.
            let block = min(bytes.count, (start / Self.blockBytes + 1) * Self.blockBytes)
            result.replaceSubrange(
                start..<block,
                with: [UInt8](repeating: 0, count: end - start) + bytes[start..<(block - (end - start))])
        case .flippedBit, .zeroByte, .onesByte, .truncated, .deleted, .foreign, .swappedFiles: return nil
        }
        return result == bytes ? nil : result
    }
}

/// Damages copies of a store and lets them be judged. A copy shares all blocks that were not damaged.
struct SweepBench {
    /// What became of one damage, and what it had touched.
    struct Verdict {
        let outcome: SweepOutcome
        let parts: Set<SweepPart>
    }
    let store: SweepStore
    private let judge: SweepJudge
    private let paths: [String]
    /// The most bytes that one read asked for.
    private(set) var longestReadBytes = 0

    init(_ store: SweepStore) {
        self.store = store
        judge = SweepJudge(store: store)
        paths = store.files.keys.sorted()
    }

    /// Judges one variant; `nil` when it changes nothing.
    ///
    /// - Throws: `SweepViolation` when the outcome is not what the table of the format demands.
    mutating func judge(_ damage: SweepDamage, _ variant: Int, of path: String) throws -> Verdict? {
        let disk = store.disk.crashImage(.nothingPending)
        guard let touch = apply(damage, variant, to: path, on: disk) else { return nil }
        defer { longestReadBytes = max(longestReadBytes, disk.longestReadBytes) }
        return try verdict(on: disk, touch)
    }

    /// Judges a disk on which files of the store were changed as `touch` says.
    func verdict(on disk: SimulatedFileSystem, _ touch: SweepTouch) throws -> Verdict {
        let outcome = try judge.judge(disk)
        let allowed = store.map.allowed(touch)
        guard allowed.contains(outcome) else {
            throw SweepViolation("\(outcome), not \(allowed), although only \(touch.parts) changed")
        }
        if touch.parts.contains(.sealedPadding), case .opened = outcome { try judge.checkVerifyNotices(disk) }
        return Verdict(outcome: outcome, parts: touch.parts)
    }

    /// Returns what was touched; `nil` when the damage changes nothing.
    private func apply(
        _ damage: SweepDamage, _ variant: Int, to path: String, on disk: SimulatedFileSystem
    ) -> SweepTouch? {
        let bytes = store.files[path] ?? []
        switch damage {
        case .flippedBit, .zeroByte, .onesByte:
            let (offset, mask) = damage.change(variant, in: bytes)
            guard mask != 0 else { return nil }
            disk.corrupt(path, offset: offset, xor: mask)
            return store.map.touch(path, offset: offset)
        case .deleted:
            disk.remove(path)
            return store.map.touch([path: nil])
        case .foreign:
            guard let name = foreignName(of: path), let foreign = store.foreign[name] else { return nil }
            disk.replace(path, with: foreign)
            return store.map.touch([path: foreign])
        case .swappedFiles:
            let other = paths[variant]
            guard other != path, let otherBytes = store.files[other], otherBytes != bytes else { return nil }
            disk.replace(path, with: otherBytes)
            disk.replace(other, with: bytes)
            return store.map.touch([path: otherBytes, other: bytes])
        case .truncated:
            disk.truncate(path, to: variant)
            return store.map.touch([path: nil])
        case .zeroSector, .doubledSector, .swappedSectors, .shiftedSector, .olderSector:
            guard let damaged = damage.damaged(variant, bytes, older: store.older[path] ?? []) else { return nil }
            disk.replace(path, with: damaged)
            return store.map.touch([path: damaged])
        }
    }

    /// The file of the other store that has the same part: the same name, or the same place among its kind.
    private func foreignName(of path: String) -> String? {
        if store.foreign[path] != nil { return path }
        guard let end = path.lastIndex(of: "/") else { return nil }
        let directory = path[...end]
        return store.foreign.keys.sorted().first { $0.hasPrefix(directory) }
    }
}
