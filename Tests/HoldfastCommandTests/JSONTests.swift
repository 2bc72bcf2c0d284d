import Testing

@testable import HoldfastCommand

/// The parser and the writer of the shell's lines.
@Suite struct JSONTests {
    private func parse(_ text: String) throws -> JSONValue { try JSONDocument([UInt8](text.utf8)).root }

    @Test func valuesComeBackAsSent() throws {
        let text = #"{"a":1.50,"b":[1e400,-0,123456789012345678901234567890],"c":{"d":"\u00e9\/é"},"e":null}"#
        let root = try parse("  " + text + "\t")
        #expect(String(decoding: root.raw, as: UTF8.self) == text)
        #expect(root["a"].map { String(decoding: $0.raw, as: UTF8.self) } == "1.50")
        #expect(
            root["b"]?.elements?.map { String(decoding: $0.raw, as: UTF8.self) } == [
                "1e400", "-0", "123456789012345678901234567890",
            ])
        #expect(root["c"]?["d"]?.string == "é/é")
        #expect(root["e"]?.kind == .null)
        #expect(root["f"] == nil)
    }

    @Test(
        arguments: [
            ("0", 0), ("-0", 0), ("9223372036854775807", Int64.max), ("-9223372036854775808", Int64.min),
            ("9223372036854775808", nil), ("1.0", nil), ("1e3", nil), ("-12", -12),
        ] as [(String, Int64?)])
    func integersAreWholeNumbersThatFit(_ text: String, _ value: Int64?) throws {
        #expect(try parse(text).integer == value)
    }

    @Test(arguments: [
        "", " ", "{", "[", "nul", "tru", "+1", "01", "1.", ".5", "1e", "--1", "\"", "\"\\x\"", "\"\\u12\"",
        "\"\\u12g4\"",
        "\"a\nb\"", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "[1,]", "[1 2]", "1 2", "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}", "[{\"x\":{\"b\":0,\"b\":0}}]", "\"\\ud800\"", "\"\\ud800x\"", "\"\\udc00\"",
        "\"\\ud800\\ud800\"", "'a'", "NaN", "\u{FEFF}1", "1,", "]", "}",
    ])
    func textsThatAreNoJSONAreRefused(_ text: String) {
        #expect(throws: JSONError.self) { try parse(text) }
    }

    @Test(
        arguments: [
            [0x22, 0xFF, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], [0x22, 0xC3, 0x22],
        ]
            as [[UInt8]])
    func textsThatAreNoUTF8AreRefused(_ bytes: [UInt8]) throws {
        let error = try #require(throws: JSONError.self) { try JSONDocument(bytes) }
        #expect(error.offset == 1)
    }

    @Test func keysThatOnlyLookAlikeAreDifferent() throws {
        let root = try parse("{\"\u{E9}\":1,\"e\u{301}\":2}")
        #expect(root.fields?.count == 2)
    }

    @Test func duplicatesAreFoundAmongManyFields() throws {
        let fields = (0..<1000).map { "\"k\($0)\":\($0)" }.joined(separator: ",")
        #expect(try parse("{\(fields)}").fields?.count == 1000)
        let error = try #require(throws: JSONError.self) { try parse("{\(fields),\"k\\u0037\":0}") }
        #expect(error.reason.contains("k7"))
    }

    @Test func nestingIsBounded() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(try parse(nested(256)).kind == .array)
        #expect(throws: JSONError.self) { try parse(nested(257)) }
        #expect(throws: JSONError.self) { try parse(nested(1_000_000)) }
    }

    @Test func escapesStandForTheirCharacters() throws {
        #expect(try parse(#""\"\\\/\b\f\n\r\t\u0000\u20AC\ud83d\ude00""#).string == "\"\\/\u{8}\u{C}\n\r\t\0€😀")
    }

    @Test func fieldsAreFoundByTheirNamesHoweverTheyAreWritten() throws {
        let root = try parse(#"{"queue":1,"p\u0072iority":2,"":3,"\n":4}"#)
        let found = [root["queue"], root["priority"], root[""], root["\n"]].map { $0?.integer }
        #expect(found == [1, 2, 3, 4])
        #expect(root["queu"] == nil && root["queuf"] == nil && root["n"] == nil)
        let names: [StaticString] = ["queue", "priority", "", "\n"]
        #expect(!root.hasField(besides: names))
        for name in names.indices {
            let others = names[..<name] + names[(name + 1)...]
            #expect(root.hasField(besides: Array(others)))
        }
    }

    @Test func noPrefixOrChangedByteOfATextTraps() throws {
        let text = [UInt8](#"{"op":"x","n":-1.5e+3,"l":[true,false,null,"\u00e9é\ud83d\ude00"],"o":{"k":{}}}"#.utf8)
        for end in 0..<text.count {
            #expect(!JSONDocument.isValid([UInt8](text[..<end])))
        }
        for index in text.indices {
            for bit in 0..<8 {
                var changed = text
                changed[index] ^= 1 << bit
                guard let root = try? JSONDocument(changed).root else { continue }
                #expect(root.kind == .object)
                for field in try #require(root.fields) {
                    // What is read of it must be text, too.
                    let texts = [field.name] + [field.value] + (field.value.elements ?? [])
                    for text in texts where text.kind == .string {
                        #expect(text.stringBytes.map { String(validating: $0, as: UTF8.self) } == text.string)
                    }
                }
            }
        }
    }

    @Test func whatIsWrittenIsReadBack() throws {
        var writer = JSONWriter()
        let text = "\u{0}\u{1F}\"\\/\u{7F}é😀\n\r\t\u{8}\u{C}"
        writer.beginObject()
        writer.key("text")
        writer.value(text)
        writer.key(dynamic: text)
        writer.value(Int64.min)
        writer.key("list")
        writer.beginArray()
        writer.value(true)
        writer.null()
        writer.value(raw: [UInt8]("[1,\n2]".utf8))
        writer.value(utf8: [UInt8]("x".utf8))
        writer.endArray()
        writer.key("max")
        writer.value(UInt64.max)
        writer.endObject()
        #expect(!writer.bytes.contains(0x0A))
        let root = try JSONDocument(writer.bytes).root
        #expect(root["text"]?.string == text)
        #expect(root.fields?[1].name.string == text)
        #expect(root.fields?[1].value.integer == Int64.min)
        #expect(root["list"].map { String(decoding: $0.raw, as: UTF8.self) } == "[true,null,[1, 2],\"x\"]")
        #expect(root["max"].map { String(decoding: $0.raw, as: UTF8.self) } == "18446744073709551615")
    }
}
