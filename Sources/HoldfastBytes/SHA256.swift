// SHA-256 (FIPS 180-4), for the segment chain and the state digest. The C target computes it, with the processor's
// SHA instructions where there are any: a crypto library would weigh more than the rest of the embedded product.

internal import CHoldfast

/// An incremental SHA-256.
package struct SHA256 {
    private var context = holdfast_sha256()

    package init() { unsafe holdfast_sha256_init(&context) }

    package mutating func update(_ bytes: Span<UInt8>) {
        // SAFETY: the C function reads exactly `count` bytes from a buffer valid for the closure.
        unsafe bytes.withUnsafeBufferPointer { buffer in
            unsafe holdfast_sha256_update(&context, buffer.baseAddress, buffer.count)
        }
    }

    /// Returns the 32 bytes of the hash of all that was given.
    package consuming func finalize() -> [UInt8] {
        var copy = context
        return unsafe [UInt8](unsafeUninitializedCapacity: 32) { buffer, count in
            unsafe holdfast_sha256_final(&copy, buffer.baseAddress)
            count = 32
        }
    }

    /// Returns the hash of `bytes`.
    package static func hash(_ bytes: Span<UInt8>) -> [UInt8] {
        var hasher = SHA256()
        hasher.update(bytes)
        return hasher.finalize()
    }

    /// Puts the hash of `hash`, `gap` as a varint, `kind` and `body` in the place of `hash`.
    ///
    /// - Precondition: `hash` has 32 bytes.
    package static func link(_ hash: inout [UInt8], gap: UInt64, kind: UInt8, body: Span<UInt8>) {
        precondition(hash.count == 32, "a SHA-256 has 32 bytes")
        // SAFETY: the C function reads `count` bytes of the body and changes the 32 of the hash, lent for the closures.
        unsafe body.withUnsafeBufferPointer { body in
            unsafe hash.withUnsafeMutableBufferPointer { hash in
                unsafe holdfast_audit_link(hash.baseAddress, gap, kind, body.baseAddress, body.count)
            }
        }
    }
}
