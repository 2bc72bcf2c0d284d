import HoldfastCommandProbe

// SAFETY: libFuzzer lends `count` bytes for the call; they are copied at once.
/// Runs one input.
@c(LLVMFuzzerTestOneInput)
public func fuzzJSON(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    CommandProbe.json([UInt8](UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}
