// What the README and the pages show is what compiles and runs in this folder: each of their Swift blocks is named by
// a comment before it, and stands in a file here between markers of that name. The target sees what a user's would.

import Foundation
import Holdfast
import Testing

@Suite struct ReadmeTests {
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// A directory that does not exist.
    static func newPath() -> String {
        FileManager.default.temporaryDirectory.appending(path: "readme-\(UUID().uuidString)").path
    }

    static func remove(_ path: String) { try? FileManager.default.removeItem(atPath: path) }

    static let pages = [
        "README.md", "Sources/Holdfast/Holdfast.docc/GettingStarted.md",
        "Sources/Holdfast/Holdfast.docc/Dependencies.md", "Sources/Holdfast/Holdfast.docc/Effects.md",
        "Sources/Holdfast/Holdfast.docc/Testing.md",
    ]

    /// The Swift blocks of a page, by name.
    static func blocks(of page: String) throws -> [String: [String]] {
        var blocks: [String: [String]] = [:]
        var name: String?
        var block: [String]?
        let text = try String(contentsOf: root.appending(path: page), encoding: .utf8)
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
            if line == "```swift" {
                block = []
            } else if line == "```", let lines = block {
                blocks[try #require(name, "a Swift block has no name")] = lines
                (name, block) = (nil, nil)
            } else if block != nil {
                block?.append(line)
            } else if line.hasPrefix("<!-- "), line.hasSuffix(" -->") {
                name = String(line.dropFirst(5).dropLast(4))
            }
        }
        return blocks
    }

    /// The code of this folder between the markers of each name, without its common indentation.
    static func compiled() throws -> [String: [String]] {
        var blocks: [String: [String]] = [:]
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
        for file in try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil) {
            let text = try String(contentsOf: file, encoding: .utf8)
            try blocks.merge(marked(in: text)) { _, _ in throw CocoaError(.fileReadCorruptFile) }
        }
        return blocks
    }

    private static func marked(in code: String) -> [String: [String]] {
        var blocks: [String: [String]] = [:]
        var name: String?
        for line in code.split(separator: "\n", omittingEmptySubsequences: false) {
            let text = line.drop { $0 == " " }
            if text.hasPrefix("// README begins: ") {
                name = String(text.dropFirst("// README begins: ".count))
                blocks[name ?? ""] = []
            } else if text.hasPrefix("// README ends") {
                name = nil
            } else if let name {
                blocks[name]?.append(String(line))
            }
        }
        return blocks.mapValues { lines in
            let indentations = lines.filter { !$0.isEmpty }.map { $0.prefix { $0 == " " }.count }
            return lines.map { String($0.dropFirst(indentations.min() ?? 0)) }
        }
    }

    @Test func everySwiftBlockThatIsShownIsCompiledHere() throws {
        let compiled = try Self.compiled()
        var names: Set<String> = []
        for page in Self.pages {
            for (name, lines) in try Self.blocks(of: page) {
                #expect(compiled[name] == lines, "the block `\(name)` of \(page) differs")
                names.insert(name)
            }
        }
        #expect(Set(compiled.keys) == names, "what is compiled is shown")
    }

    @Test func theDependencyThatIsShownNamesWhatThePackageOffers() throws {
        let readme = try String(contentsOf: Self.root.appending(path: "README.md"), encoding: .utf8)
        let manifest = try String(contentsOf: Self.root.appending(path: "Package.swift"), encoding: .utf8)
        let shown = try #require(readme.firstMatch(of: /\.product\(name: "(\w+)", package: "holdfast"\)/)).1
        #expect(manifest.contains(".library(name: \"\(shown)\", targets:"))
    }

    @Test(.timeLimit(.minutes(10))) func theTourDoesWhatTheReadmeSays() async throws {
        let path = Self.newPath()
        defer { Self.remove(path) }
        let outbox = Outbox()
        func send(_ payload: [UInt8]) async throws { try await outbox.send(payload) }

        // README begins: tour
        let store = try await JobStore.open(at: path)
        let job = try await store.enqueue("mail", payload: Array("hello".utf8))
        print("job \(job.id) survives power loss from here on")

        for lease in try await store.lease(from: "mail", for: .seconds(30), waitingUpTo: .seconds(5)) {
            do {
                try await send(lease.payload)
            } catch {
                // Tried again in a second, then later and later, and dead after its last attempt.
                try await store.requeue(lease, error: "\(error)")
                continue
            }
            try await store.ack(lease)
        }
        try await store.close()
        // README ends

        #expect(await outbox.sent == [Array("hello".utf8)])
        let reopened = try await JobStore.open(at: path)
        #expect(try await reopened.stats().completed == 1)
        try await reopened.close()
    }

    @Test(.timeLimit(.minutes(10))) func anEffectAndABatchDoWhatTheReadmeSays() async throws {
        let path = Self.newPath()
        defer { Self.remove(path) }
        let outbox = Outbox()
        func send(_ payload: [UInt8]) async throws -> [UInt8] {
            try await outbox.send(payload)
            return Array("receipt".utf8)
        }
        let store = try await JobStore.open(at: path)
        _ = try await store.enqueue("mail", payload: Array("hello".utf8))
        let lease = try #require(try await store.lease(from: "mail", for: .seconds(3600)).first)
        for _ in 1...2 {
            // README begins: effect
            let receipt = try await store.effect(scope: "mail", key: "\(lease.id)", fencedBy: lease.identity) {
                try await send(lease.payload)
            }
            // README ends
            #expect(receipt.value == Array("receipt".utf8))
        }
        #expect(await outbox.sent.count == 1)
        let receipt = try await store.effect(scope: "mail", key: "\(lease.id)", value: [])

        // README begins: batch
        _ = try await store.batch([
            .ack(lease.identity, result: receipt.value),
            .enqueue(queue: "archive", payload: lease.payload),
        ])
        // README ends

        let stats = try await store.stats()
        #expect(stats.completed == 1)
        #expect(stats.queues.first { $0.name == "archive" }?.ready == 1)
        #expect(try await store.job(lease.id)?.result == Array("receipt".utf8))
        try await store.close()
    }
}

/// The blocks of the introduction, each on a store of its own.
@Suite(.timeLimit(.minutes(10))) struct GettingStartedTests {
    @Test func aStoreIsOpened() async throws {
        let path = ReadmeTests.newPath()
        defer { ReadmeTests.remove(path) }
        // README begins: open
        var options = JobStoreOptions()
        options.history = .bytes(64 << 20)
        let store = try await JobStore.open(at: path, options: options)
        for finding in store.recovery.findings { print(finding) }
        // README ends
        #expect(store.recovery.wasCreated)
        try await store.close()
    }

    @Test func aUniqueKeyIsHeldByOneJob() async throws {
        let path = ReadmeTests.newPath()
        defer { ReadmeTests.remove(path) }
        let store = try await JobStore.open(at: path)
        var ids: Set<JobID> = []
        for _ in 1...2 {
            // README begins: enqueue
            var options = EnqueueOptions()
            options.priority = 10
            options.delay = .seconds(60)
            options.maxAttempts = 3
            options.uniqueKey = "invoice-2041"
            let job = try await store.enqueue("mail", payload: Array("hello".utf8), options: options)
            if job.isDuplicate { print("job \(job.id) is already under way") }
            // README ends
            ids.insert(job.id)
        }
        #expect(ids.count == 1)
        try await store.close()
    }

    @Test func oneTaskHasManyCallsOutstanding() async throws {
        let path = ReadmeTests.newPath()
        defer { ReadmeTests.remove(path) }
        let store = try await JobStore.open(at: path)
        let lines = (1...2_500).map { "line \($0)" }
        var ids: [JobID] = []
        // README begins: pipelined
        var outstanding: ArraySlice<Pending<EnqueueResult>> = []
        for line in lines {
            if outstanding.count == 1_000, let oldest = outstanding.popFirst() {
                ids.append(try await oldest.value.id)
            }
            outstanding.append(await store.pipelined.enqueue("import", payload: Array(line.utf8)))
        }
        for job in outstanding { ids.append(try await job.value.id) }
        // README ends
        #expect(try await store.lease(from: "import", limit: 2_500).map(\.id) == ids)
        try await store.close()
    }

    @Test func jobsOfSeveralQueuesAreLeasedInOrder() async throws {
        let path = ReadmeTests.newPath()
        defer { ReadmeTests.remove(path) }
        let store = try await JobStore.open(at: path)
        _ = try await store.enqueue("mail", payload: [1])
        _ = try await store.enqueue("urgent", payload: [2])
        // README begins: lease
        let leases = try await store.lease(
            from: ["urgent", "mail"], limit: 10, for: .seconds(30), waitingUpTo: .seconds(60))
        for lease in leases {
            try await store.heartbeat(lease, for: .seconds(30))
            try await store.ack(lease)
        }
        // README ends
        #expect(leases.map(\.payload) == [[2], [1]])
        try await store.close()
    }

    @Test func aQueueKeepsItsLimits() async throws {
        let path = ReadmeTests.newPath()
        defer { ReadmeTests.remove(path) }
        let store = try await JobStore.open(at: path)
        // README begins: configure
        let retry = QueueConfiguration.Retry.exponential(
            first: .seconds(1), factor: 2, most: .seconds(3600), jitterPercent: 20)
        try await store.configure("mail", QueueConfiguration(capacity: 10_000, runningMax: 4, retry: retry))
        // README ends
        for number in 0..<6 { _ = try await store.enqueue("mail", payload: [UInt8(number)]) }
        #expect(try await store.lease(from: "mail", limit: 6).count == 4)
        #expect(try await store.stats().queues.first?.configuration.capacity == 10_000)
        try await store.close()
    }

    @Test func aWorkerLeasesTheNextJobAsItAcksOne() async throws {
        let path = ReadmeTests.newPath()
        defer { ReadmeTests.remove(path) }
        let store = try await JobStore.open(at: path)
        for number in 0..<3 { _ = try await store.enqueue("mail", payload: [UInt8(number)]) }
        var sent: [[UInt8]] = []
        func send(_ payload: [UInt8]) async throws { sent.append(payload) }
        // README begins: then-lease
        var next = try await store.lease(from: "mail", waitingUpTo: .seconds(60)).first
        while let lease = next {
            try await send(lease.payload)
            next = try await store.ack(lease, thenLease: NextLease(from: "mail")).first
        }
        // README ends
        #expect(sent == [[0], [1], [2]])
        #expect(try await store.stats().completed == 3)
        try await store.close()
    }

    @Test func theStoreIsLookedAtAsItWasAndFollowed() async throws {
        let path = ReadmeTests.newPath()
        defer { ReadmeTests.remove(path) }
        let store = try await JobStore.open(at: path)
        _ = try await store.enqueue("mail", payload: [1])
        let noon = try await store.now()
        for lease in try await store.lease(from: "mail") { try await store.ack(lease) }
        // README begins: past
        do {
            let past = try await store.state(asOf: .time(noon))
            print(past.stats.queues, past.digest().hex)
            for job in try await past.jobs(JobFilter(queue: "mail", state: .dead)) { print(job) }
        } catch {
            print("\(error.code): \(error.message)")
        }
        // README ends
        // README begins: events
        var next = SequenceNumber(1)
        for try await event in store.events(from: .sequence(next)) {
            print(event.sequence, event.record.kind, event.record.fields.map(\.name))
            next = event.sequence.next
            if event.record.kind == "ack" { break }
        }
        // README ends
        // README begins: cursor
        let mailer = try await store.events(cursor: "mailer", from: .oldest)
        for try await event in mailer {
            print(event.sequence, event.record.kind)
            try await mailer.commit()
            if event.record.kind == "ack" { break }
        }
        // README ends
        #expect(try await store.cursors().map(\.lagRecords) == [0])
        #expect(next == SequenceNumber(4))
        try await store.close()
    }

    @Test func timeStandsUntilItIsMoved() async throws {
        let path = ReadmeTests.newPath()
        defer { ReadmeTests.remove(path) }
        // README begins: clock
        var options = JobStoreOptions()
        options.clock = ManualClock()
        let store = try await JobStore.open(at: path, options: options)
        try await store.advanceClock(by: 60_000)
        // README ends
        #expect(try await store.now() == ManualClock.defaultStart.advanced(byMilliseconds: 60_000))
        try await store.close()
    }
}

/// Where the tests' messages go.
private actor Outbox {
    private(set) var sent: [[UInt8]] = []

    func send(_ message: [UInt8]) throws { sent.append(message) }
}
