// Checkpoints, compaction, closing: long work, on threads of its own.

internal import HoldfastBytes
internal import HoldfastLog

extension StoreCore {
    /// Runs blocking work on a thread of its own and returns or throws what it does.
    static func onThread<Value: Sendable>(
        _ name: String, _ body: @escaping @Sendable () throws(JobStoreError) -> Value
    ) async throws(JobStoreError) -> Value {
        let result: Result<Value, JobStoreError> = await withCheckedContinuation { continuation in
            do {
                _ = try DedicatedThread(name: name) { continuation.resume(returning: Result(catching: body)) }
            } catch {
                let message = "no thread could be started: \(error); raise the limit of threads"
                continuation.resume(returning: .failure(JobStoreError(.ioError, message)))
            }
        }
        return try result.get()
    }

    /// Writes a checkpoint.
    func checkpoint() throws(JobStoreError) -> SequenceNumber {
        try lock.withLock { () throws(JobStoreError) in try checkOpen() }
        do { return try log.checkpoint() } catch { throw failure(from: error) }
    }

    /// Rewrites the log without what nobody needs.
    func compact(proving: Bool = false) throws(JobStoreError) -> CompactionSummary {
        try lock.withLock { () throws(JobStoreError) in try checkOpen() }
        let result: CompactionResult
        do { result = try log.compact(proving: proving) } catch { throw failure(from: error) }
        return CompactionSummary(
            bytesBefore: result.bytesBefore, bytesAfter: result.bytesAfter, segmentsBefore: result.segmentsBefore,
            segmentsAfter: result.segmentsAfter,
            proof: result.proof.map { CompactionProof(sequence: $0.sequence, before: $0.before, after: $0.after) })
    }

    /// Closes the store. A second call does nothing.
    func close() throws(JobStoreError) {
        let waiting = lock.withLock { () -> [WaitingCaller]? in
            if isClosed { return nil }
            isClosed = true
            return endAllWaits(Self.closedError)
        }
        guard let waiting else { return }
        for caller in waiting { caller.wake() }
        if let clockObservation { manualClock?.endObservation(clockObservation) }
        timer.stop(on: self)
        readers.stop()
        do { try log.close() } catch { throw failure(from: error) }
    }

    /// Closes a store that nobody holds any more.
    ///
    /// - Parameter start: Runs work on a thread of its own, or throws when the system gives none.
    func closeInBackground(
        startingThread start: (@escaping @Sendable () -> Void) throws(IOFailure) -> Void = {
            body throws(IOFailure) in _ = try DedicatedThread(name: "holdfast-close", body)
        }
    ) {
        guard !lock.withLock({ isClosed }) else { return }
        do { try start { try? self.close() } } catch {
            // The log's threads ask this core as long as they run, so it can't just go away: whoever dropped the store
            // waits for its end.
            try? close()
        }
    }

    /// A manual clock was moved without an operation.
    func clockMoved() { lock.withLock { timer.poke() } }
}
