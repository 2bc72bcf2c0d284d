// Priorities that age: a job counts for one priority more after each step that it waited since it was enqueued, so
// that none waits for ever behind a stream of others. Ids ascend with time in a priority, so only the job that is next
// in each has to be looked at. Which priority comes first is found out once for each lease: what a batch takes of one
// priority, it takes in the order of that.

internal import HoldfastBytes

extension LaneTable {
    /// The priorities of a queue in the order in which a lease goes through them.
    ///
    /// - Complexity: O(1), or, where priorities age, O(p log n) in their number.
    func levelsInOrder(of queue: Slot<QueueRecord>, at now: Timestamp) -> [Slot<LevelRecord>] {
        let all = queues[queue].levels
        guard let step = queues[queue].terms.ageing, all.count > 1 else { return all }
        let ranked = all.enumerated().map { place, level in
            (place: place, level: level, rank: rank(of: level, step, at: now))
        }
        return ranked.sorted { $0.rank == $1.rank ? $0.place < $1.place : $0.rank > $1.rank }.map(\.level)
    }

    /// For which priority the job that is next in a priority counts.
    private func rank(of level: Slot<LevelRecord>, _ step: Int64, at now: Timestamp) -> Int64 {
        guard let job = firstPick(in: level)?.job, let time = queues[levels[level].queue].times?.time(of: job) else {
            return Int64(levels[level].priority)
        }
        return Int64(levels[level].priority) + max(0, now.milliseconds - time.milliseconds) / step
    }

    /// The job that a lease from one priority gets first.
    func firstPick(in level: Slot<LevelRecord>) -> Pick? {
        guard levels[level].ready > 0 else { return nil }
        if levels[level].rotation == nil { return levels[level].sole.flatMap { pick(in: $0, after: 0) } }
        return levels[level].rotation?.next.flatMap { pick(head: $0, in: level) }
    }

    /// Notes when a job came into its queue, where priorities age.
    mutating func noteTime(_ job: UInt64, in queue: Slot<QueueRecord>, at time: Timestamp) {
        if queues[queue].times != nil { queues[queue].times?.note(job, at: time) }
    }

    /// Keeps times as the settings of a queue ask for after these changed.
    mutating func ageingChanged(of queue: Slot<QueueRecord>) {
        let isAgeing = queues[queue].terms.ageing != nil
        if isAgeing != (queues[queue].times != nil) { queues[queue].times = isAgeing ? EnqueueTimes() : nil }
    }
}

// MARK: - In images

extension QueueState {
    /// Appends what is known of when jobs were enqueued, by queue. Not in a digest: it decides what is leased next, and
    /// lease records say what was.
    func encodeEnqueueTimes(into writer: inout ByteWriter) {
        let queues = table.queueSlots.filter { table.queues[$0.value].times?.tiers.isEmpty == false }
        writer.append(varint: UInt64(queues.count))
        for (name, slot) in queues.sorted(by: { $0.key < $1.key }) {
            writer.append(counted: name.string)
            table.queues[slot].times?.encode(into: &writer)
        }
    }

    /// Reads what `encodeEnqueueTimes` wrote; settings are there.
    mutating func decodeEnqueueTimes(_ reader: inout ByteReader) throws {
        var previous: Name?
        for _ in 0..<(try reader.varint(atMost: UInt64(reader.remaining))) {
            let name = Name(try reader.countedString(atMost: RecordLimits.nameBytesMax))
            if let previous, !(previous < name) { throw Self.corruptImage("ageing queues are out of order") }
            previous = name
            let times = try EnqueueTimes(from: &reader)
            guard let slot = table.queueSlots[name], table.queues[slot].times != nil, !times.tiers.isEmpty,
                times.isInOrder(upTo: lastSequence.rawValue, at: latestTime)
            else { throw Self.corruptImage("a queue has times that it can't have") }
            table.queues[slot].times = times
        }
    }
}
