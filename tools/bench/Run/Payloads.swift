// What jobs carry, in Swift's terms. The bytes are made and checked in C, where the clients of other systems use them
// too.

import ArgumentParser
import CBenchPayload

// SENDABLE: the bodies are never changed after they were made.
/// Payloads of one length.
final class Payloads: @unchecked Sendable {
    /// The lengths that can be made.
    static let byteCounts = Int(BENCH_PAYLOAD_MIN)...Int(BENCH_PAYLOAD_MAX)

    let byteCount: Int
    private let bodies: OpaquePointer

    init(byteCount: Int) throws {
        guard let bodies = bench_payloads_make(byteCount) else {
            throw ValidationError("--payload must be \(Self.byteCounts.lowerBound) to \(Self.byteCounts.upperBound)")
        }
        (self.byteCount, self.bodies) = (byteCount, bodies)
    }

    deinit { bench_payloads_free(bodies) }

    /// Returns the payload of `number`.
    func make(_ number: UInt64) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, count in
            if let base = buffer.baseAddress { bench_payload_write(bodies, number, base) }
            count = byteCount
        }
    }

    /// Returns the number whose payload this is; `nil` when a byte of it differs.
    func number(of payload: [UInt8]) -> UInt64? {
        let number = payload.withUnsafeBufferPointer { bench_payload_read(bodies, $0.baseAddress, $0.count) }
        return number == .max ? nil : number
    }

    /// Scatters a number, so that sums of them tell sets apart.
    static func mix(_ number: UInt64) -> UInt64 { bench_payload_mix(number) }
}
