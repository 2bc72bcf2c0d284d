// Enqueues without waiting for each: one thread submits, another waits for commits and prints ids in blocks. Into a
// store of our own the jobs go directly; to another process's store as lines of the protocol. Both keep the order.

import Holdfast
import HoldfastLog
import Synchronization

/// What all jobs of one command have in common.
struct EnqueueTemplate: Sendable {
    let queue: String
    /// With `{}` for the payload.
    let uniqueKey: String?
    let options: EnqueueOptions
    /// How long each waits for room, if at all, in a store that another process owns.
    var wait: Duration?

    /// Returns the options for one payload.
    func options(for payload: [UInt8]) -> EnqueueOptions {
        guard let uniqueKey else { return options }
        var options = options
        let parts = uniqueKey.split(separator: "{}", omittingEmptySubsequences: false)
        options.uniqueKey = parts.joined(separator: String(decoding: payload, as: UTF8.self))
        return options
    }
}

/// A stream of enqueues. `submit`, `flush` and `finish` are called by one thread.
final class EnqueuePipeline: @unchecked Sendable {
    enum Output: Sendable { case ids, json, nothing }

    /// What became of the stream.
    struct Summary: Sendable {
        var count = 0
        var duplicates = 0
        /// The first refusal or failure.
        var failure: JobStoreError?
        /// Why ids could not be printed, other than that nobody reads them.
        var outputFailure: CommandFailure?
    }

    private enum Target {
        case own(JobStore)
        case remote(ShellConnection)
    }

    private static let blockCount = 1024
    private static let blocksWaitingMax = 64
    private static let remoteBytes = 64 << 10

    // SENDABLE: `pending`, `writer` and `submittedCount` belong to the submitting thread; `summary`, `progress` and
    // `connection`'s reading side to the printing thread until it is joined; the rest never changes or is guarded.
    private let target: Target
    private let template: EnqueueTemplate
    private let output: Output
    private let blocks = BoundedQueue<[Pending<EnqueueResult>]>(weightMax: EnqueuePipeline.blocksWaitingMax)
    private let failed = Atomic<Bool>(false)
    private var pending: [Pending<EnqueueResult>] = []
    private var writer = JSONWriter()
    private var printer: DedicatedThread?
    private var summary = Summary()
    private var progress = ProgressLine()
    private(set) var submittedCount = 0
    let started = ContinuousClock.now

    init(_ access: StoreAccess, _ template: EnqueueTemplate, output: Output) throws {
        self.template = template
        self.output = output
        switch access {
        case .own(let store): target = .own(store)
        case .remote(let connection): target = .remote(connection)
        case .past: throw CommandFailure("the past takes no jobs")
        }
        printer = try failing {
            try DedicatedThread(name: "ids") { [self] in
                switch target {
                case .own: printBlocks()
                case .remote(let connection): printReplies(connection)
                }
            }
        }
    }

    /// Whether an enqueue has failed, so that going on makes no sense.
    var hasFailed: Bool { failed.load(ordering: .relaxed) }

    /// Enqueues a job, some time soon.
    func submit(_ payload: [UInt8]) throws {
        submittedCount += 1
        switch target {
        case .own(let store):
            // It does not wait: while this has the store, nobody can make room.
            pending.append(
                store.submitEnqueue(template.queue, payload: payload, options: template.options(for: payload)))
            if pending.count >= Self.blockCount { try flush() }
        case .remote:
            writeRequest(payload)
            if writer.bytes.count >= Self.remoteBytes { try flush() }
        }
    }

    /// Lets everything submitted so far be committed and printed without waiting for more.
    func flush() throws {
        switch target {
        case .own:
            guard !pending.isEmpty else { return }
            blocks.push(pending, weight: 1)
            pending.removeAll(keepingCapacity: true)
        case .remote(let connection):
            guard !writer.bytes.isEmpty else { return }
            do {
                try connection.descriptor.writeAll(writer.bytes)
            } catch {
                // The printer finds out why: replies may say it.
                failed.store(true, ordering: .relaxed)
            }
            writer.removeAll()
        }
    }

    /// Waits until all is committed and printed.
    func finish() throws -> Summary {
        try flush()
        blocks.finish()
        if case .remote(let connection) = target { UnixSocket.endWriting(connection.descriptor) }
        printer?.join()
        printer = nil
        progress.clear()
        if summary.failure == nil && summary.count < submittedCount {
            let missing = submittedCount - summary.count
            summary.failure = JobStoreError(
                .closed,
                "the store's owner went away; \(Terminal.count(missing, "job")) may or may not be in the queue: "
                    + "check and try again"
            )
        }
        return summary
    }

    // MARK: - The submitting thread

    private func writeRequest(_ payload: [UInt8]) {
        let options = template.options(for: payload)
        writer.beginObject()
        writer.field("op", "enqueue")
        writer.field("queue", template.queue)
        writer.text("payload", payload)
        let plain = EnqueueOptions()
        if options.priority != plain.priority { writer.field("priority", options.priority) }
        if options.maxAttempts != plain.maxAttempts { writer.field("max_attempts", options.maxAttempts) }
        if let delay = options.delay { writer.field("delay_ms", delay.milliseconds) }
        if let key = options.uniqueKey { writer.field("unique_key", key) }
        if let window = options.uniqueFor { writer.field("unique_for_ms", window.milliseconds) }
        if options.uniqueScope != .unfinished { writer.field("unique_scope", options.uniqueScope.rawValue) }
        if options.onCollision != .returnExisting { writer.field("on_collision", options.onCollision.rawValue) }
        if let group = options.group { writer.field("group", group) }
        if options.weight != 1 { writer.field("weight", options.weight) }
        if let time = options.timeToLive { writer.field("ttl_ms", time.milliseconds) }
        if let time = options.timeLimit { writer.field("time_limit_ms", time.milliseconds) }
        if let crashMax = options.crashMax { writer.field("crash_max", crashMax) }
        if let policy = try? options.retry?.policy() {
            writer.key("retry")
            writer.value(policy)
        }
        if !options.finalErrors.isEmpty { writer.field("final_errors", options.finalErrors) }
        if !options.after.isEmpty {
            writer.key("after")
            writer.beginArray()
            for id in options.after { writer.value(id.rawValue) }
            writer.endArray()
        }
        if options.ifOneFails != .wait { writer.field("if_one_fails", options.ifOneFails.rawValue) }
        if let before = options.before { writer.field("before", before.rawValue) }
        if options.hold { writer.field("hold", true) }
        if !options.labels.isEmpty { writer.field("labels", labels: options.labels) }
        if let owner = options.owner { writer.field("owner", owner) }
        if options.isSecret { writer.field("secret", true) }
        if let wait = template.wait { writer.field("wait_ms", wait.milliseconds) }
        if !options.headers.isEmpty { writer.field("headers", options.headers) }
        writer.endObject()
        writer.endLine()
    }

    // MARK: - The printing thread

    private func printBlocks() {
        var text: [UInt8] = []
        while true {
            let blocks = blocks.popAll()
            if blocks.isEmpty { return }
            for block in blocks {
                for pending in block {
                    do throws(JobStoreError) {
                        let result = try pending.valueBlocking()
                        note(result, &text)
                    } catch {
                        note(explained(error))
                    }
                }
                write(&text)
            }
        }
    }

    private func printReplies(_ connection: ShellConnection) {
        var text: [UInt8] = []
        while let reply = try? connection.next() {
            if reply["ok"]?.bool == true, let id = reply["id"]?.integer {
                let result = EnqueueResult(
                    id: JobID(UInt64(id)), isDuplicate: reply["duplicate"]?.bool == true,
                    isUpdated: reply["updated"]?.bool == true)
                note(result, &text)
            } else {
                let message = reply["error"]?["message"]?.string ?? "the store's owner gave no reason"
                note(JobStoreError(.invalidState, message))
            }
            if !connection.hasBufferedReply || text.count >= Self.remoteBytes { write(&text) }
        }
        write(&text)
    }

    private func note(_ result: EnqueueResult, _ text: inout [UInt8]) {
        summary.count += 1
        if result.isDuplicate { summary.duplicates += 1 }
        switch output {
        case .nothing: break
        case .ids:
            text.append(decimal: result.id.rawValue)
            text.append(0x0A)
        case .json:
            var writer = JSONWriter()
            writer.beginObject()
            writer.fields(of: result)
            writer.endObject()
            text += writer.bytes + [0x0A]
        }
    }

    /// Says of an enqueue that was to wait why it did not.
    private func explained(_ error: JobStoreError) -> JobStoreError {
        guard error.code == .queueFull, template.wait != nil else { return error }
        return JobStoreError(
            .queueFull,
            "\(error.message); --wait was in vain, as nobody works on the store while this command has it: "
                + "start holdfast work first")
    }

    private func note(_ error: JobStoreError) {
        if summary.failure == nil { summary.failure = error }
        failed.store(true, ordering: .relaxed)
    }

    private func write(_ text: inout [UInt8]) {
        // That ids can't be printed is no reason to stop: the jobs matter more.
        do throws(CommandFailure) {
            if !text.isEmpty { try Terminal.write(text) }
        } catch {
            summary.outputFailure = summary.outputFailure ?? error
        }
        text.removeAll(keepingCapacity: true)
        progress.update(Terminal.count(summary.count, "job"))
    }
}

extension Duration {
    /// This duration in whole milliseconds.
    var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1000 + attoseconds / 1_000_000_000_000_000
    }
}
