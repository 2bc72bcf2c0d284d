// What the fuzzers start from: small valid inputs, made by the encoders and by real stores on a simulated disk. The
// tests run them through the probes; with HOLDFAST_WRITE_FUZZ_SEEDS=1 they are also written to Fuzz/Corpus, which is to
// be done after a change of the format.

import Holdfast
import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

/// Makes the seeds of the targets that read files and requests.
enum FuzzSeeds {
    /// The seeds by target and name.
    static func all() throws -> [String: [String: [UInt8]]] {
        var seeds: [String: [String: [UInt8]]] = [:]
        for (name, disk) in try stores() {
            for (suffix, isMended) in [("raw", false), ("mended", true)] {
                let image = StoreImage(disk, isMended: isMended).bytes
                seeds["FuzzStore", default: [:]]["\(name)-\(suffix)"] = image
                seeds["FuzzDump", default: [:]]["\(name)-\(suffix)"] = image
            }
            for (path, bytes) in disk.snapshotFiles() { add(bytes, of: path, store: name, to: &seeds) }
        }
        for (number, text) in texts.enumerated() {
            seeds["FuzzJSON", default: [:]]["text-\(number)"] = Array(text.utf8)
        }
        for (name, lines) in requests { seeds["FuzzShell", default: [:]][name] = Array(lines.utf8) }
        return seeds
    }

    // MARK: - Stores

    private static func options(_ disk: SimulatedFileSystem) -> JobStoreOptions {
        var options = JobStoreOptions()
        options.fileSystem = disk
        options.clock = ManualClock()
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        return options
    }

    /// Stores as they are found after a clean close and after a loss of power, young and compacted.
    private static func stores() throws -> [String: SimulatedFileSystem] {
        var stores: [String: SimulatedFileSystem] = [:]
        for compacts in [false, true] {
            let disk = SimulatedFileSystem()
            let store = try JobStore.openBlocking(at: StoreImage.path, options: options(disk))
            try work(store, compacts: compacts)
            let name = compacts ? "compacted" : "young"
            stores["\(name)-cut"] = disk.crashImage(.everythingPending)
            try store.blocking.close()
            stores["\(name)-closed"] = disk
        }
        let empty = SimulatedFileSystem()
        try JobStore.openBlocking(at: StoreImage.path, options: options(empty)).blocking.close()
        stores["empty"] = empty
        return stores
    }

    private static func work(_ store: JobStore, compacts: Bool) throws {
        let blocking = store.blocking
        var options = EnqueueOptions()
        options.uniqueKey = "key"
        options.group = "group"
        options.headers = [JobHeader(name: "trace", value: "1")]
        _ = try blocking.enqueue("mail", payload: Array("hello".utf8), options: options)
        for number in 0..<12 {
            _ = try blocking.enqueue("mail", payload: [UInt8](repeating: UInt8(number), count: 40))
        }
        try blocking.configure("mail", QueueConfiguration(groupRate: .init(1, per: .seconds(3600), burst: 2)))
        let leases = try blocking.lease(from: "mail", limit: 4, worker: "w")
        try blocking.ack(leases[0], result: Array("1".utf8))
        _ = try blocking.requeue(leases[1], error: "again")
        try blocking.bury(leases[2], error: "never")
        _ = try blocking.effect(
            scope: "s", key: "k", fencedBy: LeaseIdentity(id: leases[3].id, token: leases[3].token),
            value: Array("2".utf8))
        let waiting = leases[3].id.rawValue + 1
        try blocking.edit(JobID(waiting), JobEdit(priority: 3, delay: .seconds(60), payload: [1, 2]))
        try blocking.edit(JobID(waiting + 1), JobEdit(queue: "moved", headers: [JobHeader(name: "h", value: "v")]))
        options.uniqueScope = .queued
        options.onCollision = .replace
        for _ in 0..<2 { _ = try blocking.enqueue("kept", payload: [7], options: options) }
        try blocking.configure(StoreLimits(jobs: 100, payloadBytes: 10_000))
        options = EnqueueOptions()
        (options.labels, options.owner, options.isSecret) = (["tenant": "a"], "me", true)
        _ = try blocking.enqueue("labelled", payload: [1, 2, 3], options: options)
        try blocking.pause("other")
        try addWaiting(blocking)
        if compacts {
            _ = try blocking.compact()
            _ = try blocking.checkpoint()
            _ = try blocking.enqueue("late", payload: [9])
        }
    }

    /// Jobs that wait for others.
    private static func addWaiting(_ blocking: BlockingJobStore) throws {
        var held = EnqueueOptions()
        (held.hold, held.ifOneFails) = (true, .run)
        var member = EnqueueOptions()
        member.before = try blocking.enqueue("end", payload: [8], options: held).id
        var next = EnqueueOptions()
        (next.after, next.ifOneFails) = ([try blocking.enqueue("part", payload: [9], options: member).id], .die)
        _ = try blocking.enqueue("part", payload: [10], options: next)
    }

    /// The pieces of a store's file as inputs of the targets that read pieces.
    private static func add(
        _ bytes: [UInt8], of path: String, store: String, to seeds: inout [String: [String: [UInt8]]]
    ) {
        let name = "\(store)-\(path.split(separator: "/").last ?? "")"
        if path.hasSuffix("MANIFEST") { seeds["FuzzManifest", default: [:]][name] = bytes }
        if path.hasSuffix(".ckpt") { seeds["FuzzCheckpoint", default: [:]][name] = bytes }
        guard path.hasSuffix(".jnl") || path.hasSuffix(".seg") else { return }
        let end = (bytes.lastIndex { $0 != 0 } ?? 0) + 1
        let whole = Array(bytes[..<min(bytes.count, FrameFormat.aligned(end, to: 4096))])
        seeds["FuzzSegmentHeader", default: [:]][name] = Array(bytes.prefix(160))
        guard whole.count > SegmentHeader.byteCount else { return }
        // Of the journal's files one is enough, of its frames the first few: they are padded to pages.
        if whole.count <= 24 << 10 { seeds["FuzzSegment", default: [:]][name] = [1] + whole }
        guard let header = try? SegmentHeader(bytes.span.extracting(0..<SegmentHeader.byteCount), file: name) else {
            return
        }
        var offset = SegmentHeader.byteCount
        for number in 0..<6 {
            guard case .success(let frame) = Frame.check(bytes.span, at: offset, offset: offset, segment: header) else {
                return
            }
            let end = offset + FrameFormat.headerBytes + frame.storedBytes
            let salt = (0..<4).map { UInt8(truncatingIfNeeded: header.salt >> UInt32(8 * $0)) }
            seeds["FuzzFrame", default: [:]]["\(name)-\(number)"] = salt + Array(bytes[offset..<end])
            let stored = bytes.span.extracting((offset + FrameFormat.headerBytes)..<end)
            if frame.kind == .seal, let raw = Frame.decode(stored, header: frame, salt: header.salt) {
                seeds["FuzzSeal", default: [:]]["\(name)"] = raw
            }
            offset = FrameFormat.aligned(end, to: frame.isGroupEnd ? header.alignment : 8)
        }
    }

    // MARK: - Text

    private static let texts = [
        "null", "-12.5e+3", "\"a\\u00e9\\ud83d\\ude00\\n\"", "[1,[2,{}],\"x\"]", "{\"a\":{\"b\":[true,false]},\"c\":0}",
        "aGVsbG8=", "2026-11-21T02:31:18.123Z", "2026-11-21", "10m", " [ ] ", "9223372036854775807",
        "\"\u{e9}\u{10348}\"",
    ]

    private static let requests: [String: String] = [
        "enqueue": #"""
        {"op":"enqueue","queue":"a","payload":"x","priority":3,"max_attempts":2,"unique_key":"k","req":1}
        {"op":"enqueue","queue":"a","payload_b64":"AAEC","delay_ms":5,"group":"g","headers":{"h":"v"},"ttl_ms":9}
        {"op":"lease","queue":["a","b"],"limit":2,"lease_ms":50,"worker":"w"}
        {"op":"advance","ms":10}
        {"op":"stats"}
        """#,
        "settle": #"""
        {"op":"enqueue","queue":"a","payload":"x"}
        {"op":"lease","queue":"a"}
        {"op":"heartbeat","id":1,"token":2,"lease_ms":100,"progress":[1]}
        {"op":"requeue","id":1,"token":2,"delay_ms":7,"error":"e","counts":false}
        {"op":"advance","ms":7}
        {"op":"lease","queue":"a"}
        {"op":"ack","id":1,"token":5,"result":{"r":1}}
        {"op":"history","id":1}
        """#,
        "batch": #"""
        {"op":"batch","ops":[{"op":"enqueue","queue":"a","payload":"x","req":"q"},{"op":"cancel","id":1}]}
        {"op":"effect","scope":"s","key":"k","value":null}
        {"op":"digest"}
        {"op":"now","req":{"a":[]}}
        """#,
        "dead": #"""
        {"op":"enqueue","queue":"a","payload":"x"}
        {"op":"lease","queue":"a"}
        {"op":"bury","id":1,"token":2,"error":"e"}
        {"op":"redrive","queue":"a","limit":5}
        {"op":"jobs","state":"dead","queue":"a","limit":3,"after":0}
        {"op":"purge","queue":"a"}
        """#,
        "kept": #"""
        {"op":"configure","queue":"a","dead_max":1,"dead_age_ms":9,"result_retention_ms":5}
        {"op":"enqueue","queue":"a","payload":"x"}
        {"op":"enqueue","queue":"a","payload":"y"}
        {"op":"lease","queue":"a","limit":2}
        {"op":"ack","id":2,"token":4,"result":[1],"keep_ms":7}
        {"op":"bury","id":3,"token":5,"error":"late"}
        {"op":"dead_jobs","queue":"a","where":{"reasons":["buried"],"error_contains":"at","attempts_min":1},"limit":3}
        {"op":"redrive","queue":"a","where":{"died_before_ms":9999999999999,"last_id":9},"per_second":2,"dry_run":true}
        {"op":"purge","queue":"a","where":{"all":true},"limit":1}
        {"op":"result","id":2}
        {"op":"compact","prove":true}
        """#,
        "cursor": #"""
        {"op":"enqueue","queue":"a","payload":"x"}
        {"op":"cursor_open","cursor":"c","from":"oldest","bytes_cap":9,"age_cap_ms":1}
        {"op":"cursor_advance","cursor":"c","to":2}
        {"op":"cursor_reset","cursor":"c","to":1}
        {"op":"cursors"}
        {"op":"compact","prove":true}
        {"op":"cursor_remove","cursor":"c"}
        """#,
        "edit": #"""
        {"op":"enqueue","queue":"a","payload":"x","unique_key":"k","unique_scope":"queued"}
        {"op":"enqueue","queue":"a","payload":"y","unique_key":"k","on_collision":"replace","delay_ms":5}
        {"op":"enqueue","queue":"a","payload":"z","unique_key":"k","on_collision":"postpone"}
        {"op":"edit","id":1,"queue":"b","priority":1,"max_attempts":3,"payload":"w","headers":{},"run_at_ms":0}
        {"op":"batch","ops":[{"op":"edit","id":1,"delay_ms":5},{"op":"cancel","id":1}]}
        {"op":"compact","prove":true}
        """#,
        "depend": #"""
        {"op":"enqueue","queue":"end","payload":"x","hold":true,"if_one_fails":"die"}
        {"op":"enqueue","queue":"a","payload":"y","before":1}
        {"op":"batch","ops":[{"op":"cancel","id":2},{"op":"enqueue","queue":"a","payload":"z","after":[1]}]}
        {"op":"release","id":1}
        {"op":"job","id":3}
        {"op":"cancel","id":2}
        {"op":"explain","id":3}
        {"op":"compact","prove":true}
        """#,
        "limits": #"""
        {"op":"configure_store","jobs":2,"payload_bytes":null}
        {"op":"enqueue","queue":"a","payload":"x","labels":{"tenant":"a"},"owner":"me","secret":true,"wait_ms":0}
        {"op":"jobs","labels":{"tenant":"a"},"owner":"me"}
        {"op":"job","id":2,"show_secrets":true}
        {"op":"effect_get","scope":"s","key":"k"}
        {"op":"purge","labels":{"tenant":"a"},"states":["ready"]}
        """#,
        "queue": #"""
        {"op":"pause","queue":"a"}
        {"op":"drain","queue":"a"}
        {"op":"resume","queue":"a"}
        {"op":"checkpoint"}
        {"op":"compact"}
        {"op":"job","id":1}
        """#,
    ]
}
