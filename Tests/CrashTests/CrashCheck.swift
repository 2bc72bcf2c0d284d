// What must hold after any crash, whatever was lost.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Checks a disk as it was found after a crash.
struct CrashCheck {
    let disk: SimulatedFileSystem
    let batches: [Journalist.Batch]
    /// False in the weaker modes, where a crash may take what was answered.
    private let keepsAcknowledged: Bool
    private let options: LogOptions
    /// The disks that recoveries left and that were looked at already: an equal disk behaves equally.
    private let known: KnownStates?
    private let found: FoundDisk

    /// - Parameter reproduction: How to see a failure again.
    init(
        disk: SimulatedFileSystem, batches: [Journalist.Batch], reproduction: String, keepsAcknowledged: Bool = true,
        options: LogOptions = CrashStore.options(), known: KnownStates? = nil
    ) {
        (self.disk, self.batches, self.known) = (disk, batches, known)
        (self.keepsAcknowledged, self.options) = (keepsAcknowledged, options)
        found = FoundDisk(disk, reproduction)
    }

    func run() throws {
        let store: CrashStore
        do {
            store = try CrashStore(opening: disk, options: options)
        } catch {
            found.violate("the store was refused: \(error)")
            return
        }
        checkRecords(store)
        checkNumbers(store)
        // A second recovery of the same disk, as after another loss of power, changes nothing: what the first did and
        // relied on is durable.
        var again = [disk.crashImage(.everythingPending), disk.crashImage(.nothingPending)]
        let recovered = again.map { $0.contentHash(ignoring: ["\(CrashStore.path)/lost"]) }
        if let known, !known.insert(recovered[0] ^ recovered[1] &* 31) { return try store.log.close() }
        if recovered[0] == recovered[1] { again.removeLast() }
        try store.start()
        try checkUse(store)
        for image in again { try checkSecondRecovery(image, of: store) }
    }

    private func checkRecords(_ store: CrashStore) {
        var left: [SequenceNumber: [UInt8]] = [:]
        var last = SequenceNumber.zero
        for (sequence, body) in store.replayed {
            found.expect(sequence > last, "records are replayed in order")
            last = sequence
            left[sequence] = body
        }
        let compacted = store.log.compactedThrough
        found.expect(compacted == .zero || store.checkpoint >= compacted, "records were dropped that no checkpoint has")
        var isLost = false
        for batch in batches {
            var present = 0
            for (index, body) in batch.bodies.enumerated() {
                let sequence = batch.first.advanced(by: UInt64(index))
                if let stored = left.removeValue(forKey: sequence) {
                    present += 1
                    if !isSame(stored, body) {
                        found.violate("record \(sequence) has another content")
                    }
                }
            }
            if batch.kind == 2, batch.last <= compacted { continue }
            if present != 0 && present != batch.bodies.count {
                found.violate("batch \(batch.first) is there in part")
            }
            if present == 0 {
                isLost = true
                if keepsAcknowledged && batch.isAcknowledged {
                    found.violate("acknowledged batch \(batch.first) is lost")
                }
            } else if isLost {
                found.violate("batch \(batch.first) is there though an earlier one is lost")
            }
        }
        found.expect(left.isEmpty, "records from nowhere: \(left.keys.sorted())")
        if let lastFound = store.replayed.last?.sequence, compacted < lastFound {
            found.expect(store.checkpoint <= lastFound, "a checkpoint claims what is lost")
        }
    }

    private func checkNumbers(_ store: CrashStore) {
        let next = store.log.lock.withLock { store.log.nextSequence }
        if let given = batches.last?.last, next <= given, !store.log.recovery.wasClosedCleanly {
            found.violate("number \(next) was given before")
        }
    }

    private func checkUse(_ store: CrashStore) throws {
        do {
            for number in 0..<3 { try store.commit([body(number, bytes: 300)]) }
            for batch in store.journalist.all {
                let body = try store.log.entry(batch.first)?.body
                found.expect(body == batch.bodies[0][...], "a new record can't be read")
            }
            for (sequence, body) in store.replayed.suffix(5) {
                found.expect(try store.log.entry(sequence)?.body == body[...], "an old record can't be read")
            }
            let next = disk.crashImage(.nothingPending)
            try store.log.close()
            if keepsAcknowledged { try checkNextCrash(next, after: store) }
        } catch {
            found.violate("the reopened store does not work: \(error)")
        }
    }

    /// What the reopened store took, on top of what it found, survives the next crash too.
    private func checkNextCrash(_ disk: SimulatedFileSystem, after store: CrashStore) throws {
        let again = try CrashStore(opening: disk, options: options)
        let expected = store.replayed.map(\.body) + store.journalist.all.flatMap(\.bodies)
        found.expect(again.replayed.map(\.body) == expected, "the next crash loses records")
        try again.log.close()
    }

    private func checkSecondRecovery(_ disk: SimulatedFileSystem, of first: CrashStore) throws {
        do {
            let store = try CrashStore(opening: disk, options: options)
            found.expect(
                store.replayed.elementsEqual(first.replayed) { $0.sequence == $1.sequence && isSame($0.body, $1.body) },
                "a second recovery finds other records")
            found.expect(store.log.recovery.tornBytes == 0, "a second recovery cuts again")
            try store.log.close()
        } catch {
            found.violate("the second recovery failed: \(error)")
        }
    }
}

/// Whether two bodies are equal. Arrays compare byte by byte, which took a tenth of an enumeration.
private func isSame(_ one: [UInt8], _ other: [UInt8]) -> Bool {
    unsafe one.withUnsafeBytes { one in
        unsafe other.withUnsafeBytes { other in
            guard one.count == other.count, let first = one.baseAddress, let second = other.baseAddress else {
                return one.isEmpty && other.isEmpty
            }
            return unsafe memcmp(first, second, one.count) == 0
        }
    }
}

/// Hashes of states seen so far, shared by the threads of a run.
final class KnownStates: Sendable {
    private let hashes = Locked<Set<UInt64>>([])

    /// Adds a state; false when it was there.
    func insert(_ hash: UInt64) -> Bool { hashes.withLock { $0.insert(hash).inserted } }

    var count: Int { hashes.withLock { $0.count } }

    /// Forgets what was seen.
    func removeAll() { hashes.withLock { $0.removeAll() } }
}
