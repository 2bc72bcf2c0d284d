// A set of sequence numbers: what waits in one lane. Compressed like a roaring bitmap, in chunks of 2^16 numbers (see
// SequenceBitmap+Chunk.swift). A backlog is mostly consecutive numbers, so ten million of them are some 150 runs.
//
// Invariants: chunks are in ascending order of their keys, from `head` on none is empty, and `count` is the sum of
// theirs. Chunks before `head` are spent: popping the first number costs O(1) amortised, not a move of all the rest.

package import HoldfastBytes

/// An ordered set of 64-bit numbers.
package struct SequenceBitmap: Sendable {
    private var chunks: [Chunk] = []
    private var head = 0
    /// How many numbers it holds.
    package private(set) var count = 0

    /// Creates an empty set.
    package init() {}

    package var isEmpty: Bool { count == 0 }

    /// The least number.
    package var first: UInt64? { head < chunks.count ? chunks[head].first : nil }

    /// The greatest number.
    package var last: UInt64? { head < chunks.count ? chunks[chunks.count - 1].last : nil }

    /// Says whether `number` is a member.
    ///
    /// - Complexity: O(log n).
    package func contains(_ number: UInt64) -> Bool {
        let (index, isFound) = position(of: number >> 16)
        return isFound && chunks[index].contains(UInt16(truncatingIfNeeded: number))
    }

    /// Returns the least member greater than `number`.
    package func first(after number: UInt64) -> UInt64? {
        number == .max ? nil : first(atLeast: number + 1)
    }

    /// Returns the least member not less than `number`.
    ///
    /// - Complexity: O(log n).
    package func first(atLeast number: UInt64) -> UInt64? {
        let (index, isFound) = position(of: number >> 16)
        if isFound, let found = chunks[index].first(atLeast: UInt16(truncatingIfNeeded: number)) { return found }
        let next = isFound ? index + 1 : index
        return next < chunks.count ? chunks[next].first : nil
    }

    /// Adds `number`; returns false when it was there.
    ///
    /// - Complexity: O(1) amortised at the end, O(log n) plus at most one move of 8 KiB elsewhere.
    @discardableResult
    package mutating func insert(_ number: UInt64) -> Bool {
        let (index, isFound) = position(of: number >> 16)
        if !isFound {
            place(Chunk(number: number), at: index)
        } else if !chunks[index].insert(UInt16(truncatingIfNeeded: number)) {
            return false
        }
        count += 1
        return true
    }

    /// Removes `number`; returns false when it was not there.
    ///
    /// - Complexity: O(1) amortised for the first, O(log n) plus at most one move of 8 KiB elsewhere.
    @discardableResult
    package mutating func remove(_ number: UInt64) -> Bool {
        let (index, isFound) = position(of: number >> 16)
        guard isFound, chunks[index].remove(UInt16(truncatingIfNeeded: number)) else { return false }
        count -= 1
        if chunks[index].count == 0 { discard(at: index) }
        return true
    }

    /// Adds every number of `range`; returns how many were not there.
    ///
    /// - Complexity: O(numbers / 2^16), plus what the chunks touched at the ends hold.
    @discardableResult
    package mutating func insertRange(_ range: ClosedRange<UInt64>) -> Int {
        let countBefore = count
        var lower = range.lowerBound
        while true {
            let upper = Swift.min(range.upperBound, lower | 0xFFFF)
            let (index, isFound) = position(of: lower >> 16)
            let (low, high) = (UInt16(truncatingIfNeeded: lower), UInt16(truncatingIfNeeded: upper))
            if isFound {
                let before = chunks[index].count
                chunks[index].insertRange(low...high)
                count += chunks[index].count - before
            } else {
                place(Chunk(key: lower >> 16, runs: [low, high]), at: index)
                count += Int(upper - lower) + 1
            }
            if upper == range.upperBound { return count - countBefore }
            lower = upper + 1
        }
    }

    /// Adds the members of `other`; returns false when some were there already. When all is added, `settle`.
    ///
    /// - Complexity: O(chunks of both), and for each chunk that both have its numbers or 8 KiB, whichever is less.
    package mutating func formDisjointUnion(with other: SequenceBitmap) -> Bool {
        var new: [Chunk] = []
        for chunk in other.chunks[other.head...] {
            let (index, isFound) = position(of: chunk.key)
            if !isFound {
                new.append(chunk)
            } else if !chunks[index].formDisjointUnion(with: chunk) {
                return false
            }
            count += chunk.count
        }
        guard let first = new.first else { return true }
        guard let last = chunks.last, head < chunks.count, first.key < last.key else {
            if head == chunks.count { (chunks, head) = ([], 0) }
            chunks += new
            return true
        }
        var merged: [Chunk] = []
        merged.reserveCapacity(chunks.count - head + new.count)
        var next = 0
        for chunk in chunks[head...] {
            while next < new.count, new[next].key < chunk.key {
                merged.append(new[next])
                next += 1
            }
            merged.append(chunk)
        }
        (chunks, head) = (merged + new[next...], 0)
        return true
    }

    /// Makes what unions left smaller.
    package mutating func settle() {
        for index in head..<chunks.count { chunks[index].settle() }
    }

    /// How many members `range` holds.
    ///
    /// - Complexity: O(chunks in `range`), and the runs of the two at its ends.
    package func count(in range: ClosedRange<UInt64>) -> Int {
        var total = 0
        for index in position(of: range.lowerBound >> 16).index..<chunks.count {
            let base = chunks[index].key << 16
            if base > range.upperBound { break }
            if base >= range.lowerBound, base | 0xFFFF <= range.upperBound {
                total += chunks[index].count
                continue
            }
            let (low, high) = (max(range.lowerBound, base), min(range.upperBound, base | 0xFFFF))
            total += chunks[index].count(in: UInt16(low - base)...UInt16(high - base))
        }
        return total
    }

    /// Calls `body` with every maximal run of consecutive members, in ascending order.
    package func forEachRange<E: Error>(_ body: (ClosedRange<UInt64>) throws(E) -> Void) throws(E) {
        var pending: ClosedRange<UInt64>?
        for index in head..<chunks.count {
            let base = chunks[index].key << 16
            let runs = chunks[index].runs()
            for start in stride(from: 0, to: runs.count, by: 2) {
                let run = (base | UInt64(runs[start]))...(base | UInt64(runs[start + 1]))
                if let earlier = pending, earlier.upperBound + 1 == run.lowerBound {
                    pending = earlier.lowerBound...run.upperBound
                } else {
                    if let earlier = pending { try body(earlier) }
                    pending = run
                }
            }
        }
        if let last = pending { try body(last) }
    }

    /// Says whether the representation keeps its invariants. O(n).
    package func isConsistent() -> Bool {
        var sum = 0
        var earlier: UInt64?
        for chunk in chunks[head...] {
            guard chunk.count > 0, chunk.isConsistent(), earlier.map({ $0 < chunk.key }) ?? true else { return false }
            earlier = chunk.key
            sum += chunk.count
        }
        return sum == count
    }

    /// How many bytes the heap holds for it, near enough.
    package var memoryBytes: Int {
        chunks.reduce(chunks.capacity * MemoryLayout<Chunk>.stride) { $0 + $1.memoryBytes }
    }

    // MARK: - Private

    /// Returns where the chunk with `key` is, or where it would go.
    private func position(of key: UInt64) -> (index: Int, isFound: Bool) {
        guard head < chunks.count else { return (chunks.count, false) }
        let last = chunks[chunks.count - 1].key
        if key >= last { return key == last ? (chunks.count - 1, true) : (chunks.count, false) }
        if key <= chunks[head].key { return (head, key == chunks[head].key) }
        var (low, high) = (head, chunks.count - 1)
        while low < high {
            let middle = (low + high) / 2
            if chunks[middle].key < key { low = middle + 1 } else { high = middle }
        }
        return (low, chunks[low].key == key)
    }

    private mutating func place(_ chunk: Chunk, at index: Int) {
        if index == head && head > 0 {
            head -= 1
            chunks[head] = chunk
        } else {
            chunks.insert(chunk, at: index)
        }
    }

    private mutating func discard(at index: Int) {
        guard index == head else {
            chunks.remove(at: index)
            return
        }
        chunks[index] = Chunk.spent
        head += 1
        if head == chunks.count {
            chunks = []
            head = 0
        } else if head >= 16 && head * 2 >= chunks.count {
            chunks.removeFirst(head)
            head = 0
        }
    }
}

extension SequenceBitmap: Equatable {
    /// Equal when they hold the same numbers, however they came to hold them.
    package static func == (a: Self, b: Self) -> Bool {
        guard a.count == b.count, a.chunks.count - a.head == b.chunks.count - b.head else { return false }
        return zip(a.chunks[a.head...], b.chunks[b.head...]).allSatisfy { left, right in
            left.key == right.key && left.count == right.count && left.runs() == right.runs()
        }
    }
}

// MARK: - Encoding in an image
//
//     set   = varint(number of chunks) · chunk ...
//     chunk = varint(key - key before - 1; the first: key) · form (u8) · varint(number of words) · word (u16) ...
//
// The words are those of the form (SequenceBitmap+Chunk.swift), so that reading is little more than copying.

extension SequenceBitmap {
    /// Appends the set as it is in memory.
    package func encodeForms(into writer: inout ByteWriter) {
        encodeChunks(into: &writer) { $0.encodeForm(into: &$1) }
    }

    /// Reads what `encodeForms` wrote.
    ///
    /// - Throws: `ByteReaderError` on what is no set. Memory stays in proportion to the bytes.
    package init(formsFrom reader: inout ByteReader) throws(ByteReaderError) {
        try self.init(chunksFrom: &reader) { (key, reader) throws(ByteReaderError) in
            try Chunk(key: key, formFrom: &reader)
        }
    }

    private func encodeChunks(into writer: inout ByteWriter, _ body: (Chunk, inout ByteWriter) -> Void) {
        writer.append(varint: UInt64(chunks.count - head))
        var nextKey: UInt64 = 0
        for chunk in chunks[head...] {
            writer.append(varint: chunk.key - nextKey)
            nextKey = chunk.key + 1
            body(chunk, &writer)
        }
    }

    private init(
        chunksFrom reader: inout ByteReader,
        _ body: (UInt64, inout ByteReader) throws(ByteReaderError) -> Chunk
    ) throws(ByteReaderError) {
        self.init()
        let chunkCount = try reader.varint()
        var nextKey: UInt64 = 0
        for _ in 0..<chunkCount {
            let start = reader.offset
            let gap = try reader.varint(atMost: Chunk.keyMax)
            guard nextKey + gap <= Chunk.keyMax else { throw ByteReaderError(.notCanonical, at: start) }
            let chunk = try body(nextKey + gap, &reader)
            nextKey = chunk.key + 1
            count += chunk.count
            chunks.append(chunk)
        }
    }
}

// MARK: - Encoding in a digest, and in images of version 1
//
//     set   = varint(number of chunks) · chunk ...
//     chunk = varint(key - key before - 1; the first: key) · body
//     body  = varint(number of runs) · run ...            when that is at most 8192 bytes
//           | varint(0) · 8192 bytes, lowest bit first    otherwise
//     run   = varint(start - end before - 2; the first: start) · varint(length - 1)
//
// Runs are maximal, so every set has one encoding.

extension SequenceBitmap {
    /// Appends the canonical encoding.
    package func encode(into writer: inout ByteWriter) {
        encodeChunks(into: &writer) { $0.encodeBody(into: &$1) }
    }

    /// Reads what `encode` wrote.
    ///
    /// - Throws: `ByteReaderError` on anything `encode` would not have written. Memory stays in proportion to the
    /// bytes.
    package init(from reader: inout ByteReader) throws(ByteReaderError) {
        try self.init(chunksFrom: &reader) { (key, reader) throws(ByteReaderError) in
            try Chunk(key: key, bodyFrom: &reader)
        }
    }
}
