// `compact --prove`.

import Testing

@testable import HoldfastCommand

@Suite(.serialized, .timeLimit(.minutes(10)))
struct ProveCommandTests {
    @Test func compactProvesThatTheStoreIsTheSame() throws {
        let directory = try TemporaryDirectory()
        let shell = try ShellProcess(directory.store, arguments: ["--history", "none"])
        for _ in 0..<9 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":"x"}"#) }
        let digest = try #require(try shell.ask(#"{"op":"digest"}"#)["digest"]?.string)
        let proof = try shell.ask(#"{"op":"compact","prove":true}"#)["proof"]
        #expect(proof?["seq"]?.integer == 9)
        #expect(proof?["digest_before"]?.string == digest && proof?["digest_after"]?.string == digest)
        #expect(try shell.ask(#"{"op":"compact"}"#)["proof"] == nil)
        #expect(try shell.finish() == .code(0))
        let compact = try CommandHarness.holdfast("compact", directory.store, "--prove")
        #expect(compact.exit == .code(0), "\(compact.errors)")
        #expect(compact.lines.first?.contains("\(digest) before and \(digest) after") == true, "\(compact.output)")
        let json = try CommandHarness.holdfast("compact", directory.store, "--prove", "--json")
        let root = try JSONDocument([UInt8](json.output.utf8)).root
        #expect(root["proof"]?["digest_after"]?.string == digest, "\(json.output)")
    }
}
