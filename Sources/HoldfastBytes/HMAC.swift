// HMAC with SHA-256 (RFC 2104), for audit heads that only the holder of a key can make.

/// A keyed SHA-256.
package enum HMAC {
    private static let blockBytes = 64

    /// Returns the 32 bytes of the authentication code of `message` under `key`, which may have any length.
    package static func authenticate(_ message: Span<UInt8>, key: Span<UInt8>) -> [UInt8] {
        var block = [UInt8](copying: key)
        if block.count > blockBytes { block = SHA256.hash(key) }
        block += [UInt8](repeating: 0, count: blockBytes - block.count)
        let innerPad = block.map { $0 ^ 0x36 }
        let outerPad = block.map { $0 ^ 0x5c }
        var inner = SHA256()
        inner.update(innerPad.span)
        inner.update(message)
        let digest = inner.finalize()
        var outer = SHA256()
        outer.update(outerPad.span)
        outer.update(digest.span)
        return outer.finalize()
    }
}
