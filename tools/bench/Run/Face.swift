// How callers reach what is measured: each on a thread of its own, or each in a task. What is measured is a type
// parameter, so that nothing but the call itself is in between.

import HoldfastLog

/// What tasks can call.
protocol AsyncFace<Held>: Sendable {
    associatedtype Held: HeldJob
    func perform(_ call: Call<Held>) async throws -> Outcome<Held>
}

/// What threads can call. `caller` is the thread's place among them.
protocol BlockingFace<Held>: Sendable {
    associatedtype Held: HeldJob
    func perform(_ call: Call<Held>, caller: Int) throws -> Outcome<Held>
}

/// Lets all callers run to their end, and returns what they did.
enum Crew {
    /// Each caller in a task.
    static func runInTasks<Face: AsyncFace>(_ callers: [Caller<Face.Held>], on face: Face) async throws
        -> [CallerLedger]
    {
        try await withThrowingTaskGroup(of: CallerLedger.self) { group in
            for caller in callers {
                group.addTask {
                    var caller = caller
                    while let call = caller.begin() { caller.finish(try await face.perform(call)) }
                    return caller.ledger
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
    }

    /// Each caller on a thread. One caller alone has the calling thread.
    static func runOnThreads<Face: BlockingFace>(_ callers: [Caller<Face.Held>], on face: Face) throws -> [CallerLedger]
    {
        if callers.count == 1 { return [try work(callers[0], 0, on: face)] }
        let results = Locked<[Result<CallerLedger, any Error>]>([])
        let threads = try callers.enumerated().map { index, caller in
            try DedicatedThread(name: "bench-\(index)") {
                let result = Result { try work(caller, index, on: face) }
                results.withLock { $0.append(result) }
            }
        }
        for thread in threads { thread.join() }
        return try results.withLock { try $0.map { try $0.get() } }
    }

    private static func work<Face: BlockingFace>(
        _ caller: Caller<Face.Held>, _ index: Int, on face: Face
    ) throws -> CallerLedger {
        var caller = caller
        while let call = caller.begin() { caller.finish(try face.perform(call, caller: index)) }
        return caller.ledger
    }
}
