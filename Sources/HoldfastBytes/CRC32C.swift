// CRC-32C (Castagnoli, RFC 3720), computed by the C target with the processor's instruction where there is one.

internal import CHoldfast

/// The checksum of every header and payload in a store.
package enum CRC32C {
    /// Returns the checksum of `bytes`, continued from `seed` (a salt, or an earlier checksum of the bytes before).
    package static func checksum(_ bytes: Span<UInt8>, seed: UInt32 = 0) -> UInt32 {
        // SAFETY: the C function reads exactly `count` bytes from a buffer valid for the closure.
        unsafe bytes.withUnsafeBufferPointer { buffer in
            unsafe holdfast_crc32c(seed, buffer.baseAddress, buffer.count)
        }
    }
}
