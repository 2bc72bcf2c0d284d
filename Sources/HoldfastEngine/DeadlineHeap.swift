// What falls due, soonest first: a binary heap without an index. An entry is never taken out of the middle; whoever
// pushes it knows when it no longer holds (a lease that was acked, say) and drops it when it comes to the top, or in
// bulk. Ties are broken by job and tag, so that the order depends on the members only, not on how they came in.

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

    /// Creates an empty heap.
    package init() {}

    /// How many elements it holds, dropped ones included until they are.
    package var count: Int { elements.count }
    package var isEmpty: Bool { elements.isEmpty }

    /// The soonest element. O(1).
    package var first: Element? { elements.first }

    /// Adds an element. O(log n).
    package mutating func push(_ element: Element) {
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

    /// Adds an element. O(log n).
    package mutating func push(_ deadline: Timestamp, _ job: JobID, _ tag: Tag) {
        push(Element(deadline: deadline, job: job, tag: tag))
    }

    /// Takes the soonest element out. O(log n).
    @discardableResult
    package mutating func popFirst() -> Element? {
        guard let result = elements.first, let last = elements.popLast() else { return nil }
        if !elements.isEmpty { siftDown(last, from: 0) }
        return result
    }

    /// Takes elements off the top until the soonest one satisfies `isLive`.
    ///
    /// - Complexity: O(log n) for each one dropped.
    package mutating func dropFirst(unless isLive: (Element) -> Bool) {
        while let top = elements.first, !isLive(top) { popFirst() }
    }

    /// Drops every element that does not satisfy `isLive`. O(n).
    package mutating func removeAll(unless isLive: (Element) -> Bool) {
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
        guard limit > 0, let top = elements.first, top.deadline <= now else { return [] }
        var result: [Element] = []
        var frontier = Frontier(elements: elements)
        frontier.push(0)
        while let index = frontier.popFirst() {
            if isLive(elements[index]) {
                result.append(elements[index])
                if result.count == limit || isLast(elements[index]) { break }
            }
            for child in (index * 2 + 1)...(index * 2 + 2)
            where child < elements.count && elements[child].deadline <= now {
                frontier.push(child)
            }
        }
        return result
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
