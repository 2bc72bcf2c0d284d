// The one decoder: a cursor over borrowed bytes. It never reads past the end, never allocates for a length it has not
// checked, and rejects every varint that has a shorter spelling, so that each value has one encoding.

/// Why bytes could not be decoded.
package struct ByteReaderError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Reason: Hashable, Sendable {
        case truncated, overlongVarint, notUTF8, tooLong, notCanonical, unsupported
    }
    package let reason: Reason
    package let offset: Int

    package init(_ reason: Reason, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }

    package var description: String {
        switch reason {
        case .truncated: "the bytes end early at offset \(offset)"
        case .overlongVarint: "an integer at offset \(offset) is not in its shortest form"
        case .notUTF8: "the text at offset \(offset) is not valid UTF-8"
        case .tooLong: "a length at offset \(offset) exceeds its limit"
        case .notCanonical: "the bytes at offset \(offset) are not how any value is written"
        case .unsupported: "the bytes at offset \(offset) use a feature that this version does not know"
        }
    }
}

/// Reads little-endian integers, varints and bytes from a span, front to back.
package struct ByteReader: ~Escapable {
    private let bytes: Span<UInt8>
    package private(set) var offset = 0

    @_lifetime(copy bytes)
    package init(_ bytes: Span<UInt8>) { self.bytes = bytes }

    package var remaining: Int { bytes.count - offset }
    package var isAtEnd: Bool { offset == bytes.count }

    package mutating func u8() throws(ByteReaderError) -> UInt8 {
        guard offset < bytes.count else { throw ByteReaderError(.truncated, at: offset) }
        defer { offset += 1 }
        return bytes[offset]
    }

    package mutating func u16() throws(ByteReaderError) -> UInt16 { UInt16(truncatingIfNeeded: try fixed(2)) }
    package mutating func u32() throws(ByteReaderError) -> UInt32 { UInt32(truncatingIfNeeded: try fixed(4)) }
    package mutating func u64() throws(ByteReaderError) -> UInt64 { try fixed(8) }

    package mutating func varint() throws(ByteReaderError) -> UInt64 {
        let start = offset
        // Most are of one byte.
        if start < bytes.count, bytes[start] < 0x80 {
            offset = start + 1
            return UInt64(bytes[start])
        }
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let byte = try u8()
            let isOverlong = shift == 63 && byte > 1 || byte == 0 && shift > 0
            guard !isOverlong || Safeguard.varintForm.isOff else { throw ByteReaderError(.overlongVarint, at: start) }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
    }

    /// Reads a varint that must not exceed `limit`.
    package mutating func varint(atMost limit: UInt64) throws(ByteReaderError) -> UInt64 {
        let start = offset
        let value = try varint()
        guard value <= limit || Safeguard.numberLimits.isOff else { throw ByteReaderError(.tooLong, at: start) }
        return value
    }

    /// Lends the next `count` bytes without copying.
    @_lifetime(copy self)
    package mutating func span(_ count: Int) throws(ByteReaderError) -> Span<UInt8> {
        guard count >= 0, count <= remaining else { throw ByteReaderError(.truncated, at: offset) }
        let result = bytes.extracting(offset..<(offset + count))
        offset += count
        return result
    }

    package mutating func array(_ count: Int) throws(ByteReaderError) -> [UInt8] {
        let source = try span(count)
        return [UInt8](copying: source)
    }

    /// Reads `count` words of 16 bits.
    package mutating func words(_ count: Int) throws(ByteReaderError) -> [UInt16] {
        guard count >= 0, count <= remaining / 2 else { throw ByteReaderError(.truncated, at: offset) }
        let source = try span(count * 2)
        var words = unsafe [UInt16](unsafeUninitializedCapacity: count) { words, initialized in
            // SAFETY: the source has twice as many bytes as there is room for words; any bytes make words.
            unsafe source.withUnsafeBufferPointer { bytes in
                unsafe UnsafeMutableRawBufferPointer(words).copyBytes(from: bytes)
            }
            initialized = count
        }
        if UInt16(littleEndian: 1) != 1 { for index in words.indices { words[index] = words[index].byteSwapped } }
        return words
    }

    package mutating func skip(_ count: Int) throws(ByteReaderError) {
        guard count >= 0, count <= remaining else { throw ByteReaderError(.truncated, at: offset) }
        offset += count
    }

    /// Reads bytes preceded by their number, at most `limit` of them.
    package mutating func countedArray(atMost limit: Int) throws(ByteReaderError) -> [UInt8] {
        try array(Int(try varint(atMost: UInt64(limit))))
    }

    /// Reads UTF-8 text preceded by its length, at most `limit` bytes.
    package mutating func countedString(atMost limit: Int) throws(ByteReaderError) -> String {
        let count = Int(try varint(atMost: UInt64(limit)))
        let start = offset
        let source = try span(count)
        guard let string = String(validating: source) else { throw ByteReaderError(.notUTF8, at: start) }
        return string
    }

    private mutating func fixed(_ width: Int) throws(ByteReaderError) -> UInt64 {
        guard width <= remaining else { throw ByteReaderError(.truncated, at: offset) }
        var value: UInt64 = 0
        for index in 0..<width { value |= UInt64(bytes[offset + index]) << UInt64(8 * index) }
        offset += width
        return value
    }
}

extension [UInt8] {
    /// Copies the bytes of a span.
    package init(copying span: Span<UInt8>) {
        // SAFETY: the span's buffer is valid for the closure and copied at once.
        self = unsafe span.withUnsafeBufferPointer { unsafe Array($0) }
    }
}
