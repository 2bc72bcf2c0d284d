// What one thread hands to another, in order, and no more of it than memory should hold.

import HoldfastLog

/// A queue between two threads, bounded by the weight of what waits in it.
final class BoundedQueue<Element: Sendable>: @unchecked Sendable {
    // SENDABLE: all mutable state is guarded by `lock`.
    private let lock = CallerLock()
    private let changed = Signal()
    private let weightMax: Int
    private static var lookMilliseconds: Int { 250 }
    private var waiting: [Element] = []
    private var weight = 0
    private var isFinished = false

    init(weightMax: Int) { self.weightMax = weightMax }

    /// Adds an element, waiting while the queue is full. An element heavier than the bound goes in alone.
    ///
    /// - Parameter look: Is called now and then while this waits.
    func push(_ element: Element, weight: Int, _ look: () -> Void = {}) {
        lock.lock()
        while self.weight > 0 && self.weight + weight > weightMax {
            if changed.wait(lock, milliseconds: Self.lookMilliseconds) { continue }
            lock.unlock()
            look()
            lock.lock()
        }
        waiting.append(element)
        self.weight += weight
        if waiting.count == 1 { changed.notifyAll() }
        lock.unlock()
    }

    /// No more will be pushed.
    func finish() {
        lock.withLock {
            isFinished = true
            changed.notifyAll()
        }
    }

    /// Takes everything that waits, waiting for something; empty at the end.
    func popAll() -> [Element] {
        lock.withLock {
            while waiting.isEmpty && !isFinished { changed.wait(lock) }
            defer {
                waiting.removeAll(keepingCapacity: true)
                weight = 0
                changed.notifyAll()
            }
            return waiting
        }
    }
}
