// The only place where an operating system error code is kept; layers above see its class and its text.

/// A failed file operation: what was tried, on which path, and what the system said.
package struct IOFailure: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Kind: Hashable, Sendable {
        case notFound, exists, permission, noSpace, notDirectory, tooManyOpenFiles, io
    }
    package let kind: Kind
    /// The call in the system's vocabulary, such as `write` or `fdatasync`.
    package let operation: String
    package let path: String
    /// The system's text for the error, such as `No space left on device`.
    package let reason: String

    package init(_ kind: Kind, operation: String, path: String, reason: String) {
        self.kind = kind
        self.operation = operation
        self.path = path
        self.reason = reason
    }

    package var description: String { "\(operation) \(path): \(reason)" }
}
