// The probes that the fuzzers call, on valid bytes changed at random: a quick stand-in for fuzzing in every run.

import HoldfastBytes
import HoldfastTestKit
import Testing

@testable import HoldfastLog

@Suite struct DecoderProbeLogTests {
    static let seeds: [(name: String, bytes: [UInt8], probe: @Sendable ([UInt8]) -> Void)] = {
        var page = ByteWriter()
        FormatTests.segment().encode(into: &page)
        let salt: [UInt8] = [4, 3, 2, 1]
        let seal = [UInt8](
            hex: "09f4030a1401010202010a8020040a94030238c6"
                + "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
        return [
            ("frame", salt + [UInt8](hex: FormatTests.frames[0].hex) + FormatTests.payload, DecoderProbe.frame),
            ("entries", [3, 0, 1, 0xAA, 0xBB, 1, 2, 0x85], DecoderProbe.entries),
            ("segment header", Array([UInt8](copying: page.bytes).prefix(160)), DecoderProbe.segmentHeader),
            ("manifest", [UInt8](hex: FormatTests.manifestHex), DecoderProbe.manifest),
            ("seal", seal, DecoderProbe.seal),
            ("checkpoint", [UInt8](hex: FormatTests.checkpointHex) + [1, 2, 3], DecoderProbe.checkpoint),
        ]
    }()

    @Test(arguments: DecoderProbeLogTests.seeds.indices) func noBytesTrapADecoder(number: Int) {
        let (_, bytes, probe) = Self.seeds[number]
        probe(bytes)
        var random = SeededRandom(seed: UInt64(number) + 1)
        for _ in 0..<20_000 {
            var changed = bytes
            for _ in 0..<random.pick(1...4) {
                switch random.pick(0...3) {
                case 0: changed[random.pick(0...(changed.count - 1))] = UInt8(random.pick(0...255))
                case 1: changed[random.pick(0...(changed.count - 1))] ^= 1 << UInt8(random.pick(0...7))
                case 2: changed.insert(UInt8(random.pick(0...255)), at: random.pick(0...changed.count))
                default: if changed.count > 1 { changed.remove(at: random.pick(0...(changed.count - 1))) }
                }
            }
            probe(changed)
        }
    }
}
