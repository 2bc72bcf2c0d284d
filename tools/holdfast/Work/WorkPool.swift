// The workers of `holdfast work`: so many threads, each leasing a job, running its command, and settling it in the
// same commit in which it leases the next. Nothing is kept in memory that the log does not say, so being killed at any
// point costs no job: its lease ends, and it runs again.

import Holdfast
import HoldfastLog

/// What a pool does.
struct WorkSettings: Sendable {
    /// The store's, for the command to find.
    var directory: String
    var queues: [String]
    /// Of each queue; none where earlier ones come first.
    var weights: [Int]
    var command: CommandTemplate
    var workers: Int
    var lease: Duration
    var grace: Duration
    /// `nil` for what the retry policy says.
    var retryDelay: Duration?
    var untilEmpty: Bool
    var name: String
    /// Whether to copy to standard output what commands that succeed have said.
    var printsOutput: Bool
}

/// Runs a command for each job of a queue.
final class WorkPool: @unchecked Sendable {
    /// What came of the jobs so far.
    struct Counts: Sendable {
        var done = 0
        var failed = 0
        var dead = 0
        /// Jobs that died because their record is damaged.
        var unreadable = 0
        var givenBack = 0
        var lost = 0
        var running = 0
        /// Jobs left when all else was done, that only a redrive or a release moves on.
        var stuck = 0
        /// Jobs left whose payload this program can't decode.
        var undecodable = 0
    }

    /// A waiting worker looks this often whether it shall stop.
    private static let leaseWait = Duration.milliseconds(200)
    /// How long the system is left alone when it can start no more processes.
    private static let startRetryDelay = Duration.seconds(1)

    // SENDABLE: everything from `counts` on is guarded by `lock`; the rest never changes.
    private let store: JobStore
    private let settings: WorkSettings
    private let signals: SignalWatch
    private let failures: FailureLog
    private let lock = CallerLock()
    private let changed = Signal()
    private var counts = Counts()
    private var idleWorkers = 0
    private var liveWorkers = 0
    private var stopDeadline: ContinuousClock.Instant?
    private var isDone = false
    private var failure: CommandFailure?
    /// Those that were leased and put off because of their payload; as many ids as the queues have such jobs.
    private var undecodable: Set<JobID> = []
    private var wakes: [Descriptor] = []

    init(store: JobStore, settings: WorkSettings, signals: SignalWatch, failures: FailureLog) {
        self.failures = failures
        self.store = store
        self.settings = settings
        self.signals = signals
    }

    /// Makes jobs ready again that a worker of this name held when it died. The attempt counts: a job that kills its
    /// worker must not do so for ever.
    ///
    /// - Returns: How many there were.
    func recoverOrphans() throws(JobStoreError) -> Int {
        var count = 0
        for queue in settings.queues { count += try recoverOrphans(of: queue) }
        return count
    }

    private func recoverOrphans(of queue: String) throws(JobStoreError) -> Int {
        var filter = JobFilter(queue: queue, state: .leased, limit: 1000)
        var count = 0
        while true {
            let jobs = try store.blocking.jobs(filter)
            for job in jobs where job.worker == settings.name {
                guard let token = job.token else { continue }
                let lease = LeaseIdentity(id: job.id, token: token)
                try store.blocking.requeue(lease, after: .zero, error: "the worker died while it ran this")
                count += 1
            }
            guard let last = jobs.last else { return count }
            filter.after = last.id
        }
    }

    /// Works until the queue is empty or the process is asked to stop; `report` is called now and then on the calling
    /// thread, and once at the end.
    func run(report: (Counts) -> Void) throws -> Counts {
        signals.whenStopped { [self] in stop() }
        var threads: [DedicatedThread] = []
        for number in 1...settings.workers {
            let wake = try Descriptor.pipe()
            for end in [wake.read, wake.write] { end.setNonBlocking() }
            lock.withLock {
                wakes.append(wake.write)
                liveWorkers += 1
            }
            do {
                threads.append(try DedicatedThread(name: "work \(number)") { [self] in work(wake) })
            } catch {
                lock.withLock { liveWorkers -= 1 }
                if threads.isEmpty { throw error }
                Descriptor.standardError.writeText("holdfast: \(threads.count) workers instead of more: \(error)\n")
                break
            }
        }
        while true {
            let (counts, isOver) = lock.withLock {
                if liveWorkers > 0 { _ = changed.wait(lock, milliseconds: 200) }
                return (self.counts, liveWorkers == 0)
            }
            report(counts)
            if isOver { break }
        }
        for thread in threads { thread.join() }
        if let failure = lock.withLock({ failure }) { throw failure }
        return lock.withLock { counts }
    }

    // MARK: - Stopping

    /// Lets running commands finish within the grace time; asked again, ends them at once.
    private func stop() {
        lock.withLock {
            stopDeadline = stopDeadline == nil ? .now + settings.grace : .now
            wakeAll()
        }
    }

    private func fail(_ failure: CommandFailure) {
        lock.withLock {
            if self.failure == nil { self.failure = failure }
            stopDeadline = .now
            wakeAll()
        }
    }

    private func wakeAll() { for wake in wakes { _ = try? wake.writeSome([0]) } }

    private var mayLease: Bool { lock.withLock { stopDeadline == nil && !isDone } }

    // MARK: - A worker

    private func work(_ wake: (read: Descriptor, write: Descriptor)) {
        var settled: Pending<Void>?
        do throws(JobStoreError) {
            while mayLease {
                guard let lease = try nextLease() else { continue }
                // What the last command did became durable with this lease at the latest.
                try confirm(settled)
                settled = nil
                if mayLease { settled = try run(lease, wake) } else { try giveBack(lease) }
            }
            try confirm(settled)
        } catch {
            fail(CommandFailure(error))
        }
        lock.withLock {
            liveWorkers -= 1
            changed.notifyAll()
        }
    }

    /// Leases a job; `nil` when there was none for a while.
    private func nextLease() throws(JobStoreError) -> Lease? {
        var next = NextLease(from: settings.queues, for: settings.lease, worker: settings.name)
        next.weights = settings.weights
        do throws(JobStoreError) {
            let leases = try store.blocking.lease(next, waitingUpTo: Self.leaseWait)
            if let lease = leases.first { return lease }
        } catch {
            // The store has put the job off, for who can decode it; the others have their turn.
            guard error.code == .payloadCodec else { throw error }
            failures.note("a job was given back: \(error.message)")
            if let job = error.job { lock.withLock { _ = undecodable.insert(job) } }
            return nil
        }
        if settings.untilEmpty { try endIfEmpty() }
        return nil
    }

    private func endIfEmpty() throws(JobStoreError) {
        let undecodable = lock.withLock { self.undecodable }
        let left = try store.submitLeftovers(in: settings.queues, excepting: undecodable).valueBlocking()
        guard let left else { return }
        lock.withLock {
            isDone = true
            (counts.stuck, counts.undecodable) = left
        }
    }

    private func confirm(_ settled: Pending<Void>?) throws(JobStoreError) {
        guard let settled else { return }
        do throws(JobStoreError) {
            try settled.valueBlocking()
        } catch {
            guard error.code == .leaseLost || error.code == .notFound else { throw error }
            count { $0.lost += 1 }
            return
        }
        count { $0.done += 1 }
    }

    private func count(_ change: (inout Counts) -> Void) {
        lock.withLock {
            change(&counts)
            changed.notifyAll()
        }
    }

    private func giveBack(_ lease: Lease) throws(JobStoreError) {
        count { $0.givenBack += 1 }
        try settle { () throws(JobStoreError) in
            try store.blocking.requeue(lease, after: .zero, error: lease.lastError, countsAttempt: false)
        }
    }

    /// Runs a settling call; that the lease was lost meanwhile is counted, not thrown.
    private func settle(_ body: () throws(JobStoreError) -> Void) throws(JobStoreError) {
        do throws(JobStoreError) {
            try body()
        } catch {
            guard error.code == .leaseLost else { throw error }
            count { $0.lost += 1 }
        }
    }

    // MARK: - One job

    /// Runs the command for one job and settles it.
    ///
    /// - Returns: The ack, when it is still to be committed.
    private func run(
        _ lease: Lease, _ wake: (read: Descriptor, write: Descriptor)
    ) throws(JobStoreError) -> Pending<Void>? {
        let invocation: CommandTemplate.Invocation
        switch settings.command.invocation(for: lease.payload) {
        case .success(let value): invocation = value
        case .failure(let refusal):
            count { $0.dead += 1 }
            failures.note(lease.id, attempt: lease.attempt, error: refusal.message, isDead: true)
            try settle { () throws(JobStoreError) in try store.blocking.bury(lease, error: refusal.message) }
            return nil
        }
        let report: CommandRun.Report
        do throws(SystemError) {
            let child = try ChildProcess.start(
                invocation.arguments, environment: environment(lease), hasInput: invocation.input != nil)
            count { $0.running += 1 }
            defer { count { $0.running -= 1 } }
            var run = CommandRun(
                child, input: invocation.input, signals: signals, wake: wake, renewal: settings.lease / 3,
                renew: { [self] in renew(lease) }, stopDeadline: { [self] in lock.withLock { stopDeadline } })
            report = try run.finish()
        } catch {
            try notStarted(lease, error)
            return nil
        }
        return try settle(lease, report)
    }

    private func environment(_ lease: Lease) -> [(name: String, value: String)] {
        [
            ("HOLDFAST_QUEUE", lease.queue), ("HOLDFAST_JOB", "\(lease.id)"), ("HOLDFAST_TOKEN", "\(lease.token)"),
            ("HOLDFAST_ATTEMPT", "\(lease.attempt)"), ("HOLDFAST_STORE", settings.directory),
        ]
    }

    private func renew(_ lease: Lease) -> Bool {
        do throws(JobStoreError) {
            try store.blocking.heartbeat(lease, for: settings.lease)
            return true
        } catch {
            if error.code != .leaseLost && error.code != .notFound { fail(CommandFailure(error)) }
            return false
        }
    }

    private func settle(_ lease: Lease, _ report: CommandRun.Report) throws(JobStoreError) -> Pending<Void>? {
        switch report.ending {
        case .exited(.code(0)):
            if settings.printsOutput && !report.output.isEmpty { try? Terminal.print(report.output) }
            return store.submitAck(lease, result: JSONWriter.quoted(report.output))
        case .exited(.code(let code)): try retry(lease, "exit code \(code)", report, "exit-\(code)")
        case .exited(.signal(let number)): try retry(lease, "killed by signal \(number)", report, "signal-\(number)")
        case .stopped: try giveBack(lease)
        case .leaseLost: count { $0.lost += 1 }
        }
        return nil
    }

    private func retry(
        _ lease: Lease, _ reason: String, _ report: CommandRun.Report, _ errorClass: String
    ) throws(JobStoreError) {
        let error = report.errors.isEmpty ? reason : "\(reason): \(report.errors)"
        try settle { () throws(JobStoreError) in
            let outcome = try store.blocking.requeue(
                lease, after: settings.retryDelay, error: error, errorClass: errorClass)
            count { counts in
                counts.failed += 1
                if outcome.state == .dead { counts.dead += 1 }
            }
            failures.note(lease.id, attempt: lease.attempt, error: error, isDead: outcome.state == .dead)
        }
    }

    /// The command could not be started, which is no fault of the job: it keeps its attempt.
    private func notStarted(_ lease: Lease, _ error: SystemError) throws(JobStoreError) {
        if error.isArgumentTooLong {
            count { $0.dead += 1 }
            let message = "\(error); leave out {} and read the payload from standard input"
            failures.note(lease.id, attempt: lease.attempt, error: message, isDead: true)
            try settle { () throws(JobStoreError) in try store.blocking.bury(lease, error: message) }
            return
        }
        let isPassing = error.isShortage
        try settle { () throws(JobStoreError) in
            try store.blocking.requeue(
                lease, after: isPassing ? Self.startRetryDelay : .zero, error: error.description, countsAttempt: false)
        }
        count { $0.givenBack += 1 }
        if !isPassing { fail(CommandFailure("\(error); its job was given back: check the command and run this again")) }
    }
}

extension SystemError {
    /// Whether an argument list was longer than the system takes.
    fileprivate var isArgumentTooLong: Bool { number == Self.argumentTooLong }
    /// Whether the system was short of processes, memory or descriptors, which passes.
    fileprivate var isShortage: Bool { Self.shortages.contains(number) }
}
