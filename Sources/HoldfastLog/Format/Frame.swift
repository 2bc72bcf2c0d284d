// Reading frames: from bytes at an offset to a checked frame, with the reason when it is none. Nothing is believed
// before its checksum: first the header's, then the stored bytes', and only then is anything decompressed.

internal import HoldfastBytes

/// Why there is no frame where one was looked for.
package enum FrameDefect: Hashable, Sendable {
    /// No valid header of this segment.
    case noHeader
    /// The header is valid but names another place.
    case misplaced
    /// The bytes end before the frame does.
    case cutShort
    /// The stored bytes don't match their checksum.
    case payload
    /// The stored bytes are intact but don't decompress to what was compressed.
    case content
}

/// One frame whose header and stored bytes are intact.
package struct Frame: Sendable {
    package let header: FrameHeader
    /// Where the header starts in the file.
    package let offset: Int
    /// The decompressed payload.
    package let raw: [UInt8]

    /// The first byte behind the stored bytes.
    package var end: Int { offset + FrameFormat.headerBytes + header.storedBytes }

    package init(header: FrameHeader, offset: Int, raw: [UInt8]) {
        self.header = header
        self.offset = offset
        self.raw = raw
    }

    /// Checks the frame that `bytes` hold from `index` on; `offset` is where `index` lies in the file.
    package static func check(
        _ bytes: Span<UInt8>, at index: Int, offset: Int, segment: SegmentHeader
    ) -> Result<FrameHeader, FrameDefectError> {
        guard index + FrameFormat.headerBytes <= bytes.count else { return .failure(.init(.cutShort)) }
        let headerBytes = bytes.extracting(index..<(index + FrameFormat.headerBytes))
        guard let header = FrameHeader(headerBytes, salt: segment.salt) else { return .failure(.init(.noHeader)) }
        guard header.position == segment.base.advanced(by: offset) || Safeguard.scannedPosition.isOff
        else { return .failure(.init(.misplaced)) }
        let start = index + FrameFormat.headerBytes
        guard start + header.storedBytes <= bytes.count || Safeguard.frameExtent.isOff else {
            return .failure(.init(.cutShort))
        }
        let stored = bytes.extracting(start..<(start + header.storedBytes))
        guard
            CRC32C.checksum(stored, seed: segment.salt) == header.payloadChecksum
                || Safeguard.scannedPayloadChecksum.isOff
        else { return .failure(.init(.payload)) }
        return .success(header)
    }

    /// Decompresses a payload whose checksum was good.
    package static func decode(_ stored: Span<UInt8>, header: FrameHeader, salt: UInt32) -> [UInt8]? {
        switch header.codec {
        case .raw:
            return [UInt8](copying: stored)
        case .lz4:
            guard stored.count >= 4 else { return nil }
            let block = stored.extracting(0..<(stored.count - 4))
            guard let raw = LZ4Block.decompress(block, rawBytes: header.rawBytes) else { return nil }
            let expected = UInt32(littleEndianBytes: stored, at: stored.count - 4)
            return CRC32C.checksum(raw.span, seed: salt) == expected || Safeguard.contentChecksum.isOff ? raw : nil
        }
    }

    /// Reads and checks the frame at `offset` of a segment's file.
    package static func read(
        _ file: any File, at offset: Int, segment: SegmentHeader
    ) throws(IOFailure) -> Result<Frame, FrameDefectError> {
        var bytes = [UInt8](repeating: 0, count: FrameFormat.headerBytes)
        guard try file.read(into: &bytes, at: offset) == bytes.count else { return .failure(.init(.cutShort)) }
        guard let header = FrameHeader(bytes.span, salt: segment.salt) else { return .failure(.init(.noHeader)) }
        guard header.position == segment.base.advanced(by: offset) || Safeguard.readPosition.isOff
        else { return .failure(.init(.misplaced)) }
        // The header's checksum vouches for the length, and the format bounds it, so the allocation is bounded.
        var stored = [UInt8](repeating: 0, count: header.storedBytes)
        guard try file.read(into: &stored, at: offset + bytes.count) == stored.count else {
            return .failure(.init(.cutShort))
        }
        guard
            CRC32C.checksum(stored.span, seed: segment.salt) == header.payloadChecksum
                || Safeguard.readPayloadChecksum.isOff
        else { return .failure(.init(.payload)) }
        if header.codec == .raw { return .success(Frame(header: header, offset: offset, raw: stored)) }
        guard let raw = decode(stored.span, header: header, salt: segment.salt) else {
            return .failure(.init(.content))
        }
        return .success(Frame(header: header, offset: offset, raw: raw))
    }
}

/// A `FrameDefect` as an error.
package struct FrameDefectError: Error, Hashable, Sendable {
    package let defect: FrameDefect
    package init(_ defect: FrameDefect) { self.defect = defect }
}

extension File {
    /// Fills an array from `offset` on and returns how many bytes were read.
    package func read(into bytes: inout [UInt8], at offset: Int) throws(IOFailure) -> Int {
        if bytes.isEmpty { return 0 }
        var span = bytes.mutableSpan
        return try read(into: &span, at: offset)
    }
}
