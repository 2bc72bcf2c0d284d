// The one encoder: a growable, page-aligned run of bytes. Page alignment lets a whole commit group go to the device
// without another copy; growth doubles, so appending is amortised O(1) and allocates nothing once warm.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Appends little-endian integers, varints and bytes to memory it owns.
@safe
package struct ByteWriter: ~Copyable {
    // SAFETY: `base` is owned by this value alone and holds `capacity` bytes, the first `count` of them initialised.
    private var base: UnsafeMutablePointer<UInt8>
    package private(set) var count = 0
    package private(set) var capacity: Int

    package static let alignment = 4096

    /// Creates an empty writer with room for at least `capacity` bytes, rounded up to whole pages.
    package init(capacity: Int = Self.alignment) {
        precondition(capacity >= 0, "a capacity is not negative")
        self.capacity = Self.roundedUp(Swift.max(capacity, 1))
        unsafe base = Self.allocate(self.capacity)
    }

    deinit { unsafe free(base) }

    /// The bytes written so far.
    package var bytes: Span<UInt8> {
        @_lifetime(borrow self)
        get {
            // SAFETY: the memory lives as long as `self`, which the span borrows.
            let span = unsafe Span(_unsafeStart: base, count: count)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// The bytes written so far, for patching in place.
    package var mutableBytes: MutableSpan<UInt8> {
        @_lifetime(&self)
        mutating get {
            // SAFETY: the memory lives as long as `self`, which the span borrows exclusively.
            let span = unsafe MutableSpan(_unsafeStart: base, count: count)
            return unsafe _overrideLifetime(span, mutating: &self)
        }
    }

    /// Forgets what was written and keeps the memory.
    package mutating func removeAll() { count = 0 }

    /// Forgets everything from `newCount` on.
    package mutating func truncate(to newCount: Int) {
        precondition((0...count).contains(newCount), "truncation can't grow")
        count = newCount
    }

    /// Makes room for `additional` more bytes.
    package mutating func reserve(_ additional: Int) {
        let (needed, overflow) = count.addingReportingOverflow(additional)
        precondition(!overflow, "a buffer outgrew the address space")
        if needed > capacity { grow(to: needed) }
    }

    package mutating func append(_ value: UInt8) {
        reserve(1)
        // SAFETY: `reserve` made room for the byte.
        unsafe base[count] = value
        count += 1
    }

    package mutating func append(littleEndian value: UInt16) { store(value.littleEndian, size: 2) }
    package mutating func append(littleEndian value: UInt32) { store(value.littleEndian, size: 4) }
    package mutating func append(littleEndian value: UInt64) { store(value.littleEndian, size: 8) }

    /// Appends `value` in base 128, low groups first, one to ten bytes.
    package mutating func append(varint value: UInt64) {
        reserve(10)
        var rest = value
        while rest >= 0x80 {
            // SAFETY: at most ten bytes are written, and `reserve` made room for them.
            unsafe base[count] = UInt8(truncatingIfNeeded: rest) | 0x80
            count += 1
            rest >>= 7
        }
        unsafe base[count] = UInt8(truncatingIfNeeded: rest)
        count += 1
    }

    package mutating func append(_ bytes: Span<UInt8>) {
        reserve(bytes.count)
        // SAFETY: `reserve` made room, and a span given by the caller can't overlap memory we own exclusively.
        unsafe bytes.withUnsafeBufferPointer { source in
            if let start = source.baseAddress { unsafe memcpy(base + count, start, source.count) }
        }
        count += bytes.count
    }

    package mutating func append(_ bytes: [UInt8]) { append(bytes.span) }

    /// Appends what was written to another.
    package mutating func append(_ other: borrowing ByteWriter) { append(other.bytes) }

    /// Appends words of 16 bits, low byte first.
    package mutating func append(littleEndian words: ArraySlice<UInt16>) {
        guard UInt16(littleEndian: 1) == 1 else {
            for word in words { append(littleEndian: word) }
            return
        }
        // SAFETY: the slice's memory is valid for the closure and copied at once; words are bytes as they are.
        unsafe words.withUnsafeBytes { unsafe append(Span(_unsafeBytes: $0)) }
    }

    /// Appends the UTF-8 of `string` without a length.
    package mutating func append(utf8 string: String) {
        var string = string
        // SAFETY: the closure's buffer is valid for its duration and copied at once.
        string.withUTF8 { unsafe append(Span(_unsafeElements: $0)) }
    }

    /// Appends `count` zero bytes.
    package mutating func append(zeros count: Int) {
        reserve(count)
        // SAFETY: `reserve` made room for them.
        unsafe memset(base + self.count, 0, count)
        self.count += count
    }

    /// Appends `bytes` preceded by their number as a varint.
    package mutating func append(counted bytes: Span<UInt8>) {
        append(varint: UInt64(bytes.count))
        append(bytes)
    }

    package mutating func append(counted bytes: [UInt8]) { append(counted: bytes.span) }

    /// Appends the UTF-8 of `string` preceded by its length in bytes as a varint.
    package mutating func append(counted string: String) {
        var string = string
        // SAFETY: the closure's buffer is valid for its duration and copied at once.
        string.withUTF8 { unsafe append(counted: Span(_unsafeElements: $0)) }
    }

    /// Overwrites four bytes at `offset`.
    package mutating func store(littleEndian value: UInt32, at offset: Int) {
        precondition(offset >= 0 && offset <= count - 4, "a patch lies outside what was written")
        // SAFETY: the four bytes were checked to be inside what was written.
        unsafe UnsafeMutableRawPointer(base + offset).storeBytes(of: value.littleEndian, as: UInt32.self)
    }

    /// Overwrites eight bytes at `offset`.
    package mutating func store(littleEndian value: UInt64, at offset: Int) {
        precondition(offset >= 0 && offset <= count - 8, "a patch lies outside what was written")
        // SAFETY: the eight bytes were checked to be inside what was written.
        unsafe UnsafeMutableRawPointer(base + offset).storeBytes(of: value.littleEndian, as: UInt64.self)
    }

    /// Overwrites one byte at `offset`.
    package mutating func store(_ value: UInt8, at offset: Int) {
        precondition(offset >= 0 && offset < count, "a patch lies outside what was written")
        // SAFETY: the byte was checked to be inside what was written.
        unsafe base[offset] = value
    }

    /// Opens a gap of `width` bytes at `offset` by moving what follows; the gap's content is unspecified.
    package mutating func insertGap(_ width: Int, at offset: Int) {
        precondition(offset >= 0 && offset <= count && width >= 0, "a gap lies outside what was written")
        reserve(width)
        // SAFETY: `reserve` made room for the moved bytes; memmove allows the overlap.
        unsafe memmove(base + offset + width, base + offset, count - offset)
        count += width
    }

    private mutating func store<T: FixedWidthInteger>(_ value: T, size: Int) {
        reserve(size)
        // SAFETY: `reserve` made room for `size` bytes.
        unsafe UnsafeMutableRawPointer(base + count).storeBytes(of: value, as: T.self)
        count += size
    }

    private mutating func grow(to needed: Int) {
        let newCapacity = Self.roundedUp(Swift.max(needed, capacity * 2))
        // SAFETY: the new memory holds what was written; the old is freed once and not used again.
        let newBase = unsafe Self.allocate(newCapacity)
        unsafe memcpy(newBase, base, count)
        unsafe free(base)
        unsafe base = newBase
        capacity = newCapacity
    }

    // SAFETY: the buffer is used by `append(upTo:)` alone, right after it reserved the room.
    fileprivate mutating func unusedCapacity(_ bytes: Int) -> UnsafeMutableBufferPointer<UInt8> {
        unsafe UnsafeMutableBufferPointer(start: base + count, count: bytes)
    }

    fileprivate mutating func advance(by bytes: Int) { count += bytes }

    private static func roundedUp(_ bytes: Int) -> Int { (bytes + alignment - 1) & ~(alignment - 1) }

    private static func allocate(_ bytes: Int) -> UnsafeMutablePointer<UInt8> {
        var memory: UnsafeMutableRawPointer?
        let status = unsafe posix_memalign(&memory, alignment, bytes)
        guard status == 0, let memory = unsafe memory else { preconditionFailure("out of memory: \(bytes) bytes") }
        return unsafe memory.bindMemory(to: UInt8.self, capacity: bytes)
    }
}

extension ByteWriter {
    /// Lets `fill` write up to `capacity` bytes behind what was written; it returns how many it wrote.
    package mutating func append(upTo capacity: Int, _ fill: (UnsafeMutableBufferPointer<UInt8>) -> Int) {
        reserve(capacity)
        let written = unsafe fill(unusedCapacity(capacity))
        precondition((0...capacity).contains(written), "more bytes were written than there was room for")
        advance(by: written)
    }
}
