// The workloads by name: how many call, how many jobs a call moves, and in which order calls come.

import ArgumentParser

/// One of the workloads.
enum RunWorkload: String, CaseIterable, ExpressibleByArgument, Sendable {
    case w1 = "W1"
    case w1b = "W1b"
    case w2 = "W2"
    case w2Threads = "W2-threads"
    case w2Deep = "W2-256"
    case w2Deepest = "W2-1024"
    case w3 = "W3"
    case w3Threads = "W3-threads"
    case w3Next = "W3-next"
    case w3b = "W3b"
    case w4 = "W4"
    case w4Next = "W4-next"
    case w5 = "W5"

    init?(argument: String) {
        guard let found = Self.allCases.first(where: { $0.rawValue.lowercased() == argument.lowercased() }) else {
            return nil
        }
        self = found
    }

    /// What a person reads of it.
    var summary: String {
        switch self {
        case .w1: "one producer, one durable enqueue at a time"
        case .w1b: "one producer, 100 jobs a call"
        case .w2: "many producers at once, each waits for its enqueue; tasks, and one task with all outstanding"
        case .w2Threads: "the same, each on a thread"
        case .w2Deep: "256 producers at once; called as W2"
        case .w2Deepest: "1024 producers at once; called as W2"
        case .w3: "many at once: enqueue, lease, ack, each durable before the next; called as W2"
        case .w3Threads: "the same, each on a thread"
        case .w3Next: "many at once: enqueue, then ack and lease the next in one commit; called as W2"
        case .w3b: "16 at once, 100 jobs a call: enqueue, lease, ack; called as W2"
        case .w4: "one consumer: lease and ack, with more and more jobs waiting"
        case .w4Next: "one consumer: ack and lease the next in one commit, with more and more jobs waiting"
        case .w5: "from the start of a process to its first lease, after a kill and after a close"
        }
    }

    var pattern: CallPattern {
        switch self {
        case .w1, .w1b, .w2, .w2Threads, .w2Deep, .w2Deepest: .enqueue
        case .w3, .w3Threads, .w3b: .cycle
        case .w3Next: .cycleNext
        case .w4, .w5: .drain
        case .w4Next: .drainNext
        }
    }

    /// Jobs that one call moves.
    var batch: Int { self == .w1b || self == .w3b ? 100 : 1 }

    /// How many call at once, where `callers` is what those with many have.
    func callers(_ callers: Int) -> Int {
        switch self {
        case .w1, .w1b, .w4, .w4Next, .w5: 1
        case .w3b: min(callers, 16)
        case .w2Deep: 256
        case .w2Deepest: 1024
        default: callers
        }
    }

    /// The ways of calling that are measured, in turn.
    var styles: [CallStyle] {
        switch self {
        case .w1, .w1b: [.threads, .tasks]
        case .w2Threads, .w3Threads: [.threads]
        case .w2, .w2Deep, .w2Deepest, .w3, .w3Next, .w3b: [.loop, .tasks]
        case .w4, .w4Next: [.threads, .tasks]
        case .w5: []
        }
    }
}

/// How callers wait.
enum CallStyle: String, Sendable {
    /// Each blocks a thread.
    case threads
    /// Each is a task.
    case tasks
    /// One thread or task has all calls outstanding.
    case loop
}
