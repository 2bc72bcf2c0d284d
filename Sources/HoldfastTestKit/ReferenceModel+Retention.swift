// What a queue keeps of what has ended, in the model.

package import HoldfastBytes
package import HoldfastEngine

extension ReferenceModel {
    /// Lets go of the dead letters that are too many or too old and for which nobody waits, up to the first that
    /// waited for others itself; returns how many.
    mutating func dropDeadLetters(at now: Timestamp) -> Int {
        var due: [(time: Timestamp, jobs: [JobID])] = []
        let awaited = jobs.reduce(into: Set<JobID>()) { $0.formUnion($1.dependencies?.pending ?? []) }
        for (queue, terms) in terms {
            let dead = jobs.filter { $0.enqueue.lane.queue == queue && $0.state == .dead }
                .sorted { $0.diedAt == $1.diedAt ? $0.id < $1.id : $0.diedAt < $1.diedAt }
            let free = dead.filter { !awaited.contains($0.id) }
            let age = terms.retention.deadAge
            let ends = free.map { job in age.map { job.diedAt.advanced(byMilliseconds: $0) } ?? .max }
            let surplus = dead.count - min(dead.count, terms.retention.deadMax ?? .max)
            let count = min(free.count, max(surplus, ends.count { $0 <= now }))
            if count > 0 { due.append((surplus > 0 ? .zero : ends[0], free[..<count].map(\.id))) }
        }
        var dropped = due.sorted { ($0.time, $0.jobs[0]) < ($1.time, $1.jobs[0]) }.flatMap(\.jobs)
        // Those that it waited for may have to go first then.
        let waiting = dropped.firstIndex { id in
            jobs.contains { $0.id == id && !($0.dependencies?.pending.isEmpty ?? true) }
        }
        if let waiting { dropped.removeSubrange((waiting + 1)...) }
        jobs.removeAll { dropped.contains($0.id) }
        for job in dropped { tell(.cancelled, of: job) }
        return dropped.count
    }

    /// Keeps the result of a job that is acked, if there is one and it is to be kept for a time.
    mutating func keepResult(of index: Int, _ result: [UInt8]?, _ span: Int64?, at now: Timestamp) {
        let span = span ?? terms(of: jobs[index].enqueue.lane.queue).retention.results ?? 0
        let until = now.advanced(byMilliseconds: span)
        if result != nil, until > now { results[jobs[index].id] = until }
    }

    /// The dead letters of a queue that are meant, by id.
    package func deadLetters(
        of queue: String, meeting criteria: DeadCriteria, errorContains text: String?
    ) -> [JobID] {
        jobs.filter { job in
            let group = job.enqueue.lane.group
            return job.enqueue.lane.queue == queue && job.state == .dead
                && (criteria.reasons.isEmpty || criteria.reasons.contains(job.deadReason))
                && (criteria.group ?? group) == group && job.diedAt >= criteria.diedFrom
                && (criteria.diedBefore.map { job.diedAt < $0 } ?? true) && job.attempt >= criteria.attemptsMin
                && (criteria.first...criteria.last).contains(job.id)
                && (text.map { (job.error ?? "").contains($0) } ?? true)
        }.map(\.id)
    }

    /// Makes those of the jobs that are dead ready again, or lets them wait for their time.
    mutating func redrive(_ list: [Redrive], at now: Timestamp) -> (count: Int, skipped: Int) {
        var (count, skipped) = (0, 0)
        for (place, redrive) in list.enumerated() {
            guard !list[..<place].contains(where: { $0.job == redrive.job }),
                let index = index(of: redrive.job), jobs[index].state == .dead
            else { continue }
            guard revive(index) else {
                skipped += 1
                continue
            }
            count += 1
            if let runAt = redrive.runAt, runAt > now { jobs[index].state = .waiting(runAt: runAt) }
        }
        return (count, skipped)
    }
}
