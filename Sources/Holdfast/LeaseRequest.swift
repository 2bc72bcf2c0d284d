// What a lease asks for, and how what was granted gets its payloads. Payloads are read after the commit, outside the
// lock. One that can't be read costs that job only: it is dead-lettered as `unreadable`, and the rest of the lease goes
// on. What would pass the limit on bytes is given back with its attempt; a crash before that only lets those leases
// expire. So is, for a minute and with the reason as its error, a job whose payload can't be decoded: a process with
// the key may lease it then; if no job is left, the lease is refused with that reason. What the lease itself was is not
// undone: a token of the queue's rate, a turn, a key that a lease frees.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// The parameters of a lease.
struct LeaseRequest: Sendable {
    let queues: [String]
    let limit: Int
    let milliseconds: Int64
    let worker: String

    init(queues: [String], limit: Int, duration: Duration, worker: String) throws(JobStoreError) {
        guard !queues.isEmpty else {
            throw JobStoreError(.badRequest, "`queue` names no queue; give one or more")
        }
        for queue in queues { try Limits.checkName(queue, "queue") }
        try Limits.checkCount(limit, "limit")
        try Limits.checkWorker(worker)
        self.queues = queues
        self.limit = limit
        self.milliseconds = try Limits.leaseMilliseconds(duration)
        self.worker = worker
    }

    /// Leases under the lock.
    ///
    /// - Returns: What reads the payloads later; `nil` when nothing could be leased.
    func lease(
        on core: StoreCore, at now: Timestamp
    ) throws(JobStoreError) -> (@Sendable () throws(JobStoreError) -> [Lease])? {
        let next = core.log.nextSequence
        let command = Command.lease(queues: queues, limit: limit, milliseconds: milliseconds, worker: worker)
        guard case .leased(let grants) = try core.perform(command, at: now) else {
            preconditionFailure("a lease is answered by grants")
        }
        if grants.isEmpty { return nil }
        let contents = grants.map { LeasedContent(core.state.status(of: $0.job)) }
        return { () throws(JobStoreError) -> [Lease] in
            try LeaseReader(core: core, grants: grants, firstToken: next, contents: contents).read()
        }
    }
}

/// What the state knows of a leased job that is not in its enqueue record.
private struct LeasedContent: Sendable {
    let lastError: SequenceNumber?
    let payload: SequenceNumber?
    let headers: SequenceNumber?
    let mustEndBy: Timestamp?

    init(_ status: JobStatus?) {
        lastError = status?.lastErrorSequence
        payload = status?.payloadSequence
        headers = status?.headersSequence
        mustEndBy = status?.mustEndBy
    }
}

/// Reads the payloads of granted leases.
private struct LeaseReader {
    let core: StoreCore
    let grants: [LeaseGrant]
    let firstToken: SequenceNumber
    let contents: [LeasedContent]

    /// How long a job waits whose payload can't be decoded, so that others have their turn.
    private static let undecodedMilliseconds: Int64 = 60_000

    func read() throws(JobStoreError) -> [Lease] {
        var leases: [Lease] = []
        leases.reserveCapacity(grants.count)
        var bytes = 0
        var undecoded: JobStoreError?
        for (index, grant) in grants.enumerated() {
            let enqueue: Enqueue
            let enqueuedAt: Timestamp
            switch lookUp(index) {
            case .found(let found, let time): (enqueue, enqueuedAt) = (found, time)
            case .failed(let error) where error.code != .corrupt && error.code != .unsupportedFormat: throw error
            case .failed(let error):
                bury(index, error.message)
                continue
            case .missing:
                bury(index, "a record of what it is about is not in the log")
                continue
            }
            let payload: [UInt8]
            do throws(JobStoreError) {
                payload = try PayloadEnvelope.open(enqueue.payload, with: core.options.payloadCodec)
            } catch {
                giveBack(index, after: Self.undecodedMilliseconds, error.message)
                undecoded = undecoded ?? error
                continue
            }
            bytes += payload.count
            if bytes > Limits.leasedBytesMax, !leases.isEmpty {
                giveBack(from: index)
                break
            }
            leases.append(
                Lease(
                    id: grant.job, token: token(index), attempt: Int(grant.attempt), queue: grant.lane.queue,
                    priority: Int(grant.lane.priority),
                    group: grant.lane.group.isEmpty ? nil : grant.lane.group, payload: payload,
                    headers: enqueue.headers.map { JobHeader(name: $0.name, value: $0.value) },
                    enqueuedAt: enqueuedAt, deadline: grant.deadline, mustEndBy: contents[index].mustEndBy,
                    lastError: lastError(index), labels: [String: String](enqueue.labels), owner: enqueue.labels.owner,
                    isSecret: enqueue.isSecret))
        }
        if leases.isEmpty, let undecoded { throw undecoded }
        return leases
    }

    /// Returns a job as it was enqueued, with what was changed since in its place.
    private func lookUp(_ index: Int) -> EnqueueLookup {
        let place = contents[index]
        let original = core.lookUp(grants[index].job)
        guard case .found(var enqueue, let time) = original, place.payload != nil || place.headers != nil else {
            return original
        }
        do throws(JobStoreError) {
            for sequence in [place.payload, place.headers].compactMap(\.self) {
                guard case .edit(let edit) = try core.record(sequence)?.mutation else { return .missing }
                if sequence == place.payload, let payload = edit.payload { enqueue.payload = payload }
                if sequence == place.headers, let headers = edit.headers { enqueue.headers = headers }
            }
        } catch { return .failed(error) }
        return .found(enqueue, at: time)
    }

    private func token(_ index: Int) -> LeaseToken { LeaseToken(firstToken.advanced(by: UInt64(index))) }

    private func lastError(_ index: Int) -> String? {
        // A record that is gone or damaged says nothing; the job runs all the same.
        guard let sequence = contents[index].lastError, let record = try? core.record(sequence) else { return nil }
        return record.mutation.failureText
    }

    private func bury(_ index: Int, _ error: String) {
        let job = grants[index].job
        let token = token(index)
        let burial = core.submit(
            CommandOperation<Void>(.settles) {
                .bury(job: job, token: token, reason: .unreadable, error: error)
            } value: { _ in
            })
        // Refused only when the lease has ended meanwhile: then the next one finds the damage again.
        if case .value = burial.outcome { core.lock.withLock { core.unreadable += 1 } }
    }

    private func giveBack(from index: Int) {
        for index in index..<grants.count { giveBack(index, after: 0, nil) }
    }

    private func giveBack(_ index: Int, after milliseconds: Int64, _ error: String?) {
        let job = grants[index].job
        let token = token(index)
        _ = core.submit(
            CommandOperation<Void>(.settles) {
                .requeue(job: job, token: token, delayMilliseconds: milliseconds, error: error, countsAttempt: false)
            } value: { _ in
            })
    }
}

extension Mutation {
    /// How the attempt that this record ends failed; `nil` when it did not, or did not say.
    var failureText: String? {
        switch self {
        case .requeue(let requeue): requeue.error
        case .bury(let bury): bury.error ?? (bury.reason == .unreadable ? "unreadable" : nil)
        case .expire(.lease): "lease expired"
        case .expire(.timeLimit): "time limit passed"
        case .expire(.startBy): "ttl expired"
        default: nil
        }
    }
}
