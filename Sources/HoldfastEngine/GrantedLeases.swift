// Leases that one request is granted. They have a time, a deadline and mostly a lane in common, and what was looked up
// to grant them serves to apply them: so they skip mutations and records. They become the state that their records,
// which the log holds as any others, give one by one.

package import HoldfastBytes

/// Leases granted at once, in records next to each other; perhaps none.
package struct GrantedLeases: Sendable {
    /// The i-th is in the i-th record, whose number is its token.
    package private(set) var grants: [LeaseGrant] = []
    /// The number of the first record.
    package let first: SequenceNumber
    package let time: Timestamp
    /// Whether nothing was known of these jobs but their lane: there is nothing beside their enqueue records.
    package private(set) var arePlain = true
    private var firstLane = Slot<LaneRecord>.none
    /// That of each; empty while all are of the first.
    private var lanes: [Slot<LaneRecord>] = []

    init(first: SequenceNumber, at time: Timestamp) { (self.first, self.time) = (first, time) }

    mutating func reserveCapacity(_ count: Int) { grants.reserveCapacity(count) }

    mutating func add(_ grant: LeaseGrant, of lane: Slot<LaneRecord>, isPlain: Bool) {
        if grants.isEmpty {
            firstLane = lane
        } else if lanes.isEmpty, lane != firstLane {
            lanes = [Slot<LaneRecord>](repeating: firstLane, count: grants.count)
        }
        if !lanes.isEmpty { lanes.append(lane) }
        if !isPlain { arePlain = false }
        grants.append(grant)
    }

    /// Returns what their records take, with `overhead` bytes for each beside its names.
    package func bytes(overhead: Int) -> Int {
        grants.indices.reduce(0) { $0 + overhead + nameBytes($1) }
    }

    private func nameBytes(_ index: Int) -> Int {
        let (lane, worker) = (grants[index].lane, grants[index].worker)
        return lane.queue.utf8.count + lane.group.utf8.count + worker.utf8.count
    }

    /// Gives those up that do not fit in `bytes`, each with `overhead` bytes beside its names; the first always does.
    package mutating func shorten(toFit bytes: Int, overhead: Int) {
        var left = bytes
        for index in grants.indices {
            left -= overhead + nameBytes(index)
            guard left < 0, index > 0 else { continue }
            grants.removeSubrange(index...)
            if !lanes.isEmpty { lanes.removeSubrange(index...) }
            return
        }
    }

    func lane(_ index: Int) -> Slot<LaneRecord> { lanes.isEmpty ? firstLane : lanes[index] }

    /// Returns one of their records.
    package func record(_ index: Int) -> Record {
        Record(sequence: first.advanced(by: UInt64(index)), time: time, mutation: .lease(grants[index]))
    }

    /// Appends the body of one of their records.
    package func encodeBody(_ index: Int, into writer: inout ByteWriter) {
        let place = Record.Context(sequence: first.advanced(by: UInt64(index)), time: time)
        writer.append(varint: UInt64(bitPattern: time.milliseconds))
        grants[index].encode(at: place, into: &writer)
    }
}

extension QueueState {
    /// Grants up to `limit` ready jobs until `deadline`: from earlier queues first, or by turns, as `Command.lease` has
    /// it. Reads only.
    ///
    /// - Precondition: What is overdue at `now` was recorded and applied.
    package func grant(
        from queues: [String], _ turns: LeaseTurns?, limit: Int, until deadline: Timestamp, worker: String,
        at now: Timestamp, first: SequenceNumber
    ) -> GrantedLeases {
        if runs.first.map({ $0.deadline <= now }) ?? false || table.hasGroupTokens(by: now) {
            // The caller did not promote what is due: right all the same, at the price of a copy.
            var promoted = self
            promoted.promoteDue(at: now)
            return promoted.grant(
                from: queues, turns, limit: limit, until: deadline, worker: worker, at: now, first: first)
        }
        var leases = GrantedLeases(first: first, at: now)
        var known: (slot: Slot<LaneRecord>, words: Lane)?
        func add(_ pick: Pick) {
            if known?.slot != pick.lane { known = (pick.lane, table.lane(pick.lane)) }
            guard let lane = known?.words else { return }
            let entry = entries[pick.job]
            let grant = LeaseGrant(
                job: JobID(pick.job), lane: lane, attempt: (entry?.attempt ?? 0) + 1,
                deadline: min(deadline, latestEnd(of: pick.job, entry, from: now) ?? .max), worker: worker)
            leases.add(grant, of: pick.lane, isPlain: entry == nil)
        }
        if limit == 1 && turns == nil {
            // Most leases: without a list of picks.
            if let pick = firstPick(from: queues, at: now) { add(pick) }
            return leases
        }
        let picks = picks(from: queues, turns, limit: limit, at: now)
        leases.reserveCapacity(picks.count)
        for pick in picks { add(pick) }
        return leases
    }

    private func firstPick(from queues: [String], at now: Timestamp) -> Pick? {
        for name in queues {
            if let queue = table.queue(name), let pick = table.firstPick(in: queue, at: now) { return pick }
        }
        return nil
    }

    private func picks(from queues: [String], _ turns: LeaseTurns?, limit: Int, at now: Timestamp) -> [Pick] {
        if let turns { return table.picks(from: queues, turns, limit: limit, at: now) }
        var picks: [Pick] = []
        var visited: [Slot<QueueRecord>] = []
        for name in queues where picks.count < limit {
            guard let queue = table.queue(name), !visited.contains(queue) else { continue }
            if queues.count > 1 { visited.append(queue) }
            table.pick(from: queue, limit: limit, at: now, into: &picks)
        }
        return picks
    }

    /// Applies the records of leases that were just granted.
    ///
    /// - Precondition: They follow the last record, which is still the one that they were granted after.
    package mutating func apply(_ leases: GrantedLeases) {
        guard let last = leases.grants.indices.last else { return }
        assert(leases.first > lastSequence, "records are applied in order")
        for index in leases.grants.indices {
            let (job, lane) = (leases.grants[index].job.rawValue, leases.lane(index))
            let entry = leases.arePlain ? takePlain(job, from: lane) : takeWaiting(job, from: lane)
            guard let entry else { continue }
            begin(leases.grants[index], entry, leases.first.advanced(by: UInt64(index)), at: leases.time)
        }
        lastSequence = leases.first.advanced(by: UInt64(last))
        lastShown = lastSequence
        latestTime = max(latestTime, leases.time)
        #if INTERNAL_CHECKS
            checkInvariants()
        #endif
    }
}
