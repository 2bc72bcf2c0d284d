// What the engine refuses, and why. A refusal changes nothing: it is thrown before anything is applied.

package import HoldfastBytes

/// Why a command was refused, or bytes were.
package struct EngineError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What kind of refusal it is.
    package struct Code: Hashable, Sendable {
        private enum Value: Hashable, Sendable {
            case notFound, leaseLost, invalidState, queueFull, corrupt, unsupportedFormat
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// No such job.
        package static let notFound = Code(.notFound)
        /// The token is not the job's active lease.
        package static let leaseLost = Code(.leaseLost)
        /// The job's state does not allow it.
        package static let invalidState = Code(.invalidState)
        /// The queue takes no more jobs.
        package static let queueFull = Code(.queueFull)
        /// Bytes or a record that this engine can't have written.
        package static let corrupt = Code(.corrupt)
        /// Bytes of a format that this engine does not know.
        package static let unsupportedFormat = Code(.unsupportedFormat)
    }

    package let code: Code
    /// What was wrong and what to do, as a sentence.
    package let message: String
    package let job: JobID?
    /// Of a lost lease: where its job is now; `nil` when the state has no entry of it.
    package let status: JobStatus?
    /// The lease that was lost.
    package let token: LeaseToken?
    /// Of a full queue: which one; `nil` when it is the store that is full.
    package let queue: String?

    /// Creates an error.
    package init(
        _ code: Code, _ message: String, job: JobID? = nil, status: JobStatus? = nil, token: LeaseToken? = nil,
        queue: String? = nil
    ) {
        self.queue = queue
        self.code = code
        self.message = message
        self.job = job
        self.status = status
        self.token = token
    }

    package var description: String { message }

    /// - Parameter status: That of the job when the state has an entry of it.
    package static func leaseLost(
        _ job: JobID, _ token: LeaseToken, _ status: JobStatus?, isSettledInBatch: Bool = false
    ) -> EngineError {
        let now =
            isSettledInBatch
            ? "an earlier operation of the batch has settled it; settle a job once"
            : status?.whereNow ?? "it has ended, or was never leased; there is nothing to settle"
        return EngineError(
            .leaseLost, "token \(token) is not the active lease of job \(job): \(now)", job: job, status: status,
            token: token)
    }

    static func queueFull(_ queue: String, _ capacity: Int) -> EngineError {
        EngineError(
            .queueFull,
            "queue \(queue) holds the \(capacity) jobs that it takes; try again when some have ended, or raise its "
                + "capacity", queue: queue)
    }

    static func notFound(_ job: JobID) -> EngineError {
        EngineError(.notFound, "there is no job \(job) in this store; check the id", job: job)
    }
}

extension JobStatus {
    /// Where a job is whose lease is lost, and what is to be done about it.
    package var whereNow: String {
        switch state {
        case .leased:
            let holder = worker.flatMap { $0.isEmpty ? nil : $0 } ?? "somebody"
            return "\(holder) has leased it since, as attempt \(attempt); leave it to them"
        case .ready, .scheduled: return "it waits to run again; lease it again to work on it"
        case .dead: return "it is dead; redrive it to run it again"
        default: return "it has ended; there is nothing to settle"
        }
    }
}
