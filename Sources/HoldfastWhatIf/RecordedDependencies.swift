// Jobs that wait for others, in a recorded history. Jobs are meant by their index. While a history is read, who waits
// for whom is followed here by the rules of the state, as far as it matters: when a job could first have run.

internal import HoldfastBytes
package import HoldfastEngine

/// What a job says of others.
package struct RecordedDependencies: Hashable, Sendable {
    /// What becomes of it when one fails.
    package var policy: DependencyPolicy
    /// Whether it waits for a release, too.
    package var isHeld: Bool
    /// Those that it waits for, of which all came before it.
    package var after: [Int32]
    /// One that waits for it from here on.
    package var before: Int32?
}

/// Who waits for whom.
struct RecordedWaits {
    private struct Wait {
        let policy: DependencyPolicy
        var isHeld: Bool
        var pending: Set<Int32>
        /// The time that it waits for as well.
        let runAt: Int64
        var isDoomed = false
        var blocks: Bool { isHeld || isDoomed || !pending.isEmpty }
    }

    private var waits: [Int32: Wait] = [:]
    private var dependents: [Int32: [Int32]] = [:]

    /// When a job may run that waits for others: nobody can tell yet.
    static let never = Int64.max / 2

    /// Adds a job; returns whether it is blocked.
    mutating func add(_ job: Int32, _ said: RecordedDependencies, runAt: Int64) -> Bool {
        if let before = said.before, waits[before]?.blocks ?? false {
            waits[before]?.pending.insert(job)
            dependents[job, default: []].append(before)
        }
        guard said.isHeld || !said.after.isEmpty else { return false }
        waits[job] = Wait(policy: said.policy, isHeld: said.isHeld, pending: Set(said.after), runAt: runAt)
        for other in said.after { dependents[other, default: []].append(job) }
        return true
    }

    /// Whether the job ends because one that it waited for failed.
    func isDoomed(_ job: Int32) -> Bool { waits[job]?.isDoomed ?? false }

    /// Notes that a job has ended; returns those that are not blocked any more, with the times that they wait for.
    mutating func end(_ job: Int32, isDead: Bool = false, isDone: Bool = false) -> [(job: Int32, runAt: Int64)] {
        guard let waiting = dependents[job] else { return [] }
        if !isDead { dependents[job] = nil }
        return waiting.compactMap { dependent in
            guard let wait = waits[dependent], wait.pending.contains(job) else { return nil }
            if !isDead || wait.policy == .run { waits[dependent]?.pending.remove(job) }
            let isFailure = !isDone && wait.policy != .run && (!isDead || wait.policy != .wait)
            if isFailure { waits[dependent]?.isDoomed = true }
            return unblocked(dependent)
        }
    }

    /// Notes that a job was released; returns it when it is not blocked any more.
    mutating func release(_ job: Int32) -> [(job: Int32, runAt: Int64)] {
        waits[job]?.isHeld = false
        return [unblocked(job)].compactMap(\.self)
    }

    /// Notes that a dead job waits again; returns whether it is blocked.
    mutating func redrive(_ job: Int32) -> Bool {
        waits[job]?.isDoomed = false
        return waits[job]?.blocks ?? false
    }

    private func unblocked(_ job: Int32) -> (job: Int32, runAt: Int64)? {
        guard let wait = waits[job], !wait.blocks else { return nil }
        return (job, wait.runAt)
    }
}
