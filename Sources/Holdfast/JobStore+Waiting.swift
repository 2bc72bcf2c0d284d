// Enqueues that wait for room in a full queue or store instead of being refused.

internal import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

extension JobStore {
    /// Adds a job like `enqueue(_:payload:options:)`, and where queue or store is full waits until there is room. Who
    /// waits for the same room is served in the order of arrival; 1024 may wait at once.
    ///
    /// - Parameter limit: How long to wait at most.
    /// - Throws: `JobStoreError`, as `enqueue` without waiting; `.queueFull` when there was no room in time, or too
    ///   many wait already. `CancellationError` when the task was cancelled while it waited: no job is added then.
    /// - Postcondition: The job is durable.
    public func enqueue(
        _ queue: String, payload: [UInt8], options: EnqueueOptions = EnqueueOptions(), waitingUpTo limit: Duration
    ) async throws -> EnqueueResult {
        let operation = EnqueueOperation(queue: queue, payload: payload, options: options)
        return try await core.beginAsync(operation, waitingUpTo: limit).value
    }

    /// Does all operations in one atomic commit like `batch(_:)`, and where a queue or the store is full waits until
    /// there is room for all of them.
    ///
    /// - Throws: As `enqueue(_:payload:options:waitingUpTo:)` and `batch(_:)`.
    public func batch(_ operations: [BatchOperation], waitingUpTo limit: Duration) async throws -> [BatchReply] {
        try await core.beginAsync(AtomicBatch(operations: operations), waitingUpTo: limit).value
    }

    /// How many enqueues and batches wait for room.
    public var waitingEnqueueCount: Int { core.lock.withLock { core.roomWaiters.count } }

    /// Ends all waits for room, as before closing; from now on an enqueue is refused instead.
    package func endRoomWaits() { core.endRoomWaits() }

    /// Decides an enqueue, or lets it wait; blocks only for room in the journal.
    package func submitEnqueue(
        _ queue: String, payload: [UInt8], options: EnqueueOptions, waitingUpTo limit: Duration,
        for client: WaitingClient? = nil
    ) -> RoomPending<EnqueueResult> {
        core.begin(EnqueueOperation(queue: queue, payload: payload, options: options), waitingUpTo: limit, for: client)
    }

    /// Decides a batch, or lets it wait; blocks as `submitBatch(_:)`.
    package func submitBatch(
        _ operations: [BatchOperation], waitingUpTo limit: Duration, for client: WaitingClient? = nil
    ) -> RoomPending<[BatchReply]> {
        core.begin(AtomicBatch(operations: operations), waitingUpTo: limit, for: client)
    }
}

extension BlockingJobStore {
    /// Adds a job, and where queue or store is full waits until there is room.
    public func enqueue(
        _ queue: String, payload: [UInt8], options: EnqueueOptions = EnqueueOptions(), waitingUpTo limit: Duration
    ) throws(JobStoreError) -> EnqueueResult {
        try store.submitEnqueue(queue, payload: payload, options: options, waitingUpTo: limit).valueBlocking()
    }

    /// Does all operations in one atomic commit, and where a queue or the store is full waits until there is room.
    public func batch(
        _ operations: [BatchOperation], waitingUpTo limit: Duration
    ) throws(JobStoreError) -> [BatchReply] { try store.submitBatch(operations, waitingUpTo: limit).valueBlocking() }
}

/// An enqueue or batch that was decided, or waits for room.
package struct RoomPending<Value: Sendable>: Sendable {
    /// Waits for room on this thread; what is then decided need not be durable yet.
    package let decidedBlocking: @Sendable () -> Pending<Value>
    fileprivate let decided: @Sendable () async throws -> Pending<Value>

    /// Waits for room and for the commit, on this thread.
    package func valueBlocking() throws(JobStoreError) -> Value { try decidedBlocking().valueBlocking() }

    fileprivate var value: Value { get async throws { try await decided().value } }

    fileprivate init(_ pending: Pending<Value>) {
        decidedBlocking = { pending }
        decided = { pending }
    }

    fileprivate init<Operation: JobAddingOperation>(
        _ first: Pending<Value?>, _ waiter: WaitingOperation<Operation>, on core: StoreCore
    ) where Operation.Value == Value {
        decidedBlocking = {
            var pending = first
            while pending.isWaiting() {
                waiter.caller.waitBlocking()
                if let outcome = core.endWait(of: waiter) { return outcome }
                pending = core.submit(RoomOperation(waiter: waiter))
                // Refused before its turn, for want of a disk or a store: nobody may stand behind it for ever.
                if !pending.isWaiting() { core.leave(waiter) }
            }
            return pending.decided()
        }
        decided = {
            var pending = first
            while pending.isWaiting() {
                await waiter.caller.wait()
                if let outcome = core.endWait(of: waiter) { return outcome }
                // Nothing was decided: the task was cancelled, or a record has to be read first.
                if Task.isCancelled {
                    core.leave(waiter)
                    throw CancellationError()
                }
                pending = await core.submitAsync(RoomOperation(waiter: waiter))
                if !pending.isWaiting() { core.leave(waiter) }
            }
            return pending.decided()
        }
    }
}

extension Pending {
    /// Whether nothing is decided because there is no room.
    fileprivate func isWaiting<Wrapped>() -> Bool where Value == Wrapped? {
        if case .value(nil) = outcome { true } else { false }
    }

    /// The same, decided.
    fileprivate func decided<Wrapped>() -> Pending<Wrapped> where Value == Wrapped? {
        map { value in
            guard let value else { preconditionFailure("what waits is not decided") }
            return value
        }
    }
}

/// An operation that joins a line where there is no room; its value is `nil` then.
private struct RoomOperation<Operation: JobAddingOperation>: StoreOperation {
    let waiter: WaitingOperation<Operation>

    var access: OperationAccess { waiter.operation.access }
    var bytes: Int { waiter.operation.bytes }

    mutating func supply(_ lookup: EnqueueLookup, for job: JobID) { waiter.operation.supply(lookup, for: job) }
    mutating func supply(_ endings: [JobID: JobEnding]) { waiter.operation.supply(endings) }

    mutating func run(
        on core: StoreCore, at now: Timestamp
    ) throws(JobStoreError) -> OperationOutcome<Operation.Value?> {
        if let place = core.roomWaiters.line(for: waiter.targets, order: waiter.order),
            !waiter.operation.addsNothing(to: core)
        {
            try core.wait(waiter, at: place, nil)
            return .value(nil)
        }
        do throws(JobStoreError) {
            switch try waiter.operation.run(on: core, at: now) {
            case .value(let value):
                core.roomWaiters.remove(waiter)
                return .value(value)
            case .deferred(let work, _):
                core.roomWaiters.remove(waiter)
                return .deferred { () throws(JobStoreError) in try work() }
            case .needsRecords(let jobs): return .needsRecords(jobs)
            case .needsEndings(let jobs): return .needsEndings(jobs)
            case .needsRoom: return .needsRoom
            }
        } catch {
            guard let place = error.fullPlace else {
                core.roomWaiters.remove(waiter)
                throw error
            }
            try core.wait(waiter, at: place, error)
            return .value(nil)
        }
    }
}

extension StoreCore {
    fileprivate func begin<Operation: JobAddingOperation>(
        _ operation: Operation, waitingUpTo limit: Duration, for client: WaitingClient?
    ) -> RoomPending<Operation.Value> {
        do throws(JobStoreError) {
            let waiter = try waiter(for: operation, limit, client)
            return RoomPending(submit(RoomOperation(waiter: waiter)), waiter, on: self)
        } catch { return RoomPending(refusal(error)) }
    }

    fileprivate func beginAsync<Operation: JobAddingOperation>(
        _ operation: Operation, waitingUpTo limit: Duration
    ) async -> RoomPending<Operation.Value> {
        do throws(JobStoreError) {
            let waiter = try waiter(for: operation, limit, nil)
            return RoomPending(await submitAsync(RoomOperation(waiter: waiter)), waiter, on: self)
        } catch { return RoomPending(refusal(error)) }
    }

    private func waiter<Operation: JobAddingOperation>(
        for operation: Operation, _ limit: Duration, _ client: WaitingClient?
    ) throws(JobStoreError) -> WaitingOperation<Operation> {
        var operation = operation
        try operation.validate(options)
        if let codec = options.payloadCodec { try operation.encode(with: codec, options) }
        try timer.start(on: self)
        // Longer than a century is for ever.
        let wait = max(.zero, min(limit, .seconds(3_200_000_000)))
        return WaitingOperation(operation, timesOutAt: clock.monotonicNow() + wait, for: client, lock: lock)
    }

    /// Takes one that gives up out of its line.
    fileprivate func leave<Operation: JobAddingOperation>(_ waiter: WaitingOperation<Operation>) {
        lock.withLock {
            roomWaiters.remove(waiter)
            timer.poke()
        }
    }

    /// Takes one out of its line and returns what came of its wait; `nil` for nothing. One that is to try again stays.
    fileprivate func endWait<Operation: JobAddingOperation>(
        of waiter: WaitingOperation<Operation>
    ) -> Pending<Operation.Value>? {
        lock.withLock {
            if waiter.isTrying { return waiter.outcome }
            // Others may have stood behind one that gives up.
            if waiter.place != nil { timer.poke() }
            roomWaiters.remove(waiter)
            return waiter.outcome
        }
    }
}
