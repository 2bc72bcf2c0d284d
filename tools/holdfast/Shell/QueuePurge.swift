// Emptying a queue with the store's public operations: a bounded number of jobs is looked up and cancelled at a time,
// so that no commit grows with the queue and others get their turn in between. A job that is leased between the two is
// cancelled all the same, as `cancel` would.

import Holdfast

/// Cancels the jobs of a queue that nobody works on.
struct QueuePurge {
    /// In this order: a scheduled job may become ready meanwhile, and a ready one dead.
    static let states: [JobInfo.State] = [.scheduled, .ready, .dead]

    /// So many jobs are cancelled in one commit.
    private static let stepCount = 1000

    let store: JobStore
    let queue: String

    /// Cancels all jobs in `state`, one of `states`, and returns how many there were.
    func cancelAll(in state: JobInfo.State) throws(JobStoreError) -> Int {
        if state == .dead { return try store.submitPurge(queue: queue).valueBlocking() }
        var filter = JobFilter(queue: queue, state: state, limit: Self.stepCount)
        var count = 0
        while true {
            let ids = try store.blocking.jobs(filter).map(\.id)
            count += try cancel(ids)
            guard ids.count == Self.stepCount else { return count }
            filter.after = ids.last
        }
    }

    /// Cancels jobs in one commit, or, when one of them has ended meanwhile, each for itself.
    private func cancel(_ ids: [JobID]) throws(JobStoreError) -> Int {
        if ids.isEmpty { return 0 }
        do throws(JobStoreError) {
            return try store.blocking.batch(ids.map { .cancel($0) }).count
        } catch {
            guard error.index != nil else { throw error }
        }
        var count = 0
        for id in ids {
            do throws(JobStoreError) {
                try store.blocking.cancel(id)
                count += 1
            } catch {
                guard error.code == .notFound || error.code == .invalidState else { throw error }
            }
        }
        return count
    }
}
