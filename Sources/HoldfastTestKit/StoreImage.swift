// A whole store in a few kilobytes: its files with the zeros left out. Any bytes stand for some store, so that a fuzzer
// may change them freely; what is cut off or too large is simply left out.
//
//     flags u8 (bit 0: checksums and links are put right) · files
//     file = kind u8 · varint number · varint second number of a sealed segment · varint size · varint count of runs ·
//            runs, each varint of zeros before it and counted bytes

internal import HoldfastBytes
internal import HoldfastLog

/// The files of a store, as bytes that may be changed at random.
public struct StoreImage {
    /// Where `disk` puts the store.
    public static let path = "/store"

    private static let fileBytesMax = 256 << 10
    private static let bytesMax = 2 << 20
    private static let filesMax = 32

    private enum Kind: UInt8 { case manifest, journal, sealed, checkpoint, copy }

    private struct Stored {
        var kind: Kind
        var number: UInt64
        var second: UInt64
        var bytes: [UInt8]
    }

    /// Whether checksums are put right.
    private var isMended: Bool
    private var files: [Stored] = []

    /// Takes the files of the store at `path`.
    ///
    /// - Parameter isMended: Whether `disk` puts checksums right.
    public init(_ disk: SimulatedFileSystem, isMended: Bool) {
        self.isMended = isMended
        for (path, bytes) in disk.snapshotFiles().sorted(by: { $0.key < $1.key }) {
            guard let name = path.split(separator: "/").last else { continue }
            let numbers = name.split { !$0.isNumber }.compactMap { UInt64($0) }
            let kind: Kind
            if name == "MANIFEST" {
                kind = .manifest
            } else if name.hasSuffix(".jnl") {
                kind = .journal
            } else if name.hasSuffix(".seg") {
                kind = .sealed
            } else if name.hasSuffix(".copy.ckpt") {
                kind = .copy
            } else if name.hasSuffix(".ckpt") {
                kind = .checkpoint
            } else {
                continue
            }
            files.append(
                Stored(
                    kind: kind, number: numbers.first ?? 0, second: numbers.count > 1 ? numbers[1] : 0, bytes: bytes))
        }
    }

    /// Reads an image; every sequence of bytes is one.
    public init(_ bytes: [UInt8]) {
        isMended = (bytes.first ?? 0) & 1 == 1
        var reader = ByteReader(bytes.span.extracting(min(1, bytes.count)..<bytes.count))
        var total = 0
        while files.count < Self.filesMax, !reader.isAtEnd, let file = try? Self.file(from: &reader) {
            total += file.bytes.count
            guard total <= Self.bytesMax else { return }
            files.append(file)
        }
    }

    private static func file(from reader: inout ByteReader) throws(ByteReaderError) -> Stored {
        guard let kind = Kind(rawValue: try reader.u8() % 5) else { throw ByteReaderError(.tooLong, at: 0) }
        let numberMax = SequenceNumber.max.rawValue
        let number = kind == .manifest ? 0 : try reader.varint(atMost: numberMax)
        let second = kind == .sealed ? try reader.varint(atMost: numberMax) : 0
        let size = Int(try reader.varint(atMost: UInt64(fileBytesMax)))
        var content: [UInt8] = []
        for _ in 0..<(try reader.varint(atMost: 4096)) {
            let zeros = Int(try reader.varint(atMost: UInt64(fileBytesMax)))
            content.append(contentsOf: repeatElement(0, count: min(zeros, max(0, size - content.count))))
            content.append(contentsOf: try reader.countedArray(atMost: fileBytesMax).prefix(size - content.count))
        }
        content.append(contentsOf: repeatElement(0, count: size - content.count))
        return Stored(kind: kind, number: number, second: second, bytes: content)
    }

    /// The image as bytes.
    public var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.append(isMended ? 1 : 0)
        for file in files {
            writer.append(file.kind.rawValue)
            if file.kind != .manifest { writer.append(varint: file.number) }
            if file.kind == .sealed { writer.append(varint: file.second) }
            writer.append(varint: UInt64(file.bytes.count))
            let runs = Self.runs(file.bytes)
            writer.append(varint: UInt64(runs.count))
            var end = 0
            for run in runs {
                writer.append(varint: UInt64(run.lowerBound - end))
                writer.append(counted: Array(file.bytes[run]))
                end = run.upperBound
            }
        }
        return [UInt8](copying: writer.bytes)
    }

    /// What is not zero, short gaps included.
    private static func runs(_ bytes: [UInt8]) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        for index in bytes.indices where bytes[index] != 0 {
            if let last = runs.last, index - last.upperBound < 16 {
                runs[runs.count - 1] = last.lowerBound..<(index + 1)
            } else {
                runs.append(index..<(index + 1))
            }
        }
        return runs
    }

    /// Returns a disk with the store on it, its checksums put right if the image says so.
    public func disk() -> SimulatedFileSystem {
        let layout = StoreLayout(root: Self.path)
        let disk = SimulatedFileSystem()
        // The directories are there even when they are empty.
        for directory in layout.directories {
            disk.replace(directory + "/x", with: [])
            disk.remove(directory + "/x")
        }
        var link: UInt32?
        for file in files.sorted(by: { Self.base($0) < Self.base($1) }) {
            var bytes = file.bytes
            switch file.kind {
            case .manifest:
                if isMended { SealMending.mendManifest(&bytes) }
                disk.replace(layout.manifest, with: bytes)
            case .journal:
                if isMended { SealMending.mendSegment(&bytes, link: &link) }
                disk.replace(layout.journalPath(slot: file.number), with: bytes)
            case .sealed:
                var own: UInt32?
                if isMended { SealMending.mendSegment(&bytes, link: &own) }
                let name = StoreLayout.sealedName(first: SequenceNumber(file.number), id: SegmentID(file.second))
                disk.replace(layout.segmentsDirectory + "/" + name, with: bytes)
            case .checkpoint, .copy:
                if isMended { SealMending.mendCheckpoint(&bytes) }
                let name = StoreLayout.checkpointName(SequenceNumber(file.number), copy: file.kind == .copy ? 1 : 0)
                disk.replace(layout.checkpointsDirectory + "/" + name, with: bytes)
            }
        }
        return disk
    }

    /// The log position at which a journal file begins: links run in this order.
    private static func base(_ file: Stored) -> UInt64 {
        guard file.kind == .journal, file.bytes.count >= 72 else { return 0 }
        return UInt64(LittleEndian.word(file.bytes, at: 64)) | UInt64(LittleEndian.word(file.bytes, at: 68)) << 32
    }
}
