import HoldfastTestKit

// SAFETY: libFuzzer lends `count` bytes for the call; they are copied at once.
/// Runs one input.
@c(LLVMFuzzerTestOneInput)
public func fuzzSeal(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    DecoderProbe.seal([UInt8](UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}
