import HoldfastCommandProbe
import HoldfastLog
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
    /// Every target with the probe that it calls.
    static let probes: [String: @Sendable ([UInt8]) -> Void] = [
        "FuzzRecord": DecoderProbe.record, "FuzzBitmap": DecoderProbe.bitmap, "FuzzImage": DecoderProbe.image,
        "FuzzFrame": DecoderProbe.frame, "FuzzSegmentHeader": DecoderProbe.segmentHeader,
        "FuzzSeal": DecoderProbe.seal, "FuzzManifest": DecoderProbe.manifest,
        "FuzzCheckpoint": DecoderProbe.checkpoint, "FuzzSegment": DecoderProbe.segment,
        "FuzzStore": DecoderProbe.store, "FuzzJSON": CommandProbe.json, "FuzzShell": CommandProbe.shell,
        "FuzzDump": CommandProbe.dump,
    ]

    @Test(arguments: FuzzCorpusTests.probes.keys.sorted())
    func nothingInTheCorpusTrapsItsProbe(_ target: String) async throws {
        let probe = try #require(Self.probes[target])
        let inputs = try (files(in: "Corpus/\(target)") + files(in: "FailCases/\(target)")).map {
            try #require(read($0))
        }
        try await onThread { for input in inputs { probe(input) } }
        #expect(!inputs.isEmpty, "the corpus of \(target) is not empty")
        #expect(inputs.count <= 200 && inputs.reduce(0) { $0 + $1.count } <= 400 << 10, "a corpus stays small")
    }

    @Test func everyTargetIsReplayed() throws {
        let targets = try files(in: "Sources").map { String($0.split(separator: "/").last ?? "") }
        #expect(targets == Self.probes.keys.sorted())
    }

    @Test func seedsMadeAnewAreAccepted() async throws {
        try await onThread {
            for (target, seeds) in try FuzzSeeds.all() {
                for (name, bytes) in seeds {
                    Self.probes[target]?(bytes)
                    if getenv("HOLDFAST_WRITE_FUZZ_SEEDS") != nil {
                        try write(bytes, to: "\(fuzzFolder)/Corpus/\(target)/\(name)")
                    }
                }
            }
        }
    }

    /// Opening a store blocks, which is not for the threads that tests run on.
    private func onThread(_ body: @escaping @Sendable () throws -> Void) async throws {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            do {
                _ = try DedicatedThread(name: "corpus") { continuation.resume(with: Result { try body() }) }
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }

    /// The folder of the fuzzers, found from this file's own place in the package.
    private var fuzzFolder: String {
        let file = #filePath
        let parts = file.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
        return parts.joined(separator: "/") + "/Fuzz"
    }

    private func write(_ bytes: [UInt8], to path: String) throws {
        mkdir(String(path.prefix(upTo: path.lastIndex(of: "/") ?? path.startIndex)), 0o755)
        let file = try #require(fopen(path, "wb"), "\(path) can be written")
        defer { fclose(file) }
        #expect(fwrite(bytes, 1, bytes.count, file) == bytes.count)
    }

    private func files(in name: String) throws -> [String] {
        let folder = "\(fuzzFolder)/\(name)"
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
