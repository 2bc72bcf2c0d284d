// What must hold between any two records. Checked by tests, and after every record under the trait InternalChecks.

internal import HoldfastBytes

extension QueueState {
    /// Traps when an invariant does not hold.
    ///
    /// - Complexity: O(state).
    package func checkInvariants() {
        precondition(entries.count == entryIDs.count, "every entry is listed")
        var populations: [Slot<LaneRecord>: Int] = [:]
        var figures: [Slot<QueueRecord>: QueueCounts] = [:]
        for (id, entry) in entries {
            precondition(entryIDs.contains(id), "an entry is listed")
            precondition(needed.contains(id), "an unfinished job's record is needed")
            precondition(entry.lastError == 0 || needed.contains(entry.lastError), "an error's record is needed")
            precondition(entry.progress == 0 || needed.contains(entry.progress), "a progress's record is needed")
            precondition(table.lanes[entry.lane].ready.contains(id) == entry.isInLane, "a bitmap shows its lane")
            precondition((keysOfJobs[id] != nil) == entry.flags.contains(.hasUniqueKey), "a key is remembered")
            precondition((termsOfJobs[id] != nil) == entry.flags.contains(.hasTerms), "terms are remembered")
            precondition((entry.crashes > 0) == entry.flags.contains(.hasCrashed), "crashes show")
            precondition(entry.crashes <= entry.attempt, "a crash is an attempt")
            let isLimited = entry.phase == .leased && termsOfJobs[id]?.timeLimit != nil
            precondition((mustEndBy[id] != nil) == isLimited, "an attempt with a limit has an end")
            precondition(mustEndBy[id].map { entry.deadline <= $0 } ?? true, "no lease goes beyond that end")
            precondition(
                !entry.flags.contains(.keyIsFreedByLease) || entry.phase != .leased, "a lease has freed such a key")
            let queue = table.lanes[entry.lane].queue
            switch entry.phase {
            case .waiting: if !entry.isInLane { figures[queue, default: QueueCounts()].scheduled += 1 }
            case .leased: figures[queue, default: QueueCounts()].leased += 1
            case .dead:
                figures[queue, default: QueueCounts()].dead += 1
                precondition(table.queues[queue].dead.contains(id), "a dead job is listed")
            }
            if !entry.isInLane { populations[entry.lane, default: 0] += 1 }
        }
        checkSideTables()
        checkDependencies()
        checkLabels()
        checkCapacity()
        for lane in table.lanes.slots {
            let record = table.lanes[lane]
            precondition(record.population == record.ready.count + (populations[lane] ?? 0), "a lane counts its jobs")
            figures[record.queue, default: QueueCounts()].ready += record.ready.count
        }
        for slot in table.queueSlots.values {
            let queue = table.queues[slot]
            let counts = QueueCounts(
                ready: queue.ready, scheduled: queue.scheduled, leased: queue.leased, dead: queue.dead.count)
            precondition(counts == figures[slot] ?? QueueCounts(), "a queue's figures are those of its jobs")
        }
        for (slot, record) in table.queueSlots.values.map({ ($0, table.queues[$0]) }) {
            let sharing = record.terms.sharing
            precondition((record.bucket != nil) == (sharing.rate != nil), "a rate has its bucket")
            precondition(table.ratedQueues.contains(slot) == (sharing.rate != nil), "queues with a rate are listed")
            precondition((record.groupBuckets != nil) == (sharing.groupRate != nil), "a groups' rate has its buckets")
            precondition((record.times != nil) == (record.terms.ageing != nil), "a queue that ages knows times")
            let isSharing = sharing.limiter.map { table.sharers[Name($0.name)]?.contains(slot) ?? false } ?? true
            precondition(isSharing, "queues that share slots are listed")
            precondition(record.hasLimits == (sharing.rate != nil || sharing.limiter != nil), "limits are known")
        }
        let shared = table.queueSlots.values.count { table.queues[$0].terms.sharing.limiter != nil }
        precondition(table.sharers.values.reduce(0) { $0 + $1.count } == shared, "a queue shares slots once")
        let capped = table.queueSlots.values.count { table.queues[$0].terms.capacity != nil }
        precondition(table.cappedQueues == capped, "capacities are counted")
        for (job, key) in windows { precondition(uniqueKeys[key]?.job == job, "a window has its holder") }
        for (key, holder) in uniqueKeys {
            precondition((holder.until != nil) == (windows[holder.job] == key), "a window is listed")
            precondition(holder.until != nil || entries[holder.job] != nil, "a key's holder is in the state")
        }
        for (job, content) in edited {
            precondition(entries[job] != nil, "a job that was changed has an entry")
            precondition(!content.sequences.isEmpty, "only what was changed is remembered")
            precondition(content.sequences.allSatisfy(needed.contains), "a change's record is needed")
        }
        for sequence in effects.values { precondition(needed.contains(sequence), "an effect's record is needed") }
        for (sequence, window) in effectWindows {
            precondition(effects[window.key] == sequence, "what is kept for a time is an effect")
        }
        checkRetention()
        for cursor in cursors.values {
            let isShownAll = cursor.next > lastShown
            precondition(!isShownAll || cursor.next == lastSequence.next, "a cursor at the end stays there")
        }
        if let first = expiries.first { precondition(isLive(first), "the next expiry is live") }
        if let first = runs.first { precondition(isLive(first), "the next run is live") }
        checkRotations()
        checkTallies()
    }

    /// What is kept of a job beside its entry goes with that.
    private func checkSideTables() {
        let tables: [(what: String, jobs: [UInt64])] = [
            ("terms", Array(termsOfJobs.keys)), ("latest end", Array(mustEndBy.keys)), ("key", Array(keysOfJobs.keys)),
            ("worker", Array(workers.keys)), ("changes", Array(edited.keys)),
        ]
        for (what, jobs) in tables {
            precondition(jobs.allSatisfy { entries[$0] != nil }, "the \(what) of a job goes with its entry")
        }
    }

    private func checkRotations() {
        for queue in table.queueSlots.values {
            for level in table.queues[queue].levels {
                let record = table.levels[level]
                precondition((record.rotation != nil) == (record.populatedGroups > 1), "groups take turns when several")
                guard let rotation = record.rotation else { continue }
                var (waiting, fresh) = (0, 0)
                for group in record.groups.values {
                    let lowest = table.groups[group].lanes.compactMap { table.lanes[$0].ready.first }.min() ?? 0
                    let head = table.groups[group].isHeld ? 0 : lowest
                    precondition(table.groups[group].head == head, "a group's head is its lowest ready job")
                    guard head != 0 else { continue }
                    waiting += 1
                    precondition(rotation.groupOfHead[head] == group, "a waiting group is in the rotation")
                    if !table.isServed(group) {
                        fresh += 1
                        precondition(rotation.fresh.contains(head), "a group is where its turn is")
                    }
                }
                precondition(rotation.fresh.count == fresh, "only waiting groups take turns")
                checkServed(rotation, in: record, waiting: waiting - fresh)
                precondition(rotation.groupOfHead.count == waiting, "only waiting groups have heads")
            }
        }
    }
}

extension QueueState {
    /// Goes through the groups that were served, in the order in which they come again.
    private func checkServed(_ rotation: GroupRotation, in level: LevelRecord, waiting: Int) {
        var place = (head: UInt64(0), round: UInt64(0))
        var count = 0
        while let next = rotation.servedHead(after: place.head, in: place.round) {
            precondition(next.round > place.round || next.head > place.head, "served groups are in order")
            precondition(next.round > rotation.round, "who was served comes again later")
            let due = rotation.groupOfHead[next.head].map { table.groups[$0].due }
            precondition(due == next.round, "a group that was served is where its next turn is")
            place = next
            count += 1
        }
        precondition(count == waiting, "who was served and has something waiting comes again")
        let dues = level.groups.values.map { table.groups[$0].due }.filter { $0 > rotation.round }
        precondition(rotation.soonestRound == dues.min(), "the soonest turn is known")
    }

    private func checkTallies() {
        var leased: [Slot<GroupTally>: Int] = [:]
        var waiting: [Slot<GroupTally>: Int] = [:]
        for (id, entry) in entries {
            let tally = table.groups[table.lanes[entry.lane].group].tally
            guard tally != .none else { continue }
            if entry.phase == .leased { leased[tally, default: 0] += 1 }
            if entry.phase == .waiting, !entry.isInLane {
                let isStrict = table.queues[table.tallies[tally].queue].terms.sharing.order == .strict
                precondition(table.tallies[tally].waiting.contains(id) == isStrict, "strict order knows who waits")
                if isStrict { waiting[tally, default: 0] += 1 }
            }
        }
        for queue in table.queueSlots.values {
            precondition(table.hasTalliesAsNeeded(queue), "groups are counted where that is asked for")
            var held = 0
            for (name, slot) in table.queues[queue].tallies ?? [:] {
                let tally = table.tallies[slot]
                precondition(tally.name == name && tally.queue == queue, "a tally is that of its group")
                precondition(tally.leased == leased[slot] ?? 0, "a group's leases are those that there are")
                precondition(
                    tally.waiting.count == waiting[slot] ?? 0, "a group's waiting jobs are those that there are")
                held += checkPlaces(of: slot)
            }
            precondition(table.queues[queue].held == held, "a queue's held jobs are those of its groups")
            for level in table.queues[queue].levels {
                for group in table.levels[level].groups.values {
                    let isCounted = table.queues[queue].tallies != nil && !table.groups[group].name.isEmpty
                    precondition((table.groups[group].tally != .none) == isCounted, "a group with a name is counted")
                    precondition(isCounted || !table.groups[group].isHeld, "only groups that are counted are held")
                }
            }
        }
    }

    /// Returns how many of the tally's jobs are held.
    private func checkPlaces(of slot: Slot<GroupTally>) -> Int {
        let tally = table.tallies[slot]
        let sharing = table.queues[tally.queue].terms.sharing
        let ready = tally.places.reduce(0) {
            $0 + table.groups[$1].lanes.reduce(0) { $0 + table.lanes[$1].ready.count }
        }
        let heads = tally.places.map { place in
            table.groups[place].lanes.compactMap { table.lanes[$0].ready.first }.min() ?? .max
        }
        let lowest = heads.min() ?? .max
        let allowance = table.allowance(of: tally, sharing, lowest: lowest == .max ? nil : lowest)
        // Beyond what is ready it may be out of date: tokens that nobody waits for are not counted.
        precondition(min(tally.allowance, ready) == min(allowance, ready), "a group's allowance is up to date")
        precondition(tally.held == max(0, ready - allowance), "what a group may not run is held")
        for (place, head) in zip(tally.places, heads) where head != .max {
            let isNext = allowance > 0 && (sharing.order == .free || head == lowest)
            precondition(table.groups[place].isHeld != isNext, "a group is held where none of its jobs may run")
            precondition(table.groups[place].tally == slot, "a place leads to its tally")
        }
        return tally.held
    }
}
