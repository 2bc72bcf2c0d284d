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
    /// Of each queue; none where earlier ones come first.
    let weights: [Int]
    let limit: Int
    let milliseconds: Int64
    let worker: String

    init(_ source: LeaseSource, limit: Int, duration: Duration, worker: String) throws(JobStoreError) {
        (queues, weights) = try source.checked()
        try Limits.checkCount(limit, "limit")
        try Limits.checkWorker(worker)
        self.limit = limit
        self.milliseconds = try Limits.leaseMilliseconds(duration)
        self.worker = worker
    }

    /// Leases under the lock, as many jobs as have a place in the journal.
    ///
    /// - Returns: What reads the payloads later; `nil` when nothing could be leased.
    func lease(on core: StoreCore, at now: Timestamp) -> LeaseReader? {
        var bytes: Int?
        return lease(on: core, at: now, admittedWith: &bytes)
    }

    /// Leases under the lock.
    ///
    /// - Parameter bytes: As for `StoreCore.lease(_:_:at:admittedWith:)`.
    /// - Returns: What reads the payloads later; `nil` when nothing could be leased, or `bytes` says what it needs.
    func lease(on core: StoreCore, at now: Timestamp, admittedWith bytes: inout Int?) -> LeaseReader? {
        let turns = weights.isEmpty ? nil : core.turns.turns(of: queues, weights)
        guard let leases = core.lease(self, turns, at: now, admittedWith: &bytes), !leases.grants.isEmpty else {
            return nil
        }
        if let turns { core.turns.serve(leases.grants, turns, of: queues, weights) }
        return LeaseReader(core: core, leases: leases, contents: leases.arePlain ? nil : core.contents(of: leases))
    }
}

extension StoreCore {
    /// What is beside the enqueue records of jobs just leased; `nil` for nothing. The caller holds the lock.
    fileprivate func contents(of leases: GrantedLeases) -> [LeasedContent]? {
        Self.contents(of: leases.grants, in: &state)
    }

    // In place: see `decide`.
    private static func contents(of grants: [LeaseGrant], in state: inout QueueState) -> [LeasedContent]? {
        for grant in grants where state.leasedContent(of: grant.job) != LeasedContent() {
            return grants.map { state.leasedContent(of: $0.job) }
        }
        return nil
    }
}

/// Reads the payloads of granted leases. One object, which both ways to read share without a copy.
final class LeaseReader: Sendable {
    private let core: StoreCore
    private let leases: GrantedLeases
    private let contents: [LeasedContent]?

    init(core: StoreCore, leases: GrantedLeases, contents: [LeasedContent]?) {
        (self.core, self.leases, self.contents) = (core, leases, contents)
    }

    private var grants: [LeaseGrant] { leases.grants }

    private func content(_ index: Int) -> LeasedContent { contents?[index] ?? LeasedContent() }

    /// How long a job waits whose payload can't be decoded, so that others have their turn.
    private static let undecodedMilliseconds: Int64 = 60_000

    /// Returns the leases if no file has to be read for them and there is nothing to be done about any.
    func readAtHand() -> [Lease]? {
        var leases: [Lease] = []
        leases.reserveCapacity(grants.count)
        var bytes = 0
        for index in grants.indices {
            guard let lease = plainLease(index) ?? leaseAtHand(index) else { return nil }
            bytes += lease.payload.count
            if bytes > Limits.leasedBytesMax { return nil }
            leases.append(lease)
        }
        return leases
    }

    /// Returns the lease of a plain job if its record is in memory. Nearly all are: only the payload is read then.
    private func plainLease(_ index: Int) -> Lease? {
        guard content(index).isAsEnqueued, let entry = core.log.entryAtHand(grants[index].job.sequence),
            entry.kind == RecordKind.enqueue.rawValue, let found = PlainJobs.payload(in: entry.body.span)
        else { return nil }
        let start = entry.body.startIndex + found.range.lowerBound
        let payload = [UInt8](entry.body[start...])
        return PayloadEnvelope.isMarked(payload) ? nil : lease(index, payload, at: found.time)
    }

    private func leaseAtHand(_ index: Int) -> Lease? {
        guard content(index).isAsEnqueued, let found = core.lookUpAtHand(grants[index].job),
            let payload = try? PayloadEnvelope.open(found.enqueue.payload, with: core.options.payloadCodec)
        else { return nil }
        return lease(index, payload, found.enqueue, at: found.at)
    }

    func read() throws(JobStoreError) -> [Lease] {
        var leases: [Lease] = []
        leases.reserveCapacity(grants.count)
        var bytes = 0
        var undecoded: JobStoreError?
        for index in grants.indices {
            let lease: Lease
            switch plainLease(index).map({ .lease($0) }) ?? readLease(index) {
            case .lease(let read): lease = read
            case .failed(let error): throw error
            case .unreadable(let error):
                bury(index, error)
                continue
            case .undecoded(let error):
                giveBack(index, after: Self.undecodedMilliseconds, error.message)
                undecoded = undecoded ?? JobStoreError(error.code, error.message, job: grants[index].job)
                continue
            }
            bytes += lease.payload.count
            if bytes > Limits.leasedBytesMax, !leases.isEmpty {
                giveBack(from: index)
                break
            }
            leases.append(lease)
        }
        if leases.isEmpty, let undecoded { throw undecoded }
        return leases
    }

    private enum Reading {
        case lease(Lease)
        /// The log can't be read.
        case failed(JobStoreError)
        /// This job's record can't.
        case unreadable(String)
        /// The payload can't be decoded.
        case undecoded(JobStoreError)
    }

    private func readLease(_ index: Int) -> Reading {
        switch lookUp(index) {
        case .failed(let error) where error.code != .corrupt && error.code != .unsupportedFormat: return .failed(error)
        case .failed(let error): return .unreadable(error.message)
        case .missing: return .unreadable("a record of what it is about is not in the log")
        case .found(let enqueue, let time):
            do throws(JobStoreError) {
                let payload = try PayloadEnvelope.open(enqueue.payload, with: core.options.payloadCodec)
                return .lease(lease(index, payload, enqueue, at: time, lastError: lastError(index)))
            } catch { return .undecoded(error) }
        }
    }

    /// - Parameter enqueue: What was said of the job beside its lane and payload, if anything.
    private func lease(
        _ index: Int, _ payload: [UInt8], _ enqueue: Enqueue? = nil, at time: Timestamp, lastError: String? = nil
    ) -> Lease {
        let grant = grants[index]
        return Lease(
            id: grant.job, token: token(index), attempt: Int(grant.attempt), queue: grant.lane.queue,
            priority: Int(grant.lane.priority), group: grant.lane.group.isEmpty ? nil : grant.lane.group,
            payload: payload, headers: enqueue?.headers.map { JobHeader(name: $0.name, value: $0.value) } ?? [],
            enqueuedAt: time, deadline: grant.deadline, mustEndBy: content(index).mustEndBy, lastError: lastError,
            labels: enqueue.map { [String: String]($0.labels) } ?? [:], owner: enqueue?.labels.owner,
            isSecret: enqueue?.isSecret ?? false)
    }

    /// Returns a job as it was enqueued, with what was changed since in its place.
    private func lookUp(_ index: Int) -> EnqueueLookup {
        let place = content(index)
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

    private func token(_ index: Int) -> LeaseToken { LeaseToken(leases.first.advanced(by: UInt64(index))) }

    private func lastError(_ index: Int) -> String? {
        // A record that is gone or damaged says nothing; the job runs all the same.
        guard let sequence = content(index).lastError, let record = try? core.record(sequence) else { return nil }
        return record.mutation.failureText
    }

    private func bury(_ index: Int, _ error: String) {
        let job = grants[index].job
        let token = token(index)
        let error = Limits.shortened(error)
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
        let error = error.map(Limits.shortened)
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
        case .expire(.dependency(_, let failed)): "job \(failed), which it waited for, failed"
        default: nil
        }
    }
}
