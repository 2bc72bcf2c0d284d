// One line of JSON, parsed but not converted: every value keeps its place in the text, so that it can be stored and
// sent back as it came, numbers digit for digit. Nodes lie in one array in the order of the text; `next` skips a
// subtree, so looking up a field costs one step per field and no allocation.

import HoldfastBytes

/// A parsed JSON text.
final class JSONDocument: Sendable {
    /// What a value is.
    enum Kind: UInt8, Sendable {
        case null, bool, number, string, array, object

        /// The kind in a sentence.
        var name: String {
            switch self {
            case .null: "null"
            case .bool: "a boolean"
            case .number: "a number"
            case .string: "a string"
            case .array: "a list"
            case .object: "an object"
            }
        }
    }

    /// A value's place: `start ..< end` in the text (a string with its quotes), `next` the node after its subtree.
    struct Node: Sendable {
        var kind: Kind
        var hasEscapes = false
        var start: Int32
        var end: Int32 = 0
        var next: Int32 = 0
    }

    /// The most arrays and objects that may be inside one another.
    static let depthMax = 256
    /// The longest text.
    static let bytesMax = 64 << 20

    let bytes: [UInt8]
    let nodes: [Node]

    /// Parses `bytes`, which must be one JSON value with nothing but white space around it.
    ///
    /// - Throws: `JSONError` naming the first byte that is wrong.
    init(_ bytes: [UInt8]) throws(JSONError) {
        guard bytes.count <= Self.bytesMax else {
            throw JSONError("the text is longer than \(Self.bytesMax) bytes", at: Self.bytesMax)
        }
        self.nodes = try JSONParser.parse(bytes)
        self.bytes = bytes
    }

    /// The whole value.
    var root: JSONValue { JSONValue(document: self, index: 0) }

    /// The text of a string, escapes resolved.
    fileprivate func text(of node: Node) -> ArraySlice<UInt8> {
        let content = bytes[Int(node.start) + 1..<Int(node.end) - 1]
        return node.hasEscapes ? JSONParser.unescape(content.span)[...] : content
    }

    /// Returns the node of the field called `name` of the object at `object`; `nil` when there is none.
    ///
    /// - Complexity: O(fields), without counting a reference: a request is asked for many fields it does not have.
    fileprivate func field(_ name: StaticString, of object: Int) -> Int? {
        firstField(of: object) { isString($0, name) }.map { $0 + 1 }
    }

    /// Says whether the object at `object` has a field that is called none of `names`.
    fileprivate func hasField(besides names: [StaticString], of object: Int) -> Bool {
        firstField(of: object) { key in !names.contains { isString(key, $0) } } != nil
    }

    /// Returns the node of the first name that `matches`.
    private func firstField(of object: Int, where matches: (Node) -> Bool) -> Int? {
        guard nodes[object].kind == .object else { return nil }
        return nodes.withUnsafeBufferPointer { nodes in
            let end = Int(nodes[object].next)
            var key = object + 1
            while key < end {
                if matches(nodes[key]) { return key }
                key = Int(nodes[key + 1].next)
            }
            return nil
        }
    }

    private func isString(_ node: Node, _ text: StaticString) -> Bool {
        if !node.hasEscapes && Int(node.end - node.start) - 2 != text.utf8CodeUnitCount { return false }
        return text.withUTF8Buffer { self.text(of: node).elementsEqual($0) }
    }

    /// Says whether `bytes` are one JSON value.
    static func isValid(_ bytes: [UInt8]) -> Bool {
        (try? JSONParser.parse(bytes)) != nil
    }
}

/// Why a text is no JSON.
struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    let reason: String
    /// The byte the reason is about, counted from 0.
    let offset: Int

    init(_ reason: String, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }

    var description: String { "\(reason) (at byte \(offset))" }
}

/// One value in a document.
struct JSONValue: Sendable {
    let document: JSONDocument
    let index: Int

    private var node: JSONDocument.Node { document.nodes[index] }

    var kind: JSONDocument.Kind { node.kind }

    /// The value's text as it was sent.
    var raw: ArraySlice<UInt8> {
        let node = node
        return document.bytes[Int(node.start)..<Int(node.end)]
    }

    var bool: Bool? { kind == .bool ? document.bytes[Int(node.start)] == UInt8(ascii: "t") : nil }

    /// The number, when it is written as a whole one (no fraction, no exponent) and fits.
    var integer: Int64? {
        guard kind == .number else { return nil }
        var text = raw
        let isNegative = text.first == UInt8(ascii: "-")
        if isNegative { text = text.dropFirst() }
        var value: Int64 = 0
        for byte in text {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let digit = Int64(byte - UInt8(ascii: "0"))
            let (sum, carry) = product.addingReportingOverflow(isNegative ? -digit : digit)
            if overflow || carry { return nil }
            value = sum
        }
        return value
    }

    /// The text of a string as UTF-8, escapes resolved.
    var stringBytes: [UInt8]? {
        let node = node
        return node.kind == .string ? [UInt8](document.text(of: node)) : nil
    }

    /// The text of a string.
    var string: String? {
        let node = node
        return node.kind == .string ? String(decoding: document.text(of: node), as: UTF8.self) : nil
    }

    /// The elements of a list.
    var elements: [JSONValue]? {
        let node = node
        guard node.kind == .array else { return nil }
        var result: [JSONValue] = []
        var child = index + 1
        while child < Int(node.next) {
            result.append(JSONValue(document: document, index: child))
            child = Int(document.nodes[child].next)
        }
        return result
    }

    /// The fields of an object, in the order of the text.
    var fields: [(name: JSONValue, value: JSONValue)]? {
        let node = node
        guard node.kind == .object else { return nil }
        var result: [(name: JSONValue, value: JSONValue)] = []
        var child = index + 1
        while child < Int(node.next) {
            result.append(
                (JSONValue(document: document, index: child), JSONValue(document: document, index: child + 1)))
            child = Int(document.nodes[child + 1].next)
        }
        return result
    }

    /// Returns the field called `name` of an object, or `nil`.
    subscript(name: StaticString) -> JSONValue? {
        document.field(name, of: index).map { JSONValue(document: document, index: $0) }
    }

    /// Says whether this is an object with a field that is called none of `names`.
    func hasField(besides names: [StaticString]) -> Bool { document.hasField(besides: names, of: index) }
}
