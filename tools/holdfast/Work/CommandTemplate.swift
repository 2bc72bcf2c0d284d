// From a job to a command line: `{}` stands for the payload, and without one the payload is what the command reads.

import Holdfast

/// The command of `holdfast work`.
struct CommandTemplate: Sendable {
    /// What to start for one job.
    struct Invocation {
        let arguments: [[UInt8]]
        /// What the command reads, when the payload is in no argument.
        let input: [UInt8]?
    }

    private let parts: [[UInt8]]
    /// Whether the payload goes to standard input.
    let readsPayload: Bool

    private static let placeholder = [UInt8]("{}".utf8)

    init(_ arguments: [String]) {
        parts = arguments.map { [UInt8]($0.utf8) }
        readsPayload = !arguments.contains { $0.contains("{}") }
    }

    /// Returns what to start for `payload`, or a sentence that says why it can't be an argument.
    func invocation(for payload: [UInt8]) -> Result<Invocation, Refusal> {
        if readsPayload { return .success(Invocation(arguments: parts, input: payload)) }
        if payload.contains(0) {
            return .failure(Refusal("the payload holds a NUL byte, so it can't be an argument; \(Self.remedy)"))
        }
        let arguments = parts.map { Self.replace(in: $0, by: payload) }
        if arguments.contains(where: { $0.count >= ChildProcess.argumentBytesMax }) {
            return .failure(
                Refusal("the payload of \(payload.count) bytes makes an argument longer than 128 KiB; \(Self.remedy)"))
        }
        return .success(Invocation(arguments: arguments, input: nil))
    }

    /// Why a payload can't be an argument.
    struct Refusal: Error {
        let message: String
        init(_ message: String) { self.message = message }
    }

    private static let remedy = "leave out {} and read the payload from standard input"

    private static func replace(in part: [UInt8], by payload: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var index = 0
        while index < part.count {
            if part[index...].starts(with: placeholder) {
                result += payload
                index += placeholder.count
            } else {
                result.append(part[index])
                index += 1
            }
        }
        return result
    }
}
