// Whether a record may follow the state: the transition table, and the facts a record repeats. Decided records pass;
// one from a file or a peer that does not is corrupt, and is never applied.

internal import HoldfastBytes

extension QueueState {
    /// Checks that `record` may be applied next.
    ///
    /// - Throws: `.corrupt`, with the state unchanged.
    package func validate(_ record: Record) throws(EngineError) {
        guard record.sequence > lastSequence && record.sequence <= .max || Safeguard.replayedSequence.isOff else {
            throw illegal(record, "does not follow record \(lastSequence)")
        }
        guard record.time >= latestTime && record.time <= .max || Safeguard.replayedTime.isOff
        else { throw illegal(record, "has a time out of order") }
        switch record.mutation {
        case .enqueue(let enqueue): try validate(enqueue, record)
        case .lease(let grant): try validate(grant, record)
        case .heartbeat(let heartbeat):
            try requireLease(heartbeat.job, heartbeat.token, .heartbeat, record)
            let isInTime = mustEndBy[heartbeat.job.rawValue].map { heartbeat.deadline.milliseconds <= $0 } ?? true
            guard isInTime || Safeguard.replayedTimeLimit.isOff else {
                throw illegal(record, "lets an attempt take longer than it may")
            }
        case .ack(let ack):
            try requireLease(ack.job, ack.token, .ack, record)
            try validate(ack, record)
        case .requeue(let requeue): try validate(requeue, record)
        case .expire(let expire): try validate(expire, record)
        case .bury(let bury): try requireLease(bury.job, bury.token, .bury, record)
        case .redrive(let redrive):
            let entry = try require(redrive.job, allowing: .redrive, record)
            if let key = keysOfJobs[redrive.job.rawValue] {
                let unique = UniqueKey(queue: table.lanes[entry.lane].queue, key: key)
                let holder = uniqueKeys[unique]
                let isFree = holder == nil || holder?.job == redrive.job.rawValue
                guard isFree || Safeguard.replayedRedrive.isOff else {
                    throw illegal(record, "redrives job \(redrive.job), whose unique key another job holds")
                }
            }
        case .cancel(let cancel):
            if entries[cancel.job.rawValue] != nil {
                let entry = try require(cancel.job, allowing: .cancel, record)
                guard table.matches(entry.lane, cancel.lane) || Safeguard.replayedLane.isOff else {
                    throw illegal(record, "names another lane")
                }
            } else if !isPlainReady(cancel.job, lane: cancel.lane), Safeguard.replayedCancel.isOn {
                throw illegal(record, "cancels job \(cancel.job), which is not in the state")
            }
        case .edit(let edit): try validate(edit, record)
        case .release(let release): try validate(release, record)
        case .effect(let effect): try validate(effect, record)
        case .effectRemove(let remove):
            guard effects[EffectKey(remove.scope, remove.key)] != nil || Safeguard.replayedEffect.isOff else {
                throw illegal(record, "removes an effect that is not recorded")
            }
        case .queueSettings(let settings):
            guard !settings.queue.isEmpty || Safeguard.replayedSettings.isOff else {
                throw illegal(record, "names no queue")
            }
            guard settings.applied(to: terms(of: settings.queue)).isValid || Safeguard.replayedSettings.isOff else {
                throw illegal(record, "gives a queue impossible settings")
            }
        case .clock: break
        case .cursorSet(let set):
            guard isLegal(set, at: record.sequence) || Safeguard.replayedCursor.isOff else {
                throw illegal(record, "puts a cursor where none can stand")
            }
        case .cursorRemove(let remove):
            guard cursors[Name(remove.name)] != nil || Safeguard.replayedCursor.isOff else {
                throw illegal(record, "removes cursor \(remove.name), which is not in the state")
            }
        case .storeSettings(let settings):
            let isLegal = settings != StoreSettings() && settings.applied(to: storeCapacity).isValid
            guard isLegal || Safeguard.replayedSettings.isOff else {
                throw illegal(record, "gives the store an impossible capacity")
            }
        }
    }

    private func validate(_ enqueue: Enqueue, _ record: Record) throws(EngineError) {
        let lane = enqueue.lane
        guard !lane.queue.isEmpty || Safeguard.replayedEnqueue.isOff else { throw illegal(record, "names no queue") }
        guard (1...RecordLimits.maxAttemptsMax).contains(lane.maxAttempts) || Safeguard.replayedEnqueue.isOff else {
            throw illegal(record, "allows \(lane.maxAttempts) attempts")
        }
        guard enqueue.terms.map({ $0.isValid && !$0.isEmpty }) ?? true || Safeguard.replayedEnqueue.isOff else {
            throw illegal(record, "gives a job impossible terms")
        }
        guard enqueue.labels.isValid || Safeguard.replayedEnqueue.isOff else {
            throw illegal(record, "gives a job impossible labels")
        }
        let isWeightLegal =
            lane.weight == 1 || !lane.group.isEmpty && (1...RecordLimits.weightMax).contains(lane.weight)
        guard isWeightLegal || Safeguard.replayedEnqueue.isOff else {
            throw illegal(record, "has an impossible weight")
        }
        if let dependencies = enqueue.dependencies { try validate(dependencies, record) }
        if let key = enqueue.uniqueKey, let queue = table.queue(lane.queue) {
            let isFree = uniqueKeys[UniqueKey(queue: queue, key: Name(key))] == nil
            guard isFree || Safeguard.replayedUniqueKey.isOff else {
                throw illegal(record, "claims a unique key that another job holds")
            }
        }
    }

    private func validate(_ grant: LeaseGrant, _ record: Record) throws(EngineError) {
        let job = grant.job.rawValue
        guard let entry = entries[job] else {
            let isReady = grant.attempt == 1 && isPlainReady(grant.job, lane: grant.lane)
            guard isReady || Safeguard.replayedFirstLease.isOff else {
                throw illegal(record, "leases job \(grant.job), which is not ready")
            }
            return
        }
        guard entry.state(at: record.time).allows(.lease) || Safeguard.replayedLease.isOff else {
            throw illegal(record, "leases job \(grant.job), which is not ready")
        }
        guard table.matches(entry.lane, grant.lane) || Safeguard.replayedLane.isOff else {
            throw illegal(record, "names another lane")
        }
        let isNext = grant.attempt == entry.attempt + 1 && grant.attempt <= grant.lane.maxAttempts
        guard isNext || Safeguard.replayedAttempt.isOff else {
            throw illegal(record, "begins attempt \(grant.attempt) after \(entry.attempt)")
        }
        let isInTime = latestEnd(of: job, entry, from: record.time).map { grant.deadline <= $0 } ?? true
        guard isInTime || Safeguard.replayedTimeLimit.isOff else {
            throw illegal(record, "lets an attempt take longer than it may")
        }
    }

    private func validate(_ requeue: Requeue, _ record: Record) throws(EngineError) {
        let entry = try requireLease(requeue.job, requeue.token, .requeue, record)
        let isEnd =
            requeue.countsAttempt && deathByFailure(requeue.job.rawValue, entry, requeue.errorClass) != nil
        guard isEnd == (requeue.outcome == .dead) || Safeguard.replayedRequeue.isOff else {
            throw illegal(record, "ends attempt \(entry.attempt) of job \(requeue.job) in a state it can't lead to")
        }
    }

    private func validate(_ expire: Expire, _ record: Record) throws(EngineError) {
        switch expire {
        case .lease(let job, let token, let isDead):
            let entry = try requireLease(job, token, .expireLease, record)
            let isRight = isDead == (deathByCrash(job.rawValue, entry) != nil) && !endsByTimeLimit(job.rawValue, entry)
            guard isRight || Safeguard.replayedExpiry.isOff else {
                throw illegal(record, "ends attempt \(entry.attempt) of job \(job) in a state it can't lead to")
            }
        case .timeLimit(let job, let token, let isDead):
            let entry = try requireLease(job, token, .expireLease, record)
            let isRight = isDead == hasUsedUpAttempts(entry) && endsByTimeLimit(job.rawValue, entry)
            guard isRight || Safeguard.replayedTimeLimit.isOff else {
                throw illegal(record, "ends attempt \(entry.attempt) of job \(job) by a time limit it does not have")
            }
        case .startBy(let job):
            let entry = try require(job, allowing: .expireStart, record)
            guard entry.flags.contains(.hasStartBy) || Safeguard.replayedStartBy.isOff else {
                throw illegal(record, "says that job \(job), which may start at any time, is too late")
            }
        case .uniqueKey(let queue, let key, let job):
            let holder = table.queue(queue).flatMap { uniqueKeys[UniqueKey(queue: $0, key: Name(key))] }
            guard holder?.job == job.rawValue && holder?.until != nil || Safeguard.replayedKeyRelease.isOff else {
                throw illegal(record, "frees a unique key that job \(job) does not hold for a time")
            }
        case .effect(let scope, let key):
            let window = effects[EffectKey(scope, key)].flatMap { effectWindows[$0] }
            guard window != nil || Safeguard.replayedEffect.isOff else {
                throw illegal(record, "ends an effect that is not kept for a time")
            }
        case .deadLetter(let job): try validate(deadLetter: job, record)
        case .result(let job): try validate(resultOf: job, record)
        case .dependency(let job, let failed): try validate(job, failed, record)
        }
    }

    private func validate(_ effect: Effect, _ record: Record) throws(EngineError) {
        guard effects[EffectKey(effect.scope, effect.key)] == nil || Safeguard.replayedEffect.isOff else {
            throw illegal(record, "records an effect a second time")
        }
        if let fence = effect.fence, leasedEntry(fence.job, fence.token) == nil, Safeguard.replayedFence.isOn {
            throw illegal(record, "records an effect under a lease that is not active")
        }
    }

    /// The entry of a job whose active lease is `token`.
    func leasedEntry(_ job: JobID, _ token: LeaseToken) -> JobEntry? {
        guard let entry = entries[job.rawValue], entry.phase == .leased,
            entry.token == token.rawValue || Safeguard.leaseToken.isOff
        else { return nil }
        return entry
    }

    @discardableResult
    private func requireLease(
        _ job: JobID, _ token: LeaseToken, _ event: JobEvent, _ record: Record
    ) throws(EngineError) -> JobEntry {
        guard let entry = leasedEntry(job, token), entry.state(at: record.time).allows(event) else {
            throw illegal(record, "settles or extends a lease on job \(job) that is not active")
        }
        return entry
    }

    func require(
        _ job: JobID, allowing event: JobEvent, _ record: Record
    ) throws(EngineError) -> JobEntry {
        guard let entry = entries[job.rawValue] else {
            throw illegal(record, "concerns job \(job), of which the state has no entry")
        }
        let state = entry.state(at: record.time)
        guard state.allows(event) || Safeguard.replayedTransition.isOff else {
            throw illegal(record, "is a \(event) of job \(job), which is \(state)")
        }
        return entry
    }

    func illegal(_ record: Record, _ what: String) -> EngineError {
        EngineError(.corrupt, "record \(record.sequence) \(what); the log holds records that no store wrote")
    }
}
