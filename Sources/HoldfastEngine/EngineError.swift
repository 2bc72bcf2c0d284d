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

    /// Creates an error.
    package init(_ code: Code, _ message: String, job: JobID? = nil) {
        self.code = code
        self.message = message
        self.job = job
    }

    package var description: String { message }

    static func leaseLost(_ job: JobID) -> EngineError {
        EngineError(
            .leaseLost, "the token is not the active lease of job \(job); lease the job again to work on it", job: job)
    }

    static func queueFull(_ queue: String, _ capacity: Int) -> EngineError {
        EngineError(
            .queueFull,
            "queue \(queue) holds the \(capacity) jobs that it takes; try again when some have ended, or raise its "
                + "capacity")
    }

    static func notFound(_ job: JobID) -> EngineError {
        EngineError(.notFound, "there is no job \(job) in this store; check the id", job: job)
    }
}
