// Reading one segment front to back, journal or sealed alike. A frame that fails its check stops the walk with an
// error that names file, offset and the sequence numbers from which on nothing is known.

package import HoldfastBytes

/// One segment to read: its header and the range of its frames.
package struct SegmentSource: Sendable {
    package let header: SegmentHeader
    package let path: String
    /// The path inside the store, for messages.
    package let name: String
    /// Where the first frame starts.
    package var start = SegmentHeader.byteCount
    /// Where frames end: behind the last group of a journal, at the seal frame of a sealed segment.
    package let end: Int

    package init(header: SegmentHeader, path: String, name: String, end: Int) {
        self.header = header
        self.path = path
        self.name = name
        self.end = end
    }

    /// Calls `body` with each frame, in order, until it returns false.
    ///
    /// - Parameter atHand: Returns the frame at an offset where it is in memory; the others are read.
    package func forEachFrame(
        _ fileSystem: any FileSystem, atHand: (Int) -> Frame? = { _ in nil }, _ body: (Frame) throws(LogError) -> Bool
    ) throws(LogError) {
        var opened: (any File)?
        defer { opened?.close() }
        var offset = start
        var last = header.firstSequence
        while offset < end {
            let result: Result<Frame, FrameDefectError>
            if let frame = atHand(offset) {
                result = .success(frame)
            } else {
                let file: any File
                if let opened {
                    file = opened
                } else {
                    do { file = try fileSystem.open(path, .read) } catch { throw LogError(error, reading: name) }
                    opened = file
                }
                do { result = try Frame.read(file, at: offset, segment: header) } catch {
                    throw LogError(error, doing: "reading \(name) at \(offset)")
                }
            }
            switch result {
            case .failure(let error):
                throw Self.damage(error.defect, file: name, offset: offset, from: last)
            case .success(let frame):
                guard try body(frame) else { return }
                if frame.header.recordCount > 0 { last = frame.header.firstSequence }
                offset = frame.nextOffset(alignment: header.alignment)
            }
        }
    }

    /// Reads the frame at `offset` alone.
    package func frame(_ fileSystem: any FileSystem, at offset: Int) throws(LogError) -> Frame {
        do {
            let file = try fileSystem.open(path, .read)
            defer { file.close() }
            switch try Frame.read(file, at: offset, segment: header) {
            case .success(let frame): return frame
            case .failure(let error):
                throw Self.damage(error.defect, file: name, offset: offset, from: header.firstSequence)
            }
        } catch let failure as IOFailure {
            throw LogError(failure, doing: "reading \(name) at \(offset)")
        } catch let error as LogError {
            throw error
        } catch {
            preconditionFailure("only typed errors are thrown above: \(error)")
        }
    }

    static func damage(_ defect: FrameDefect, file: String, offset: Int, from first: SequenceNumber) -> LogError {
        let what =
            switch defect {
            case .noHeader: "no valid frame header"
            case .misplaced: "a frame that belongs elsewhere"
            case .cutShort: "a frame that is cut short"
            case .payload: "a frame whose stored bytes fail their checksum"
            case .content: "a frame whose content fails its checksum although its stored bytes are intact"
            }
        return LogError(
            .corrupt,
            "\(file) holds \(what) at offset \(offset), behind sequence number \(first): restore the file from a "
                + "backup, or run: holdfast salvage STORE NEW",
            file: file, offset: offset, sequences: first...SequenceNumber.max)
    }
}

extension Frame {
    /// Where the next frame starts.
    package func nextOffset(alignment: Int) -> Int {
        FrameFormat.aligned(end, to: header.isGroupEnd ? alignment : 8)
    }

    /// Calls `body` with each record until it returns false; returns whether it went through.
    package func forEachEntry(
        file: String, _ body: (borrowing EntryView, Timestamp) throws(LogError) -> Bool
    ) throws(LogError) -> Bool {
        let bytes = raw
        var cursor = EntryCursor(bytes.span, firstSequence: header.firstSequence)
        do {
            while let entry = try cursor.next() {
                guard try body(entry, header.time) else { return false }
            }
        } catch let error as LogError {
            throw error
        } catch {
            throw LogError(
                .corrupt,
                "\(file) holds a frame at offset \(offset) whose records can't be told apart (\(error)); restore the "
                    + "file from a backup, or run: holdfast salvage STORE NEW",
                file: file, offset: offset)
        }
        return true
    }
}

extension SegmentHeader {
    /// Reads and checks the header page of a file.
    package static func read(_ file: any File, name: String) throws(LogError) -> SegmentHeader {
        var page = [UInt8](repeating: 0, count: byteCount)
        let count: Int
        do { count = try file.read(into: &page, at: 0) } catch {
            throw LogError(error, doing: "reading the header of \(name)")
        }
        return try SegmentHeader(page.span.extracting(0..<count), file: name)
    }
}
