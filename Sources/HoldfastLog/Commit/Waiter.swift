// A suspended caller. The unsafe continuation saves an allocation and a lock per wait over the checked one; the
// pipeline resumes each exactly once, because a waiter sits in exactly one list and leaves it to be resumed.

/// Resumes one suspended task.
@safe
struct Waiter: Sendable {
    private let continuation: UnsafeContinuation<Void, Never>

    private init(_ continuation: UnsafeContinuation<Void, Never>) { unsafe self.continuation = continuation }

    /// Suspends the caller until the waiter that `body` gets is resumed; `body` runs at once.
    static func suspend(_ body: (Waiter) -> Void) async {
        // SAFETY: `body` puts the waiter into one list or resumes it itself.
        await unsafe withUnsafeContinuation { unsafe body(Waiter($0)) }
    }

    func resume() {
        // SAFETY: each waiter is taken out of its list before it is resumed, so it is resumed once.
        unsafe continuation.resume()
    }
}
