// Splits a stream into lines, or into records ended by NUL. Memory is bounded by the longest line that is accepted:
// what goes beyond it is thrown away up to the line's end and reported once.

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Reads lines from a descriptor. Belongs to one thread.
struct LineReader: ~Copyable {
    /// What came next.
    enum Event {
        case line([UInt8])
        /// A line was longer than the limit and has been skipped.
        case tooLong
        case end
    }

    private static let chunkBytes = 256 << 10

    private let source: Descriptor
    private let interruptions: [Descriptor]
    private let separator: UInt8
    private let lineBytesMax: Int
    private var buffer: [UInt8] = []
    private var start = 0
    /// Up to here no separator has been found.
    private var searched = 0
    private var isAtEnd = false
    private var isSkipping = false

    /// Creates a reader.
    ///
    /// - Parameters:
    ///   - interruptions: When one of these can be read, the stream counts as ended after the lines already here.
    ///   - lineBytesMax: The longest line, its separator not counted.
    init(
        _ source: Descriptor, separator: UInt8 = 0x0A, lineBytesMax: Int, interruptions: [Descriptor] = []
    ) {
        self.source = source
        self.separator = separator
        self.lineBytesMax = lineBytesMax
        self.interruptions = interruptions
    }

    /// Whether `next` would have to wait for the stream.
    var mustWait: Bool {
        mutating get { !isAtEnd && separatorIndex() == nil }
    }

    /// Returns the next line without its separator. A last line without one counts.
    mutating func next() throws(SystemError) -> Event {
        while true {
            if let end = separatorIndex() {
                let event = take(upTo: end)
                start = end + 1
                searched = start
                if let event { return event }
                continue
            }
            if isAtEnd {
                let hasRest = start < buffer.count || isSkipping
                let event = hasRest ? take(upTo: buffer.count) : .end
                start = buffer.count
                return event ?? .end
            }
            if buffer.count - start > lineBytesMax {
                if !isSkipping {
                    isSkipping = true
                    discard()
                    return .tooLong
                }
                discard()
            }
            try fill()
        }
    }

    private mutating func discard() {
        buffer.removeAll(keepingCapacity: true)
        start = 0
        searched = 0
    }

    private mutating func take(upTo end: Int) -> Event? {
        if isSkipping {
            isSkipping = false
            return nil
        }
        return end - start > lineBytesMax ? .tooLong : .line([UInt8](buffer[start..<end]))
    }

    private mutating func separatorIndex() -> Int? {
        if searched == buffer.count { return nil }
        let found: Int? = buffer.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress,
                let place = memchr(base + searched, Int32(separator), bytes.count - searched)
            else { return nil }
            return UnsafeRawPointer(place) - base
        }
        searched = found ?? buffer.count
        return found
    }

    private mutating func fill() throws(SystemError) {
        if !interruptions.isEmpty {
            let ready = try Poll.wait(for: ([source] + interruptions).map { ($0, .read) }, milliseconds: nil)
            if ready.dropFirst().contains(true) {
                isAtEnd = true
                return
            }
            if !ready[0] { return }
        }
        if start > 0 {
            buffer.removeSubrange(0..<start)
            searched -= start
            start = 0
        }
        let filled = buffer.count
        // Doubling keeps the copying of a very long line linear.
        let room = max(Self.chunkBytes, filled)
        buffer.append(contentsOf: repeatElement(0, count: room))
        let outcome: Result<Int, SystemError> = buffer.withUnsafeMutableBytes { bytes in
            do throws(SystemError) {
                return .success(try source.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[filled...])))
            } catch {
                return .failure(error)
            }
        }
        let count = (try? outcome.get()) ?? 0
        buffer.removeLast(room - count)
        _ = try outcome.get()
        if count == 0 { isAtEnd = true }
    }
}
