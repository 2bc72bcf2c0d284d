// The error of the log layer. Its message always says what was wrong, where, and what to do.

package import HoldfastBytes

/// A failure of the log.
package struct LogError: Error, Hashable, Sendable, CustomStringConvertible {
    package struct Code: Hashable, Sendable {
        private enum Value: Hashable, Sendable {
            case notAStore, locked, corrupt, unsupportedFormat, ioFailed, noSpace, poisoned, closed, permission,
                beyondHistory
        }
        private let value: Value

        /// The directory holds something else.
        package static let notAStore = Code(value: .notAStore)
        /// Another process, or another open in this one, owns the store.
        package static let locked = Code(value: .locked)
        /// Bytes that were acknowledged as durable are damaged or missing.
        package static let corrupt = Code(value: .corrupt)
        /// A newer version wrote the file.
        package static let unsupportedFormat = Code(value: .unsupportedFormat)
        /// A file operation failed; nothing was acknowledged that is not durable.
        package static let ioFailed = Code(value: .ioFailed)
        /// The disk is full; nothing was changed.
        package static let noSpace = Code(value: .noSpace)
        /// An earlier write or sync failed; the outcome of what was under way is unknown.
        package static let poisoned = Code(value: .poisoned)
        package static let closed = Code(value: .closed)
        /// The system refused access.
        package static let permission = Code(value: .permission)
        /// Asked for a point that the kept history does not reach, or that has not come.
        package static let beyondHistory = Code(value: .beyondHistory)
    }

    package let code: Code
    package let message: String
    /// The file concerned, relative to the store, and the offset in it.
    package let file: String?
    package let offset: Int?
    /// The sequence numbers concerned.
    package let sequences: ClosedRange<SequenceNumber>?

    package init(
        _ code: Code, _ message: String, file: String? = nil, offset: Int? = nil,
        sequences: ClosedRange<SequenceNumber>? = nil
    ) {
        self.code = code
        self.message = message
        self.file = file
        self.offset = offset
        self.sequences = sequences
    }

    /// Wraps a failed file operation; `doing` says what it was for.
    package init(_ failure: IOFailure, doing: String) {
        let remedy: String
        let code: Code
        switch failure.kind {
        case .noSpace: (code, remedy) = (.noSpace, "free space on the disk and try again")
        case .permission: (code, remedy) = (.permission, "check the owner and mode of the file and its directory")
        case .tooManyOpenFiles: (code, remedy) = (.ioFailed, "raise the limit of open files")
        case .notFound, .exists, .notDirectory, .io: (code, remedy) = (.ioFailed, "check the disk and the system log")
        }
        self.init(code, "\(doing) failed: \(failure); \(remedy)", file: failure.path)
    }

    /// Wraps a failure to read a file that the manifest names: when it is not there, acknowledged bytes are lost.
    init(_ failure: IOFailure, reading name: String) {
        if failure.kind == .notFound {
            self.init(
                .corrupt, "\(name) is missing: restore the file, or run: holdfast salvage STORE NEW", file: name,
                offset: 0)
        } else {
            self.init(failure, doing: "reading \(name)")
        }
    }

    package var description: String { message }
}
