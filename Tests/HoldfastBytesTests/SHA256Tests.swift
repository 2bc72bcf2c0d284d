// SHA-256 against published values, and the processor's instructions against the portable code.

import CHoldfast
import HoldfastBytes
import Testing

@Suite struct SHA256Tests {
    struct Vector: Sendable {
        let text: String
        let digest: String
    }

    /// FIPS 180-4's examples, and the hash of nothing.
    static let vectors = [
        Vector(text: "", digest: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        Vector(text: "abc", digest: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        Vector(
            text: "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            digest: "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
        Vector(
            text: "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
                + "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
            digest: "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"),
    ]

    @Test(arguments: vectors) func publishedValuesAreReproduced(_ vector: Vector) {
        #expect(hexadecimal(SHA256.hash(Array(vector.text.utf8).span)) == vector.digest)
        #expect(hexadecimal(portableHash(Array(vector.text.utf8))) == vector.digest)
    }

    @Test func aMillionLettersAHashAsPublished() {
        let part = [UInt8](repeating: UInt8(ascii: "a"), count: 1_000)
        var hasher = SHA256()
        for _ in 0..<1_000 { hasher.update(part.span) }
        #expect(
            hexadecimal(hasher.finalize()) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    }

    @Test func fastAndPortableAgreeForAnyChunks() {
        var state: UInt64 = 7
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(bound))
        }
        for length in 0..<300 {
            let bytes = (0..<length).map { _ in UInt8(random(256)) }
            var hasher = SHA256()
            var done = 0
            while done < length {
                let chunk = min(length - done, random(140))
                hasher.update(bytes.span.extracting(done..<done + chunk))
                done += chunk
            }
            #expect(hasher.finalize() == portableHash(bytes))
        }
    }

    @Test func aCopyOfAHasherGoesOnByItself() {
        var first = SHA256()
        first.update(Array("ab".utf8).span)
        var second = first
        first.update(Array("c".utf8).span)
        second.update(Array("x".utf8).span)
        #expect(first.finalize() == SHA256.hash(Array("abc".utf8).span))
        #expect(second.finalize() == SHA256.hash(Array("abx".utf8).span))
    }

    /// Pads the message whole and hashes it with the portable block function alone.
    private func portableHash(_ message: [UInt8]) -> [UInt8] {
        var padded = message + [0x80]
        while padded.count % 64 != 56 { padded.append(0) }
        for shift in stride(from: 56, through: 0, by: -8) {
            padded.append(UInt8(truncatingIfNeeded: UInt64(message.count * 8) >> UInt64(shift)))
        }
        var context = holdfast_sha256()
        holdfast_sha256_init(&context)
        withUnsafeMutableBytes(of: &context.state) { state in
            holdfast_sha256_blocks_portable(
                state.baseAddress?.assumingMemoryBound(to: UInt32.self), padded, padded.count / 64)
        }
        return withUnsafeBytes(of: context.state) { state in
            (0..<32).map { state[$0 / 4 * 4 + 3 - $0 % 4] }
        }
    }

    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
    }
}
