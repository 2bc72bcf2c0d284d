import Testing

@testable import HoldfastCommand

/// Payloads that are not UTF-8 travel as base 64.
@Suite struct Base64Tests {
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ])
    func vectorsOfTheStandardHold(_ plain: String, _ encoded: String) {
        #expect(Base64.encode([UInt8](plain.utf8)) == [UInt8](encoded.utf8))
        #expect(Base64.decode([UInt8](encoded.utf8)) == [UInt8](plain.utf8))
    }

    @Test func everyByteAndLengthSurvives() {
        for length in 0..<300 {
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ length) }
            #expect(Base64.decode(Base64.encode(bytes)) == bytes)
        }
    }

    @Test(arguments: [
        "Z", "Zg", "Zg=", "Zg===", "====", "=Zg=", "Zh==", "Zm9=", "Zm9v\n", "Zm_v", "Zm9vZg==Zg==", "Z===",
    ])
    func whatEncodesNothingIsRefused(_ text: String) {
        #expect(Base64.decode([UInt8](text.utf8)) == nil)
    }
}
