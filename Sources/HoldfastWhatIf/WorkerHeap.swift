// Which busy worker is done first.

/// Busy workers by the time at which they are done, and among equals by the order in which they began.
struct WorkerHeap: Sendable {
    /// A worker at a job.
    struct Element: Sendable {
        let time: Int64
        /// That of the lease; grows with each.
        let token: UInt64
        let job: Int32
        let pool: Int32

        static func < (a: Self, b: Self) -> Bool { a.time != b.time ? a.time < b.time : a.token < b.token }
    }

    private var elements: [Element] = []

    var first: Element? { elements.first }

    mutating func push(_ element: Element) {
        elements.append(element)
        var child = elements.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard elements[child] < elements[parent] else { break }
            elements.swapAt(child, parent)
            child = parent
        }
    }

    @discardableResult
    mutating func popFirst() -> Element? {
        guard let last = elements.popLast() else { return nil }
        guard let first = elements.first else { return last }
        elements[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < elements.count {
                if elements[child] < elements[least] { least = child }
            }
            if least == parent { return first }
            elements.swapAt(parent, least)
            parent = least
        }
    }
}
