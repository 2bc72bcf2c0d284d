// What falls due, soonest first: a binary heap without an index. An entry is never taken out of the middle; whoever
// pushes it knows when it no longer holds (a lease that was acked, say) and drops it when it comes to the top, or in
// bulk. Ties are broken by job and tag, so that the order depends on the members only, not on how they came in.
//
// Most come in order, as the deadlines of leases of one length do, and go in that order. Those stand in a row beside
// the heap, where adding and taking one is a step instead of the heap's depth.

package import HoldfastBytes

/// A heap of (deadline, job, tag), least first.
package struct DeadlineHeap<Tag: Comparable & Sendable>: Sendable {
    /// Something that falls due.
    package struct Element: Comparable, Sendable {
        package let deadline: Timestamp
        package let job: JobID
        /// What it is that falls due.
        package let tag: Tag

        package init(deadline: Timestamp, job: JobID, tag: Tag) {
            self.deadline = deadline
            self.job = job
            self.tag = tag
        }

        package static func < (a: Self, b: Self) -> Bool {
            if a.deadline != b.deadline { return a.deadline < b.deadline }
            if a.job != b.job { return a.job < b.job }
            return a.tag < b.tag
        }
    }

    private var elements: [Element] = []
    /// Soonest first; those before `rowStart` are gone.
    private var row: [Element] = []
    private var rowStart = 0

    /// Creates an empty heap.
    package init() {}

    /// How many elements it holds, dropped ones included until they are.
    package var count: Int { elements.count + row.count - rowStart }
    package var isEmpty: Bool { count == 0 }

    /// The soonest element. O(1).
    package var first: Element? {
        guard rowStart < row.count else { return elements.first }
        return isRowFirst ? row[rowStart] : elements[0]
    }

    /// Whether the soonest is in the row, which is not empty.
    private var isRowFirst: Bool { elements.isEmpty || row[rowStart] < elements[0] }

    /// Adds an element. O(1) where it is the last, else O(log n).
    package mutating func push(_ element: Element) {
        guard let last = row.last, element < last else { return row.append(element) }
        // One that is far off does not keep the row from those that follow, once it stands alone.
        guard rowStart == row.count - 1 else { return pushOnHeap(element) }
        row[rowStart] = element
        pushOnHeap(last)
    }

    private mutating func pushOnHeap(_ element: Element) {
        elements.append(element)
        var child = elements.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard element < elements[parent] else { break }
            elements[child] = elements[parent]
            child = parent
        }
        elements[child] = element
    }

    /// Adds an element. O(1) where it is the last, else O(log n).
    package mutating func push(_ deadline: Timestamp, _ job: JobID, _ tag: Tag) {
        push(Element(deadline: deadline, job: job, tag: tag))
    }

    /// Takes the soonest element out. O(1) where it came in order, else O(log n).
    @discardableResult
    package mutating func popFirst() -> Element? {
        if rowStart < row.count, isRowFirst { return popRow() }
        guard let result = elements.first, let last = elements.popLast() else { return nil }
        if !elements.isEmpty { siftDown(last, from: 0) }
        return result
    }

    private mutating func popRow() -> Element {
        let result = row[rowStart]
        rowStart += 1
        if rowStart == row.count {
            row.removeAll(keepingCapacity: true)
            rowStart = 0
        } else if rowStart >= Self.goneMax, rowStart > row.count / 2 {
            row.removeFirst(rowStart)
            rowStart = 0
        }
        return result
    }

    /// So many may be gone and take room before they are looked at.
    private static var goneMax: Int { 64 }

    /// Drops every element that does not satisfy `isLive`. O(n).
    package mutating func removeAll(unless isLive: (Element) -> Bool) {
        row.removeFirst(rowStart)
        rowStart = 0
        row.removeAll { !isLive($0) }
        elements.removeAll { !isLive($0) }
        for index in stride(from: elements.count / 2 - 1, through: 0, by: -1) {
            siftDown(elements[index], from: index)
        }
    }

    /// Returns, soonest first, at most `limit` elements due at `now` (their deadline is not after it) that satisfy
    /// `isLive`, none after the first for which `isLast` holds, and leaves them where they are.
    ///
    /// - Complexity: O(k log k), k being the number of elements due that were looked at.
    package func due(
        at now: Timestamp, limit: Int, where isLive: (Element) -> Bool = { _ in true },
        upTo isLast: (Element) -> Bool = { _ in false }
    ) -> [Element] {
        guard limit > 0, let top = first, top.deadline <= now else { return [] }
        var result: [Element] = []
        var place = rowStart
        var frontier = Frontier(elements: elements)
        if let top = elements.first, top.deadline <= now { frontier.push(0) }
        while true {
            let element: Element
            if place < row.count, row[place].deadline <= now, frontier.first.map({ row[place] < $0 }) ?? true {
                element = row[place]
                place += 1
            } else if let index = frontier.popFirst() {
                element = elements[index]
                for child in (index * 2 + 1)...(index * 2 + 2)
                where child < elements.count && elements[child].deadline <= now {
                    frontier.push(child)
                }
            } else {
                return result
            }
            guard isLive(element) else { continue }
            result.append(element)
            if result.count == limit || isLast(element) { return result }
        }
    }

    private mutating func siftDown(_ element: Element, from start: Int) {
        var parent = start
        while true {
            var child = parent * 2 + 1
            guard child < elements.count else { break }
            if child + 1 < elements.count && elements[child + 1] < elements[child] { child += 1 }
            guard elements[child] < element else { break }
            elements[parent] = elements[child]
            parent = child
        }
        elements[parent] = element
    }

    /// A heap of indices into the heap: the elements whose parents were looked at.
    private struct Frontier {
        let elements: [Element]
        var indices: [Int] = []

        init(elements: [Element]) { self.elements = elements }

        var first: Element? { indices.first.map { elements[$0] } }

        mutating func push(_ index: Int) {
            indices.append(index)
            var child = indices.count - 1
            while child > 0, elements[indices[child]] < elements[indices[(child - 1) / 2]] {
                indices.swapAt(child, (child - 1) / 2)
                child = (child - 1) / 2
            }
        }

        mutating func popFirst() -> Int? {
            guard let result = indices.first, let last = indices.popLast() else { return nil }
            guard !indices.isEmpty else { return result }
            indices[0] = last
            var parent = 0
            while true {
                var child = parent * 2 + 1
                guard child < indices.count else { return result }
                if child + 1 < indices.count, elements[indices[child + 1]] < elements[indices[child]] { child += 1 }
                guard elements[indices[child]] < elements[indices[parent]] else { return result }
                indices.swapAt(parent, child)
                parent = child
            }
        }
    }
}
