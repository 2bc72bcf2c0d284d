import HoldfastTestKit

// SAFETY: libFuzzer lends `count` bytes for the call; they are copied at once.
/// Runs one input.
@c(LLVMFuzzerTestOneInput)
public func fuzzCheckpoint(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    DecoderProbe.checkpoint([UInt8](UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}
