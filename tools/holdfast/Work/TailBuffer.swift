// The last bytes of a stream, whatever its length.

/// Keeps the end of what is appended.
struct TailBuffer {
    private let bytesMax: Int
    private var bytes: [UInt8] = []
    private var isCut = false

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    mutating func append(_ more: UnsafeRawBufferPointer) {
        bytes.append(contentsOf: more)
        // Cutting at twice the limit makes each byte move at most once.
        if bytes.count > 2 * bytesMax { cut() }
    }

    /// The text that is left, repaired where it is no UTF-8, without the line ends at its end.
    var text: String {
        var tail = self
        tail.cut()
        var kept = tail.bytes[...]
        if tail.isCut { kept = kept.drop { $0 & 0xC0 == 0x80 } }
        while kept.last == 0x0A || kept.last == 0x0D { kept = kept.dropLast() }
        return String(decoding: kept, as: UTF8.self)
    }

    private mutating func cut() {
        guard bytes.count > bytesMax else { return }
        bytes.removeFirst(bytes.count - bytesMax)
        isCut = true
    }
}
