import HoldfastBytes
import HoldfastEngine
import HoldfastTestKit
import Testing

@Suite struct SequenceBitmapTests {
    @Test(arguments: UInt64(0)..<24)
    func behavesLikeASetOfNumbers(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var bitmap = SequenceBitmap()
        var model: Set<UInt64> = []
        // The span decides which forms are met: few numbers, crowded chunks, or many chunks.
        let span = random.pick(from: [40, 3000, 70_000, 200_000, 1 << 30, UInt64(Int64.max)])
        for step in 0..<1500 {
            let number = UInt64.random(in: 0...span, using: &random)
            switch random.pick(0...9) {
            case 0...4: #expect(bitmap.insert(number) == model.insert(number).inserted)
            case 5: #expect(bitmap.remove(number) == (model.remove(number) != nil))
            case 6:
                guard let first = model.min() else { break }
                #expect(bitmap.first == first)
                bitmap.remove(first)
                model.remove(first)
            case 7:
                let range = number...(number + UInt64(random.pick(0...200)))
                bitmap.insertRange(range)
                model.formUnion(range)
            case 8:
                #expect(bitmap.first(atLeast: number) == model.filter { $0 >= number }.min())
                #expect(bitmap.first(after: number) == model.filter { $0 > number }.min())
            default: #expect(bitmap.contains(number) == model.contains(number))
            }
            #expect(bitmap.count == model.count)
            if step % 100 == 0 { try check(bitmap, holds: model, seed: seed) }
        }
        try check(bitmap, holds: model, seed: seed)
    }

    @Test func formsChangeBothWaysWithoutLosingNumbers() throws {
        var bitmap = SequenceBitmap()
        // Even numbers: runs, then numbers, then bits; then all of them: one run; then every third taken out.
        for number in stride(from: UInt64(0), to: 65_536, by: 2) { bitmap.insert(number) }
        #expect(bitmap.count == 32_768 && bitmap.isConsistent() && bitmap.memoryBytes < 9_000)
        for number in stride(from: UInt64(1), to: 65_536, by: 2) { bitmap.insert(number) }
        #expect(ranges(bitmap) == [0...65_535] && bitmap.memoryBytes < 200)
        for number in stride(from: UInt64(0), to: 65_536, by: 3) { bitmap.remove(number) }
        #expect(bitmap.count == 43_690 && bitmap.isConsistent())
        while bitmap.count > 10, let first = bitmap.first { bitmap.remove(first) }
        #expect(bitmap.isConsistent() && bitmap.memoryBytes < 400)
        try check(bitmap, holds: Set((0..<10).map { 65_534 - UInt64($0) / 2 * 3 - UInt64($0) % 2 }), seed: 0)
    }

    /// Numbers that are many, and in runs so short that they are neither small as numbers nor as bits. What was taken
    /// out at the front stayed in memory, and came back.
    @Test func whatWasTakenOfManyShortRunsDoesNotComeBack() throws {
        var bitmap = SequenceBitmap()
        var model: Set<UInt64> = []
        for number in 0..<1500 as Range<UInt64> {
            model.insert(4 * number)
            if number < 1000 { model.insert(4 * number + 1) }
        }
        for number in model.sorted() { bitmap.insert(number) }
        for number in [0, 1] as [UInt64] {
            bitmap.remove(number)
            model.remove(number)
        }
        #expect(bitmap.first == 4 && !bitmap.contains(1))
        try check(bitmap, holds: model, seed: 0)
        bitmap.insertRange(7000...7001)
        model.formUnion(7000...7001)
        try check(bitmap, holds: model, seed: 0)
    }

    @Test(arguments: UInt64(0)..<24) func crowdedChunksBehaveLikeASetOfNumbers(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var bitmap = SequenceBitmap()
        var model: Set<UInt64> = []
        // From a fifth of all numbers to nearly all, so that each form is left for each other.
        let part = random.pick(from: [20, 35, 50, 60, 80, 97])
        let start = random.pick(from: [0, 60_000, 120_000] as [UInt64])
        var next = start
        while next < start + 9_000 {
            if random.chance(part, in: 100) {
                bitmap.insert(next)
                model.insert(next)
            }
            next += 1
        }
        for step in 0..<2_500 {
            switch random.pick(0...9) {
            case 0...5:
                guard let first = bitmap.first else { break }
                #expect(bitmap.remove(first) && model.remove(first) != nil, "step \(step)")
            case 6:
                let number = start + UInt64(random.pick(0...9_000))
                #expect(bitmap.remove(number) == (model.remove(number) != nil))
            case 7: #expect(bitmap.insert(next) == model.insert(next).inserted)
            case 8:
                let range = next...(next + UInt64(random.pick(from: [0, 1, 70, 300])))
                bitmap.insertRange(range)
                model.formUnion(range)
            default:
                let number = start + UInt64(random.pick(0...9_000))
                let range = number...(number + UInt64(random.pick(from: [1, 70, 500])))
                bitmap.insertRange(range)
                model.formUnion(range)
            }
            next = max(next, (bitmap.last ?? 0)) + UInt64(random.pick(1...3))
            #expect(bitmap.count == model.count)
            if step % 50 == 0 { try check(bitmap, holds: model, seed: seed) }
        }
        try check(bitmap, holds: model, seed: seed)
    }

    @Test func tenMillionConsecutiveNumbersTakeAFewKilobytes() throws {
        var bitmap = SequenceBitmap()
        for number in UInt64(1)...500_000 { bitmap.insert(number) }
        bitmap.insertRange(500_001...10_000_000)
        #expect(bitmap.memoryBytes < 16_384)
        #expect(ranges(bitmap) == [1...10_000_000])
        var whole = SequenceBitmap()
        whole.insertRange(1...10_000_000)
        #expect(whole == bitmap)
        var writer = ByteWriter()
        bitmap.encode(into: &writer)
        #expect(writer.count < 2048)
        for number in UInt64(1)...300_000 {
            guard bitmap.first == number, bitmap.remove(number) else {
                Issue.record("popped \(String(describing: bitmap.first)), not \(number)")
                return
            }
        }
        #expect(ranges(bitmap) == [300_001...10_000_000])
    }

    @Test func randomNumbersTakeTwoBytesEach() {
        var random = SeededRandom(seed: 1)
        var bitmap = SequenceBitmap()
        for _ in 0..<200_000 { bitmap.insert(UInt64.random(in: 0..<10_000_000, using: &random)) }
        #expect(bitmap.memoryBytes < bitmap.count * 4)
        var dense = SequenceBitmap()
        for _ in 0..<200_000 { dense.insert(UInt64.random(in: 0..<500_000, using: &random)) }
        #expect(dense.memoryBytes < dense.count)
    }

    @Test func theGreatestNumbersAreMembersLikeAnyOther() {
        var bitmap = SequenceBitmap()
        bitmap.insertRange((.max - 3)...(.max))
        #expect(bitmap.contains(.max) && bitmap.first(after: .max) == nil && bitmap.first(atLeast: .max) == .max)
        bitmap.remove(.max)
        #expect(ranges(bitmap) == [(.max - 3)...(.max - 1)])
        bitmap.insert(0)
        #expect(bitmap.first == 0 && bitmap.first(after: 0) == .max - 3)
    }

    @Test func theEncodingIsPinned() {
        var bitmap = SequenceBitmap()
        bitmap.insertRange(1...10)
        bitmap.insert(65_535)
        bitmap.insertRange(65_536...65_537)
        bitmap.insert(0x2_0000_0003)
        #expect(encoded(bitmap) == [3, 0, 2, 1, 9, 0xF3, 0xFF, 3, 0, 0, 1, 0, 1, 0xFE, 0xFF, 7, 1, 3, 0])
    }

    @Test func emptySetsAreEqualWhateverTheyHeld() {
        var bitmap = SequenceBitmap()
        for number in UInt64(0)..<300_000 { bitmap.insert(number) }
        for number in UInt64(0)..<300_000 { bitmap.remove(number) }
        #expect(bitmap == SequenceBitmap() && bitmap.isEmpty && bitmap.first == nil)
        #expect(encoded(bitmap) == [0])
    }

    @Test(
        arguments: [
            [1, 0, 1, 0x80, 0x80, 4, 0],  // starts beyond the chunk
            [1, 0, 1, 1, 0xFF, 0xFF, 3],  // ends beyond the chunk
            [1, 0, 0],  // bits that are missing
            [2, 0, 1, 0, 0],  // a chunk that is missing
            [1, 0, 1, 0x80, 0, 0],  // an overlong integer
            [1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 1, 0, 0],  // a key of 50 bits
            [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1],
        ] as [[UInt8]])
    func bytesThatNoSetEncodesToAreRefused(bytes: [UInt8]) {
        #expect(throws: ByteReaderError.self) { try decode(bytes) }
    }

    @Test func bitsThatWouldBeShorterAsRunsAreRefused() {
        #expect(throws: ByteReaderError(.notCanonical, at: 2)) {
            try decode([1, 0, 0, 0xFF] + [UInt8](repeating: 0, count: 8191))
        }
        let shorterAsBits = [1, 0] + encodedVarint(10_000) + [UInt8](repeating: 0, count: 20_000)
        #expect(throws: ByteReaderError(.notCanonical, at: 2)) { try decode(shorterAsBits) }
    }

    @Test(arguments: UInt64(0)..<12) func unionsAndFormsHoldTheSameNumbers(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let span: UInt64 = random.pick(from: [40, 3000, 70_000, 200_000])
        var parts = (0..<4).map { _ in SequenceBitmap() }
        for _ in 0..<Int.random(in: 1...200, using: &random) {
            let part = random.pick(0...3)
            let start = UInt64.random(in: 0...span, using: &random)
            for number in start...(start + UInt64.random(in: 0...2000, using: &random)) {
                if !parts.contains(where: { $0.contains(number) }) { parts[part].insert(number) }
            }
        }
        // Some are spent from the front, and some are thin.
        for _ in 0..<Int.random(in: 0...3000, using: &random) {
            if let first = parts[0].first { parts[0].remove(first) }
        }
        for number in 0..<(span + 2000) where number % 3 > 0 { parts[1].remove(number) }
        var union = SequenceBitmap()
        for part in parts {
            var reader = ByteReader(forms(part).span)
            let read = try SequenceBitmap(formsFrom: &reader)
            #expect(reader.isAtEnd && read == part && read.isConsistent() && forms(read) == forms(part))
            #expect(read.last == ranges(part).last?.upperBound)
            let isDisjoint = union.formDisjointUnion(with: read)
            #expect(isDisjoint)
        }
        union.settle()
        let model = Set(parts.flatMap { ranges($0).flatMap { Array($0) } })
        try check(union, holds: model, seed: seed)
        #expect(union.memoryBytes < model.count * 4 + 9000)
        for part in parts where !part.isEmpty {
            var again = union
            let isDisjoint = again.formDisjointUnion(with: part)
            #expect(!isDisjoint, "what is there already is noticed")
        }
    }

    @Test(
        arguments: [
            [1, 0, 0, 0],  // no words
            [1, 0, 3, 1, 0, 0],  // no form
            [1, 0, 0, 2, 5, 0, 5, 0],  // a number twice
            [1, 0, 0, 2, 5, 0, 4, 0],  // numbers that descend
            [1, 0, 1, 1, 5, 0],  // half a run
            [1, 0, 1, 2, 5, 0, 4, 0],  // a run that ends before it begins
            [1, 0, 1, 4, 5, 0, 6, 0, 7, 0, 8, 0],  // runs that touch
            [1, 0, 2, 1, 5, 0],  // too few bits
            [1, 0, 0, 2, 5, 0],  // a word that is missing
            [1, 0, 2, 0x80, 0x20] + [UInt8](repeating: 0, count: 8192),  // bits of no number
            [1, 0, 0, 0x81, 0x20] + [UInt8](repeating: 0, count: 8194),  // more words than a chunk has
        ] as [[UInt8]])
    func bytesThatAreNoFormAreRefused(bytes: [UInt8]) {
        var reader = ByteReader(bytes.span)
        #expect(throws: ByteReaderError.self) { try SequenceBitmap(formsFrom: &reader) }
    }

    @Test func damagedBytesNeverTrapAndDecodeOnlyToWhatTheyEncode() throws {
        var random = SeededRandom(seed: 7)
        var bitmap = SequenceBitmap()
        for _ in 0..<60 { bitmap.insert(UInt64.random(in: 0..<200_000, using: &random)) }
        let good = encoded(bitmap)
        for count in 0..<good.count { #expect(throws: ByteReaderError.self) { try decode(Array(good[..<count])) } }
        for bit in 0..<(good.count * 8) {
            var bad = good
            bad[bit / 8] ^= 1 << (bit % 8)
            guard let decoded = try? decode(bad) else { continue }
            #expect(decoded.isConsistent())
            let again = encoded(decoded)
            #expect(again == Array(bad[..<again.count]), "bit \(bit)")
        }
    }

    // MARK: - Private

    private func check(_ bitmap: SequenceBitmap, holds model: Set<UInt64>, seed: UInt64) throws {
        #expect(bitmap.isConsistent(), "seed \(seed)")
        #expect(ranges(bitmap).flatMap { Array($0) } == model.sorted(), "seed \(seed)")
        let runs = ranges(bitmap)
        #expect(zip(runs, runs.dropFirst()).allSatisfy { $0.upperBound + 1 < $1.lowerBound }, "runs are maximal")
        let bytes = encoded(bitmap)
        #expect(try decode(bytes) == bitmap, "seed \(seed)")
        var fresh = SequenceBitmap()
        for number in model.sorted() { fresh.insert(number) }
        #expect(fresh == bitmap && encoded(fresh) == bytes, "one encoding for one set; seed \(seed)")
    }

    private func ranges(_ bitmap: SequenceBitmap) -> [ClosedRange<UInt64>] {
        var result: [ClosedRange<UInt64>] = []
        bitmap.forEachRange { result.append($0) }
        return result
    }

    private func encoded(_ bitmap: SequenceBitmap) -> [UInt8] {
        var writer = ByteWriter()
        bitmap.encode(into: &writer)
        return [UInt8](copying: writer.bytes)
    }

    private func forms(_ bitmap: SequenceBitmap) -> [UInt8] {
        var writer = ByteWriter()
        bitmap.encodeForms(into: &writer)
        return [UInt8](copying: writer.bytes)
    }

    private func encodedVarint(_ value: UInt64) -> [UInt8] {
        var writer = ByteWriter()
        writer.append(varint: value)
        return [UInt8](copying: writer.bytes)
    }

    @discardableResult
    private func decode(_ bytes: [UInt8]) throws -> SequenceBitmap {
        var reader = ByteReader(bytes.span)
        return try SequenceBitmap(from: &reader)
    }
}
