// Strings as bytes: read from them, and compared by them.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

extension String {
    /// Copies UTF-8 text, or returns `nil` when the bytes are not valid UTF-8.
    package init?(validating span: Span<UInt8>) {
        // A third of the time that the generic initializer takes, which looks its types up each time.
        if #available(macOS 26, *) {
            guard let text = try? UTF8Span(validating: span) else { return nil }
            self.init(copying: text)
        } else {
            // SAFETY: the span's buffer is valid for the closure and copied at once.
            let text = unsafe span.withUnsafeBufferPointer { unsafe String(validating: $0, as: UTF8.self) }
            guard let text else { return nil }
            self = text
        }
    }

    /// Whether both are one string, or are short and the same bytes; false says nothing.
    private func isIdentical(to other: String) -> Bool {
        // SAFETY: only what both are represented by is compared, and both stay as they are meanwhile.
        unsafe withUnsafeBytes(of: self) { own in
            unsafe withUnsafeBytes(of: other) { other in
                guard let a = own.baseAddress, let b = other.baseAddress else { return false }
                return unsafe memcmp(a, b, MemoryLayout<String>.size) == 0
            }
        }
    }

    /// Whether both are the same bytes. To Swift, "é" in one code point and in two are equal.
    package func hasSameBytes(as other: String) -> Bool {
        if isIdentical(to: other) { return true }
        guard utf8.count == other.utf8.count else { return false }
        // SAFETY: both buffers are valid for the closures, and of one length.
        let areSame = unsafe utf8.withContiguousStorageIfAvailable { own in
            unsafe other.utf8.withContiguousStorageIfAvailable { other in
                guard let a = own.baseAddress, let b = other.baseAddress else { return true }
                return unsafe memcmp(a, b, own.count) == 0
            }
        }
        // Strings of Swift's own are always contiguous; those bridged on Darwin need not be.
        return areSame.flatMap(\.self) ?? utf8.elementsEqual(other.utf8)
    }
}
