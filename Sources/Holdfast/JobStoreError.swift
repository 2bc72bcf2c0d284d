// The one error of the store. Its message names the field or file, says what was wrong and what to do; its code is the
// one that the line protocol uses.

public import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// Why the store refused a request or could not serve it.
public struct JobStoreError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What went wrong, for programs.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case badRequest = "bad_request"
            case tooLarge = "too_large"
            case notFound = "not_found"
            case leaseLost = "lease_lost"
            case invalidState = "invalid_state"
            case queueFull = "queue_full"
            case locked = "locked"
            case corrupt = "corrupt"
            case unsupportedFormat = "unsupported_format"
            case ioError = "io_error"
            case noSpace = "no_space"
            case closed = "closed"
            case notAStore = "not_a_store"
            case permissionDenied = "permission_denied"
            case beyondHistory = "beyond_history"
            case effectMismatch = "effect_mismatch"
            case versionConflict = "version_conflict"
            case payloadCodec = "payload_codec"
        }
        private let value: Value

        /// The request makes no sense; nothing was changed.
        public static let badRequest = Code(value: .badRequest)
        /// A field is longer than its limit; nothing was changed.
        public static let tooLarge = Code(value: .tooLarge)
        /// No such job.
        public static let notFound = Code(value: .notFound)
        /// The token is not the job's active lease.
        public static let leaseLost = Code(value: .leaseLost)
        /// The job is in a state that does not allow the request.
        public static let invalidState = Code(value: .invalidState)
        /// The queue takes no more jobs.
        public static let queueFull = Code(value: .queueFull)
        /// Another process has the store open.
        public static let locked = Code(value: .locked)
        /// Bytes that had been acknowledged are damaged or missing.
        public static let corrupt = Code(value: .corrupt)
        /// A newer version wrote the store.
        public static let unsupportedFormat = Code(value: .unsupportedFormat)
        /// A file operation failed; the store takes no more changes until it is opened again.
        public static let ioError = Code(value: .ioError)
        /// The disk is full; nothing was changed and the store stays open.
        public static let noSpace = Code(value: .noSpace)
        /// The store was closed.
        public static let closed = Code(value: .closed)
        /// The directory holds something else.
        public static let notAStore = Code(value: .notAStore)
        /// The system refused access to the store's files.
        public static let permissionDenied = Code(value: .permissionDenied)
        /// The kept history does not reach the point asked for, or a fork's point has not come; `oldest` says how far
        /// it goes back.
        public static let beyondHistory = Code(value: .beyondHistory)

        /// The recorded effect is of another kind than was asked for; nothing was run.
        public static let effectMismatch = Code(value: .effectMismatch)
        /// The work goes by a version of a change that the code does not have; nothing was run.
        public static let versionConflict = Code(value: .versionConflict)
        /// A payload can't be encoded, or can't be decoded for want of its codec or key; the message names the key.
        public static let payloadCodec = Code(value: .payloadCodec)

        /// The code in the line protocol, such as `lease_lost`.
        public var name: String { value.rawValue }
        /// The same as `name`.
        public var description: String { name }
    }

    /// What went wrong, for programs.
    public let code: Code
    /// What went wrong and what to do, for people.
    public let message: String
    /// Which operation of a batch was refused, counted from 0; `nil` outside batches.
    public let index: Int?
    /// For `.beyondHistory`: the oldest sequence number that is available, if any is.
    public let oldest: SequenceNumber?
    /// The job that it is about, if it is about one.
    public let job: JobID?
    /// For `.leaseLost`: what became of the lease, and where the job is now.
    public let lostLease: LostLease?
    /// For `.queueFull`: what is full, where room may be waited for.
    let fullPlace: FullPlace?

    package init(
        _ code: Code, _ message: String, index: Int? = nil, oldest: SequenceNumber? = nil, job: JobID? = nil,
        lostLease: LostLease? = nil
    ) {
        self.init(code, message, index: index, oldest: oldest, job: job, lostLease: lostLease, fullPlace: nil)
    }

    init(
        _ code: Code, _ message: String, index: Int? = nil, oldest: SequenceNumber? = nil, job: JobID? = nil,
        lostLease: LostLease? = nil, fullPlace: FullPlace?
    ) {
        self.fullPlace = fullPlace
        self.code = code
        self.message = message
        self.index = index
        self.oldest = oldest
        self.job = job ?? lostLease?.id
        self.lostLease = lostLease
    }

    /// The code and the message, and between them which operation of a batch was refused.
    public var description: String {
        guard let index else { return "\(code.name): \(message)" }
        return "\(code.name): operation at index \(index): \(message)"
    }

    /// Returns the same error for the operation at `index` of a batch.
    package func at(_ index: Int) -> JobStoreError {
        JobStoreError(
            code, message, index: index, oldest: oldest, job: job, lostLease: lostLease, fullPlace: fullPlace)
    }
}

extension JobStoreError {
    /// Translates a failure of the log, keeping file, offset and sequence numbers in the message.
    init(_ error: LogError) {
        let code: Code =
            switch error.code {
            case .notAStore: .notAStore
            case .locked: .locked
            case .corrupt: .corrupt
            case .unsupportedFormat: .unsupportedFormat
            case .noSpace: .noSpace
            case .closed: .closed
            case .permission: .permissionDenied
            case .beyondHistory: .beyondHistory
            default: .ioError
            }
        self.init(code, error.message, oldest: code == .beyondHistory ? error.sequences?.lowerBound : nil)
    }
}
