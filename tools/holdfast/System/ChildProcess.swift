// Starting a command with its own process group, so that a signal meant for us does not reach it, and a signal meant
// for it reaches its children too.

import HoldfastLog

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A running command. Its exit is collected by `ChildReaper`.
struct ChildProcess {
    let id: pid_t
    /// Where to write what the command reads; `nil` when it reads nothing.
    let input: Descriptor?
    let output: Descriptor
    let errors: Descriptor

    /// The longest argument the system takes, its ending NUL counted.
    static let argumentBytesMax = 128 << 10

    /// Starts `arguments[0]`, found in `PATH`, with pipes for its streams.
    ///
    /// - Parameters:
    ///   - arguments: Without NUL bytes, each shorter than `argumentBytesMax`.
    ///   - environment: Added to this process's own.
    ///   - hasInput: Whether it gets a pipe to read from instead of `/dev/null`.
    static func start(
        _ arguments: [[UInt8]], environment: [(name: String, value: String)], hasInput: Bool
    ) throws(SystemError) -> ChildProcess {
        var pipes: [(read: Descriptor, write: Descriptor)] = []
        do throws(SystemError) {
            for _ in 0..<(hasInput ? 3 : 2) { pipes.append(try Descriptor.pipe()) }
            let input = hasInput ? pipes[2].read : nil
            let id = try spawn(arguments, environment, input: input, output: pipes[0].write, errors: pipes[1].write)
            for descriptor in [pipes[0].write, pipes[1].write] + (input.map { [$0] } ?? []) { descriptor.close() }
            let child = ChildProcess(
                id: id, input: hasInput ? pipes[2].write : nil, output: pipes[0].read, errors: pipes[1].read)
            for descriptor in [child.input, child.output, child.errors] { descriptor?.setNonBlocking() }
            return child
        } catch {
            for pipe in pipes {
                pipe.read.close()
                pipe.write.close()
            }
            throw error
        }
    }

    /// Sends a signal to the command and whatever it has started.
    func send(_ signal: Int32) { _ = kill(-id, signal) }

    private static func spawn(
        _ arguments: [[UInt8]], _ environment: [(name: String, value: String)], input: Descriptor?,
        output: Descriptor, errors: Descriptor
    ) throws(SystemError) -> pid_t {
        #if canImport(Darwin)
            var actions: posix_spawn_file_actions_t?
            var attributes: posix_spawnattr_t?
        #else
            var actions = posix_spawn_file_actions_t()
            var attributes = posix_spawnattr_t()
        #endif
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        if let input {
            posix_spawn_file_actions_adddup2(&actions, input.number, 0)
        } else {
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        }
        posix_spawn_file_actions_adddup2(&actions, output.number, 1)
        posix_spawn_file_actions_adddup2(&actions, errors.number, 2)
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        let flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP
        posix_spawnattr_setflags(&attributes, Int16(flags))

        var argumentPointers = arguments.map { copy($0) } + [nil]
        var environmentPointers = inheritedEnvironment(without: environment.map(\.name))
        environmentPointers += environment.map { copy([UInt8]("\($0.name)=\($0.value)".utf8)) } + [nil]
        defer { for pointer in argumentPointers + environmentPointers { free(pointer) } }
        var id: pid_t = 0
        guard let file = argumentPointers[0] else { throw SystemError("start a command", number: ENOMEM) }
        let status = Descriptor.creation.withLock {
            posix_spawnp(&id, file, &actions, &attributes, &argumentPointers, &environmentPointers)
        }
        guard status == 0 else {
            let name = String(decoding: arguments[0], as: UTF8.self)
            throw SystemError("start \(name)", number: status)
        }
        return id
    }

    private static func copy(_ bytes: [UInt8]) -> UnsafeMutablePointer<CChar>? {
        (bytes + [0]).withUnsafeBytes { $0.bindMemory(to: CChar.self).baseAddress.flatMap { strdup($0) } }
    }

    private static func inheritedEnvironment(without names: [String]) -> [UnsafeMutablePointer<CChar>?] {
        var result: [UnsafeMutablePointer<CChar>?] = []
        var entry = environ
        while let text = entry.pointee {
            if !names.contains(where: { strncmp(text, $0 + "=", $0.utf8.count + 1) == 0 }) {
                result.append(strdup(text))
            }
            entry += 1
        }
        return result
    }
}

/// How a command ended.
enum ChildExit: Hashable, Sendable {
    case code(Int32)
    case signal(Int32)

    init(waitStatus: Int32) {
        let signal = waitStatus & 0x7F
        self = signal == 0 ? .code(waitStatus >> 8 & 0xFF) : .signal(signal)
    }
}
