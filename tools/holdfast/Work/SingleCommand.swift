// One command of the user's, run to its end outside a pool of workers.

import Holdfast

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Runs one command that no lease depends on.
enum SingleCommand {
    /// Starts it and waits for its end; asked to stop, ends it.
    static func run(
        _ invocation: CommandTemplate.Invocation, environment: [(name: String, value: String)]
    ) throws -> CommandRun.Report {
        try failing {
            let signals = try SignalWatch()
            let wake = try Descriptor.pipe()
            for end in [wake.read, wake.write] { end.setNonBlocking() }
            signals.whenStopped { _ = try? wake.write.writeSome([0]) }
            let child = try ChildProcess.start(
                invocation.arguments, environment: environment, hasInput: invocation.input != nil)
            var run = CommandRun(
                child, input: invocation.input, signals: signals, wake: wake, renewal: .seconds(3600),
                renew: { true }, stopDeadline: { signals.stops > 0 ? .now : nil })
            return try run.finish()
        }
    }

    /// Returns where a path leads from any directory.
    static func absolutePath(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// Returns a variable of the environment.
    static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
}

extension CommandRun.Report {
    /// How it ended, in words; `nil` when it exited with 0.
    var failure: String? {
        switch ending {
        case .exited(.code(0)): nil
        case .exited(.code(let code)): "exited with \(code)"
        case .exited(.signal(let number)): "was killed by signal \(number)"
        case .stopped, .leaseLost: "was stopped"
        }
    }
}
