// RFC 8259, strictly: one value, valid UTF-8, escapes that stand for characters (no lone surrogates), no duplicate
// keys at any depth, a bounded depth. Keys are compared by their bytes after escapes are resolved, because text that
// merely looks alike to Swift's String is a different key.

import HoldfastBytes

/// Builds the nodes of a `JSONDocument`.
struct JSONParser {
    private let bytes: [UInt8]
    private var offset = 0
    private var depth = 0
    private var hasOnlyASCII = true
    private var nodes: [JSONDocument.Node] = []

    /// Returns the nodes of the one value in `bytes`.
    static func parse(_ bytes: [UInt8]) throws(JSONError) -> [JSONDocument.Node] {
        var parser = JSONParser(bytes: bytes)
        parser.nodes.reserveCapacity(24)
        try parser.value()
        parser.skipSpace()
        if parser.offset < bytes.count { throw JSONError("something follows the value", at: parser.offset) }
        if !parser.hasOnlyASCII && String(validating: bytes.span) == nil {
            throw JSONError("the text is not valid UTF-8", at: parser.firstInvalidByte())
        }
        return parser.nodes
    }

    private init(bytes: [UInt8]) { self.bytes = bytes }

    private var byte: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    private mutating func skipSpace() {
        while let byte, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { offset += 1 }
    }

    private mutating func value() throws(JSONError) {
        skipSpace()
        guard let byte else { throw JSONError("the text ends where a value should begin", at: offset) }
        switch byte {
        case UInt8(ascii: "{"): try object()
        case UInt8(ascii: "["): try array()
        case UInt8(ascii: "\""): try string()
        case UInt8(ascii: "t"): try literal("true", .bool)
        case UInt8(ascii: "f"): try literal("false", .bool)
        case UInt8(ascii: "n"): try literal("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try number()
        default: throw JSONError("a value can't begin like this", at: offset)
        }
    }

    // MARK: - Containers

    private mutating func open(_ kind: JSONDocument.Kind) throws(JSONError) -> Int {
        depth += 1
        guard depth <= JSONDocument.depthMax else {
            throw JSONError("the text is nested deeper than \(JSONDocument.depthMax)", at: offset)
        }
        nodes.append(JSONDocument.Node(kind: kind, start: Int32(offset)))
        offset += 1
        return nodes.count - 1
    }

    private mutating func close(_ node: Int) {
        offset += 1
        depth -= 1
        nodes[node].end = Int32(offset)
        nodes[node].next = Int32(nodes.count)
    }

    private mutating func array() throws(JSONError) {
        let node = try open(.array)
        skipSpace()
        if byte == UInt8(ascii: "]") { return close(node) }
        while true {
            try value()
            skipSpace()
            switch byte {
            case UInt8(ascii: ","): offset += 1
            case UInt8(ascii: "]"): return close(node)
            default: throw JSONError("a list goes on with a comma or ends with a bracket", at: offset)
            }
        }
    }

    private mutating func object() throws(JSONError) {
        let node = try open(.object)
        var count = 0
        skipSpace()
        if byte == UInt8(ascii: "}") { return close(node) }
        while true {
            skipSpace()
            guard byte == UInt8(ascii: "\"") else { throw JSONError("a field's name is a string", at: offset) }
            try string()
            count += 1
            skipSpace()
            guard byte == UInt8(ascii: ":") else { throw JSONError("a colon follows a field's name", at: offset) }
            offset += 1
            try value()
            skipSpace()
            switch byte {
            case UInt8(ascii: ","): offset += 1
            case UInt8(ascii: "}"):
                try refuseDuplicates(from: node + 1, count: count)
                return close(node)
            default: throw JSONError("an object goes on with a comma or ends with a brace", at: offset)
            }
        }
    }

    // MARK: - Duplicate keys

    /// Below this many fields, comparing each with each is cheaper than sorting.
    private static let pairwiseMax = 24

    private func refuseDuplicates(from first: Int, count: Int) throws(JSONError) {
        if count < 2 { return }
        var keys: [Int] = []
        if count > Self.pairwiseMax { keys.reserveCapacity(count) }
        var node = first
        while node < nodes.count {
            if count <= Self.pairwiseMax {
                var other = first
                while other < node {
                    if haveEqualText(other, node) { throw duplicate(node) }
                    other = Int(nodes[other + 1].next)
                }
            } else {
                keys.append(node)
            }
            node = Int(nodes[node + 1].next)
        }
        let texts = keys.map { (text: text(of: $0), node: $0) }
            .sorted { $0.text.lexicographicallyPrecedes($1.text) }
        for (a, b) in zip(texts, texts.dropFirst()) where a.text == b.text {
            throw duplicate(Swift.max(a.node, b.node))
        }
    }

    private func haveEqualText(_ a: Int, _ b: Int) -> Bool {
        if nodes[a].hasEscapes || nodes[b].hasEscapes { return text(of: a) == text(of: b) }
        let (startA, startB) = (Int(nodes[a].start), Int(nodes[b].start))
        let length = Int(nodes[a].end) - startA
        if length != Int(nodes[b].end) - startB { return false }
        for index in 1..<length where bytes[startA + index] != bytes[startB + index] { return false }
        return true
    }

    private func text(of node: Int) -> [UInt8] {
        let content = bytes[Int(nodes[node].start) + 1..<Int(nodes[node].end) - 1]
        return nodes[node].hasEscapes ? Self.unescape(content.span) : [UInt8](content)
    }

    private func duplicate(_ node: Int) -> JSONError {
        JSONError(
            "the field \(String(decoding: text(of: node), as: UTF8.self)) is there twice", at: Int(nodes[node].start))
    }

    // MARK: - Scalars

    private mutating func literal(_ word: StaticString, _ kind: JSONDocument.Kind) throws(JSONError) {
        let start = offset
        let matches = word.withUTF8Buffer { wanted in
            bytes.count - start >= wanted.count && bytes[start..<start + wanted.count].elementsEqual(wanted)
        }
        guard matches else { throw JSONError("a value can't begin like this", at: start) }
        offset += word.utf8CodeUnitCount
        append(kind, from: start)
    }

    private mutating func number() throws(JSONError) {
        let start = offset
        if byte == UInt8(ascii: "-") { offset += 1 }
        if byte == UInt8(ascii: "0") {
            offset += 1
        } else {
            try digits()
        }
        if byte == UInt8(ascii: ".") {
            offset += 1
            try digits()
        }
        if byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E") {
            offset += 1
            if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { offset += 1 }
            try digits()
        }
        append(.number, from: start)
    }

    private mutating func digits() throws(JSONError) {
        let start = offset
        while let byte, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { offset += 1 }
        if offset == start { throw JSONError("a digit is missing in a number", at: offset) }
    }

    private mutating func append(_ kind: JSONDocument.Kind, hasEscapes: Bool = false, from start: Int) {
        nodes.append(
            JSONDocument.Node(
                kind: kind, hasEscapes: hasEscapes, start: Int32(start), end: Int32(offset),
                next: Int32(nodes.count + 1)))
    }

    private mutating func string() throws(JSONError) {
        let start = offset
        var hasEscapes = false
        offset += 1
        while true {
            guard let byte else { throw JSONError("a string does not end", at: start) }
            switch byte {
            case UInt8(ascii: "\""):
                offset += 1
                return append(.string, hasEscapes: hasEscapes, from: start)
            case UInt8(ascii: "\\"):
                hasEscapes = true
                try escape()
            case 0..<0x20: throw JSONError("a control character in a string must be escaped", at: offset)
            default:
                if byte >= 0x80 { hasOnlyASCII = false }
                offset += 1
            }
        }
    }

    private mutating func escape() throws(JSONError) {
        let start = offset
        offset += 1
        switch byte {
        case UInt8(ascii: "u"):
            let unit = try hexUnit(at: offset + 1, start: start)
            offset += 5
            if (0xDC00...0xDFFF).contains(unit) { throw JSONError("an escape is half a character", at: start) }
            guard (0xD800...0xDBFF).contains(unit) else { return }
            guard offset + 1 < bytes.count, bytes[offset] == UInt8(ascii: "\\"), bytes[offset + 1] == UInt8(ascii: "u")
            else { throw JSONError("an escape is half a character", at: start) }
            let low = try hexUnit(at: offset + 2, start: start)
            guard (0xDC00...0xDFFF).contains(low) else { throw JSONError("an escape is half a character", at: start) }
            offset += 6
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            offset += 1
        default: throw JSONError("an unknown escape in a string", at: start)
        }
    }

    private func hexUnit(at position: Int, start: Int) throws(JSONError) -> UInt32 {
        guard position + 4 <= bytes.count else { throw JSONError("an escape needs four hex digits", at: start) }
        var unit: UInt32 = 0
        for byte in bytes[position..<position + 4] {
            guard let digit = Self.hexDigit(byte) else { throw JSONError("an escape needs four hex digits", at: start) }
            unit = unit << 4 | digit
        }
        return unit
    }

    private static func hexDigit(_ byte: UInt8) -> UInt32? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A") + 10)
        default: nil
        }
    }

    /// Returns the offset of the first byte that keeps the text from being UTF-8.
    private func firstInvalidByte() -> Int {
        var decoder = Unicode.UTF8.ForwardParser()
        var iterator = bytes.makeIterator()
        var position = 0
        while true {
            switch decoder.parseScalar(from: &iterator) {
            case .valid(let scalar): position += scalar.count
            case .error, .emptyInput: return position
            }
        }
    }

    // MARK: - Escapes

    /// Resolves the escapes of a string's content, which has been checked by parsing.
    static func unescape(_ content: Span<UInt8>) -> [UInt8] {
        // What an escape stands for is never longer than the escape.
        [UInt8](unsafeUninitializedCapacity: content.count) { result, count in
            content.withUnsafeBufferPointer { content in
                var index = 0
                while index < content.count {
                    var byte = content[index]
                    index += 1
                    if byte == UInt8(ascii: "\\") {
                        byte = content[index]
                        index += 1
                        switch byte {
                        case UInt8(ascii: "b"): byte = 0x08
                        case UInt8(ascii: "f"): byte = 0x0C
                        case UInt8(ascii: "n"): byte = 0x0A
                        case UInt8(ascii: "r"): byte = 0x0D
                        case UInt8(ascii: "t"): byte = 0x09
                        case UInt8(ascii: "u"):
                            for unit in UTF8.encode(scalar(content, &index)) ?? .init() {
                                result[count] = unit
                                count += 1
                            }
                            continue
                        default: break
                        }
                    }
                    result[count] = byte
                    count += 1
                }
            }
        }
    }

    /// Reads what follows `\u`, and the other half of a character that takes two.
    private static func scalar(_ content: UnsafeBufferPointer<UInt8>, _ index: inout Int) -> Unicode.Scalar {
        var value = unit(content, index)
        index += 4
        if (0xD800...0xDBFF).contains(value) {
            value = 0x10000 + (value - 0xD800) << 10 + (unit(content, index + 2) - 0xDC00)
            index += 6
        }
        return Unicode.Scalar(value) ?? "\u{FFFD}"
    }

    private static func unit(_ content: UnsafeBufferPointer<UInt8>, _ index: Int) -> UInt32 {
        content[index..<index + 4].reduce(0) { $0 << 4 | (hexDigit($1) ?? 0) }
    }
}
