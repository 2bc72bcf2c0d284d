// The `holdfast` command. Its output is for people on a terminal and, with `--json`, for programs; errors are one
// sentence on standard error that says what to do.
//
// Exit codes: 0 done · 1 refused, or something failed that the store survives · 2 the store can't be opened ·
// 3 the store failed while open · 4 the store is damaged (`verify`) · 5 a published head can't be proved any more ·
// 6 a replayed handler took another way than was recorded · 64 the command line makes no sense.

import ArgumentParser
import Holdfast

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

@main struct HoldfastCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "holdfast",
        abstract: "Keeps jobs in a durable log, and runs them.",
        discussion: """
            A store is a directory. Put jobs in, run a command for each of them, and look at what happened:

              printf '%s\\n' *.wav | holdfast enqueue /tmp/store --queue encode
              holdfast work /tmp/store --queue encode --until-empty -- flac {}
              holdfast stat /tmp/store

            What is enqueued survives power loss before its id is printed. A worker that dies, by whatever means, \
            loses nothing: run it again and it goes on.

            Exit codes: 0 done; 1 refused or failed; 2 the store can't be opened; 3 the store failed while open; \
            4 the store is damaged; 5 a published head can't be proved any more; 6 a replayed handler took another \
            way; 64 the command line makes no sense.
            """,
        version: "0.1.0",
        groupedSubcommands: [
            CommandGroup(
                name: "Jobs",
                subcommands: [
                    EnqueueCommand.self, WorkCommand.self, JobCommand.self, JobsCommand.self, ExplainJobCommand.self,
                    CancelCommand.self, EditCommand.self, MoveCommand.self, ReleaseCommand.self, DeadCommand.self,
                    RedriveCommand.self, ResultCommand.self, EffectsCommand.self, EffectCommand.self,
                ]),
            CommandGroup(
                name: "Queues",
                subcommands: [
                    ConfigureCommand.self, CapacityCommand.self, PauseCommand.self, ResumeCommand.self,
                    PurgeCommand.self,
                ]),
            CommandGroup(
                name: "Stores",
                subcommands: [
                    DumpCommand.self, TailCommand.self, CursorsCommand.self, CursorCommand.self, VerifyCommand.self,
                    AuditHeadCommand.self, SalvageCommand.self, ExplainCommand.self, StatCommand.self,
                    CheckpointCommand.self, CompactCommand.self, BackupCommand.self, RestoreCommand.self,
                    ForkCommand.self, ReplayCommand.self,
                ]),
            CommandGroup(name: "Programs", subcommands: [ShellCommand.self]),
        ])

    static func main() {
        Descriptor.occupyStandardStreams()
        // Whoever writes to a pipe learns from the write itself that nobody reads it.
        signal(SIGPIPE, SIG_IGN)
        // So does whoever writes a file that may not grow (`ulimit -f`).
        signal(SIGXFSZ, SIG_IGN)
        do {
            if let sentence = unknownCommand(CommandLine.arguments.dropFirst().first) {
                throw CommandFailure(sentence, exitCode: CommandFailure.usageCode)
            }
            var command = try parseAsRoot()
            try command.run()
        } catch let failure as CommandFailure {
            Descriptor.standardError.writeText("holdfast: \(failure.message)\n")
            exitProcess(failure.exitCode)
        } catch {
            guard let sentence = usageSentence(for: error) else { exit(withError: error) }
            if CommandLine.arguments.dropFirst().first == ShellCommand.configuration.commandName {
                // Whoever drives a shell reads its standard output.
                ShellCommand.printRefusal(JobStoreError(.badRequest, sentence))
            }
            Descriptor.standardError.writeText("holdfast: \(sentence)\n")
            exitProcess(CommandFailure.usageCode)
        }
    }

    /// Returns what to say of a first argument that names no command; `nil` when it does, or is an option.
    static func unknownCommand(_ name: String?) -> String? {
        guard let name, !name.hasPrefix("-") else { return nil }
        let names = configuration.subcommands.map { $0.configuration.commandName ?? "" } + ["help"]
        if names.contains(name) { return nil }
        let near = names.filter { $0.hasPrefix(name) || distance($0, name) <= 2 }
            .min { distance($0, name) < distance($1, name) }
        let guess = near.map { "; did you mean \($0)?" } ?? ";"
        return "there is no command '\(name)'\(guess) see 'holdfast --help'"
    }

    /// How many letters have to be put in, left out or changed.
    private static func distance(_ one: String, _ other: String) -> Int {
        let letters = Array(other.utf8.prefix(40))
        var row = Array(0...letters.count)
        for (index, letter) in one.utf8.prefix(40).enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for (place, wanted) in letters.enumerated() {
                let changed = diagonal + (letter == wanted ? 0 : 1)
                diagonal = row[place + 1]
                row[place + 1] = min(changed, diagonal + 1, row[place] + 1)
            }
        }
        return row[letters.count]
    }

    /// Returns what is wrong with the command line and where to read on; `nil` when help was asked for, or something
    /// else ended the command.
    static func usageSentence(for error: any Error) -> String? {
        guard exitCode(for: error) == .validationFailure else { return nil }
        var message = message(for: error)
        if message.hasSuffix(".") { message.removeLast() }
        // The last line of the full text names the command that was meant.
        let pointer = fullMessage(for: error).split(separator: "\n").last?.firstMatch(of: /'[^']+'/)?.output
        return "\(message.prefix(1).lowercased())\(message.dropFirst()); see \(pointer ?? "'holdfast --help'")"
    }
}

/// The system's `exit`, which `ParsableCommand.exit` would hide.
private func exitProcess(_ code: Int32) -> Never { exit(code) }
