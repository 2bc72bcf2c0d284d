// `replay`: beside a process that owns the store, after it has gone, and up to damage.

import Holdfast
import HoldfastEngine
import HoldfastLog
import HoldfastWhatIf
import Testing

@testable import HoldfastCommand

@Suite(.serialized, .timeLimit(.minutes(10)))
struct ReplayCommandTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Jobs of two queues that come every 10 ms; two workers a queue, each 35 ms at a job; every seventh attempt fails.
    private func record(_ shell: ShellProcess, jobs: Int) throws {
        struct Worker {
            let end: Int
            let id: Int64
            let token: Int64
        }
        var busy: [String: [Worker]] = ["a": [], "b": []]
        var attempts = 0
        var (time, left) = (0, jobs)
        while left > 0 || busy.values.contains(where: { !$0.isEmpty }) {
            for queue in ["a", "b"] {
                for worker in busy[queue] ?? [] where worker.end == time {
                    attempts += 1
                    let rest = #""id":\#(worker.id),"token":\#(worker.token)"#
                    if attempts.isMultiple(of: 7) {
                        try shell.ask(#"{"op":"requeue",\#(rest),"delay_ms":20}"#)
                    } else {
                        try shell.ask(#"{"op":"ack",\#(rest)}"#)
                    }
                }
                busy[queue]?.removeAll { $0.end == time }
                if time.isMultiple(of: 10), left > 0 {
                    try shell.ask(#"{"op":"enqueue","queue":"\#(queue)","payload":""}"#)
                    left -= 1
                }
                let free = 2 - (busy[queue]?.count ?? 0)
                if free > 0 {
                    let reply = try shell.ask(#"{"op":"lease","queue":"\#(queue)","limit":\#(free),"lease_ms":30000}"#)
                    for lease in reply["leases"]?.elements ?? [] {
                        let (id, token) = (lease["id"]?.integer ?? 0, lease["token"]?.integer ?? 0)
                        busy[queue]?.append(Worker(end: time + 35, id: id, token: token))
                    }
                }
            }
            try shell.ask(#"{"op":"advance","ms":5}"#)
            time += 5
        }
    }

    private func recorded(jobs: Int = 40) throws {
        let shell = try ShellProcess(directory.store, arguments: ["--clock", "manual", "--durability", "none"])
        try record(shell, jobs: jobs)
        #expect(try shell.finish() == .code(0))
    }

    private func settings(_ text: String) throws -> String {
        let path = directory.path + "/settings.json"
        try TextFile.write(text, to: path)
        return path
    }

    private func json(_ result: ProcessResult, exit: Int32 = 0) throws -> JSONValue {
        try #require(result.exit == .code(exit), "\(result.errors)")
        return try JSONDocument([UInt8](result.output.utf8)).root
    }

    @Test func theBaselineOfARecordedRunIsWhatWasRecorded() throws {
        try recorded()
        let report = try json(try CommandHarness.holdfast("replay", directory.store, "--json"))
        #expect(report["damage"]?.kind == .null && report["carried_over"]?.integer == 0)
        for part in [report["all"], report["queues"]?["a"], report["queues"]?["b"]] {
            let recorded = try #require(part?["recorded"])
            #expect(part?["baseline"]?.text == recorded.text)
            #expect(part?["what_if"] == nil)
        }
        #expect(report["all"]?["recorded"]?["jobs"]?.integer == 40)
        #expect(report["all"]?["recorded"]?["attempts"]?.integer ?? 0 > 40)
        #expect(report["all"]?["recorded"]?["workers"]?.integer == 4)
    }

    @Test func otherSettingsGiveAThirdColumnWithinAHundredColumns() throws {
        try recorded()
        let file = try settings(#"{"workers": 8, "queues": {"b": {"workers": 1, "retry": {"fixed_ms": 0}}}}"#)
        let text = try CommandHarness.holdfast("replay", directory.store, "--settings", file)
        #expect(text.exit == .code(0), "\(text.errors)")
        #expect(text.lines.allSatisfy { $0.count <= 100 }, "\(text.output)")
        #expect(text.lines.contains { $0.hasPrefix("queue b") && $0.contains("what-if") })
        let report = try json(try CommandHarness.holdfast("replay", directory.store, "--settings", file, "--json"))
        func wait(_ queue: StaticString, _ run: StaticString) -> Int64 {
            report["queues"]?[queue]?[run]?["wait_p99_ms"]?.integer ?? -1
        }
        #expect(wait("a", "what_if") == 0 && wait("a", "baseline") > 0)
        #expect(wait("b", "what_if") > wait("b", "baseline"))
        #expect(report["all"]?["what_if"]?["workers"]?.integer == 9)
        let again = try CommandHarness.run(
            CommandHarness.executable(), ["replay", directory.store, "--settings", "-", "--queue", "a", "--json"],
            input: [UInt8](#"{"workers": 8}"#.utf8))
        #expect(try json(again)["queues"]?["a"]?.text == report["queues"]?["a"]?.text)
        #expect(try json(again)["all"] == nil)
    }

    @Test func aRangeIsGivenByNumbersOrTimes() throws {
        try recorded()
        let whole = try json(try CommandHarness.holdfast("replay", directory.store, "--json"))
        let end = try #require(whole["end_ms"]?.integer)
        let head = try json(try CommandHarness.holdfast("replay", directory.store, "--to", "50", "--json"))
        #expect(head["last_seq"]?.integer == 50 && head["first_seq"]?.integer == 1)
        let tail = try json(try CommandHarness.holdfast("replay", directory.store, "--from", "51", "--json"))
        #expect(tail["first_seq"]?.integer == 51 && tail["carried_over"]?.integer ?? 0 > 0)
        #expect(tail["end_ms"]?.integer == end)
        let time = "2023-11-14T22:13:20.100Z"
        let late = try json(try CommandHarness.holdfast("replay", directory.store, "--from", time, "--json"))
        #expect(late["start_ms"]?.integer == 1_700_000_000_100)
        let early = try json(try CommandHarness.holdfast("replay", directory.store, "--to", time, "--json"))
        #expect((early["last_seq"]?.integer ?? 0) + 1 >= late["first_seq"]?.integer ?? 0)
        let none = try CommandHarness.holdfast("replay", directory.store, "--from", "100000")
        #expect(none.exit == .code(1) && none.errors.contains("no records in that range"), "\(none.errors)")
        let reversed = try CommandHarness.holdfast("replay", directory.store, "--from", "9", "--to", "8")
        #expect(reversed.exit == .code(64), "\(reversed.errors)")
    }

    @Test func itReadsBesideAnOwnerAndChangesNothing() throws {
        let shell = try ShellProcess(directory.store, arguments: ["--clock", "manual"])
        try record(shell, jobs: 20)
        let before = try shell.ask(#"{"op":"digest"}"#).text
        let report = try json(try CommandHarness.holdfast("replay", directory.store, "--json"))
        // The last records may be known to be durable to the owner alone.
        #expect(report["all"]?["recorded"]?["jobs"]?.integer ?? 0 >= 18)
        #expect(try shell.ask(#"{"op":"digest"}"#).text == before)
        #expect(try shell.finish() == .code(0))
    }

    @Test func theSvgShowsTheFiguresOfTheReport() throws {
        try recorded()
        let (plot, file) = (directory.path + "/out.svg", try settings(#"{"workers": 1}"#))
        let result = try CommandHarness.holdfast(
            "replay", directory.store, "--settings", file, "--plot", plot, "--json")
        let report = try json(result)
        let svg = String(decoding: try TextFile.read(plot, bytesMax: 1 << 20), as: UTF8.self)
        #expect(svg.hasPrefix("<svg ") && svg.hasSuffix("</svg>\n"))
        for (name, run) in [("recorded", "recorded"), ("baseline", "baseline"), ("what-if", "what_if")] {
            let figures = report["all"]?.fields?.first { $0.name.string == run }?.value
            let (peak, median) = (figures?["peak_backlog"]?.integer ?? -1, figures?["latency_p50_ms"]?.integer ?? -1)
            #expect(svg.contains("<title>\(name): peak \(peak)</title>"))
            #expect(svg.contains("<title>\(name): half within \(Duration.milliseconds(median).words)</title>"))
        }
        let png = try CommandHarness.holdfast("replay", directory.store, "--plot", directory.path + "/out.png")
        #expect(png.exit == .code(64) && png.errors.contains(".svg"), "\(png.errors)")
        let nowhere = try CommandHarness.holdfast("replay", directory.store, "--plot", directory.path + "/no/out.svg")
        #expect(nowhere.exit == .code(1) && nowhere.errors.contains("could not write"), "\(nowhere.errors)")
    }

    @Test func whatIsBeyondTheKeptHistoryIsRefusedWithTheOldestThereIs() throws {
        let shell = try ShellProcess(directory.store, arguments: ["--history", "none", "--clock", "manual"])
        try record(shell, jobs: 20)
        try shell.ask(#"{"op":"compact"}"#)
        try record(shell, jobs: 10)
        #expect(try shell.finish() == .code(0))
        let refused = try CommandHarness.holdfast("replay", directory.store, "--from", "1")
        #expect(refused.exit == .code(1))
        let oldest = try #require(refused.errors.firstMatch(of: #/--from (\d+)/#)?.1)
        let kept = try json(try CommandHarness.holdfast("replay", directory.store, "--from", "\(oldest)", "--json"))
        #expect(kept["first_seq"]?.integer.map { "\($0)" } == String(oldest))
        let rest = try json(try CommandHarness.holdfast("replay", directory.store, "--json"))
        #expect(rest["cut_off"]?.bool == true && rest["first_seq"]?.integer.map { "\($0)" } == String(oldest))
    }

    @Test func aDamagedStoreIsReadUpToTheDamage() throws {
        try recorded(jobs: 600)
        let whole = try json(try CommandHarness.holdfast("replay", directory.store, "--json"))
        let last = try #require(whole["last_seq"]?.integer)
        let sealed = directory.store + "/segments"
        let name = try #require(try POSIXFileSystem().list(sealed).sorted().dropFirst().first)
        let overwrite = #"printf 0123456789abcdef | dd of="$0" bs=1 seek=$(($(wc -c <"$0") / 2)) conv=notrunc"#
        #expect(try CommandHarness.run("/bin/sh", ["-c", overwrite, "\(sealed)/\(name)"]).exit == .code(0))
        let result = try CommandHarness.holdfast("replay", directory.store, "--json")
        let damaged = try json(result, exit: 4)
        #expect(result.errors.contains(name), "\(result.errors)")
        #expect(damaged["damage"]?.string?.isEmpty == false)
        let read = try #require(damaged["last_seq"]?.integer)
        #expect(read > 0 && read < last)
        #expect(damaged["all"]?["baseline"]?["completed"]?.integer ?? 0 > 0)
    }

    /// Records of one job each, of which the 15th is damaged.
    private func damagedAtFifteen() throws {
        let shell = try ShellProcess(directory.store, arguments: ["--clock", "manual"])
        for number in 1...20 {
            try shell.ask(#"{"op":"enqueue","queue":"q","payload":"marker \#(10 + number)"}"#)
        }
        #expect(try shell.finish() == .code(0))
        let files = POSIXFileSystem()
        for name in try files.list(directory.store + "/journal") {
            let path = "\(directory.store)/journal/\(name)"
            var bytes = try files.contents(of: path)
            guard let place = bytes.firstRange(of: Array("marker 25".utf8))?.lowerBound else { continue }
            bytes[place] = UInt8(ascii: "M")
            try files.unlink(path)
            let file = try files.open(path, .create)
            try file.write(bytes.span, at: 0)
            file.close()
        }
    }

    @Test func damageBehindTheRangeIsNotReported() throws {
        try damagedAtFifteen()
        let all = try CommandHarness.holdfast("replay", directory.store, "--json")
        let damaged = try json(all, exit: 4)
        #expect(damaged["damage"]?.string?.isEmpty == false && damaged["last_seq"]?.integer == 14)
        for last in [5, 14] {
            let result = try CommandHarness.holdfast("replay", directory.store, "--to", "\(last)", "--json")
            let part = try json(result)
            #expect(part["damage"]?.kind == .null && part["last_seq"]?.integer == Int64(last), "\(result.errors)")
        }
        let beyond = try CommandHarness.holdfast("replay", directory.store, "--to", "15")
        #expect(beyond.exit == .code(4) && beyond.output.contains("damaged behind record 14"), "\(beyond.errors)")
    }

    @Test func aSecondReadingPassesOverNoOtherDamageThanTheFirstMet() {
        let damage = LogError(.corrupt, "it is damaged", file: "segments/1", offset: 40)
        #expect(HistoryReader.isSame(LogError(.corrupt, "again", file: "segments/1", offset: 40), as: damage))
        let others = [
            LogError(.ioFailed, "it is damaged", file: "segments/1", offset: 40),
            LogError(.corrupt, "it is damaged", file: "segments/2", offset: 40),
            LogError(.corrupt, "it is damaged", file: "segments/1", offset: 0),
        ]
        for other in others { #expect(!HistoryReader.isSame(other, as: damage)) }
        #expect(!HistoryReader.isSame(damage, as: nil))
    }

    /// What was only given back tells nothing of how attempts end: the command came to no end.
    @Test func aRangeOfAttemptsThatWereOnlyGivenBackIsReplayed() throws {
        let shell = try ShellProcess(directory.store, arguments: ["--clock", "manual"])
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":""}"#)
        let lease = try shell.ask(#"{"op":"lease","queue":"q","limit":1,"lease_ms":1000}"#)["leases"]?.elements?.first
        let rest = #""id":1,"token":\#(lease?["token"]?.integer ?? 0)"#
        try shell.ask(#"{"op":"requeue",\#(rest),"delay_ms":0,"counts":false}"#)
        #expect(try shell.finish() == .code(0))
        let report = try json(try CommandHarness.holdfast("replay", directory.store, "--json"))
        let baseline = try #require(report["all"]?["baseline"])
        #expect(baseline["completed"]?.integer == 1 && baseline["drawn_attempts"]?.integer == 1)
        #expect(baseline["stopped"]?.bool == false)
        let text = try CommandHarness.holdfast("replay", directory.store)
        #expect(text.output.contains("no recorded one tells how they end"), "\(text.output)")
        #expect(text.lines.allSatisfy { $0.count <= 100 }, "\(text.output)")
    }

    @Test func aRunThatWasStoppedSaysSo() throws {
        let shell = try ShellProcess(directory.store, arguments: ["--clock", "manual"])
        for queue in ["q", "r"] {
            try shell.ask(#"{"op":"enqueue","queue":"\#(queue)","payload":"","max_attempts":1000000}"#)
        }
        let lease = try shell.ask(#"{"op":"lease","queue":"q","limit":1,"lease_ms":1000}"#)["leases"]?.elements?.first
        let rest = #""id":1,"token":\#(lease?["token"]?.integer ?? 0)"#
        try shell.ask(#"{"op":"requeue",\#(rest),"delay_ms":0}"#)
        #expect(try shell.finish() == .code(0))
        let report = try json(try CommandHarness.holdfast("replay", directory.store, "--json"))
        let baseline = try #require(report["all"]?["baseline"])
        #expect(baseline["stopped"]?.bool == true && baseline["unfinished"]?.integer == 2)
        #expect(report["all"]?["recorded"]?["stopped"]?.bool == false)
        let text = try CommandHarness.holdfast("replay", directory.store)
        #expect(text.output.contains("baseline: stopped"), "\(text.output)")
        #expect(text.output.contains("draws from the queue that has most"), "\(text.output)")
        #expect(text.lines.allSatisfy { $0.count <= 100 }, "\(text.output)")
    }

    @Test func whereNothingWasLeasedNothingCanBeSaid() throws {
        let shell = try ShellProcess(directory.store, arguments: [])
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":""}"#)
        #expect(try shell.finish() == .code(0))
        let plain = try CommandHarness.holdfast("replay", directory.store)
        #expect(plain.exit == .code(0), "\(plain.errors)")
        let asked = try CommandHarness.holdfast("replay", directory.store, "--settings", try settings("{}"))
        #expect(asked.exit == .code(1) && asked.errors.contains("no job was leased"), "\(asked.errors)")
    }

    // MARK: - Settings

    @Test(arguments: [
        ("", "is not JSON"), ("[]", "is a list"), (#"{"wrokers": 1}"#, "unknown key wrokers; known ones are workers"),
        (#"{"workers": 0}"#, "workers; give a whole number from 1 to 100000"), (#"{"workers": 1.5}"#, "has 1.5"),
        (#"{"lease_ms": 604800001}"#, "lease_ms"), (#"{"max_attempts": -1}"#, "max_attempts"),
        (#"{"limit": "none"}"#, "limit"), (#"{"speed": 0}"#, "speed; give a number from 0.001"),
        (#"{"speed": "fast"}"#, "speed"), (#"{"shared_workers": []}"#, "shared_workers"),
        (#"{"retry": "never"}"#, "retry; give \"recorded\""), (#"{"retry": {"fixed_ms": -1}}"#, "retry.fixed_ms"),
        (#"{"retry": {"fixed_ms": 1, "custom_ms": [1]}}"#, "retry"), (#"{"retry": {"custom_ms": []}}"#, "a list of 1"),
        (#"{"retry": {"custom_ms": ["x"]}}"#, "custom_ms"), (#"{"retry": {"exponential": 2}}"#, "an object"),
        (#"{"retry": {"exponential": {"factor": 2}}}"#, "base_ms"),
        (#"{"retry": {"exponential": {"base_ms": 1, "factor": 0.5}}}"#, "factor; give a number from 1.01"),
        (#"{"retry": {"exponential": {"base_ms": 1, "max": 2}}}"#, "retry.exponential.max; give base_ms"),
        (#"{"queues": 1}"#, "queues"), (#"{"queues": {"mail": 1}}"#, "queues.mail; give an object"),
        (#"{"queues": {"spam": {}}}"#, "the queue spam, of which the range holds no job; it has: mail"),
        (#"{"queues": {"mail": {"queues": {}}}}"#, "unknown key queues.mail.queues"),
        (#"{"queues": {"mail": {"workers": "all"}}}"#, "queues.mail.workers"),
        (#"{"workers": 1, "workers": 2}"#, "twice"),
    ])
    func badSettingsAreRefusedWithWhatMayStandThere(text: String, words: String) throws {
        do throws(CommandFailure) {
            _ = try SettingsFile([UInt8](text.utf8), path: "what-if.json").settings(for: ["mail"])
            Issue.record("\(text) was taken")
        } catch {
            let failure = error
            #expect(failure.message.hasPrefix("what-if.json ") && failure.message.contains(words), "\(failure.message)")
            #expect(failure.exitCode == CommandFailure.usageCode)
        }
    }

    @Test func everySettingIsTaken() throws {
        let text = """
            {"workers": 4, "limit": 3, "lease_ms": 1000, "max_attempts": 7, "retry": "default", "speed": 1.5,
             "shared_workers": 6, "queues": {
               "b": {"workers": "recorded", "limit": "recorded", "lease_ms": "recorded", "max_attempts": "recorded",
                     "retry": {"exponential": {"base_ms": 5, "factor": 1.5, "cap_ms": 60}, "jitter_percent": 20},
                     "speed": "recorded"},
               "c": {"retry": {"custom_ms": [1, 2]}}, "d": {"retry": {"exponential": {"base_ms": 5}}}}}
            """
        let settings = try SettingsFile([UInt8](text.utf8), path: "-").settings(for: ["a", "b", "c", "d"])
        let (a, b) = (settings.queues[0], settings.queues[1])
        #expect(a.workers == 4 && a.limit == 3 && a.leaseMilliseconds == 1000 && a.maxAttempts == 7)
        #expect(a.retry == .policy(.standard) && a.speed == 1.5 && settings.sharedWorkers == 6)
        #expect(b.workers == nil && b.limit == nil && b.leaseMilliseconds == nil && b.maxAttempts == nil)
        func policy(_ growth: RetryPolicy.Growth, _ jitter: UInt8 = 0) -> RetryRule {
            .policy(RetryPolicy(growth, jitterPercent: jitter))
        }
        #expect(b.retry == policy(.exponential(first: 5, factor: 1500, most: 60), 20) && b.speed == 1)
        #expect(settings.queues[2].retry == policy(.listed([1, 2])) && settings.queues[2].workers == 4)
        #expect(settings.queues[3].retry == policy(.exponential(first: 5, factor: 2000, most: 86_400_000)))
        let none = try SettingsFile([UInt8]("{}".utf8), path: "-").settings(for: ["a"])
        #expect(none.queues[0].retry == .recorded && none.sharedWorkers == nil)
    }
}
