import HoldfastBytes
import HoldfastEngine
import HoldfastTestKit
import Testing

@Suite struct DeadlineHeapTests {
    private typealias Heap = DeadlineHeap<UInt8>

    @Test(arguments: UInt64(0)..<16)
    func behavesLikeASortedList(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var heap = Heap()
        var model: [Heap.Element] = []
        for _ in 0..<800 {
            switch random.pick(0...9) {
            case 0...5:
                let element = element(
                    Int64(random.pick(0...50)), UInt64(random.pick(1...20)), UInt8(random.pick(0...3)))
                heap.push(element)
                model.append(element)
                model.sort()
            case 6, 7:
                #expect(heap.popFirst() == model.first)
                if !model.isEmpty { model.removeFirst() }
            case 8:
                let (now, limit) = (Timestamp(milliseconds: Int64(random.pick(0...50))), random.pick(0...30))
                let live = UInt64(random.pick(1...20))
                let expected = model.filter { $0.deadline <= now && $0.job.rawValue <= live }.prefix(limit)
                #expect(heap.due(at: now, limit: limit) { $0.job.rawValue <= live } == Array(expected), "seed \(seed)")
            default:
                let dead = UInt64(random.pick(1...20))
                heap.removeAll { $0.job.rawValue != dead }
                model.removeAll { $0.job.rawValue == dead }
            }
            #expect(heap.first == model.first && heap.count == model.count, "seed \(seed)")
        }
        while let element = heap.popFirst() { #expect(element == model.removeFirst(), "seed \(seed)") }
        #expect(model.isEmpty && heap.isEmpty)
    }

    @Test(arguments: UInt64(0)..<8)
    func behavesLikeASortedListWhereMostComeInOrder(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var heap = Heap()
        var model: [Heap.Element] = []
        func add(_ element: Heap.Element) {
            heap.push(element)
            model.insert(element, at: model.firstIndex { element < $0 } ?? model.count)
        }
        var time: Int64 = 0
        for _ in 0..<60 {
            for number in 0..<UInt64(random.pick(1...200)) {
                add(element(time, number, 0))
                if random.chance(1, in: 40) { add(element(time + Int64(random.pick(-20...300)), number, 1)) }
                time += random.chance(1, in: 3) ? 1 : 0
            }
            for _ in 0..<random.pick(0...min(model.count, 220)) {
                let first = model.removeFirst()
                #expect(heap.first == first && heap.popFirst() == first, "seed \(seed)")
            }
            let now = Timestamp(milliseconds: time - Int64(random.pick(0...40)))
            #expect(heap.due(at: now, limit: 300) == Array(model.filter { $0.deadline <= now }.prefix(300)))
            if random.chance(1, in: 10) {
                heap.removeAll { $0.job.rawValue % 3 != 0 }
                model.removeAll { $0.job.rawValue % 3 == 0 }
            }
            #expect(heap.count == model.count, "seed \(seed)")
        }
        while let element = heap.popFirst() { #expect(element == model.removeFirst(), "seed \(seed)") }
        #expect(model.isEmpty && heap.isEmpty)
    }

    @Test func tiesAreBrokenByJobAndThenByTag() {
        var heap = Heap()
        for element in [element(5, 2, 0), element(5, 1, 1), element(5, 1, 0), element(4, 9, 9)] { heap.push(element) }
        #expect(
            heap.due(at: .max, limit: 9) == [element(4, 9, 9), element(5, 1, 0), element(5, 1, 1), element(5, 2, 0)])
    }

    @Test func anElementIsDueAtItsDeadlineAndNotBefore() {
        var heap = Heap()
        heap.push(element(10, 1, 0))
        #expect(heap.due(at: Timestamp(milliseconds: 9), limit: 1).isEmpty)
        #expect(heap.due(at: Timestamp(milliseconds: 10), limit: 1) == [element(10, 1, 0)])
        #expect(heap.due(at: .max, limit: 0).isEmpty)
    }

    @Test func nothingIsLookedAtBehindTheLastThatIsAskedFor() {
        var heap = Heap()
        for number in UInt64(1)...1000 { heap.push(Timestamp(milliseconds: Int64(number)), JobID(number), 0) }
        var looks = 0
        func isLive(_ element: Heap.Element) -> Bool {
            looks += 1
            return element.job.rawValue % 2 == 0
        }
        let found = heap.due(at: .max, limit: 1000, where: isLive, upTo: { $0.job.rawValue >= 6 })
        #expect(found.map(\.job.rawValue) == [2, 4, 6] && looks == 6)
    }

    private func element(_ deadline: Int64, _ job: UInt64, _ tag: UInt8) -> Heap.Element {
        Heap.Element(deadline: Timestamp(milliseconds: deadline), job: JobID(job), tag: tag)
    }
}
