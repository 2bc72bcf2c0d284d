// A schedule that is drawn from a seed. Of its threads one runs at a time; the others wait for their turn, ready or for
// something. The turn changes hands where a thread waits or ends, and, by chance, at the points that the thread passes:
// the operations of a simulated disk. Who is next is drawn from those who can go on. Time is made up: each point takes
// a little, a delay takes its time, and when nobody can go on, the clock jumps to the end of the earliest timed wait.
//
// So two runs of one seed do the same in the same order, to the byte, as long as nothing else enters. What is not drawn
// is the order between two such points: there a thread runs on alone. Locks are never held at one, so nobody ever waits
// for a lock.

internal import HoldfastLog

/// Lets threads take turns as a seed has it.
final class SeededSchedule: ThreadSchedule, @unchecked Sendable {
    // SENDABLE: all but `running` is touched only by the thread whose turn it is; `running` is guarded by `lock`, which
    // also orders what one thread did before what the next one does.

    private enum State {
        case ready
        case waiting(ObjectIdentifier?, until: Duration?)
        case joining(ObjectIdentifier)
    }

    /// A thread that has not ended.
    private struct Place {
        let seat: ThreadSeat
        var state = State.ready
        var isTimedOut = false

        /// When its timed wait ends.
        var end: Duration? { if case .waiting(_, let until) = state { until } else { nil } }

        func isAble(at time: Duration) -> Bool {
            if case .ready = state { true } else { end.map { $0 <= time } ?? false }
        }
    }

    private let lock = CallerLock()
    private var running: ThreadSeat?

    private let origin = ContinuousClock.now
    private var time = Duration.zero
    private var random: SeededRandom
    private var bytes: SeededRandom
    /// At one in so many points the turn may change hands.
    private let pointsPerTurn: Int
    private var points = 0
    private var places: [Place] = []
    private let onStandstill: @Sendable (String) -> Never
    private(set) var keepsEvents: Bool
    /// What happened, in order, if `keepsEvents` says so.
    private(set) var events: [String] = []

    /// Far more than any seed has.
    private static let pointsMax = 1_000_000
    private static let pointsShown = 60

    private init(seed: UInt64, keepsEvents: Bool, onStandstill: @escaping @Sendable (String) -> Never) {
        random = SeededRandom(seed: seed)
        bytes = SeededRandom(seed: random.next())
        pointsPerTurn = random.pick(from: [1, 2, 4, 16])
        self.onStandstill = onStandstill
        self.keepsEvents = keepsEvents
    }

    /// Runs `body` on the calling thread under a schedule, which all threads are under that it starts.
    ///
    /// - Parameters:
    ///   - keepsEvents: Whether `events` is kept.
    ///   - onStandstill: Ends the process when nobody can go on, or it never ends; it is told why.
    /// - Precondition: The threads that `body` starts have ended when it returns.
    static func run<Value>(
        seed: UInt64, keepsEvents: Bool, onStandstill: @escaping @Sendable (String) -> Never,
        _ body: (SeededSchedule) -> Value
    ) -> Value {
        let schedule = SeededSchedule(seed: seed, keepsEvents: keepsEvents, onStandstill: onStandstill)
        defer { precondition(schedule.places.isEmpty, "a thread outlives the run") }
        return ThreadSeat("client", in: schedule).occupy { body(schedule) }
    }

    // MARK: - Points

    /// Passes a point at which another thread may go on. The caller holds no lock.
    func pass(_ event: @autoclosure () -> String) {
        note(event())
        points += 1
        if points == Self.pointsMax { keepsEvents = true }
        if points > Self.pointsMax + Self.pointsShown {
            onStandstill("its threads go round in circles:\n" + events.suffix(Self.pointsShown).joined(separator: "\n"))
        }
        time += .microseconds(random.pick(1...100))
        guard random.chance(1, in: pointsPerTurn), places.count > 1 else { return }
        yieldTurn()
    }

    /// Lets time pass for the calling thread, which holds no lock.
    func delay(milliseconds: Int) {
        guard milliseconds > 0 else { return }
        block(.waiting(nil, until: time + .milliseconds(milliseconds)))
    }

    /// Keeps what happened.
    func note(_ event: @autoclosure () -> String) {
        if keepsEvents { events.append("\(time) \(running?.name ?? ""): \(event())") }
    }

    // MARK: - What threads ask for

    var now: ContinuousClock.Instant { origin.advanced(by: time) }

    func randomBytes(_ count: Int) -> [UInt8] { bytes.bytes(count) }

    func admit(_ seat: ThreadSeat) {
        if places.isEmpty { lock.withLock { running = seat } }
        places.append(Place(seat: seat))
    }

    func dismiss(_ seat: ThreadSeat) { places.removeAll { $0.seat === seat } }

    func begin(_ seat: ThreadSeat) {
        lock.withLock { awaitTurn(of: seat) }
    }

    func end(_ seat: ThreadSeat) {
        note("ends")
        dismiss(seat)
        for index in places.indices {
            if case .joining(ObjectIdentifier(seat)) = places[index].state { places[index].state = .ready }
        }
        if places.isEmpty { lock.withLock { running = nil } } else { handOver(to: choose()) }
    }

    func waitForEnd(of seat: ThreadSeat) {
        if places.contains(where: { $0.seat === seat }) { block(.joining(ObjectIdentifier(seat))) }
    }

    func wait(for signal: ObjectIdentifier, releasing lock: CallerLock, milliseconds: Int?) -> Bool {
        precondition(ThreadSeat.schedule === self, "only its own threads wait under a schedule")
        lock.unlock()
        defer { lock.lock() }
        return block(.waiting(signal, until: milliseconds.map { time + .milliseconds($0) }))
    }

    func notify(_ signal: ObjectIdentifier, all: Bool) {
        precondition(ThreadSeat.schedule === self, "only its own threads notify under a schedule")
        var waiting = places.indices.filter {
            if case .waiting(signal, _) = places[$0].state { true } else { false }
        }
        if !all, waiting.count > 1 { waiting = [random.pick(from: waiting)] }
        for index in waiting { places[index].state = .ready }
    }

    // MARK: - Turns

    /// Gives the turn up until `state` has come to an end.
    ///
    /// - Returns: False when its time ran out.
    @discardableResult private func block(_ state: State) -> Bool {
        places[ownIndex].state = state
        places[ownIndex].isTimedOut = false
        yieldTurn()
        return !places[ownIndex].isTimedOut
    }

    private var ownIndex: Int {
        guard let index = places.firstIndex(where: { $0.seat === running }) else {
            preconditionFailure("a thread that runs has a place")
        }
        return index
    }

    /// Draws who runs next; moves the clock when nobody can.
    private func choose() -> ThreadSeat {
        var able = places.indices.filter { places[$0].isAble(at: time) }
        if able.isEmpty {
            guard let next = places.compactMap(\.end).min() else {
                onStandstill("its threads wait for each other: \(places.map { "\($0.seat.name) \($0.state)" })")
            }
            time = next
            able = places.indices.filter { places[$0].isAble(at: time) }
        }
        let index = able.count == 1 ? able[0] : random.pick(from: able)
        if case .waiting = places[index].state { places[index].isTimedOut = true }
        places[index].state = .ready
        return places[index].seat
    }

    /// Lets the next thread run, and returns when it is this one's turn again.
    private func yieldTurn() {
        let (seat, next) = (running, choose())
        if next === seat { return }
        handOver(to: next)
        lock.withLock { awaitTurn(of: seat) }
    }

    private func handOver(to next: ThreadSeat) {
        lock.withLock { running = next }
        next.turn.notifyOne()
    }

    /// The caller holds the lock.
    private func awaitTurn(of seat: ThreadSeat?) {
        while running !== seat { seat?.turn.wait(lock) }
    }
}
