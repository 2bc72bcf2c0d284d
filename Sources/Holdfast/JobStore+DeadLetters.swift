// Dead letters by filter. A look goes through them in bounded steps, and reads errors from the log outside the store's
// lock; what was found is then changed, a bounded number in each commit, as far as it is still what it was.

public import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

extension JobStore {
    /// Makes the dead jobs of a queue that `filter` names ready again, their attempts counted from zero, lowest id
    /// first.
    ///
    /// - Parameters:
    ///   - filter: Which; `.all` for all of them. One that says nothing is refused.
    ///   - limit: So many at most, those that are skipped not counted.
    ///   - perSecond: Spreads them over time, so many in each second from now on: 1 to 1,000,000. Each waits for its
    ///     own time, as one with a delay does, also when the store is closed meanwhile.
    ///   - isDryRun: Whether to tell only what would be done.
    /// - Returns: How many, and which first. Jobs whose unique key another job holds are left and counted apart.
    /// - Throws: `.badRequest`, `.corrupt` when an error can't be read, `.noSpace`, `.closed` or the store's failure;
    ///   some may be ready then.
    /// - Postcondition: All of them are durable; that took several commits when there are many.
    /// - Complexity: O(d log n) in the dead jobs of the queue, and a read for each that the rest of the filter names
    ///   when it looks at errors.
    public func redrive(
        queue: String, where filter: DeadFilter, limit: Int = .max, perSecond: Int? = nil, isDryRun: Bool = false
    ) async throws(JobStoreError) -> DeadLetterReport {
        try await run(
            DeadLetterWork(queue, filter, limit: limit, .redrive(perSecond: perSecond), isDryRun: isDryRun))
    }

    /// Cancels the dead jobs of a queue that `filter` names, lowest id first: nothing is left of them but history.
    ///
    /// - Returns: How many, and which first.
    /// - Throws: As `redrive(queue:where:limit:perSecond:isDryRun:)`; some may be cancelled then.
    public func purge(
        queue: String, where filter: DeadFilter, limit: Int = .max, isDryRun: Bool = false
    ) async throws(JobStoreError) -> DeadLetterReport {
        try await run(DeadLetterWork(queue, filter, limit: limit, .cancel, isDryRun: isDryRun))
    }

    /// Lists the dead jobs of a queue that `filter` names in the order of their ids, without payloads.
    ///
    /// - Parameters:
    ///   - filter: Which; all of them when it says nothing.
    ///   - limit: 1 to 10,000.
    ///   - after: Only those with a greater id.
    /// - Throws: `.badRequest`, `.corrupt`, `.closed` or the store's failure.
    public func deadJobs(
        queue: String, where filter: DeadFilter = .all, limit: Int = 100, after: JobID? = nil
    ) async throws(JobStoreError) -> [JobInfo] {
        var work = DeadLetterWork(queue, filter, limit: limit, .list, after: after)
        var letters: [DeadLetter] = []
        while let scan = try work.nextScan() {
            let page = try await core.submitAsync(scan).value
            work.take(page, [], skipped: 0)
            letters += page.letters
        }
        return try await core.submitAsync(DeadLetterInfos(letters: letters)).value
    }

    private func run(_ work: DeadLetterWork) async throws(JobStoreError) -> DeadLetterReport {
        var work = work
        while let scan = try work.nextScan() {
            let page = try await core.submitAsync(scan).value
            let step = try await core.submitAsync(work.step(page)).value
            work.take(page, step.done, skipped: step.skipped)
            work.note(step)
        }
        return work.report
    }
}

extension BlockingJobStore {
    /// Makes the dead jobs of a queue that `filter` names ready again, their attempts counted from zero.
    public func redrive(
        queue: String, where filter: DeadFilter, limit: Int = .max, perSecond: Int? = nil, isDryRun: Bool = false
    ) throws(JobStoreError) -> DeadLetterReport {
        try run(DeadLetterWork(queue, filter, limit: limit, .redrive(perSecond: perSecond), isDryRun: isDryRun))
    }

    /// Cancels the dead jobs of a queue that `filter` names.
    public func purge(
        queue: String, where filter: DeadFilter, limit: Int = .max, isDryRun: Bool = false
    ) throws(JobStoreError) -> DeadLetterReport {
        try run(DeadLetterWork(queue, filter, limit: limit, .cancel, isDryRun: isDryRun))
    }

    /// Lists the dead jobs of a queue that `filter` names in the order of their ids, without payloads.
    public func deadJobs(
        queue: String, where filter: DeadFilter = .all, limit: Int = 100, after: JobID? = nil
    ) throws(JobStoreError) -> [JobInfo] {
        var work = DeadLetterWork(queue, filter, limit: limit, .list, after: after)
        var letters: [DeadLetter] = []
        while let scan = try work.nextScan() {
            let page = try store.core.submit(scan).valueBlocking()
            work.take(page, [], skipped: 0)
            letters += page.letters
        }
        return try store.core.submit(DeadLetterInfos(letters: letters)).valueBlocking()
    }

    private func run(_ work: DeadLetterWork) throws(JobStoreError) -> DeadLetterReport {
        var work = work
        while let scan = try work.nextScan() {
            let page = try store.core.submit(scan).valueBlocking()
            let step = try store.core.submit(work.step(page)).valueBlocking()
            work.take(page, step.done, skipped: step.skipped)
            work.note(step)
        }
        return work.report
    }
}

/// How far something that goes through dead letters has come.
private struct DeadLetterWork {
    enum Action: Hashable, Sendable {
        case redrive(perSecond: Int?)
        case cancel, list
    }
    private let queue: String
    private let filter: DeadFilter
    private let limit: Int
    private let action: Action
    private let isDryRun: Bool
    private(set) var report = DeadLetterReport()
    private var after: JobID?
    /// How many were found or changed; not those that were skipped.
    private var taken = 0
    private var start: Timestamp?
    private var claims = BatchScope()

    /// How many jobs a commit changes at most.
    private static let stepMax = 1_000
    private static let perSecondMax = 1_000_000

    init(
        _ queue: String, _ filter: DeadFilter, limit: Int, _ action: Action, isDryRun: Bool = false,
        after: JobID? = nil
    ) {
        self.queue = queue
        self.filter = filter
        self.limit = limit
        self.action = action
        self.isDryRun = isDryRun
        self.after = after ?? JobID(0)
    }

    private func validate() throws(JobStoreError) {
        try Limits.checkName(queue, "queue")
        try filter.validate(mayBeEmpty: action == .list)
        if action == .list { try Limits.checkCount(limit, "limit") }
        guard limit >= 1 else { throw JobStoreError(.badRequest, "`limit` is \(limit); give 1 or more") }
        if case .redrive(let perSecond?) = action, !(1...Self.perSecondMax).contains(perSecond) {
            throw JobStoreError(.badRequest, "`per_second` is \(perSecond); give 1 to \(Self.perSecondMax)")
        }
    }

    /// The next look; `nil` at the end.
    func nextScan() throws(JobStoreError) -> DeadLetterScan? {
        try validate()
        guard let after, taken < limit else { return nil }
        return DeadLetterScan(
            queue: queue, filter: filter, after: after, limit: min(limit - taken, Self.stepMax))
    }

    /// What is to be done with what a look found.
    func step(_ page: DeadLetterScan.Page) -> DeadLetterStep {
        var perSecond: Int?
        if case .redrive(let speed) = action { perSecond = speed }
        return DeadLetterStep(
            letters: page.letters, cancels: action == .cancel, isDryRun: isDryRun, perSecond: perSecond,
            place: report.count, start: start, claims: claims)
    }

    mutating func take(_ page: DeadLetterScan.Page, _ done: [DeadLetter], skipped: Int) {
        after = page.next
        taken += action == .list ? page.letters.count : done.count
        for letter in done { report.add(letter) }
        report.skipped += skipped
    }

    mutating func note(_ step: DeadLetterStep.Done) {
        start = start ?? step.start
        claims = step.claims
        report.lastRunAt = step.lastRunAt ?? report.lastRunAt
        if let left = step.firstLeft { after = JobID(left.rawValue - 1) }
    }
}

/// Looks at a bounded number of dead letters.
private struct DeadLetterScan: StoreOperation {
    struct Page: Sendable {
        let letters: [DeadLetter]
        /// Where to go on; `nil` at the end.
        let next: JobID?
    }
    let queue: String
    let filter: DeadFilter
    let after: JobID
    let limit: Int

    private static let looksMax = 10_000

    var access: OperationAccess { .reads }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<Page> {
        let (found, next) = core.state.deadLetters(
            queue: queue, meeting: filter.criteria, after: after, limit: limit, looksMax: Self.looksMax)
        let page = Page(letters: found, next: next)
        guard let text = filter.errorContains, !found.isEmpty else { return .value(page) }
        let part = Array(text.utf8)
        return .deferred { () throws(JobStoreError) -> Page in
            var letters: [DeadLetter] = []
            for letter in found {
                guard let sequence = letter.errorSequence,
                    let error = try core.record(sequence)?.mutation.failureText
                else { continue }
                if Array(error.utf8).contains(part) { letters.append(letter) }
            }
            return Page(letters: letters, next: page.next)
        }
    }
}

/// Changes the dead letters that a look found, as far as they are still there.
private struct DeadLetterStep: StoreOperation {
    struct Done: Sendable {
        var done: [DeadLetter] = []
        var skipped = 0
        var start: Timestamp
        var lastRunAt: Timestamp?
        var claims: BatchScope
        /// The first that the journal had no room for.
        var firstLeft: JobID?
    }
    let letters: [DeadLetter]
    let cancels: Bool
    let isDryRun: Bool
    let perSecond: Int?
    /// How many came before.
    let place: Int
    let start: Timestamp?
    /// The unique keys that those before would have taken.
    let claims: BatchScope

    var access: OperationAccess { isDryRun ? .reads : cancels ? .settles : .changes }
    /// Of what is redriven, once that is known.
    private(set) var bytes = 0

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<Done> {
        var result = Done(start: start ?? now, claims: claims)
        // Others had their turn since the look.
        let dead = letters.filter { core.state.isDead($0) }
        if cancels {
            for (index, letter) in dead.enumerated() {
                if !isDryRun {
                    if index > 0, !core.hasRoomForMore(isSettling: true) {
                        result.firstLeft = letter.id
                        break
                    }
                    _ = try core.perform(.cancel(job: letter.id, lane: nil), at: now)
                }
                result.done.append(letter)
            }
            return .value(result)
        }
        var list: [Redrive] = []
        for (index, letter) in dead.enumerated() {
            let runAt = perSecond.map { speed in
                result.start.advanced(byMilliseconds: Int64(place + index) * 1000 / Int64(speed))
            }
            list.append(Redrive(job: letter.id, runAt: runAt))
        }
        var scope = isDryRun ? claims : BatchScope()
        let decision = core.state.redrive(list, at: now, in: &scope)
        let needed = isDryRun ? 0 : list.count * Limits.shortRecordBytesMax
        guard core.hasRoom(for: needed, of: self) else {
            bytes = needed
            return .needsRoom
        }
        if isDryRun { result.claims = scope }
        var redriven: Set<JobID> = []
        decision.mutations.forEach { mutation in
            guard case .redrive(let redrive) = mutation else { return }
            redriven.insert(redrive.job)
            if perSecond != nil { result.lastRunAt = redrive.runAt ?? now }
            if !isDryRun { core.append(mutation, at: now) }
        }
        if case .redriven(_, let skipped) = decision.reply { result.skipped = skipped }
        result.done = dead.filter { redriven.contains($0.id) }
        return .value(result)
    }
}

/// Tells of dead letters what is known of them.
private struct DeadLetterInfos: StoreOperation {
    let letters: [DeadLetter]

    var access: OperationAccess { .reads }

    mutating func run(on core: StoreCore, at now: Timestamp) throws(JobStoreError) -> OperationOutcome<[JobInfo]> {
        var known: [(id: JobID, status: JobStatus)] = []
        for letter in letters where core.state.isDead(letter) {
            if let status = core.state.status(of: letter.id, at: now) { known.append((letter.id, status)) }
        }
        let (jobs, records) = (known, LogRecords(log: core.log))
        return .deferred { () throws(JobStoreError) -> [JobInfo] in
            var infos: [JobInfo] = []
            do throws(LogError) {
                for job in jobs {
                    var info = try JobInfo(job.id, job.status, records.readableEnqueue(of: job.id), from: records)
                    info.payload = nil
                    infos.append(info)
                }
            } catch { throw JobStoreError(error) }
            return infos
        }
    }
}

extension PastRecords {
    /// Returns a job's enqueue record and its time, or nothing when it is damaged.
    fileprivate func readableEnqueue(of id: JobID) throws(LogError) -> (Enqueue, Timestamp)? {
        do throws(LogError) { return try enqueue(of: id) } catch {
            guard error.code == .corrupt else { throw error }
            return nil
        }
    }
}

extension [UInt8] {
    /// Whether `part` stands somewhere in it.
    fileprivate func contains(_ part: [UInt8]) -> Bool {
        guard let first = part.first, part.count <= count else { return part.isEmpty }
        return (0...(count - part.count)).contains { start in
            self[start] == first && self[start..<(start + part.count)].elementsEqual(part)
        }
    }
}
