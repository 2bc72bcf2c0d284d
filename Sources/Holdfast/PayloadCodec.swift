// Payloads that only who has the key can read. The store keeps them as the codec gave them, in an envelope that names
// the key in clear; so does everything made of records: checkpoints, forks, backups, dumps. What a payload is encoded
// with can be seen from its first bytes alone, so that an edit needs no field of its own, and keys can be changed while
// jobs wait.
//
//     envelope   8 bytes that mark it · u8(bytes of the key's name) · key's name · what the codec gave
//
// A plain payload that begins with the mark is refused, so that none is taken for an envelope.

internal import HoldfastBytes

/// Encodes payloads before they are recorded, and decodes them for who leases a job or looks at it.
///
/// Both run on the thread of the caller or of a reader, never under the store's lock; several at a time.
public protocol PayloadCodec: Sendable {
    /// Encodes a payload with the key of the day.
    ///
    /// - Throws: Anything; nothing is enqueued then.
    func encode(_ payload: [UInt8]) throws -> EncodedPayload

    /// Decodes what `encode` gave under this key, perhaps long ago.
    ///
    /// - Throws: Anything, also for a key that it does not have; the job keeps its payload then.
    func decode(_ payload: EncodedPayload) throws -> [UInt8]
}

/// What a codec made of a payload.
public struct EncodedPayload: Hashable, Sendable {
    /// Names the key, not the key itself: it is stored in clear. 1 to 255 bytes.
    public let keyID: String
    /// What only the key opens.
    public let bytes: [UInt8]

    /// Creates what a codec gives.
    public init(keyID: String, bytes: [UInt8]) { (self.keyID, self.bytes) = (keyID, bytes) }
}

/// How an encoded payload is stored.
package enum PayloadEnvelope {
    /// No text, and no common file begins like that.
    private static let mark: [UInt8] = [0x00, 0xF5, 0x48, 0x46, 0x45, 0x4E, 0x43, 0x01]

    /// Whether bytes begin as an envelope does.
    package static func isMarked(_ payload: [UInt8]) -> Bool { payload.first == mark[0] && payload.starts(with: mark) }

    /// Takes an envelope apart; `nil` for anything else.
    package static func contents(_ payload: [UInt8]) -> EncodedPayload? {
        guard isMarked(payload), payload.count > mark.count else { return nil }
        let (start, count) = (mark.count + 1, Int(payload[mark.count]))
        guard count > 0, payload.count >= start + count else { return nil }
        let name = String(validating: payload.span.extracting(start..<(start + count)))
        return name.map { EncodedPayload(keyID: $0, bytes: Array(payload[(start + count)...])) }
    }

    /// Encodes a payload with `codec` and puts it into an envelope.
    static func seal(
        _ payload: [UInt8], with codec: any PayloadCodec, _ options: JobStoreOptions
    ) throws(JobStoreError) -> [UInt8] {
        let encoded: EncodedPayload
        do { encoded = try codec.encode(payload) } catch {
            throw JobStoreError(.payloadCodec, "the payload can't be encoded (\(error)); nothing is stored of it")
        }
        try Limits.checkName(encoded.keyID, "keyID")
        let sealed = mark + [UInt8(encoded.keyID.utf8.count)] + Array(encoded.keyID.utf8) + encoded.bytes
        try Limits.checkPayloadBytes(sealed.count, options)
        return sealed
    }

    /// Returns a payload as it was given.
    ///
    /// - Throws: `.payloadCodec`, naming the key, for one that is encoded and can't be decoded.
    static func open(_ payload: [UInt8], with codec: (any PayloadCodec)?) throws(JobStoreError) -> [UInt8] {
        guard let encoded = contents(payload) else { return payload }
        guard let codec else {
            throw JobStoreError(
                .payloadCodec,
                "the payload is encoded with the key `\(encoded.keyID)`; open the store with the payload "
                    + "codec that has it"
            )
        }
        do { return try codec.decode(encoded) } catch {
            throw JobStoreError(
                .payloadCodec,
                "the payload can't be decoded with the key `\(encoded.keyID)` (\(error)); give the codec that key")
        }
    }
}

extension JobInfo {
    /// Whether anybody sees its payload as it is stored.
    var isShownAsIs: Bool { !isSecret && payload.map { !PayloadEnvelope.isMarked($0) } ?? true }

    /// The same for whoever may see it: decoded, and without a payload that is a secret.
    func shown(to viewer: PayloadViewer) -> JobInfo {
        guard let payload else { return self }
        var info = self
        info.payloadKeyID = PayloadEnvelope.contents(payload)?.keyID
        if isSecret, !viewer.seesSecrets {
            info.payload = nil
            return info
        }
        guard info.payloadKeyID != nil else { return info }
        do throws(JobStoreError) { info.payload = try PayloadEnvelope.open(payload, with: viewer.codec) } catch {
            info.payload = nil
            info.payloadError = error
        }
        return info
    }
}

/// Who looks at a job.
struct PayloadViewer: Sendable {
    var seesSecrets = false
    var codec: (any PayloadCodec)?
}
