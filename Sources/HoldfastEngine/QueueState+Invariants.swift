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
        for cursor in cursors.values {
            let isShownAll = cursor.next > lastShown
            precondition(!isShownAll || cursor.next == lastSequence.next, "a cursor at the end stays there")
        }
        if let first = expiries.first { precondition(isLive(first), "the next expiry is live") }
        if let first = runs.first { precondition(isLive(first), "the next run is live") }
        checkRotations()
    }

    private func checkRotations() {
        for queue in table.queueSlots.values {
            for level in table.queues[queue].levels {
                let record = table.levels[level]
                precondition((record.rotation != nil) == (record.populatedGroups > 1), "groups take turns when several")
                guard let rotation = record.rotation else { continue }
                var waiting = 0
                for group in record.groups.values {
                    let head = table.groups[group].lanes.compactMap { table.lanes[$0].ready.first }.min() ?? 0
                    precondition(table.groups[group].head == head, "a group's head is its lowest ready job")
                    guard head != 0 else { continue }
                    waiting += 1
                    precondition(rotation.groupOfHead[head] == group, "a waiting group is in the rotation")
                    let heads = table.isServed(group) ? rotation.served : rotation.fresh
                    precondition(heads.contains(head), "a group is where its turn is")
                }
                precondition(rotation.fresh.count + rotation.served.count == waiting, "only waiting groups take turns")
                precondition(rotation.groupOfHead.count == waiting, "only waiting groups have heads")
            }
        }
    }
}
