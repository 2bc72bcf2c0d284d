// What heads are made of, against published values, and their form as text.

import CHoldfast
import HoldfastBytes
import Testing

@Suite struct AuditHeadTests {
    struct Vector: Sendable {
        let key: [UInt8]
        let message: [UInt8]
        /// The code, or its first half where only that was published.
        let code: String
    }

    /// RFC 4231, test cases 1 to 7.
    static let vectors = [
        Vector(
            key: [UInt8](repeating: 0x0b, count: 20), message: Array("Hi There".utf8),
            code: "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        Vector(
            key: Array("Jefe".utf8), message: Array("what do ya want for nothing?".utf8),
            code: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        Vector(
            key: [UInt8](repeating: 0xaa, count: 20), message: [UInt8](repeating: 0xdd, count: 50),
            code: "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        Vector(
            key: Array(1...25), message: [UInt8](repeating: 0xcd, count: 50),
            code: "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
        Vector(
            key: [UInt8](repeating: 0x0c, count: 20), message: Array("Test With Truncation".utf8),
            code: "a3b6167473100ee06e0c796c2955552b"),
        Vector(
            key: [UInt8](repeating: 0xaa, count: 131),
            message: Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
            code: "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
        Vector(
            key: [UInt8](repeating: 0xaa, count: 131),
            message: Array(
                ("This is a test using a larger than block-size key and a larger than block-size data. The key needs "
                    + "to be hashed before being used by the HMAC algorithm.").utf8),
            code: "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
    ]

    @Test(arguments: vectors.indices) func publishedCodesAreReproduced(_ number: Int) {
        let vector = Self.vectors[number]
        let code = HMAC.authenticate(vector.message.span, key: vector.key.span)
        #expect(AuditHead(sequence: .zero, hash: code).hexadecimal.hasPrefix(vector.code))
    }

    /// NIST's SHA256ShortMsg.rsp, messages of 8, 16, 64 and 512 bits.
    @Test(arguments: [
        (hex: "d3", digest: "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1"),
        (hex: "11af", digest: "5ca7133fa735326081558ac312c620eeca9970d1e70a4b95533d956f072d1f98"),
        (hex: "5738c929c4f4ccb6", digest: "963bb88f27f512777aab6c8b1a02c70ec0ad651d428f870036e1917120fb48bf"),
        (
            hex: "5a86b737eaea8ee976a0a24da63e7ed7eefad18a101c1211e2b3650c5187c2a8"
                + "a650547208251f6d4237e661c7bf4c77f335390394c37fa1a9f9be836ac28509",
            digest: "42e61e174fbb3897d6dd6cef3dd2802fe67b331953b06114a65c772859dfc1aa"
        ),
    ]) func publishedHashesAreReproduced(_ vector: (hex: String, digest: String)) {
        let digits = Array(vector.hex)
        let message = stride(from: 0, to: digits.count, by: 2).compactMap {
            UInt8(String(digits[$0...$0 + 1]), radix: 16)
        }
        #expect(AuditHead(sequence: .zero, hash: SHA256.hash(message.span)).hexadecimal == vector.digest)
    }

    /// The padded blocks of short records, and the long way of others.
    @Test func aLinkIsTheHashOfItsParts() {
        let empty: [UInt8] = []
        var hash = SHA256.hash(empty.span)
        for count in 0..<300 {
            let body = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ count) }
            let gap = count % 3 == 0 ? 0 : UInt64(count) &* 0x00c1_0203_0405_0607 >> UInt64(count % 64)
            var prefix = ByteWriter()
            prefix.append(hash)
            prefix.append(varint: gap)
            prefix.append(UInt8(count % 256))
            let message = [UInt8](copying: prefix.bytes) + body
            SHA256.link(&hash, gap: gap, kind: UInt8(count % 256), body: body.span)
            #expect(hash == SHA256.hash(message.span), "\(count) bytes")
        }
    }

    @Test func aHeadIsReadAsItIsPrinted() throws {
        let head = AuditHead(sequence: SequenceNumber(42), hash: Array(0..<32))
        let text = "42:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
        #expect(head.description == text)
        #expect(AuditHead(text) == head)
        #expect(AuditHead(text.uppercased()) == head)
        #expect(AuditHead("0:" + head.hexadecimal)?.sequence == .zero)
    }

    @Test(arguments: [
        "", ":", "1", "1:", "1:00", "x:HASH", "-1:HASH", "+1:HASH", "9223372036854775808:HASH", "1:HASH0", "1:HASH:",
        "1HASH",
        " 1:HASH", "1:HASG", "1:+1HAS",
    ]) func whatIsNoHeadIsRefused(_ text: String) {
        let hash = String(repeating: "0a", count: 32)
        let filled = text.replacing("HASH", with: hash).replacing("HASG", with: hash.dropLast() + "g")
        #expect(AuditHead(filled.replacing("HAS", with: hash.dropLast(2))) == nil)
    }

    @Test func aKeyDoesNotShowItself() {
        let key = AuditKey(Array("a secret of some length".utf8))
        var text = ""
        dump(key, to: &text)
        for shown in ["\(key)", String(reflecting: key), text] {
            #expect(!shown.contains("97") && !shown.contains("secret"), "\(shown)")
        }
    }
}
