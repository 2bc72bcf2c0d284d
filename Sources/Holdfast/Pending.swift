// The answer of an operation that has its place in the log, and may not be on the disk yet. Every operation becomes
// one; callers of `pipelined` get to hold it.

internal import HoldfastLog

/// An operation that is decided, and whose answer is waited for.
///
/// It comes about in its turn, whether or not anybody waits: what is decided later finds it done. Until `value` has
/// returned a crash may undo it, together with all that was decided later; from then on it is as safe as
/// `JobStoreOptions.durability` says.
///
/// Leases, and the values of effects that a batch found recorded, are read when `value` is asked for: ask before the
/// store is closed, and while they matter. Until then a lease has all its jobs; the payloads that pass 32 MiB, and what
/// can't be read, are given back or buried then; once the store is closed they stay leased until their deadline, as do
/// the jobs of a lease that is dropped unasked.
///
/// It keeps what the store has in memory, also after a close.
public struct Pending<Value: Sendable>: Sendable {
    @usableFromInline enum Outcome: Sendable {
        case value(Value)
        case refused(JobStoreError)
        case deferred(@Sendable () throws(JobStoreError) -> Value, atHand: (@Sendable () -> Value?)? = nil)
    }
    let core: StoreCore
    /// Covers the state that the outcome rests on; `nil` when it rests on none.
    let ticket: CommitTicket?
    @usableFromInline let outcome: Outcome

    /// Returns the same with another result.
    func map<Other>(_ transform: @escaping @Sendable (Value) -> Other) -> Pending<Other> {
        let mapped: Pending<Other>.Outcome
        switch outcome {
        case .value(let value): mapped = .value(transform(value))
        case .refused(let error): mapped = .refused(error)
        case .deferred(let work, let atHand):
            var mappedAtHand: (@Sendable () -> Other?)?
            if let atHand { mappedAtHand = { atHand().map(transform) } }
            mapped = .deferred({ () throws(JobStoreError) -> Other in transform(try work()) }, atHand: mappedAtHand)
        }
        return Pending<Other>(core: core, ticket: ticket, outcome: mapped)
    }

    /// The answer, once it is durable. Cancelling the task does not end the wait.
    ///
    /// - Throws: The refusal, once what it rests on is durable; or the store's failure.
    @inlinable public var value: Value {
        get async throws(JobStoreError) {
            if !isDurable { try await untilDurable() }
            switch outcome {
            case .value(let value): return value
            case .refused(let error): throw error
            case .deferred(let work, let atHand):
                // What was written lately is in memory: to change threads for it costs more than to read it.
                if let value = atHand?() { return value }
                return try await read(work)
            }
        }
    }

    // Who has many outstanding finds nearly all of them durable, and in `value` pays for nothing else.
    @usableFromInline var isDurable: Bool {
        guard let ticket, Safeguard.durableReply.isOn else { return true }
        return core.log.isDurable(ticket)
    }

    @usableFromInline func untilDurable() async throws(JobStoreError) {
        guard let ticket else { return }
        do { try await core.log.wait(for: ticket) } catch { throw core.failure(from: error) }
    }

    @usableFromInline func read(
        _ work: @escaping @Sendable () throws(JobStoreError) -> Value
    ) async throws(JobStoreError) -> Value { try await core.readers.run(work) }

    /// Returns the answer once it is durable, blocking this thread.
    ///
    /// - Throws: The refusal, once what it rests on is durable; or the store's failure.
    package func valueBlocking() throws(JobStoreError) -> Value {
        if let ticket, Safeguard.durableBlockingReply.isOn {
            do { try core.log.waitBlocking(for: ticket) } catch { throw core.failure(from: error) }
        }
        switch outcome {
        case .value(let value): return value
        case .refused(let error): throw error
        case .deferred(let work, _): return try work()
        }
    }
}
