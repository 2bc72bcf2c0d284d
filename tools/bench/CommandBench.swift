// The command, measured from outside: what its line protocol takes through pipes, and how long a short command takes.

import ArgumentParser
import Holdfast

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

struct CommandBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "command",
        abstract: "Measures the program holdfast: requests to its shell, and how long its stat takes.",
        discussion: """
            Prints one JSON object a line. `shell` is a stream of durable enqueues through pipes, so many lines in \
            flight; in the end the store must hold as many jobs. `stat` is from the start of the process to its end, \
            on a store of a thousand jobs.
            """)

    @Argument(help: "A directory on the disk to measure; a store is made in it and removed.")
    var directory: String

    @Option(help: "The program; beside this one if not given.")
    var command: String?

    @Option(help: "Lines in flight.")
    var inFlight = 1024

    @Option(help: "Bytes of a payload.")
    var payload = 256

    @Option(help: "Seconds for each measurement.")
    var seconds = 3.0

    @Option(help: "How often each is measured.")
    var rounds = 3

    /// Replies to more lines than that may not fit into a pipe, and nobody reads them while lines are written.
    private static let inFlightMax = 1024
    private static let stats = 20

    func validate() throws {
        guard (1...Self.inFlightMax).contains(inFlight) else {
            throw ValidationError("--in-flight must be 1 to \(Self.inFlightMax)")
        }
        guard inFlight * payload <= 8 << 20 else {
            throw ValidationError("--in-flight lines of --payload bytes must be 8 MiB at most together")
        }
        guard (1...1000).contains(rounds) else { throw ValidationError("--rounds must be 1 to 1000") }
        guard seconds > 0, seconds <= 600 else { throw ValidationError("--seconds must be between 0 and 600") }
    }

    func run() async throws {
        // A command that ends early is told by what is written to it.
        signal(SIGPIPE, SIG_IGN)
        let own = CommandLine.arguments[0]
        let beside = own.lastIndex(of: "/").map { own[...$0] + "holdfast" } ?? "holdfast"
        let command = command ?? String(beside)
        let path = directory + "/bench-command.holdfast"
        try ScratchDirectory.remove(path)
        defer { try? ScratchDirectory.remove(path) }
        for _ in 0..<rounds {
            try ScratchDirectory.remove(path)
            try measureShell(command, path)
        }
        try ScratchDirectory.remove(path)
        let store = try await JobStore.open(at: path)
        let payloads = try Payloads(byteCount: payload)
        _ = try await store.batch((0..<1000).map { .enqueue(queue: "bench", payload: payloads.make($0)) })
        try await store.close()
        for _ in 0..<rounds { try measureStat(command, path) }
    }

    // MARK: - The shell

    private func measureShell(_ command: String, _ path: String) throws {
        var shell = try ChildProcess([command, "shell", path])
        let lines = try Self.lines(payloadBytes: payload)
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        // The store is there when the first answer is.
        try shell.write(Array(#"{"op":"now"}"#.utf8) + [UInt8(ascii: "\n")])
        _ = try shell.readLine()
        let began = MonotonicTime.now
        let end = began + UInt64(seconds * 1e9)
        var (sent, answered) = (0, 0)
        var request: [UInt8] = []
        while true {
            request.removeAll(keepingCapacity: true)
            while sent - answered < inFlight && MonotonicTime.now < end {
                request += lines[sent % lines.count]
                sent += 1
            }
            if sent == answered { break }
            try shell.write(request)
            let replies = shell.read(into: &buffer)
            if replies.isEmpty { throw ValidationError("the shell ended") }
            for byte in replies where byte == UInt8(ascii: "\n") { answered += 1 }
        }
        let elapsed = Double(MonotonicTime.now - began) / 1e9
        // A refusal is an answer, too, but no job.
        try shell.write(Array(#"{"op":"stats"}"#.utf8) + [UInt8(ascii: "\n")])
        let stats = try shell.readLine()
        guard stats.contains("\"ready\":\(sent),") else { throw ValidationError("\(sent) jobs went in, but: \(stats)") }
        try shell.finish()
        print(
            """
            {"workload":"shell","in_flight":\(inFlight),"payload":\(payload),\
            "requests_per_s":\(Int(Double(sent) / elapsed))}
            """)
    }

    /// Requests that differ; the text in them has quotes, so it needs escapes.
    private static func lines(payloadBytes: Int) throws -> [[UInt8]] {
        let payloads = try Payloads(byteCount: payloadBytes)
        return (0..<4096).map { number in
            var line = Array(#"{"op":"enqueue","queue":"bench","payload":""#.utf8)
            for byte in payloads.make(UInt64(number)) {
                if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { line.append(UInt8(ascii: "\\")) }
                line.append(byte)
            }
            return line + Array("\"}\n".utf8)
        }
    }

    // MARK: - A short command

    private func measureStat(_ command: String, _ path: String) throws {
        var times: [UInt64] = []
        for _ in 0..<Self.stats {
            let began = MonotonicTime.now
            var stat = try ChildProcess([command, "stat", path])
            try stat.finish()
            times.append(MonotonicTime.now - began)
        }
        let median = times.sorted()[Self.stats / 2]
        print(#"{"workload":"stat","runs":\#(Self.stats),"p50_ms":\#(RunLine.rounded(Double(median) / 1e6, 2))}"#)
    }
}
