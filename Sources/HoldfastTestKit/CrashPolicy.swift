// What a crash leaves behind. Everything that was not yet durable falls into items: a sector with the writes to it, the
// size of a file, the change of a name. Items are numbered in one order, whatever was decided for those before, so a
// test can keep or lose each one alone.

/// What of the changes that were not yet durable is found after a crash.
public enum CrashPolicy: Hashable, Sendable {
    /// None of them.
    case nothingPending
    /// All of them.
    case everythingPending
    /// One item alone.
    case only(item: Int)
    /// Every item but one.
    case allBut(item: Int)
    /// The items whose bit is set; those from 64 on are lost.
    case subset(items: UInt64)
    /// Each sector, size and name on its own, by chance: a sector or a size as it was at any time since it was last
    /// made durable, a name changed or not.
    case random(seed: UInt64)
    /// As `random`, with blocks of 4,096 bytes instead of sectors.
    case randomBlocks(seed: UInt64)
    /// As `random`; besides, a sector may be torn inside, and one that was never written before may hold garbage: bytes
    /// by chance, or what a removed file had there, as a disk gives its blocks to new files.
    case torn(seed: UInt64)
}

/// The decisions of one crash; the same policy gives the same ones.
struct CrashChance {
    private enum Rule {
        case nothing, everything
        case only(Int)
        case allBut(Int)
        case subset(UInt64)
        case random
    }
    private let rule: Rule
    private var random = SeededRandom(seed: 0)
    /// Whether the sectors of a block share their fate.
    let isBlockwise: Bool
    /// Whether sectors may be torn and new ones hold garbage.
    let isTearing: Bool
    /// The files whose blocks may be given to others.
    private let freed: [SimulatedFileSystemContent]
    /// How many items were decided.
    private(set) var itemCount = 0

    init(_ policy: CrashPolicy, freed: [SimulatedFileSystemContent] = []) {
        self.freed = freed
        var seed: UInt64?
        switch policy {
        case .nothingPending: rule = .nothing
        case .everythingPending: rule = .everything
        case .only(let item): rule = .only(item)
        case .allBut(let item): rule = .allBut(item)
        case .subset(let items): rule = .subset(items)
        case .random(let given), .randomBlocks(let given), .torn(let given):
            rule = .random
            seed = given
        }
        if let seed { random = SeededRandom(seed: seed) }
        if case .randomBlocks = policy { isBlockwise = true } else { isBlockwise = false }
        if case .torn = policy { isTearing = true } else { isTearing = false }
    }

    /// Decides the next item: how many of `changes` made one after the other were made durable.
    mutating func survivors(of changes: Int) -> Int {
        defer { itemCount += 1 }
        switch rule {
        case .nothing: return 0
        case .everything: return changes
        case .only(let item): return itemCount == item ? changes : 0
        case .allBut(let item): return itemCount == item ? 0 : changes
        case .subset(let items): return itemCount < 64 && items >> UInt64(itemCount) & 1 == 1 ? changes : 0
        case .random: return Int(random.next() % UInt64(changes + 1))
        }
    }

    /// Returns how many bytes of a part that did not become durable did so all the same, because its sector is torn.
    mutating func tornBytes(of count: Int) -> Int {
        guard isTearing, random.chance(1, in: 4) else { return 0 }
        return random.pick(0...count)
    }

    /// Returns the removed file whose blocks the file that is decided next was given, or `nil` for none.
    mutating func predecessor() -> SimulatedFileSystemContent? {
        guard isTearing, !freed.isEmpty, random.chance(1, in: 2) else { return nil }
        return random.pick(from: freed)
    }

    /// Returns what a sector holds that was allocated and never written, or `nil` for zeros.
    ///
    /// - Parameter old: What was in its place before, if a file was.
    mutating func garbage(_ count: Int, over old: ArraySlice<UInt8>?) -> [UInt8]? {
        guard isTearing, random.chance(1, in: 2) else { return nil }
        return old.map { [UInt8]($0) } ?? random.bytes(count)
    }
}
