// How records change the state. Total: a record that `validate` would refuse is ignored as far as it makes no sense,
// and never traps. Reads neither clock nor chance, so that a replay gives the same state.
//
// Order within a transition: the ready bitmap first, then the entry, then the population of the lane, because a lane
// whose last job ends may be forgotten with its group.

internal import HoldfastBytes

extension QueueState {
    /// Applies a record that `validate` accepts.
    package mutating func apply(_ record: Record) {
        assert(record.sequence > lastSequence, "records are applied in order")
        // Most records are of these kinds. A switch over all kinds copies the record, one over few does not.
        switch record.mutation {
        case .enqueue(let enqueue): apply(enqueue, record)
        case .lease(let grant): apply(grant, record)
        case .ack(let ack): apply(ack, record)
        default: applyRest(record)
        }
        if !record.mutation.isAboutCursor { lastShown = record.sequence }
        lastSequence = record.sequence
        latestTime = max(latestTime, record.time)
        #if INTERNAL_CHECKS
            checkInvariants()
        #endif
    }

    private mutating func applyRest(_ record: Record) {
        switch record.mutation {
        case .enqueue, .lease, .ack: preconditionFailure("applied before")
        case .heartbeat(let heartbeat): apply(heartbeat, record)
        case .requeue(let requeue): apply(requeue, record)
        case .expire(let expire): apply(expire, record)
        case .bury(let bury):
            if leasedEntry(bury.job, bury.token) != nil {
                let reason: DeadReason = bury.reason == .unreadable ? .unreadable : .buried
                kill(bury.job.rawValue, reason, record, setsError: bury.error != nil)
            }
        case .redrive(let redrive): apply(redrive, record)
        case .cancel(let cancel): apply(cancel, record)
        case .release(let release): apply(release, record)
        case .edit(let edit): apply(edit, record)
        case .effect(let effect):
            let key = EffectKey(effect.scope, effect.key)
            guard effects[key] == nil else { break }
            effects[key] = record.sequence.rawValue
            needed.insert(record.sequence.rawValue)
            if let until = effect.until {
                let window = EffectWindow(key: key, until: until.milliseconds)
                effectWindows[record.sequence.rawValue] = window
                pushExpiry(window.until, record.sequence.rawValue, .effect)
            }
        case .effectRemove(let remove): forgetEffect(EffectKey(remove.scope, remove.key))
        case .queueSettings(let settings):
            apply(settings, record)
        case .clock: break
        case .cursorSet(let set): apply(set, at: record.sequence)
        case .cursorRemove(let remove): apply(remove, at: record.sequence)
        case .storeSettings(let settings): apply(settings)
        }
    }

    // MARK: - One method per kind

    private mutating func apply(_ enqueue: Enqueue, _ record: Record) {
        let id = record.sequence.rawValue
        let lane = table.intern(enqueue.lane)
        add(id...id, to: lane, at: record.time)
        countInStore(id, bytes: enqueue.payload.count)
        let isDelayed = enqueue.runAt.map { $0 > record.time } ?? false
        if enqueue.isWithoutExtras, !isDelayed { return table.insertReady(id, in: lane) }
        let dependencies = enqueue.dependencies
        if let blocked = dependencies?.before { addDependency(JobID(id), of: blocked) }
        labels.insert(enqueue.labels, of: id)
        let isPlain =
            !isDelayed && enqueue.uniqueKey == nil && enqueue.startBy == nil && enqueue.terms == nil
            && !(dependencies?.concernsItself ?? false)
        guard !isPlain else {
            table.insertReady(id, in: lane)
            return
        }
        var entry = JobEntry(lane: lane)
        if let runAt = enqueue.runAt, isDelayed { entry.runAt = runAt.milliseconds }
        if let startBy = enqueue.startBy {
            entry.flags.insert(.hasStartBy)
            entry.deadline = startBy.milliseconds
        }
        if let terms = enqueue.terms {
            entry.flags.insert(.hasTerms)
            termsOfJobs[id] = terms
        }
        if let key = enqueue.uniqueKey {
            entry.flags.insert(.hasUniqueKey)
            keysOfJobs[id] = Name(key)
            if enqueue.uniqueUntil != nil { entry.flags.insert(.keyIsWindowed) }
            if enqueue.isKeyFreedByLease { entry.flags.insert(.keyIsFreedByLease) }
            claim(UniqueKey(queue: table.lanes[lane].queue, key: Name(key)), id, enqueue.uniqueUntil, record.time)
        }
        if let dependencies, remember(dependencies, of: id) { entry.flags.insert(.isBlocked) }
        entries[id] = entry
        entryIDs.insert(id)
        wait(id, entry)
        if entry.flags.contains(.hasStartBy) { pushExpiry(entry.deadline, id, .startBy) }
    }

    /// Holds `key` for `job`: for as long as the job lives, or until an instant.
    private mutating func claim(_ key: UniqueKey, _ job: UInt64, _ until: Timestamp?, _ now: Timestamp) {
        if let until, until <= now { return }
        uniqueKeys[key] = UniqueHolder(job: job, until: until?.milliseconds)
        guard let until else { return }
        windows[job] = key
        pushExpiry(until.milliseconds, job, .uniqueKey)
    }

    /// Puts a waiting job where it waits.
    mutating func wait(_ job: UInt64, _ entry: JobEntry) {
        if entry.isInLane {
            table.insertReady(job, in: entry.lane)
        } else {
            table.addScheduled(job, in: entry.lane)
            // Its time counts once it waits for nothing else.
            if !entry.isBlocked { pushRun(entry.runAt, job) }
        }
    }

    /// Takes a waiting job from where it waits.
    mutating func unwait(_ job: UInt64, _ entry: JobEntry) {
        if entry.isInLane {
            table.removeReady(job, from: entry.lane)
        } else {
            table.removeScheduled(job, in: entry.lane)
        }
    }

    /// Takes a waiting job from where it waits, whether or not it has an entry, and returns its entry, which the caller
    /// puts back; `nil` for one that does not wait.
    mutating func takeWaiting(_ job: UInt64, in lane: Lane) -> JobEntry? {
        if let known = entries[job] { return takeWaiting(job, known) }
        return table.find(lane).flatMap { takePlain(job, from: $0) }
    }

    /// The same of a job whose lane was found before.
    mutating func takeWaiting(_ job: UInt64, from lane: Slot<LaneRecord>) -> JobEntry? {
        if let known = entries[job] { return takeWaiting(job, known) }
        return takePlain(job, from: lane)
    }

    private mutating func takeWaiting(_ job: UInt64, _ known: JobEntry) -> JobEntry? {
        guard known.phase == .waiting else { return nil }
        unwait(job, known)
        return known
    }

    /// The same of a job without an entry.
    mutating func takePlain(_ job: UInt64, from lane: Slot<LaneRecord>) -> JobEntry? {
        guard table.removeReady(job, from: lane) else { return nil }
        entryIDs.insert(job)
        return JobEntry(lane: lane)
    }

    private mutating func apply(_ grant: LeaseGrant, _ record: Record) {
        guard let entry = takeWaiting(grant.job.rawValue, in: grant.lane) else { return }
        begin(grant, entry, record.sequence, at: record.time)
    }

    /// Begins the lease of a job that was taken from where it waited, with what was its entry.
    mutating func begin(_ grant: LeaseGrant, _ taken: JobEntry, _ token: SequenceNumber, at time: Timestamp) {
        let job = grant.job.rawValue
        var entry = taken
        if entry.flags.contains(.keyIsFreedByLease) {
            releaseKey(of: job, entry)
            keysOfJobs[job] = nil
            entry.flags.subtract([.hasUniqueKey, .keyIsFreedByLease])
        }
        let hadDeadline = entry.runAt != 0 || entry.flags.contains(.hasStartBy)
        entry.phase = .leased
        entry.flags.subtract([.hasStartBy, .isPromoted])
        entry.runAt = 0
        entry.attempt = grant.attempt
        entry.token = token.rawValue
        entry.deadline = grant.deadline.milliseconds
        entries[job] = entry
        if !grant.worker.isEmpty { workers[job] = grant.worker }
        if let end = latestEnd(of: job, entry, from: time) { mustEndBy[job] = end.milliseconds }
        table.takeGroupToken(in: entry.lane, at: time)
        table.beginLease(in: entry.lane)
        table.takeToken(of: table.lanes[entry.lane].queue, at: time)
        table.serve(job, of: entry.lane, at: token.rawValue)
        pushExpiry(entry.deadline, job, .lease)
        if hadDeadline { deadlinesChanged(of: job) }
    }

    private mutating func apply(_ ack: Ack, _ record: Record) {
        guard let entry = leasedEntry(ack.job, ack.token) else { return }
        completedCount += 1
        if let until = ack.until { keepResult(of: ack.job.rawValue, entry, until: until, at: record.sequence) }
        finish(ack.job.rawValue, as: .done, at: record.time)
    }

    private mutating func apply(_ heartbeat: Heartbeat, _ record: Record) {
        let job = heartbeat.job.rawValue
        guard let entry = leasedEntry(heartbeat.job, heartbeat.token) else { return }
        if heartbeat.progress != nil {
            if entry.progress != 0 { needed.remove(entry.progress) }
            needed.insert(record.sequence.rawValue)
            entries[job]?.progress = record.sequence.rawValue
        }
        let deadline = heartbeat.deadline.milliseconds
        guard deadline != entry.deadline else { return }
        entries[job]?.deadline = deadline
        pushExpiry(deadline, job, .lease)
        deadlinesChanged(of: job)
    }

    private mutating func apply(_ requeue: Requeue, _ record: Record) {
        let job = requeue.job.rawValue
        guard leasedEntry(requeue.job, requeue.token) != nil else { return }
        let setsError = requeue.error != nil
        switch requeue.outcome {
        case .ready: release(job, nil, record, countsAttempt: requeue.countsAttempt, setsError: setsError)
        case .scheduled(let runAt):
            release(job, runAt, record, countsAttempt: requeue.countsAttempt, setsError: setsError)
        case .dead:
            let reason = entries[job].flatMap { deathByFailure(job, $0, requeue.errorClass) }
            kill(job, reason ?? .attemptsUsedUp, record, setsError: setsError)
        }
    }

    private mutating func apply(_ expire: Expire, _ record: Record) {
        switch expire {
        case .lease(let job, let token, let isDead):
            guard var entry = leasedEntry(job, token) else { return }
            let reason = deathByCrash(job.rawValue, entry)
            entry.crashes += 1
            entry.flags.insert(.hasCrashed)
            entries[job.rawValue] = entry
            end(job.rawValue, isDead ? reason ?? .attemptsUsedUp : nil, record)
        case .timeLimit(let job, let token, let isDead):
            guard leasedEntry(job, token) != nil else { return }
            end(job.rawValue, isDead ? .attemptsUsedUp : nil, record)
        case .startBy(let job):
            guard entries[job.rawValue]?.phase == .waiting else { return }
            kill(job.rawValue, .startByPassed, record, setsError: true)
        case .uniqueKey(let queue, let key, let job):
            guard let slot = table.queue(queue) else { return }
            let unique = UniqueKey(queue: slot, key: Name(key))
            guard uniqueKeys[unique]?.job == job.rawValue, windows[job.rawValue] == unique else { return }
            uniqueKeys[unique] = nil
            windows[job.rawValue] = nil
            deadlinesChanged(of: job.rawValue)
        case .effect(let scope, let key): forgetEffect(EffectKey(scope, key))
        case .deadLetter(let job):
            guard entries[job.rawValue]?.phase == .dead else { return }
            finish(job.rawValue, as: .cancelled, at: record.time)
        case .result(let job): forgetResult(of: job.rawValue)
        case .dependency(let job, _):
            guard waits.doomed.contains(job.rawValue) else { return }
            kill(job.rawValue, .dependency, record, setsError: true)
        }
    }

    mutating func forgetEffect(_ key: EffectKey) {
        guard let sequence = effects.removeValue(forKey: key) else { return }
        needed.remove(sequence)
        guard effectWindows.removeValue(forKey: sequence) != nil else { return }
        deadlinesChanged(of: sequence)
    }

    /// Ends an attempt at its deadline.
    private mutating func end(_ job: UInt64, _ reason: DeadReason?, _ record: Record) {
        if let reason {
            kill(job, reason, record, setsError: true)
        } else {
            release(job, nil, record, countsAttempt: true, setsError: true)
        }
    }

    private mutating func apply(_ settings: QueueSettings, _ record: Record) {
        let slot = table.internQueue(settings.queue)
        let sharing = table.queues[slot].terms.sharing
        table.setTerms(settings.applied(to: table.queues[slot].terms), of: slot)
        let now = table.queues[slot].terms.sharing
        if now.countsGroups || sharing.countsGroups, now != sharing { rebuildTallies(of: slot) }
        retentionChanged(of: slot)
        // Jobs that wait already age from here on.
        if table.queues[slot].times?.tiers.isEmpty ?? false {
            table.noteTime(record.sequence.rawValue, in: slot, at: record.time)
        }
    }

    /// Counts what the groups of a queue do after it said something else of them.
    ///
    /// - Complexity: O(entries), once for each change.
    private mutating func rebuildTallies(of queue: Slot<QueueRecord>) {
        table.resetTallies(of: queue)
        guard table.queues[queue].tallies != nil else { return }
        for (id, entry) in entries where table.lanes[entry.lane].queue == queue {
            if entry.phase == .leased || entry.phase == .waiting && !entry.isInLane {
                table.recount(id, isLeased: entry.phase == .leased, in: entry.lane)
            }
        }
    }

    private mutating func apply(_ redrive: Redrive, _ record: Record) {
        let job = redrive.job.rawValue
        guard var entry = entries[job], entry.phase == .dead else { return }
        entry.phase = .waiting
        entry.deadReason = 0
        entry.deadline = 0
        entry.attempt = 0
        entry.runAt = redrive.runAt.map { $0 > record.time ? $0.milliseconds : 0 } ?? 0
        entry.crashes = 0
        entry.flags.remove(.hasCrashed)
        if isBlocked(job) { entry.flags.insert(.isBlocked) }
        entries[job] = entry
        table.queues[table.lanes[entry.lane].queue].dead.remove(job)
        countInStore(job)
        if let key = keysOfJobs[job], !entry.flags.contains(.keyIsWindowed) {
            let unique = UniqueKey(queue: table.lanes[entry.lane].queue, key: key)
            if uniqueKeys[unique] == nil { uniqueKeys[unique] = UniqueHolder(job: job, until: nil) }
        }
        wait(job, entry)
        deadLettersChanged(in: table.lanes[entry.lane].queue)
    }

    private mutating func apply(_ cancel: Cancel, _ record: Record) {
        let job = cancel.job.rawValue
        if entries[job] != nil {
            finish(job, as: .cancelled, at: record.time)
        } else if let lane = table.find(cancel.lane), table.removeReady(job, from: lane) {
            forgetPlain(job, in: lane)
            tellDependents(of: job, .cancelled, at: record.time)
        }
    }

    /// Forgets a job without an entry that was just taken out of its lane.
    mutating func forgetPlain(_ job: UInt64, in lane: Slot<LaneRecord>) {
        needed.remove(job)
        table.removeJob(from: lane)
        uncountInStore(job)
        forgetSize(of: job)
        labels.remove(job)
    }

    // MARK: - What transitions share

    /// Ends a lease in favour of waiting.
    private mutating func release(
        _ job: UInt64, _ runAt: Timestamp?, _ record: Record, countsAttempt: Bool, setsError: Bool
    ) {
        guard var entry = entries[job] else { return }
        assert(entry.phase == .leased, "only a lease can be given back")
        leave(job, entry)
        entry.phase = .waiting
        entry.token = 0
        entry.deadline = 0
        if !countsAttempt && entry.attempt > 0 { entry.attempt -= 1 }
        entry.runAt = runAt.map { $0 > record.time ? $0.milliseconds : 0 } ?? 0
        if setsError { replaceError(&entry, record) }
        entries[job] = entry
        wait(job, entry)
        deadlinesChanged(of: job)
    }

    /// Moves a waiting or leased job to the dead letters.
    private mutating func kill(_ job: UInt64, _ reason: DeadReason, _ record: Record, setsError: Bool) {
        guard var entry = entries[job], entry.phase != .dead else { return }
        leave(job, entry)
        uncountInStore(job)
        releaseKey(of: job, entry)
        entry.phase = .dead
        if entry.isBlocked { spare(job) }
        entry.flags.subtract([.hasStartBy, .isPromoted, .isBlocked])
        entry.runAt = 0
        entry.token = 0
        entry.deadReason = reason.rawValue
        entry.deadline = record.time.milliseconds
        if setsError { replaceError(&entry, record) }
        entries[job] = entry
        table.queues[table.lanes[entry.lane].queue].dead.insert(job)
        deadlinesChanged(of: job)
        deadLetterCame(job, in: table.lanes[entry.lane].queue, at: record.time)
        tellDependents(of: job, .dead, at: record.time)
    }

    /// Forgets a job that has an entry.
    mutating func finish(_ job: UInt64, as end: DependencyEnd, at now: Timestamp) {
        guard let entry = entries.removeValue(forKey: job) else { return }
        forget(job, entry, as: end, at: now)
        deadlinesChanged(of: job)
    }

    /// Forgets a job whose entry was removed. The tops of the heaps may not be live then.
    mutating func forget(_ job: UInt64, _ entry: JobEntry, as end: DependencyEnd, at now: Timestamp) {
        leave(job, entry)
        releaseKey(of: job, entry)
        if entry.flags.contains(.hasUniqueKey) { keysOfJobs[job] = nil }
        if entry.flags.contains(.hasTerms) { termsOfJobs[job] = nil }
        if entry.lastError != 0 { needed.remove(entry.lastError) }
        if entry.progress != 0 { needed.remove(entry.progress) }
        needed.remove(job)
        forgetContent(of: job)
        if entry.phase != .dead { uncountInStore(job) }
        forgetSize(of: job)
        labels.remove(job)
        entryIDs.remove(job)
        let queue = table.lanes[entry.lane].queue
        table.removeJob(from: entry.lane)
        if entry.phase == .dead { deadLettersChanged(in: queue) }
        forgetDependencies(of: job)
        tellDependents(of: job, end, at: now)
    }

    /// Takes a job out of the figures and indexes of the phase it is in.
    private mutating func leave(_ job: UInt64, _ entry: JobEntry) {
        switch entry.phase {
        case .waiting: unwait(job, entry)
        case .leased:
            table.endLease(in: entry.lane)
            workers[job] = nil
            if entry.flags.contains(.hasTerms) { mustEndBy[job] = nil }
        case .dead: table.queues[table.lanes[entry.lane].queue].dead.remove(job)
        }
    }

    /// Frees the unique key that a job holds for as long as it lives.
    private mutating func releaseKey(of job: UInt64, _ entry: JobEntry) {
        guard entry.flags.contains(.hasUniqueKey), !entry.flags.contains(.keyIsWindowed), let key = keysOfJobs[job]
        else { return }
        let unique = UniqueKey(queue: table.lanes[entry.lane].queue, key: key)
        if uniqueKeys[unique]?.job == job { uniqueKeys[unique] = nil }
    }

    private mutating func replaceError(_ entry: inout JobEntry, _ record: Record) {
        if entry.lastError != 0 { needed.remove(entry.lastError) }
        entry.lastError = record.sequence.rawValue
        needed.insert(record.sequence.rawValue)
    }
}
