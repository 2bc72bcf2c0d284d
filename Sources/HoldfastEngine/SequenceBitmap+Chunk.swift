// The members of a bitmap that share their upper 48 bits, in whichever of three forms is smallest: single numbers,
// runs, or bits. All three live in one array of 16-bit words, so that a change never copies and never re-boxes.
//
//     numbers   ascending                        2 bytes a number; at most 2048
//     runs      pairs of first and last          4 bytes a run; at most 2048
//     bits      4096 words, lowest bit first     8 KiB
//
// Words before `head` are spent (in bits: known to be zero), so that popping the least number moves nothing.

internal import HoldfastBytes

extension SequenceBitmap {
    struct Chunk: Sendable {
        enum Form: UInt8, Sendable { case numbers, runs, bits }

        static let keyMax: UInt64 = (1 << 48) - 1
        static let wordsMax = 4096
        /// Bits take less than four bytes a number above this, and are checked and joined a word at a time.
        static let numbersMax = 2048
        static let shortRangeMax = 64
        /// Bits turn into numbers below this, well under that, lest a set at the border change form all the time.
        static let bitsCountMin = 1536

        private(set) var key: UInt64
        private var words: [UInt16]
        private var members: UInt32
        private var head: UInt16 = 0
        private var form: Form

        /// What stands in for a chunk that was used up.
        static let spent = Chunk(key: 0, runs: [])

        init(number: UInt64) {
            let low = UInt16(truncatingIfNeeded: number)
            self.init(key: number >> 16, runs: [low, low])
        }

        /// Creates a chunk of maximal runs in ascending order.
        init(key: UInt64, runs: [UInt16]) {
            self.key = key
            words = runs
            form = .runs
            members = 0
            for index in stride(from: 0, to: runs.count, by: 2) {
                members += UInt32(runs[index + 1] - runs[index]) + 1
            }
            shrinkRuns()
        }

        var count: Int { Int(members) }
        private var start: Int { Int(head) }
        var memoryBytes: Int { words.capacity * 2 }

        /// The greatest member.
        var last: UInt64 {
            assert(members > 0, "an empty chunk has no last number")
            guard form == .bits else { return key << 16 | UInt64(words[words.count - 1]) }
            var index = words.count - 1
            while words[index] == 0 { index -= 1 }
            return key << 16 | UInt64(index * 16 + 15 - words[index].leadingZeroBitCount)
        }

        /// The least member.
        var first: UInt64 {
            assert(members > 0, "an empty chunk has no first number")
            guard form == .bits else { return key << 16 | UInt64(words[start]) }
            var index = start
            while words[index] == 0 { index += 1 }
            return key << 16 | UInt64(index * 16 + words[index].trailingZeroBitCount)
        }

        func contains(_ low: UInt16) -> Bool {
            switch form {
            case .numbers:
                let index = lowerBound(low)
                return index < words.count && words[index] == low
            case .runs:
                let index = runIndex(endingAtLeast: low)
                return index < words.count && words[index] <= low
            case .bits:
                return words[Int(low >> 4)] & (1 << (low & 15)) != 0
            }
        }

        func first(atLeast low: UInt16) -> UInt64? {
            switch form {
            case .numbers:
                let index = lowerBound(low)
                return index < words.count ? key << 16 | UInt64(words[index]) : nil
            case .runs:
                let index = runIndex(endingAtLeast: low)
                return index < words.count ? key << 16 | UInt64(max(words[index], low)) : nil
            case .bits:
                var index = max(Int(low >> 4), start)
                var word = words[index]
                if index == Int(low >> 4) { word &= UInt16.max << (low & 15) }
                while word == 0 {
                    index += 1
                    if index == words.count { return nil }
                    word = words[index]
                }
                return key << 16 | UInt64(index * 16 + word.trailingZeroBitCount)
            }
        }

        mutating func insert(_ low: UInt16) -> Bool {
            let isNew =
                switch form {
                case .numbers: insertNumber(low)
                case .runs: insertIntoRuns(low)
                case .bits: insertBit(low)
                }
            if isNew { settleAfterInsert() }
            return isNew
        }

        mutating func remove(_ low: UInt16) -> Bool {
            switch form {
            case .numbers:
                let index = lowerBound(low)
                guard index < words.count, words[index] == low else { return false }
                members -= 1
                removeWords(1, at: index)
            case .runs:
                guard removeFromRuns(low) else { return false }
                shrinkRuns()
            case .bits:
                let index = Int(low >> 4)
                guard words[index] & (1 << (low & 15)) != 0 else { return false }
                words[index] &= ~(1 << (low & 15))
                members -= 1
                while start < words.count - 1 && words[start] == 0 { head += 1 }
                if members < Self.bitsCountMin { self = Chunk(key: key, runs: runs()) }
            }
            return true
        }

        mutating func insertRange(_ range: ClosedRange<UInt16>) {
            if form == .runs, words.count > start, words[words.count - 1] < range.lowerBound {
                return appendRun(range)
            }
            // Below, all is copied for each range; a set of many short ones would take seconds to build, and bits would
            // become runs and bits again.
            if range.count <= Self.shortRangeMax || form == .bits {
                for low in range { _ = insert(low) }
                return
            }
            let old = runs()
            var merged: [UInt16] = []
            var (low, high) = (range.lowerBound, range.upperBound)
            var isPlaced = false
            for index in stride(from: 0, to: old.count, by: 2) {
                let (first, last) = (old[index], old[index + 1])
                if Int(last) + 1 < Int(low) {
                    merged += [first, last]
                } else if Int(high) + 1 < Int(first) {
                    if !isPlaced { merged += [low, high] }
                    isPlaced = true
                    merged += [first, last]
                } else {
                    (low, high) = (min(low, first), max(high, last))
                }
            }
            if !isPlaced { merged += [low, high] }
            self = Chunk(key: key, runs: merged)
        }

        /// Returns the maximal runs as pairs of first and last.
        func runs() -> [UInt16] {
            switch form {
            case .runs: return start == 0 ? words : Array(words[start...])
            case .numbers:
                var result: [UInt16] = []
                for low in words[start...] { Self.extend(&result, with: low) }
                return result
            case .bits:
                var result: [UInt16] = []
                for index in start..<words.count {
                    var word = words[index]
                    while word != 0 {
                        Self.extend(&result, with: UInt16(index * 16 + word.trailingZeroBitCount))
                        word &= word - 1
                    }
                }
                return result
            }
        }

        func count(in range: ClosedRange<UInt16>) -> Int {
            var total = 0
            let runs = runs()
            for index in stride(from: 0, to: runs.count, by: 2) {
                let (first, last) = (max(runs[index], range.lowerBound), min(runs[index + 1], range.upperBound))
                if first <= last { total += Int(last - first) + 1 }
            }
            return total
        }

        func isConsistent() -> Bool {
            let runs = runs()
            var (sum, next) = (0, 0)
            for index in stride(from: 0, to: runs.count, by: 2) {
                guard Int(runs[index]) >= next, runs[index] <= runs[index + 1] else { return false }
                next = Int(runs[index + 1]) + 2
                sum += Int(runs[index + 1] - runs[index]) + 1
            }
            return sum == count && words.count - start <= Self.wordsMax
        }
    }
}

// MARK: - Changing one form

extension SequenceBitmap.Chunk {
    private mutating func insertNumber(_ low: UInt16) -> Bool {
        let index = lowerBound(low)
        if index < words.count && words[index] == low { return false }
        members += 1
        insertWords([low], at: index)
        return true
    }

    private mutating func insertBit(_ low: UInt16) -> Bool {
        let index = Int(low >> 4)
        if words[index] & (1 << (low & 15)) != 0 { return false }
        words[index] |= 1 << (low & 15)
        members += 1
        head = min(head, UInt16(index))
        return true
    }

    private mutating func insertIntoRuns(_ low: UInt16) -> Bool {
        let index = runIndex(endingAtLeast: low)
        if index < words.count && words[index] <= low { return false }
        members += 1
        let joinsBefore = index > start && Int(words[index - 1]) + 1 == Int(low)
        let joinsAfter = index < words.count && Int(low) + 1 == Int(words[index])
        switch (joinsBefore, joinsAfter) {
        case (true, true): words.removeSubrange((index - 1)...index)
        case (true, false): words[index - 1] = low
        case (false, true): words[index] = low
        case (false, false): insertWords([low, low], at: index)
        }
        return true
    }

    /// Adds a run behind all others.
    private mutating func appendRun(_ range: ClosedRange<UInt16>) {
        members += UInt32(range.count)
        if words[words.count - 1] + 1 == range.lowerBound {
            words[words.count - 1] = range.upperBound
        } else {
            words.append(range.lowerBound)
            words.append(range.upperBound)
            shrinkRuns()
        }
    }

    private mutating func removeFromRuns(_ low: UInt16) -> Bool {
        let index = runIndex(endingAtLeast: low)
        guard index < words.count, words[index] <= low else { return false }
        members -= 1
        let (first, last) = (words[index], words[index + 1])
        switch (first == low, last == low) {
        case (true, true): removeWords(2, at: index)
        case (true, false): words[index] = low + 1
        case (false, true): words[index + 1] = low - 1
        case (false, false): words.replaceSubrange(index...index, with: [first, low - 1, low + 1])
        }
        return true
    }

    private mutating func settleAfterInsert() {
        switch form {
        case .runs: shrinkRuns()
        case .numbers where words.count - start > Self.numbersMax: self = Self(key: key, runs: runs())
        case .bits where members == 1 << 16: self = Self(key: key, runs: [0, .max])
        case .numbers, .bits: break
        }
    }

    /// Leaves the form of runs where another is clearly smaller.
    private mutating func shrinkRuns() {
        let used = words.count - start
        guard used > 16, used > count || used > Self.wordsMax else { return }
        // In between neither form is small enough: then nothing changes, and what was spent stays spent.
        guard count <= Self.numbersMax || used > Self.wordsMax else { return }
        let runs = runs()
        if count <= Self.numbersMax {
            words = []
            words.reserveCapacity(count)
            for index in stride(from: 0, to: runs.count, by: 2) { words += runs[index]...runs[index + 1] }
            form = .numbers
        } else {
            words = [UInt16](repeating: 0, count: Self.wordsMax)
            for index in stride(from: 0, to: runs.count, by: 2) {
                for low in runs[index]...runs[index + 1] { words[Int(low >> 4)] |= 1 << (low & 15) }
            }
            form = .bits
        }
        head = 0
    }

    private mutating func insertWords(_ new: [UInt16], at index: Int) {
        if index == start && start >= new.count {
            head -= UInt16(new.count)
            for offset in 0..<new.count { words[start + offset] = new[offset] }
        } else if new.count == 1 {
            words.insert(new[0], at: index)
        } else {
            words.insert(contentsOf: new, at: index)
        }
    }

    private mutating func removeWords(_ number: Int, at index: Int) {
        guard index == start else {
            words.removeSubrange(index..<(index + number))
            return
        }
        head += UInt16(number)
        if start >= 64 && start * 2 >= words.count {
            // A new array, so that the memory goes as the numbers do.
            words = Array(words[start...])
            head = 0
        }
    }

    /// The index of the first number not below `low`.
    private func lowerBound(_ low: UInt16) -> Int {
        if let last = words.last, last < low { return words.count }
        var (lower, upper) = (start, words.count)
        while lower < upper {
            let middle = (lower + upper) / 2
            if words[middle] < low { lower = middle + 1 } else { upper = middle }
        }
        return lower
    }

    /// The index of the first run that does not end before `low`.
    private func runIndex(endingAtLeast low: UInt16) -> Int {
        if words.count > start, words[words.count - 1] < low { return words.count }
        var (lower, upper) = (start / 2, words.count / 2)
        while lower < upper {
            let middle = (lower + upper) / 2
            if words[middle * 2 + 1] < low { lower = middle + 1 } else { upper = middle }
        }
        return lower * 2
    }

    private static func extend(_ runs: inout [UInt16], with low: UInt16) {
        if let last = runs.last, Int(last) + 1 == Int(low) {
            runs[runs.count - 1] = low
        } else {
            runs.append(low)
            runs.append(low)
        }
    }
}

// MARK: - Joining

extension SequenceBitmap.Chunk {
    /// Adds the members of another chunk with this key; returns false when some were there already. Leaves bits, which
    /// `settle` makes smaller.
    mutating func formDisjointUnion(with other: Self) -> Bool {
        guard count + other.count >= Self.bitsCountMin else {
            // Bits would take more memory than the numbers account for.
            let runs = other.runs()
            for index in stride(from: 0, to: runs.count, by: 2) {
                for low in runs[index]...runs[index + 1] where !insert(low) { return false }
            }
            return true
        }
        if form != .bits { self = bits() }
        var clash: UInt16 = 0
        func add(_ bits: UInt16, at index: Int) {
            clash |= words[index] & bits
            words[index] |= bits
        }
        switch other.form {
        case .bits: for index in 0..<Self.wordsMax { add(other.words[index], at: index) }
        case .numbers: for low in other.words[other.start...] { add(1 << (low & 15), at: Int(low >> 4)) }
        case .runs: other.forEachWord(add)
        }
        members += other.members
        head = min(head, other.form == .bits ? other.head : other.words[other.start] >> 4)
        return clash == 0
    }

    /// Takes the smallest form, or nearly.
    mutating func settle() {
        guard form == .bits else { return }
        if members == 1 << 16 {
            self = Self(key: key, runs: [0, .max])
        } else if members < Self.bitsCountMin {
            self = Self(key: key, runs: runs())
        }
    }

    private func bits() -> Self {
        var result = self
        result.form = .bits
        result.words = [UInt16](repeating: 0, count: Self.wordsMax)
        switch form {
        case .bits: return self
        case .numbers: for low in words[start...] { result.words[Int(low >> 4)] |= 1 << (low & 15) }
        case .runs: forEachWord { result.words[$1] |= $0 }
        }
        result.head = words[start] >> 4
        return result
    }

    /// Calls `body` with the bits that the runs have in each word.
    private func forEachWord(_ body: (UInt16, Int) -> Void) {
        for index in stride(from: start, to: words.count, by: 2) {
            let (first, last) = (words[index], words[index + 1])
            for word in Int(first >> 4)...Int(last >> 4) {
                var bits = UInt16.max
                if word == Int(first >> 4) { bits &= .max << (first & 15) }
                if word == Int(last >> 4) { bits &= .max >> (15 - last & 15) }
                body(bits, word)
            }
        }
    }
}

// MARK: - Encoding in an image: the form as it is

extension SequenceBitmap.Chunk {
    func encodeForm(into writer: inout ByteWriter) {
        let used = form == .bits ? words[...] : words[start...]
        writer.append(form.rawValue)
        writer.append(varint: UInt64(used.count))
        writer.append(littleEndian: used)
    }

    init(key: UInt64, formFrom reader: inout ByteReader) throws(ByteReaderError) {
        let offset = reader.offset
        guard let form = Form(rawValue: try reader.u8()) else { throw ByteReaderError(.notCanonical, at: offset) }
        self.key = key
        self.form = form
        words = try reader.words(Int(try reader.varint(atMost: UInt64(Self.wordsMax))))
        members = 0
        guard let count = Self.membersCount(words, form) else { throw ByteReaderError(.notCanonical, at: offset) }
        members = UInt32(count)
        if form == .bits { while words[start] == 0 { head += 1 } }
    }

    /// How many members the words stand for; `nil` when they stand for none in that form.
    private static func membersCount(_ words: [UInt16], _ form: Form) -> Int? {
        guard let first = words.first else { return nil }
        switch form {
        case .numbers:
            var isAscending = words.count <= numbersMax
            var before = first
            for word in words.dropFirst() {
                isAscending = isAscending && before < word
                before = word
            }
            return isAscending ? words.count : nil
        case .runs:
            guard words.count.isMultiple(of: 2) else { return nil }
            var (count, next) = (0, 0)
            for index in stride(from: 0, to: words.count, by: 2) {
                let (first, last) = (Int(words[index]), Int(words[index + 1]))
                guard next <= first, first <= last else { return nil }
                count += last - first + 1
                next = last + 2
            }
            return count
        case .bits:
            guard words.count == wordsMax else { return nil }
            let count = unsafe words.withUnsafeBytes { bytes in
                // SAFETY: the words are 8 KiB, read eight bytes at a time.
                var count = 0
                for offset in stride(from: 0, to: bytes.count, by: 8) {
                    count += unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self).nonzeroBitCount
                }
                return count
            }
            return count > 0 ? count : nil
        }
    }
}

// MARK: - Encoding in a digest

extension SequenceBitmap.Chunk {
    func encodeBody(into writer: inout ByteWriter) {
        let runs = runs()
        let start = writer.count
        writer.append(varint: UInt64(runs.count / 2))
        let runsStart = writer.count
        var next = 0
        for index in stride(from: 0, to: runs.count, by: 2) {
            writer.append(varint: UInt64(Int(runs[index]) - next))
            writer.append(varint: UInt64(runs[index + 1] - runs[index]))
            next = Int(runs[index + 1]) + 2
        }
        guard writer.count - runsStart > Self.wordsMax * 2 else { return }
        writer.truncate(to: start)
        writer.append(varint: 0)
        if form == .bits {
            for word in words { writer.append(littleEndian: word) }
        } else {
            var bits = [UInt16](repeating: 0, count: Self.wordsMax)
            for index in stride(from: 0, to: runs.count, by: 2) {
                for low in runs[index]...runs[index + 1] { bits[Int(low >> 4)] |= 1 << (low & 15) }
            }
            for word in bits { writer.append(littleEndian: word) }
        }
    }

    init(key: UInt64, bodyFrom reader: inout ByteReader) throws(ByteReaderError) {
        let start = reader.offset
        let runCount = Int(try reader.varint(atMost: 1 << 15))
        var runs: [UInt16] = []
        guard runCount > 0 else {
            for index in 0..<Self.wordsMax {
                var word = try reader.u16()
                while word != 0 {
                    Self.extend(&runs, with: UInt16(index * 16 + word.trailingZeroBitCount))
                    word &= word - 1
                }
            }
            guard Self.runsBytes(runs) > Self.wordsMax * 2 else { throw ByteReaderError(.notCanonical, at: start) }
            self.init(key: key, runs: runs)
            return
        }
        var next: UInt64 = 0
        let runsStart = reader.offset
        for _ in 0..<runCount {
            let offset = reader.offset
            let first = next + (try reader.varint(atMost: 0xFFFF))
            let last = first + (try reader.varint(atMost: 0xFFFF))
            guard last <= 0xFFFF else { throw ByteReaderError(.notCanonical, at: offset) }
            runs.append(UInt16(first))
            runs.append(UInt16(last))
            next = last + 2
        }
        guard reader.offset - runsStart <= Self.wordsMax * 2 else { throw ByteReaderError(.notCanonical, at: start) }
        self.init(key: key, runs: runs)
    }

    /// How many bytes the runs take when encoded as such.
    private static func runsBytes(_ runs: [UInt16]) -> Int {
        func width(_ value: Int) -> Int { value < 1 << 7 ? 1 : value < 1 << 14 ? 2 : 3 }
        var (sum, next) = (0, 0)
        for index in stride(from: 0, to: runs.count, by: 2) {
            sum += width(Int(runs[index]) - next) + width(Int(runs[index + 1] - runs[index]))
            next = Int(runs[index + 1]) + 2
        }
        return sum
    }
}
