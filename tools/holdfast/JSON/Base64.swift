// RFC 4648 base 64, standard alphabet, padded. Decoding is strict: one text for each value.

/// Bytes as text, for payloads that are not UTF-8.
enum Base64 {
    private static let alphabet = [UInt8]("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// The value of each letter, 0xFF for what is none.
    private static let values: [UInt8] = {
        var table = [UInt8](repeating: 0xFF, count: 256)
        for (value, letter) in alphabet.enumerated() { table[Int(letter)] = UInt8(value) }
        return table
    }()

    /// Returns `bytes` as text.
    static func encode(_ bytes: [UInt8]) -> [UInt8] {
        let alphabet = alphabet
        var result: [UInt8] = []
        result.reserveCapacity((bytes.count + 2) / 3 * 4)
        var index = 0
        while index < bytes.count {
            let rest = bytes.count - index
            let a = UInt32(bytes[index])
            let b = rest > 1 ? UInt32(bytes[index + 1]) : 0
            let c = rest > 2 ? UInt32(bytes[index + 2]) : 0
            let bits = a << 16 | b << 8 | c
            result.append(alphabet[Int(bits >> 18)])
            result.append(alphabet[Int(bits >> 12 & 63)])
            result.append(rest > 1 ? alphabet[Int(bits >> 6 & 63)] : UInt8(ascii: "="))
            result.append(rest > 2 ? alphabet[Int(bits & 63)] : UInt8(ascii: "="))
            index += 3
        }
        return result
    }

    /// Returns the bytes that `text` stands for, or `nil` when it is not the encoding of anything.
    static func decode(_ text: [UInt8]) -> [UInt8]? {
        guard text.count.isMultiple(of: 4) else { return nil }
        let values = values
        let padding = text.suffix(2).reversed().prefix { $0 == UInt8(ascii: "=") }.count
        let letters = text.count - padding
        var result: [UInt8] = []
        result.reserveCapacity(text.count / 4 * 3)
        var bits: UInt32 = 0
        for index in 0..<text.count {
            let value = index < letters ? values[Int(text[index])] : 0
            if value == 0xFF { return nil }
            bits = bits << 6 | UInt32(value)
            guard index % 4 == 3 else { continue }
            result.append(UInt8(truncatingIfNeeded: bits >> 16))
            result.append(UInt8(truncatingIfNeeded: bits >> 8))
            result.append(UInt8(truncatingIfNeeded: bits))
            bits = 0
        }
        // Bits beyond the last byte must be zero, or two texts would stand for one value.
        let surplus = result.suffix(padding)
        guard surplus.allSatisfy({ $0 == 0 }) else { return nil }
        result.removeLast(padding)
        return result
    }
}
