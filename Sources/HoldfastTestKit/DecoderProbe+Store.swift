// The probes for whole files and whole stores, read as the store and its tools read them, on a simulated disk.

internal import Holdfast
internal import HoldfastBytes
internal import HoldfastLog

extension DecoderProbe {
    /// Reads a segment's file front to back, as `dump` does. The first byte chooses whether checksums are put right.
    public static func segment(_ bytes: [UInt8]) {
        guard let flags = bytes.first else { return }
        var file = Array(bytes[1...])
        var link: UInt32?
        if flags & 1 == 1 { SealMending.mendSegment(&file, link: &link) }
        let disk = SimulatedFileSystem()
        disk.replace("/segment", with: file)
        do throws(LogError) {
            let source = try LogReader.openSegment("/segment", fileSystem: disk)
            var end = source.start
            try source.forEachFrame(disk) { (frame) throws(LogError) in
                precondition(frame.offset >= end && frame.end <= file.count, "frames ascend within the file")
                end = frame.end
                var last: SequenceNumber?
                _ = try frame.forEachEntry(file: source.name) { (entry, _) throws(LogError) in
                    if let last { precondition(entry.sequence > last, "records ascend") }
                    last = entry.sequence
                    record(kind: entry.kind, body: [UInt8](copying: entry.body), sequence: entry.sequence)
                    return true
                }
                return true
            }
        } catch {
            check(error, fileBytes: file.count)
        }
    }

    /// Reads and opens a store; see `StoreImage` for how bytes stand for one. What can be opened must hold: it takes a
    /// job, closes, and is the same when it is opened again.
    public static func store(_ bytes: [UInt8]) {
        let disk = StoreImage(bytes).disk()
        read(disk)
        guard let state = use(disk, mustOpen: false), let again = use(disk, mustOpen: true) else { return }
        precondition(again.before == state.after, "a store that is opened again is the same")
    }

    /// Reads a store as its tools do, without opening it.
    private static func read(_ disk: SimulatedFileSystem) {
        do throws(LogError) {
            var reader = try LogReader.open(directory: StoreImage.path, fileSystem: disk)
            let found = reader.verify(progress: { _, _ in }, { _, _ in })
            for problem in found.problems { check(problem, fileBytes: nil) }
            try reader.forEachFrame(from: .zero) { (_, _) throws(LogError) in true }
        } catch {
            check(error, fileBytes: nil)
        }
    }

    /// Opens a store and uses it; returns its digests after opening and before closing, or `nil` when it is refused.
    private static func use(_ disk: SimulatedFileSystem, mustOpen: Bool) -> (before: StoreDigest, after: StoreDigest)? {
        var options = JobStoreOptions()
        options.fileSystem = disk
        options.clock = ManualClock()
        options.createIfMissing = false
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        let store: JobStore
        do throws(JobStoreError) {
            store = try JobStore.openBlocking(at: StoreImage.path, options: options)
        } catch {
            precondition(!error.message.isEmpty, "a refusal says why")
            precondition(refusals.contains(error.code), "a store is refused for its content: \(error)")
            precondition(!mustOpen, "a store that was closed can be opened again: \(error)")
            return nil
        }
        do throws(JobStoreError) {
            let before = try store.blocking.digest()
            let job = try store.blocking.enqueue("probe", payload: [1, 2, 3])
            // What is leased may be damaged, which costs that job only.
            for queue in Set(try store.blocking.jobs().map(\.queue)).sorted() {
                _ = try? store.blocking.lease(from: [queue], limit: 2, for: .seconds(5), worker: "probe")
            }
            guard try store.blocking.job(job.id) != nil else { preconditionFailure("a job is there") }
            let after = try store.blocking.digest()
            try store.blocking.close()
            return (before, after)
        } catch {
            try? store.blocking.close()
            precondition(error.code == .corrupt || refusals.contains(error.code), "a store fails by damage: \(error)")
            return nil
        }
    }

    private static let refusals: Set<JobStoreError.Code> = [.corrupt, .unsupportedFormat, .notAStore]

    private static func check(_ error: LogError, fileBytes: Int?) {
        precondition(!error.message.isEmpty, "an error says what is wrong")
        precondition(
            [.corrupt, .unsupportedFormat, .notAStore].contains(error.code), "damage is called damage: \(error)")
        if let fileBytes, let offset = error.offset {
            precondition((0...fileBytes).contains(offset), "an error lies inside the file")
        }
    }
}
