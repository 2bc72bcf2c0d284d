// What a queue says of its groups, in the model.

package import HoldfastBytes
internal import HoldfastEngine

extension ReferenceModel {
    /// Whether the group of a waiting job lets it run.
    func mayRun(_ job: Job, at now: Timestamp) -> Bool {
        let lane = job.enqueue.lane
        let sharing = terms(of: lane.queue).sharing
        guard !lane.group.isEmpty else { return true }
        let others = jobs.filter { $0.enqueue.lane.queue == lane.queue && $0.enqueue.lane.group == lane.group }
        let running = others.count { if case .leased = $0.state { true } else { false } }
        if let most = sharing.groupRunningMax, running >= most { return false }
        if groupTokens(of: lane.group, in: lane.queue, sharing, at: now) == 0 { return false }
        guard sharing.order != .free else { return true }
        return running == 0
            && !others.contains { other in
                guard other.id < job.id, case .waiting = other.state else { return false }
                return sharing.order == .strict || other.isReady(at: now)
            }
    }

    /// How many ready jobs of a queue are not leased because of their groups, however many are asked for.
    package func heldCount(of queue: String, at now: Timestamp) -> Int {
        let sharing = terms(of: queue).sharing
        let ready = jobs.filter { job in
            job.enqueue.lane.queue == queue && job.isReady(at: now) && !job.enqueue.lane.group.isEmpty
        }
        var held = 0
        for group in Set(ready.map(\.enqueue.lane.group)) {
            let own = ready.filter { $0.enqueue.lane.group == group }
            let running = jobs.count { job in
                guard job.enqueue.lane.queue == queue, job.enqueue.lane.group == group else { return false }
                if case .leased = job.state { return true } else { return false }
            }
            var allowed = sharing.groupRunningMax.map { max(0, $0 - running) } ?? own.count
            allowed = min(allowed, groupTokens(of: group, in: queue, sharing, at: now))
            if sharing.order != .free { allowed = min(allowed, own.count { mayRun($0, at: now) }) }
            held += max(0, own.count - allowed)
        }
        return held
    }

    // MARK: - Weights

    mutating func noteWeight(of lane: Lane) {
        let known = weights[lane.group] ?? lane.weight...lane.weight
        weights[lane.group] = min(known.lowerBound, lane.weight)...max(known.upperBound, lane.weight)
    }

    /// How often a group may be served while another waits all along.
    func turnsMax(of lane: Lane, over waiting: Lane) -> Int {
        let (most, least) = (
            weights[lane.group]?.upperBound ?? 1, weights[waiting.group]?.lowerBound ?? 1
        )
        return 2 * Int((most + least - 1) / least)
    }

    // MARK: - Limits of queues

    func mayLease(from queue: String, at now: Timestamp) -> Bool {
        let terms = terms(of: queue)
        if terms.isPaused || counts(of: queue).leased >= terms.runningMax ?? .max { return false }
        if let rate = terms.sharing.rate {
            let drops = drops(leaseTimes[queue] ?? [], rate, at: now)
            if drops < rate.periodMilliseconds { return false }
        }
        guard let limiter = terms.sharing.limiter else { return true }
        let sharers = self.terms.filter { $0.value.sharing.limiter?.name == limiter.name }.keys
        return sharers.reduce(0) { $0 + counts(of: $1).leased } < limiter.size
    }

    /// What is in the bucket after all leases since the rate was set; a token is as many as the period has
    /// milliseconds.
    private func drops(_ leases: [Timestamp], _ rate: RateLimit, at now: Timestamp) -> Int64 {
        let capacity = Int64(rate.burst) * rate.periodMilliseconds
        var (drops, time) = (capacity, now)
        if let first = leases.first { time = first }
        for lease in leases {
            drops = min(capacity, drops + (lease.milliseconds - time.milliseconds) * Int64(rate.count))
            drops -= rate.periodMilliseconds
            time = lease
        }
        return min(capacity, drops + (now.milliseconds - time.milliseconds) * Int64(rate.count))
    }

    /// How many jobs of a group its rate lets be leased.
    private func groupTokens(of group: String, in queue: String, _ sharing: SharingTerms, at now: Timestamp) -> Int {
        guard let rate = sharing.groupRate else { return .max }
        return Int(drops(groupLeaseTimes[queue]?[group] ?? [], rate, at: now) / rate.periodMilliseconds)
    }
}
