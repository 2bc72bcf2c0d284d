// Questions about whole runs of bytes, and copying them: a loop over a span checks every index, which debug builds
// pay for in full.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

extension MutableSpan<UInt8> {
    /// Copies `source` to `offset`.
    ///
    /// - Precondition: It fits.
    package mutating func copy(_ source: Span<UInt8>, at offset: Int = 0) {
        precondition(offset >= 0 && offset <= count && source.count <= count - offset, "the bytes do not fit")
        guard !source.isEmpty else { return }
        // SAFETY: both ranges were checked, and a span that can be written is not shared with one that is read.
        unsafe withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { bytes in
                unsafe UnsafeMutableRawBufferPointer(rebasing: target[offset...]).copyMemory(from: bytes)
            }
        }
    }
}

extension Span<UInt8> {
    /// Whether every byte is zero.
    package var isAllZero: Bool {
        guard !isEmpty else { return true }
        // SAFETY: both runs compared are within the buffer: all but the last byte, and all but the first.
        return unsafe withUnsafeBytes { bytes in
            guard unsafe bytes[0] == 0, let start = bytes.baseAddress else { return false }
            return unsafe memcmp(start, start + 1, bytes.count - 1) == 0
        }
    }

    /// Whether both the address and the length are multiples of `bytes`.
    package func isAligned(to bytes: Int) -> Bool {
        // SAFETY: the address is looked at, not followed.
        let address = unsafe withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
        return (UInt(count) | address) % UInt(bytes) == 0
    }
}
