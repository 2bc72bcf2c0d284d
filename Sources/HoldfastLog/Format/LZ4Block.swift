// LZ4 blocks through liblz4. The only unsafe code of the log outside Files: the library takes pointers, and copying
// into intermediate buffers would double the cost of sealing.

internal import CLZ4
package import HoldfastBytes

package enum LZ4Block {
    /// Appends the compressed form of `raw`, or returns `false` and appends nothing when it would not save 1/16.
    ///
    /// - Complexity: O(n): about 1 GB/s, or 40 MB/s with `high`, which is smaller by about a quarter.
    package static func append(_ raw: Span<UInt8>, to writer: inout ByteWriter, high: Bool) -> Bool {
        guard raw.count >= 128 else { return false }
        let limit = raw.count - raw.count / 16
        var written = 0
        unsafe writer.append(upTo: limit) { room in
            // SAFETY: both buffers are valid for the call, and their sizes are given.
            unsafe raw.withUnsafeBytes { source in
                let start = unsafe UnsafeRawPointer(source.baseAddress!).assumingMemoryBound(to: CChar.self)
                let target = unsafe UnsafeMutableRawPointer(room.baseAddress!).assumingMemoryBound(to: CChar.self)
                written =
                    high
                    ? Int(unsafe LZ4_compress_HC(start, target, Int32(source.count), Int32(limit), 9))
                    : Int(unsafe LZ4_compress_default(start, target, Int32(source.count), Int32(limit)))
            }
            return max(written, 0)
        }
        return written > 0
    }

    /// Returns exactly `rawBytes` decompressed bytes, or `nil` when the block does not hold them.
    package static func decompress(_ block: Span<UInt8>, rawBytes: Int) -> [UInt8]? {
        guard rawBytes > 0, rawBytes <= FrameFormat.rawBytesMax, block.count <= Int(Int32.max) else { return nil }
        var written: Int32 = -1
        let raw = unsafe [UInt8](unsafeUninitializedCapacity: rawBytes) { room, count in
            // SAFETY: both buffers are valid for the call; the library stays within the sizes given.
            unsafe block.withUnsafeBytes { source in
                guard let start = source.baseAddress else { return }
                written = unsafe LZ4_decompress_safe(
                    start.assumingMemoryBound(to: CChar.self),
                    UnsafeMutableRawPointer(room.baseAddress!).assumingMemoryBound(to: CChar.self),
                    Int32(source.count), Int32(rawBytes))
            }
            count = max(Int(written), 0)
        }
        return Int(written) == rawBytes || Safeguard.decompressedSize.isOff ? raw : nil
    }
}
