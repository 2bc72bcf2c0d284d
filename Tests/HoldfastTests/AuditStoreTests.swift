// Published heads over the life of a store: work, sealing, compaction, forks, backups and reopening.

import Holdfast
import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct AuditStoreTests {
    /// What the files at `path` say of `heads`.
    private func findings(
        _ life: Life, _ path: String, _ heads: [AuditHead], key: AuditKey? = nil
    ) throws -> (anchor: SequenceNumber, findings: [AuditFinding]) {
        var reader = try LogReader.open(directory: path, fileSystem: life.disk)
        var result = reader.verify(expecting: heads, key: key, progress: { _, _ in }, { _, _ in })
        // What the owner has replaced meanwhile is not damaged.
        for _ in 1..<LogReader.attemptsMax where !result.problems.isEmpty {
            let now = try LogReader.open(directory: path, fileSystem: life.disk)
            if now.manifest == reader.manifest { break }
            reader = now
            result = reader.verify(expecting: heads, key: key, progress: { _, _ in }, { _, _ in })
        }
        #expect(result.problems.isEmpty, "\(path): \(result.problems)")
        return (try #require(reader.manifest.audit).anchor.through, result.audits)
    }

    private func work(_ life: Life, rounds: Int, key: AuditKey? = nil) async throws -> [AuditHead] {
        var heads: [AuditHead] = []
        for round in 0..<rounds {
            for _ in 0..<50 {
                try await life.step()
                guard life.random.chance(1, in: 4) else { continue }
                let head = try await life.open().auditHead()
                #expect(head.sequence <= SequenceNumber(try await life.open().digest().sequence.rawValue))
                heads.append(head)
            }
            if round % 2 == 1 { _ = try await life.open().compact() } else { try await life.close() }
        }
        return heads
    }

    @Test(arguments: UInt64(1)...4) func everyHeadIsProvedInTheStoreAndInItsForks(_ seed: UInt64) async throws {
        let life = Life(seed: seed)
        let heads = try await work(life, rounds: 4)
        _ = try await life.open().backup(to: "/backup")
        let last = try #require(heads.last)
        try await life.close()
        for path in ["/store", "/backup"] {
            #expect(
                try findings(life, path, heads).findings.allSatisfy { $0.verdict == .proved(from: SequenceNumber(1)) })
        }
        let middle = heads[heads.count / 2]
        try StoreFork.run("/backup", to: "/restored", at: .sequence(middle.sequence), fileSystem: life.disk)
        let restored = try await life.openFork("/restored")
        #expect(try await restored.auditHead() == middle, "a fork's head is its source's")
        _ = try await restored.enqueue("more", payload: [1])
        _ = try await restored.compact()
        let own = try await restored.auditHead()
        try await restored.close()
        let found = try findings(life, "/restored", heads + [own]).findings
        for finding in found where finding.head.sequence <= middle.sequence {
            #expect(finding.verdict == .proved(from: SequenceNumber(1)))
        }
        #expect(found.last?.verdict == .proved(from: SequenceNumber(1)))
        // What the source went on to do is not what the fork did.
        let other = try #require(try findings(life, "/restored", [last]).findings.first)
        if last.sequence > middle.sequence { #expect(other.verdict != .proved(from: SequenceNumber(1))) }
    }

    @Test(arguments: UInt64(1)...6) func withoutHistoryItIsSaidWhatCanNotBeProved(_ seed: UInt64) async throws {
        let life = Life(seed: seed)
        life.history = .none
        let heads = try await work(life, rounds: 6)
        try await life.close()
        let (anchor, found) = try findings(life, "/store", heads)
        #expect(anchor > .zero)
        for finding in found {
            if finding.head.sequence > anchor {
                #expect(finding.verdict == .proved(from: anchor.next))
            } else {
                #expect(finding.verdict == .carried || finding.verdict == .dropped(through: anchor))
            }
        }
        // A fork goes on with the chain, wherever its point lies.
        for (number, head) in heads.enumerated() where head.sequence >= anchor {
            let path = "/fork\(number)"
            do {
                try StoreFork.run("/store", to: path, at: .sequence(head.sequence), fileSystem: life.disk)
            } catch {
                #expect(error.code == .beyondHistory)
                continue
            }
            let fork = try await life.openFork(path)
            #expect(try await fork.auditHead() == head)
            try await fork.close()
            let (_, forked) = try findings(life, path, [head])
            #expect(forked[0].verdict == (head.sequence > anchor ? .proved(from: anchor.next) : .carried))
        }
    }

    /// Heads are computed while records come, are sealed, and are dropped.
    @Test func headsBesideWorkAndCompactionAreNeverContradicted() async throws {
        let life = Life(seed: 31)
        life.history = .none
        let store = try await life.open()
        let churn = Task {
            while !Task.isCancelled {
                for _ in 0..<20 { _ = try await store.enqueue("q", payload: [UInt8](repeating: 1, count: 2000)) }
                for lease in try await store.lease(from: "q", limit: 19) { try await store.ack(lease) }
                _ = try await store.compact()
            }
        }
        var heads: [AuditHead] = []
        for _ in 0..<200 {
            let answered = try await store.enqueue("mark", payload: [1]).id.sequence
            let head = try await store.auditHead()
            #expect(head.sequence >= answered)
            heads.append(head)
        }
        churn.cancel()
        try await churn.value
        try await life.close()
        let (anchor, found) = try findings(life, "/store", heads)
        #expect(anchor > .zero)
        for finding in found {
            if finding.head.sequence > anchor {
                #expect(finding.verdict == .proved(from: anchor.next))
            } else {
                #expect(finding.verdict == .carried || finding.verdict == .dropped(through: anchor))
            }
        }
    }

    /// A reader beside the owner knows each head as soon as the files do.
    @Test func aHeadIsProvedBesideTheWorkThatFollowsIt() async throws {
        let life = Life(seed: 32)
        let store = try await life.open()
        var heads: [AuditHead] = []
        for round in 0..<30 {
            for _ in 0..<20 { _ = try await store.enqueue("q", payload: [UInt8](repeating: 1, count: 900)) }
            heads.append(try await store.auditHead())
            if round % 7 == 0 { _ = try await store.compact() }
            let found = try findings(life, "/store", heads).findings
            for finding in found {
                guard case .beyondDurable = finding.verdict else {
                    #expect(finding.verdict == .proved(from: SequenceNumber(1)))
                    continue
                }
                #expect(finding.head == heads.last)
            }
        }
        try await life.close()
    }

    @Test func aHeadWithAKeyIsProvedWithItAlone() async throws {
        let key = AuditKey(Array("sixteen bytes, and more".utf8))
        let life = Life(seed: 1)
        var options = life.options(life.clock)
        options.auditKey = key
        let store = try await JobStore.open(at: "/keyed", options: options)
        _ = try await store.enqueue("q", payload: [1])
        let head = try await store.auditHead()
        try await store.close()
        #expect(try findings(life, "/keyed", [head], key: key).findings[0].verdict == .proved(from: SequenceNumber(1)))
        guard case .differs = try findings(life, "/keyed", [head]).findings[0].verdict else {
            Issue.record("a head without its key proves nothing")
            return
        }
        // A fork proves its source's heads with the key, too.
        try StoreFork.run("/keyed", to: "/fork", at: nil, fileSystem: life.disk)
        #expect(try findings(life, "/fork", [head], key: key).findings[0].verdict == .proved(from: SequenceNumber(1)))
        for count in [0, 15, 4097] {
            options.auditKey = AuditKey([UInt8](repeating: 1, count: count))
            await expectRefusal(.badRequest) { _ = try await JobStore.open(at: "/keyed", options: options) }
        }
    }

    @Test func aClosedStoreGivesNoHead() async throws {
        let life = Life(seed: 1)
        let store = try await life.open()
        #expect(try store.blocking.auditHead().sequence == .zero)
        try await life.close()
        await expectRefusal(.closed) { _ = try await store.auditHead() }
    }
}
