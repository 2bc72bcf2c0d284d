// The bytes of one simulated file, twice: as its readers see them, and as the disk has them. In between are the writes
// that no sync covered yet, kept by 4,096-byte block in the order they were made.
//
// Blocks are arrays that the two sides, and crash images, share until one of them is written to. A crash image costs
// as much as there is pending, not as much as there is in the file.
//
// Invariants: 1. outside pending fragments and pending sizes both sides are equal, unless a failed sync marked pages
// clean; 2. bytes of a block beyond the readers' size are zero on their side; 3. an absent block is all zero.

internal import HoldfastLog

/// The content of a simulated file.
struct SimulatedFileSystemContent {
    static let blockBytes = 4_096
    static let sectorBytes = 512
    private static let zeroBlock = [UInt8](repeating: 0, count: blockBytes)

    /// 4,096 bytes, and their hash from when it was first asked for until they are changed.
    private struct Block {
        var bytes: [UInt8]
        private var knownHash: UInt64?

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        var hash: UInt64 {
            if let knownHash { return knownHash }
            var hash = ContentHash()
            hash.add(bytes.span)
            return hash.value
        }

        mutating func rememberHash() { knownHash = hash }

        static let zero: Block = {
            var block = Block(zeroBlock)
            block.rememberHash()
            return block
        }()
    }

    private typealias Blocks = [Block?]

    /// A part of a write that falls into one block.
    private struct Fragment {
        let offset: Int
        let bytes: [UInt8]
        /// Kept, so that looking for what overlaps touches no array.
        let end: Int

        init(offset: Int, bytes: [UInt8]) {
            self.offset = offset
            self.bytes = bytes
            end = offset + bytes.count
        }

        func overlaps(_ range: Range<Int>) -> Bool { offset < range.upperBound && end > range.lowerBound }
    }

    /// What readers see.
    private var blocks: Blocks = []
    private(set) var size = 0
    /// What the disk has.
    private var durableBlocks: Blocks = []
    private var durableSize = 0
    /// What separates the two.
    private var pending: [Int: [Fragment]] = [:]
    private var pendingSizes: [Int] = []
    /// A failed sync left the sides different for good.
    private var isDivided = false
    /// The hash of what readers see, while it stays so.
    private var knownHash: UInt64?
    /// The keys of `pending` in order, while they stay so.
    private var pendingOrder: [Int]?

    /// An empty file.
    init() {}

    /// A file with durable content.
    init(durable bytes: [UInt8]) {
        write(bytes.span, at: 0, durably: true)
    }

    // MARK: - Readers' side

    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) -> Int {
        let count = max(0, min(buffer.count, size - offset))
        var done = 0
        while done < count {
            let (block, start) = (offset + done).quotientAndRemainder(dividingBy: Self.blockBytes)
            let length = min(Self.blockBytes - start, count - done)
            let bytes = (block < blocks.count ? blocks[block]?.bytes : nil) ?? Self.zeroBlock
            buffer.copy(bytes.span.extracting(start..<start + length), at: done)
            done += length
        }
        return count
    }

    /// All bytes, as readers see them.
    var bytes: [UInt8] {
        var all = [UInt8](repeating: 0, count: size)
        var span = all.mutableSpan
        _ = read(into: &span, at: 0)
        return all
    }

    /// A hash of what readers see.
    var contentHash: UInt64 {
        if let knownHash { return knownHash }
        var hash = ContentHash()
        hash.add(UInt64(size))
        for index in 0..<(size + Self.blockBytes - 1) / Self.blockBytes {
            hash.add(((index < blocks.count ? blocks[index] : nil) ?? .zero).hash)
        }
        return hash.value
    }

    /// Computes the hash, and that of every block on both sides, once for all copies made from here on.
    mutating func rememberHash() {
        if pendingOrder == nil { pendingOrder = pending.keys.sorted() }
        guard knownHash == nil else { return }
        for block in blocks.indices { blocks[block]?.rememberHash() }
        for block in durableBlocks.indices { durableBlocks[block]?.rememberHash() }
        knownHash = contentHash
    }

    /// How many blocks the readers' side takes. Counted when asked, because that is rare.
    var allocatedBlocks: Int { blocks.count { $0 != nil } }

    /// How many blocks a write to this range would add.
    func newBlocks(for range: Range<Int>) -> Int {
        Self.blockIndices(range).count { $0 >= blocks.count || blocks[$0] == nil }
    }

    /// Writes at `offset`; a durable write leaves nothing pending in the blocks it touches.
    mutating func write(_ bytes: Span<UInt8>, at offset: Int, durably isDurable: Bool) {
        guard !bytes.isEmpty else { return }
        (knownHash, pendingOrder) = (nil, nil)
        let end = offset + bytes.count
        if end > size { setSize(end) }
        if isDurable && !pendingSizes.isEmpty { makeSizeDurable() }
        var done = 0
        while done < bytes.count {
            let (block, start) = (offset + done).quotientAndRemainder(dividingBy: Self.blockBytes)
            let length = min(Self.blockBytes - start, bytes.count - done)
            let part = bytes.extracting(done..<done + length)
            let fragment = store(part, block: block, start: start)
            if isDurable {
                pending[block] = nil
                Self.set(block, of: &durableBlocks, to: blocks[block])
            } else {
                pending[block, default: []].append(fragment)
            }
            done += length
        }
        assert(done == bytes.count && size >= end)
    }

    mutating func truncate(to newSize: Int) {
        (knownHash, pendingOrder) = (nil, nil)
        if newSize < size {
            let (last, rest) = newSize.quotientAndRemainder(dividingBy: Self.blockBytes)
            let firstCut = rest == 0 ? last : last + 1
            for block in min(firstCut, blocks.count)..<blocks.count {
                blocks[block] = nil
                pending[block] = nil
            }
            if rest > 0, last < blocks.count, var block = blocks[last] {
                var span = block.bytes.mutableSpan
                span.copy(Self.zeroBlock.span.extracting(rest...), at: rest)
                blocks[last] = Block(block.bytes)
                pending[last] = pending[last]?.compactMap { fragment in
                    let kept = fragment.bytes.prefix(max(0, rest - fragment.offset))
                    return kept.isEmpty ? nil : Fragment(offset: fragment.offset, bytes: Array(kept))
                }
            }
        }
        if newSize != size { setSize(newSize) }
    }

    // MARK: - The disk's side

    /// Makes all that was written durable.
    mutating func sync() {
        makeSizeDurable()
        for block in pending.keys { Self.set(block, of: &durableBlocks, to: blocks[block]) }
        pending.removeAll()
        pendingOrder = nil
    }

    /// Forgets what was to be written, although readers go on seeing it: a failed sync.
    mutating func markPagesClean() {
        isDivided = isDivided || !pending.isEmpty
        pending.removeAll()
        pendingOrder = nil
    }

    /// Whether the disk has anything of it.
    var hasDurableBlocks: Bool { durableBlocks.contains { $0 != nil } }

    private func durableBlock(_ block: Int) -> [UInt8]? {
        block < durableBlocks.count ? durableBlocks[block]?.bytes : nil
    }

    /// Returns what is found after a crash.
    func afterCrash(_ chance: inout CrashChance) -> SimulatedFileSystemContent {
        var image = SimulatedFileSystemContent()
        image.durableBlocks = durableBlocks
        if pending.isEmpty && pendingSizes.isEmpty {
            image.blocks = durableBlocks
            image.durableSize = durableSize
            image.size = durableSize
            if !isDivided { image.knownHash = knownHash }
            return image
        }
        let sizes = pendingSizes.isEmpty ? [] : pendingSizes.prefix(chance.survivors(of: pendingSizes.count))
        let finalSize = sizes.last ?? durableSize
        // A file that shrank and grew again has zeros in between, unless they were written to since.
        if let least = sizes.min(), least < durableSize { Self.clear(from: least, in: &image.durableBlocks) }
        let predecessor = chance.predecessor()
        // A block with every write to it is what readers see, unless zeros behind a lost size are missing.
        let isWhole = !isDivided && (pendingSizes.min() ?? durableSize) >= durableSize
        for block in pendingOrder ?? pending.keys.sorted() {
            let whole = isWhole ? blocks[block] : nil
            image.settle(
                pending[block] ?? [], block: block, whole: whole, over: predecessor?.durableBlock(block), &chance)
        }
        Self.clear(from: finalSize, in: &image.durableBlocks)
        let count = (finalSize + Self.blockBytes - 1) / Self.blockBytes
        if image.durableBlocks.count > count { image.durableBlocks.removeLast(image.durableBlocks.count - count) }
        image.durableSize = finalSize
        image.size = finalSize
        image.blocks = image.durableBlocks
        return image
    }

    // MARK: - Damage

    /// Inverts bits of one byte on both sides, as a decaying disk does; its block has all that was written to it.
    mutating func corrupt(at offset: Int, xor mask: UInt8) {
        let (block, start) = offset.quotientAndRemainder(dividingBy: Self.blockBytes)
        precondition(offset < size, "the byte to corrupt must exist")
        (knownHash, pendingOrder) = (nil, nil)
        pending[block] = nil
        if block < blocks.count, var bytes = blocks[block]?.bytes {
            bytes[start] ^= mask
            blocks[block] = Block(bytes)
        } else {
            _ = store([mask].span, block: block, start: start)
        }
        Self.set(block, of: &durableBlocks, to: blocks[block])
    }

    // MARK: - Private

    private static func blockIndices(_ range: Range<Int>) -> Range<Int> {
        range.isEmpty ? 0..<0 : range.lowerBound / blockBytes..<(range.upperBound - 1) / blockBytes + 1
    }

    private static func set(_ block: Int, of blocks: inout Blocks, to value: Block?) {
        if blocks.count <= block {
            guard value != nil else { return }
            blocks.append(contentsOf: repeatElement(nil, count: block + 1 - blocks.count))
        }
        blocks[block] = value
    }

    /// Puts bytes into one block of the readers' side. A block of zeros is shared by all that have one.
    private mutating func store(_ part: Span<UInt8>, block: Int, start: Int) -> Fragment {
        if part.count == Self.blockBytes {
            let whole = part.isAllZero ? Block.zero : Block(Self.array(part))
            Self.set(block, of: &blocks, to: whole)
            return Fragment(offset: 0, bytes: whole.bytes)
        }
        if block >= blocks.count || blocks[block] == nil { Self.set(block, of: &blocks, to: .zero) }
        Self.overwrite(&blocks, block, part, at: start)
        return Fragment(offset: start, bytes: Self.array(part))
    }

    private static func overwrite(_ blocks: inout Blocks, _ block: Int, _ part: Span<UInt8>, at start: Int) {
        // Taken out while it is changed, so that an array that nobody shares is changed in place.
        var bytes = blocks[block]?.bytes ?? zeroBlock
        blocks[block] = nil
        var span = bytes.mutableSpan
        span.copy(part, at: start)
        blocks[block] = Block(bytes)
    }

    private static func array(_ part: Span<UInt8>) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: part.count)
        var span = bytes.mutableSpan
        span.copy(part)
        return bytes
    }

    private mutating func setSize(_ newSize: Int) {
        size = newSize
        pendingSizes.append(newSize)
    }

    /// Settles pending sizes on the disk's side: what was cut off is zero there, even if the file grew again since.
    private mutating func makeSizeDurable() {
        if let least = pendingSizes.min(), least < durableSize { Self.clear(from: least, in: &durableBlocks) }
        pendingSizes.removeAll()
        durableSize = size
    }

    private static func clear(from offset: Int, in blocks: inout Blocks) {
        let (first, rest) = offset.quotientAndRemainder(dividingBy: blockBytes)
        guard first < blocks.count else { return }
        if rest > 0 {
            if blocks[first] != nil { overwrite(&blocks, first, zeroBlock.span.extracting(rest...), at: rest) }
        } else {
            blocks[first] = nil
        }
        for block in first + 1..<max(first + 1, blocks.count) { blocks[block] = nil }
    }

    /// What a crash leaves of the writes to one sector.
    private struct Fate {
        /// How many writes there are.
        var count = 0
        /// How many of them, from the first on, the disk has.
        var survivors = 0
        /// How many bytes of the next one it has.
        var torn = 0
        var garbage: [UInt8]?
    }

    /// Applies to each sector of a block as many of the writes to it, from the first on, as chance has it: a disk may
    /// have a sector as it was at any moment, but never a later write without an earlier one to the same sector.
    ///
    /// - Parameters:
    ///   - whole: What the block is when it has all writes, if that is known: taken as it is then.
    ///   - old: What the block held before it was given to this file.
    private mutating func settle(
        _ fragments: [Fragment], block: Int, whole: Block?, over old: [UInt8]?, _ chance: inout CrashChance
    ) {
        let before = durableBlock(block)
        let inOrder = chance.isBlockwise ? chance.survivors(of: fragments.count) : 0
        let fragments = fragments.span
        var (isTouched, isWhole) = (false, true)
        let fates = InlineArray<8, Fate> { sector in
            let range = Self.range(ofSector: sector)
            var fate = Fate()
            for number in fragments.indices where fragments[number].overlaps(range) {
                fate.count += 1
                if number < inOrder { fate.survivors += 1 }
            }
            guard fate.count > 0 else { return fate }
            if !chance.isBlockwise { fate.survivors = chance.survivors(of: fate.count) }
            if fate.survivors == 0, before == nil { fate.garbage = chance.garbage(range.count, over: old?[range]) }
            if fate.survivors < fate.count {
                fate.torn = chance.tornBytes(of: range.count)
                isWhole = false
            }
            if fate.survivors > 0 || fate.torn > 0 || fate.garbage != nil { isTouched = true }
            return fate
        }
        guard isTouched else { return }
        if isWhole, let whole { return Self.set(block, of: &durableBlocks, to: whole) }
        var bytes = before ?? Self.zeroBlock
        for sector in fates.indices {
            let range = Self.range(ofSector: sector)
            var rest = fates[sector]
            if let garbage = rest.garbage { bytes.replaceSubrange(range, with: garbage) }
            for number in fragments.indices where fragments[number].overlaps(range) {
                let reach = rest.survivors > 0 ? range.count : rest.torn
                Self.copy(fragments[number], to: &bytes, within: range.prefix(reach))
                if rest.survivors == 0 { break }
                rest.survivors -= 1
            }
        }
        Self.set(block, of: &durableBlocks, to: Block(bytes))
    }

    private static func range(ofSector sector: Int) -> Range<Int> {
        sector * sectorBytes..<(sector + 1) * sectorBytes
    }

    /// Puts what a fragment has in a range of a block there.
    private static func copy(_ fragment: borrowing Fragment, to bytes: inout [UInt8], within range: Range<Int>) {
        let start = max(range.lowerBound, fragment.offset)
        let end = min(range.upperBound, fragment.end)
        guard start < end else { return }
        var span = bytes.mutableSpan
        span.copy(fragment.bytes.span.extracting(start - fragment.offset..<end - fragment.offset), at: start)
    }
}
