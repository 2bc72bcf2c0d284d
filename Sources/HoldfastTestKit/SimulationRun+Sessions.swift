// Trouble, and what comes after it: faults, losses of power, openings, and the look at all that the store then shows.

internal import Holdfast
internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

extension SimulationRun {
    static let path = "/store"

    // MARK: - Drawing

    /// Draws how the store is used in this run.
    func drawOptions(_ random: inout SeededRandom) {
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        options.provesCompaction = true
        options.durability = random.chance(3, in: 4) ? .commit : random.pick(from: [.none, .interval(milliseconds: 1)])
        options.history = random.pick(from: [.none, .bytes(64 << 10), .unlimited])
        options.checkpointEveryBytes = random.chance(1, in: 5) ? 20_000 : nil
        options.idleMarkMilliseconds = random.chance(1, in: 2) ? random.pick(1...20) : 0
        options.cachedBytesMax = random.pick(from: [nil, 0, 20_000])
        syncMilliseconds = random.chance(1, in: 3) ? random.pick(from: [1, 10, 200]) : 0
        note(
            "\(options.durability), \(options.history), \(options.checkpointEveryBytes ?? 0), marks after "
                + "\(options.idleMarkMilliseconds ?? 0) ms, syncs take \(syncMilliseconds) ms")
    }

    /// Moves the clock, mostly a little; back, too, where it is one that can go back.
    func moveClock(_ random: inout SeededRandom) {
        let span = random.chance(1, in: 4) ? SimulationClients.span(&random) : 0
        let isBackward = random.chance(1, in: 3)
        guard span > 0 else { return }
        if isBackward {
            // What is refused for want of space may not have read the clock, and nobody could tell.
            if !mayBeFull { clock.moveBack(byMilliseconds: span) }
        } else {
            clock.moveForward(byMilliseconds: span)
            report.milliseconds += span
        }
    }

    /// Draws faults to come, and the end of those that last.
    func drawTrouble(_ random: inout SeededRandom) throws(SimulationMismatch) {
        let (isEnd, isBegin, kind) = (random.chance(1, in: 10), random.chance(1, in: 14), random.pick(0...10))
        let (operation, extra) = (random.pick(1...30), random.pick(0...300_000))
        let effects: [FaultPlan.Effect] = [.none, .shortWrite, .tornWrite, .pagesMarkedClean]
        let (effect, isLasting) = (random.pick(from: effects), random.chance(1, in: 2))
        if isDiskLimited, isEnd {
            note("space is back")
            // The store notices by itself, in its own time.
            guard isLasting else { return try reopen(&random) }
            drive.free()
            isDiskLimited = false
            return schedule.delay(milliseconds: random.pick(1...3_000))
        }
        guard isBegin, !isDiskLimited, disk.faultPlan == FaultPlan() else { return }
        report.faults += 1
        var plan = FaultPlan()
        switch kind {
        case 0..<5: plan.crashOperation = disk.operationCount + operation
        case 5..<8:
            let fault = FaultPlan.Fault(
                operation: disk.operationCount + operation, isLasting: isLasting, kind: .ioError, effect: effect)
            plan.faults = [fault]
        case 8:
            // The ring's four segments, and room for some more or none.
            let bytes = 4 * options.journalSegmentBytes + extra
            note("planned: the disk holds \(bytes) bytes")
            drive.limit(to: bytes, refusals: operation, failure: isLasting ? .quotaExceeded : .noSpace)
            isDiskLimited = true
            mayBeFull = true
            return
        case 9:
            plan.readFaults = [FaultPlan.Fault(operation: disk.readCount + operation, isLasting: isLasting)]
        default:
            plan.faults = [
                FaultPlan.Fault(operation: disk.operationCount + operation, kind: .noSpace, effect: effect)
            ]
        }
        if plan.faults.first?.kind == .noSpace { mayBeFull = true }
        note("planned: \(plan)")
        disk.faultPlan = plan
    }

    // MARK: - Ending a session

    /// Loses power, or the process, now.
    func powerCut(_ random: inout SeededRandom) throws(SimulationMismatch) {
        crash(&random)
        try open(&random)
    }

    /// Goes on after the store failed: on the disk as programs see it, or as it is after a crash.
    func recover(_ random: inout SeededRandom) throws(SimulationMismatch) {
        let isCut = random.chance(1, in: 2)
        if disk.isCrashed || isCut {
            crash(&random)
        } else {
            try? store?.blocking.close()
            store = nil
            disk.faultPlan = FaultPlan()
            isDiskLimited = false
        }
        try open(&random)
    }

    /// Closes the store and opens it again.
    func reopen(_ random: inout SeededRandom) throws(SimulationMismatch) {
        disk.faultPlan = disk.isCrashed ? disk.faultPlan : FaultPlan()
        isDiskLimited = false
        if disk.isCrashed { return try recover(&random) }
        guard try closeStore(isLast: false) else { return try recover(&random) }
        try open(&random)
    }

    private func crash(_ random: inout SeededRandom) {
        let policy: CrashPolicy =
            switch random.pick(0...6) {
            case 0: .nothingPending
            case 1: .everythingPending
            case 2: .torn(seed: random.next())
            case 3: .randomBlocks(seed: random.next())
            default: .random(seed: random.next())
            }
        note("crash, \(policy)")
        report.crashes += 1
        let image = disk.crashImage(policy)
        abandon()
        disk = image
        isDiskLimited = false
    }

    /// Lets go of the store, whatever it still does to its disk.
    func abandon() {
        try? store?.blocking.close()
        store = nil
    }

    /// Closes the store; what it holds must be the same when it is opened again.
    ///
    /// - Returns: False when it failed before, or now.
    @discardableResult
    func closeStore(isLast: Bool) throws(SimulationMismatch) -> Bool {
        guard let store else { return true }
        do throws(JobStoreError) {
            try store.blocking.close()
        } catch {
            note("close: \(error)")
            guard !isLast else { throw SimulationMismatch(message: "closing failed on a sound disk: \(error)") }
            return false
        }
        note("closed")
        self.store = nil
        ledger.settle()
        return true
    }

    // MARK: - Opening

    /// Opens the store, on a disk that may fail or crash meanwhile, and looks at all it shows.
    func open(_ random: inout SeededRandom) throws(SimulationMismatch) {
        drawClock(&random)
        var hasLooked = false
        for attempt in 0..<4 {
            mayBeFull = false
            if attempt == 0 && !isEnding && random.chance(1, in: 5) { planTroubleAtOpening(&random) }
            report.openings += 1
            let drive = SimulationDisk(
                disk, schedule: schedule, forgets: hasForgetfulDisk, syncMilliseconds: syncMilliseconds)
            self.drive = drive
            options.fileSystem = drive
            do throws(JobStoreError) {
                store = try JobStore.openBlocking(at: Self.path, options: options)
            } catch {
                note("open: \(error)")
                guard error.code == .ioError || error.code == .noSpace, disk.faultPlan != FaultPlan() else {
                    throw SimulationMismatch(message: "the store can't be opened: \(error)")
                }
            }
            if let store {
                if !disk.isCrashed { disk.faultPlan = FaultPlan() }
                noteOpened()
                if try look(at: store, isFirst: !hasLooked) { return }
                hasLooked = true
                abandon()
            }
            store = nil
            if disk.isCrashed { crash(&random) }
            disk.faultPlan = FaultPlan()
        }
        throw SimulationMismatch(message: "the store can't be opened although nothing is wrong with the disk")
    }

    private func drawClock(_ random: inout SeededRandom) {
        let (isManual, span) = (random.chance(2, in: 3), random.chance(1, in: 2) ? 0 : SimulationClients.span(&random))
        let now = clock.wallNow()
        let start = random.chance(1, in: 2) ? now : Timestamp(milliseconds: now.milliseconds - span)
        let clock: any SimulatedClock = isManual ? ManualClock(startingAt: start) : JumpingClock(startingAt: start)
        self.clock = clock
        clients.canAdvance = isManual
        options.clock = clock
    }

    private func planTroubleAtOpening(_ random: inout SeededRandom) {
        report.faults += 1
        let operation = disk.operationCount + random.pick(1...40)
        if random.chance(2, in: 3) {
            disk.faultPlan = .crash(at: operation)
        } else {
            let kind: FaultPlan.Kind = random.chance(1, in: 2) ? .ioError : .noSpace
            if kind == .noSpace { mayBeFull = true }
            disk.faultPlan = .fault(.init(operation: operation, kind: kind))
        }
        note("planned for the opening: \(disk.faultPlan)")
    }

    /// Compares all that the store shows with what it may hold.
    ///
    /// - Returns: False when the store failed meanwhile.
    private func look(at store: JobStore, isFirst: Bool) throws(SimulationMismatch) -> Bool {
        let (next, last) = (store.nextSequence, store.lastSequence)
        let seen: SimulationObservation
        do throws(JobStoreError) { seen = try observe(store) } catch {
            note("look: \(error)")
            guard error.code == .ioError else { throw SimulationMismatch(message: "it can't be looked at: \(error)") }
            return false
        }
        latest = seen.time
        let after = store.nextSequence
        try ledger.match(
            seen, last: last, next: after, expired: Int(after.rawValue - next.rawValue), isLastRecordKnown: isFirst,
            isDurable: options.durability == .commit, effectValues: effectValues)
        note("opened at \(seen.time), last record \(seen.stats.sequence)")
        return true
    }

    /// Looks at all in the middle of a session.
    func inspect(_ random: inout SeededRandom) throws(SimulationMismatch) {
        guard let store else { return }
        let next = store.nextSequence
        let seen: SimulationObservation
        do throws(JobStoreError) { seen = try observe(store) } catch {
            note("inspect: \(error)")
            if error.code == .noSpace { return }
            // What fell due meanwhile may be durable.
            latest = max(latest, clock.wallNow())
            var state = ledger.state
            _ = state.expire(at: latest, next: next)
            ledger.add(state, next: store.nextSequence)
            noteFailure()
            return try recover(&random)
        }
        latest = max(latest, seen.time)
        var state = ledger.state
        _ = state.expire(at: seen.time, next: next)
        if let difference = state.difference(seen, effectValues: effectValues) {
            throw SimulationMismatch(message: difference)
        }
        guard state.model.last == seen.stats.sequence else {
            throw SimulationMismatch(
                message: "the last record is \(seen.stats.sequence), the model says \(state.model.last)")
        }
        ledger.add(state, next: store.nextSequence)
        if options.durability == .commit { ledger.settle() }
    }

    private func observe(_ store: JobStore) throws(JobStoreError) -> SimulationObservation {
        let time = try store.blocking.now()
        let stats = try store.blocking.stats()
        let load = try store.blocking.load()
        var jobs: [JobInfo] = []
        for state in [JobInfo.State.scheduled, .ready, .leased, .dead] {
            jobs += try store.blocking.jobs(JobFilter(state: state, limit: Limits.countMax))
        }
        var effects: [String: [UInt8]] = [:]
        for (scope, _) in try store.submitEffectScopes().valueBlocking() {
            let found = try store.submitEffects(scope: scope, after: nil, limit: Limits.countMax).valueBlocking()
            for effect in found { effects[scope + "/" + effect.key] = effect.value }
        }
        return SimulationObservation(
            time: time, stats: stats, load: load, jobs: jobs, effects: effects, cursors: try store.blocking.cursors())
    }
}
