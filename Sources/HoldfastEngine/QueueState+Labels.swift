// Finding jobs by what they say of themselves. Only jobs with labels are in these tables, from their enqueue until they
// are acked or cancelled; whoever died keeps them.

package import HoldfastBytes

/// Jobs by their labels.
struct LabelIndex: Sendable {
    /// What each job with labels has.
    private(set) var jobs: [UInt64: JobLabels] = [:]
    /// Which jobs have a label with a value; none is empty.
    private(set) var ids: [JobLabel: SequenceBitmap] = [:]

    var isEmpty: Bool { jobs.isEmpty }

    mutating func insert(_ labels: JobLabels, of job: UInt64) {
        guard !labels.isEmpty, jobs[job] == nil else { return }
        jobs[job] = labels
        for label in labels.list { ids[label, default: SequenceBitmap()].insert(job) }
    }

    mutating func remove(_ job: UInt64) {
        guard !jobs.isEmpty, let labels = jobs.removeValue(forKey: job) else { return }
        for label in labels.list {
            ids[label]?.remove(job)
            if ids[label]?.isEmpty == true { ids[label] = nil }
        }
    }

    /// The sets whose common members have all of `labels`, the smallest first; `nil` when no job has one of them.
    func sets(of labels: JobLabels) -> [SequenceBitmap]? {
        var sets: [SequenceBitmap] = []
        for label in labels.list {
            guard let set = ids[label] else { return nil }
            sets.append(set)
        }
        return sets.sorted { $0.count < $1.count }
    }
}

extension QueueState {
    /// What a job that has not ended says of itself.
    package func labels(of job: JobID) -> JobLabels {
        labels.isEmpty ? JobLabels() : labels.jobs[job.rawValue] ?? .init()
    }

    /// Returns the jobs with all of `wanted` that have not ended, as `unfinishedJobs(queue:state:after:limit:at:)`.
    ///
    /// - Complexity: O(k · log n) in the jobs that have the rarest label, and O(lanes) for each ready one where a queue
    ///   is asked for.
    package func unfinishedJobs(
        labelled wanted: JobLabels, queue: String?, state: JobState?, after: JobID, limit: Int, at now: Timestamp
    ) -> [JobID] {
        guard let sets = labels.sets(of: wanted), let smallest = sets.first else { return [] }
        var found: [JobID] = []
        var next = smallest.first(after: after.rawValue)
        while let id = next, found.count < limit {
            next = smallest.first(after: id)
            guard sets.dropFirst().allSatisfy({ $0.contains(id) }), isJob(id, in: queue, state, at: now) else {
                continue
            }
            found.append(JobID(id))
        }
        return found
    }

    private func isJob(_ id: UInt64, in queue: String?, _ state: JobState?, at now: Timestamp) -> Bool {
        if let entry = entries[id] {
            guard state == nil || entry.state(at: now) == state else { return false }
            return queue.map { table.queues[table.lanes[entry.lane].queue].name.isSameName(as: $0) } ?? true
        }
        guard state == nil || state == .ready else { return false }
        return queue.map { name in plainLane(of: JobID(id)).map { $0.queue.isSameName(as: name) } ?? false } ?? true
    }

    // MARK: - In digest, image and checks

    /// Appends the labels of each job. Not in a digest when no job has any: other states have the digest they had.
    func encodeLabels(into writer: inout ByteWriter) {
        writer.append(varint: UInt64(labels.jobs.count))
        var previous: UInt64 = 0
        for (job, labels) in labels.jobs.sorted(by: { $0.key < $1.key }) {
            writer.append(varint: job - previous)
            labels.encode(into: &writer)
            previous = job
        }
    }

    /// Reads what `encodeLabels` wrote; the jobs are there.
    mutating func decodeLabels(_ reader: inout ByteReader) throws {
        let count = try reader.varint(atMost: UInt64(reader.remaining))
        guard count > 0 else { return }
        let others = recordsBesideJobs
        var previous: UInt64 = 0
        for _ in 0..<count {
            let step = try reader.varint(atMost: lastSequence.rawValue)
            let job = previous + step
            previous = job
            guard step > 0, needed.contains(job), !others.contains(job) else {
                throw Self.corruptImage("labels are of no job")
            }
            labels.insert(try JobLabels(from: &reader), of: job)
        }
    }

    /// The needed records that are not those of jobs.
    var recordsBesideJobs: Set<UInt64> {
        var others = Set(effects.values)
        for entry in entries.values { others.formUnion([entry.lastError, entry.progress]) }
        for content in edited.values { others.formUnion(content.sequences) }
        return others
    }

    func checkLabels() {
        precondition(labels.jobs.keys.allSatisfy { needed.contains($0) }, "labels are of jobs in the state")
        var counts: [JobLabel: Int] = [:]
        for (job, labels) in labels.jobs {
            for label in labels.list {
                counts[label, default: 0] += 1
                precondition(self.labels.ids[label]?.contains(job) == true, "a label leads to its jobs")
            }
        }
        precondition(labels.ids.mapValues(\.count) == counts, "a label leads to nothing but its jobs")
    }
}
