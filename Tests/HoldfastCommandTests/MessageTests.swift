import Holdfast
import HoldfastLog
import Synchronization
import Testing

@testable import HoldfastCommand

/// How things are said to people, and to programs in codes.
@Suite struct MessageTests {
    /// The list of the line protocol, which is closed.
    private static let contract: Set = [
        "bad_request", "too_large", "not_found", "lease_lost", "invalid_state", "queue_full", "locked", "corrupt",
        "unsupported_format", "io_error", "no_space", "closed",
    ]

    @Test func everyCodeOfTheStoreIsInTheListOfTheProtocol() {
        let codes: [JobStoreError.Code] = [
            .badRequest, .tooLarge, .notFound, .leaseLost, .invalidState, .queueFull, .locked, .corrupt,
            .unsupportedFormat, .ioError, .noSpace, .closed, .notAStore, .permissionDenied,
        ]
        for code in codes {
            #expect(Self.contract.contains(code.protocolName), "\(code)")
            if Self.contract.contains(code.name) { #expect(code.protocolName == code.name) }
        }
        #expect(JobStoreError.Code.notAStore.protocolName == "unsupported_format")
        #expect(JobStoreError.Code.permissionDenied.protocolName == "io_error")
    }

    @Test func aRefusalKeepsItsMessageWhateverItsCode() throws {
        var writer = JSONWriter()
        _ = PendingReply(refusal: JobStoreError(.notAStore, "it holds other things")).write(into: &writer)
        let error = try JSONDocument(writer.bytes).root["error"]
        #expect(error?["code"]?.string == "unsupported_format")
        #expect(error?["message"]?.string == "it holds other things")
    }

    @Test func exitCodesFollowFromCodes() {
        #expect(CommandFailure(JobStoreError(.ioError, "")).exitCode == 3)
        #expect(CommandFailure(JobStoreError(.badRequest, "")).exitCode == 64)
        #expect(CommandFailure(JobStoreError(.notFound, "")).exitCode == 1)
        #expect(CommandFailure(opening: "s", JobStoreError(.locked, "")).exitCode == 2)
    }

    @Test func labelsOfTheRecoveryTableAreLeftOut() {
        for row in RecoveryDecision.rows {
            let plain = LogMessage.plain("journal/1 is damaged at offset 7 (\(row.name)): look")
            #expect(!plain.contains(row.name) && plain.hasPrefix("journal/1 is damaged at offset 7 ("))
            #expect(plain.hasSuffix("): look") && plain.dropFirst(34).first?.isLowercase == true, "\(plain)")
        }
    }

    @Test func numbersOfThingsReadAsWords() {
        #expect(
            [0, 1, 2, 1_234_567].map { Terminal.count($0, "job") } == ["no jobs", "1 job", "2 jobs", "1,234,567 jobs"])
    }

    @Test func whatJobsSayIsCutToALineThatATerminalDoesNotObey() {
        #expect(Terminal.firstLine("\n one\ntwo") == "one")
        #expect(Terminal.firstLine("red \u{1B}[31m\u{07}!") == "red  [31m !")
        #expect(Terminal.firstLine(String(repeating: "x", count: 500), columns: 10) == "xxxxxxxxxx…")
        #expect(Terminal.firstLine("") == "")
    }

    @Test func anEmptyStoreIsShownAsOne() throws {
        let reply = try JSONDocument(
            [UInt8](
                #"{"seq":0,"queues":{},"completed":0,"log_bytes":100,"sealed_segments":0,"journal_segments":0}"#.utf8))
        let lines = StoreReport(reply: reply.root).lines(of: "s")
        #expect(lines[0] == "s: no jobs completed, no records yet, 100 bytes, in use by a holdfast process")
        #expect(lines[1] == "no jobs are waiting, running or dead")
        let other = try JSONDocument(
            [UInt8](
                #"{"seq":7,"queues":{},"completed":1,"log_bytes":100,"sealed_segments":1,"journal_segments":4}"#.utf8))
        #expect(
            StoreReport(reply: other.root).lines(of: "s")[0].hasPrefix(
                "s: 1 job completed, last record 7, 100 bytes in a journal of 4 files and 1 sealed segment"))
    }
}

/// The line that is drawn again and again.
@Suite struct ProgressLineTests {
    @Test func itIsDrawnAtMostTenTimesASecondAndRemovedOnce() {
        var line = ProgressLine(isShown: true)
        let start = ContinuousClock.now
        #expect(line.clearing() == nil)
        #expect(line.drawing(at: start, columns: 80) { "one" } == ProgressLine.erase + "one")
        #expect(line.drawing(at: start + .milliseconds(99), columns: 80) { "two" } == nil)
        #expect(line.drawing(at: start + .milliseconds(100), columns: 80) { "three" } == ProgressLine.erase + "three")
        #expect(line.clearing() == ProgressLine.erase)
        #expect(line.clearing() == nil)
    }

    @Test func itStaysOutOfTheLastColumn() {
        var line = ProgressLine(isShown: true)
        #expect(line.drawing(at: .now, columns: 5) { "123456" } == ProgressLine.erase + "1234")
    }

    @Test func withoutATerminalThereIsNone() {
        var line = ProgressLine(isShown: false)
        #expect(line.drawing(at: .now, columns: 80) { "one" } == nil)
        #expect(line.clearing() == nil)
    }
}

/// Why jobs fail, as `work` tells it.
@Suite struct FailureLogTests {
    private final class Texts: Sendable {
        let all = Mutex<[String]>([])
    }

    private func log(isShown: Bool = true) -> (FailureLog, Texts) {
        let texts = Texts()
        return (FailureLog(isShown: isShown) { text in texts.all.withLock { $0.append(text) } }, texts)
    }

    @Test func eachFailureIsToldAndCountedAtTheEnd() {
        let (log, texts) = log()
        log.note(JobID(7), attempt: 1, error: "exit code 7: why\nmore", isDead: false)
        log.note(JobID(7), attempt: 2, error: "exit code 7: why", isDead: true)
        log.note(JobID(8), attempt: 1, error: "killed by signal 9", isDead: false)
        let told = texts.all.withLock { $0 }
        #expect(told.count == 3)
        #expect(told[0].hasSuffix("job 7, attempt 1: exit code 7: why\n"))
        #expect(told[1].hasSuffix("job 7, attempt 2, dead: exit code 7: why\n"))
        #expect(
            log.summary == ["why attempts failed:", "       2 × exit code 7: why", "       1 × killed by signal 9"])
    }

    @Test func manyDifferentErrorsStayBounded() {
        let (log, _) = log()
        for number in 1...1500 { log.note(JobID(1), attempt: 1, error: "error \(number)", isDead: false) }
        #expect(log.summary.count == 7)
        #expect(log.summary.last == "   1,495 × other errors")
    }

    @Test func nothingIsToldUnlessItIsToBeShown() {
        let (log, texts) = log(isShown: false)
        for _ in 1...2 { log.note(JobID(1), attempt: 1, error: "e", isDead: false) }
        #expect(texts.all.withLock { $0 }.isEmpty && log.summary.isEmpty)
    }
}
