import HoldfastTestKit
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Runs every input the fuzzers start from, and every one that ever failed, through its decoder.
@Suite struct FuzzCorpusTests {
    @Test func recordsInTheCorpusNeverTrap() throws { try run("FuzzRecord", DecoderProbe.record) }
    @Test func bitmapsInTheCorpusNeverTrap() throws { try run("FuzzBitmap", DecoderProbe.bitmap) }
    @Test func imagesInTheCorpusNeverTrap() throws { try run("FuzzImage", DecoderProbe.image) }

    private func run(_ target: String, _ probe: ([UInt8]) -> Void) throws {
        var count = 0
        for folder in ["Corpus", "FailCases"] {
            for file in try files(in: "\(fuzzFolder)/\(folder)/\(target)") {
                probe(try #require(read(file)))
                count += 1
            }
        }
        #expect(count > 0, "the corpus of \(target) is not empty")
    }

    /// The folder of the fuzzers, found from this file's own place in the package.
    private var fuzzFolder: String {
        let file = #filePath
        let parts = file.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
        return parts.joined(separator: "/") + "/Fuzz"
    }

    private func files(in folder: String) throws -> [String] {
        let directory = try #require(opendir(folder), "\(folder) can be listed")
        defer { closedir(directory) }
        var result: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { result.append("\(folder)/\(name)") }
        }
        return result.sorted()
    }

    private func read(_ path: String) -> [UInt8]? {
        guard let file = fopen(path, "rb") else { return nil }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            if count == 0 { return bytes }
            bytes += buffer[..<count]
        }
    }
}
