import Holdfast
import Testing

@testable import HoldfastCommand

/// `holdfast effects` and `holdfast effect remove`.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct EffectCommandTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func holdfast(_ arguments: String...) throws -> ProcessResult {
        try CommandHarness.run(CommandHarness.executable(), arguments, input: [])
    }

    @Test func whatIsRecordedIsShownAndForgotten() throws {
        let shell = try ShellProcess(directory.store)
        try shell.ask(#"{"op":"effect","scope":"job 7","key":"charge","value":{"no":1},"tag":"receipt"}"#)
        try shell.ask(#"{"op":"effect","scope":"job 7","key":"mail","value":"bounced","failed":true}"#)
        // Of a store in use, and of a closed one.
        for isClosed in [false, true] {
            if isClosed { #expect(try shell.finish() == .code(0)) }
            #expect(try holdfast("effects", directory.store).lines == ["job 7: 2 effects"])
            #expect(
                try holdfast("effects", directory.store, "job 7").lines == [
                    #"charge (receipt): {"no":1}"#, #"mail: failed: "bounced""#,
                ])
            let json = try holdfast("effects", directory.store, "job 7", "--json").lines.first ?? ""
            #expect(json.hasPrefix(#"{"effects":[{"key":"charge","seq":"#) && json.contains(#""value":{"no":1}"#))
            #expect(try holdfast("effects", directory.store, "other").lines == ["no effects of other"])
        }
        #expect(try holdfast("effect", "remove", directory.store, "job 7", "mail").exit == .code(0))
        let gone = try holdfast("effect", "remove", directory.store, "job 7", "mail")
        #expect(gone.exit == .code(1) && gone.errors.contains("nothing is recorded"))
        #expect(
            try holdfast("effects", directory.store, "--json").lines == [#"{"scopes":[{"scope":"job 7","count":1}]}"#])
    }

    @Test func aGateThatTheLineProtocolRecordedHoldsInSwift() async throws {
        let shell = try ShellProcess(directory.store)
        try shell.expect(
            #"{"op":"effect","scope":"job 7","key":"tax","value":1,"tag":"holdfast.version"}"#,
            #"{"value":1,"replayed":false}"#)
        #expect(try shell.finish() == .code(0))
        let store = try await JobStore.open(at: directory.store)
        let decision = try await store.effects(scope: "job 7").require(change: "tax", min: 1, max: 2)
        #expect(decision.version == 1 && !decision.isNew)
        try await store.close()
    }

    @Test func aMistypedPathMakesNoStore() throws {
        #expect(try holdfast("effects", directory.store).exit == .code(2))
        #expect(try holdfast("effect", "remove", directory.store, "s", "k").exit == .code(2))
    }
}
