// What the store takes in all, and which jobs have which labels.

internal import Holdfast
package import HoldfastBytes
package import HoldfastEngine

extension ReferenceModel {
    /// Changes the store's limits; returns the number of records.
    mutating func configure(_ settings: StoreSettings) -> Int {
        let before = capacity
        capacity = settings.applied(to: before)
        if capacity.payloadBytes == nil { for index in jobs.indices { jobs[index].countedBytes = nil } }
        return capacity == before ? 0 : 1
    }

    /// What counts towards the store's limits.
    package var load: (jobs: Int, payloadBytes: Int) {
        let live = jobs.filter { $0.state != .dead }
        return (live.count, live.reduce(0) { $0 + ($1.countedBytes ?? 0) })
    }

    /// The jobs that have all of `labels`, of a queue and in a state if they are given.
    package func jobIDs(labelled labels: JobLabels, queue: String?, state: JobState?, at now: Timestamp) -> [JobID] {
        let wanted = Dictionary(uniqueKeysWithValues: labels.named.map { ($0.name, $0.value) })
        return jobs.filter { job in
            guard job.has(wanted, labels.owner), job.isMeant(queue) else { return false }
            return state.map { "\($0)" == job.shownState(at: now).rawValue } ?? true
        }.map(\.id)
    }

    /// Requires room for a job with a payload of so many bytes, or for so many bytes more of one that is there.
    func requireRoomInStore(bytes: Int, isNew: Bool = true) throws(EngineError) {
        let isFull = isNew && capacity.jobs.map { load.jobs >= $0 } ?? false
        let hasBytes = bytes <= 0 || capacity.payloadBytes.map { load.payloadBytes + bytes <= $0 } ?? true
        if isFull || !hasBytes { throw EngineError(.queueFull, "the model refuses") }
    }
}

extension ReferenceModel.Job {
    /// Whether it has all of these labels, and the owner if one is given.
    func has(_ labels: [String: String], _ owner: String?) -> Bool {
        let own = enqueue.labels
        return labels.allSatisfy { name, value in own.named.contains { $0.name == name && $0.value == value } }
            && owner.map { $0 == own.owner } ?? true
    }

    /// Whether it is in the queue, if one is given.
    func isMeant(_ queue: String?) -> Bool { queue.map { $0 == enqueue.lane.queue } ?? true }

    /// Where it is in its life.
    func shownState(at now: Timestamp) -> JobInfo.State {
        switch state {
        case .waiting: isReady(at: now) ? .ready : .scheduled
        case .leased: .leased
        case .dead: .dead
        }
    }
}
