// A store's capacity in all ways in which it meets the state. `storeTally` is there while something is limited; without
// it each of these costs a comparison.

internal import HoldfastBytes

extension QueueState {
    /// How much the store takes in all.
    package var storeCapacity: StoreCapacity { storeTally?.capacity ?? StoreCapacity() }

    /// What counts towards the store's capacity; `nil` when nothing is limited.
    package var storeLoad: (jobs: Int, payloadBytes: Int)? { storeTally.map { ($0.jobs, $0.payloadBytes) } }

    /// Whether an enqueue might be refused for the sake of the queue, or of the store for `nil`.
    package func isFull(_ queue: String?) -> Bool {
        guard let queue else {
            guard let tally = storeTally else { return false }
            return tally.capacity.jobs.map { tally.jobs >= $0 } ?? false
                || tally.capacity.payloadBytes.map { tally.payloadBytes >= $0 } ?? false
        }
        guard let slot = table.queue(queue), let capacity = table.queues[slot].terms.capacity else { return false }
        return table.queues[slot].ready + table.queues[slot].scheduled + table.queues[slot].leased >= capacity
    }

    // MARK: - Deciding

    /// Notes that a job with a payload of so many bytes is about to come into the store, if that takes one more.
    func reserveInStore(_ job: JobID, bytes: Int, _ batch: inout BatchScope) throws(EngineError) {
        guard let tally = storeTally else { return }
        if let most = tally.capacity.jobs, tally.jobs + batch.storeJobs >= most { throw .storeFull(jobs: most) }
        try reserveBytes(bytes, tally, batch)
        batch.storeJobs += 1
        batch.storeBytes += bytes
        if tally.capacity.payloadBytes != nil { batch.payloadSizes[job] = bytes }
    }

    /// Notes that a job's payload is about to be replaced by one of so many bytes, if there is room for more.
    func resizeInStore(_ job: JobID, bytes: Int, _ batch: inout BatchScope) throws(EngineError) {
        guard let tally = storeTally, tally.capacity.payloadBytes != nil else { return }
        let before = batch.payloadSizes[job] ?? tally.sizes[job.rawValue] ?? 0
        if bytes > before { try reserveBytes(bytes - before, tally, batch) }
        batch.storeBytes += bytes - before
        batch.payloadSizes[job] = bytes
    }

    private func reserveBytes(_ bytes: Int, _ tally: StoreTally, _ batch: BatchScope) throws(EngineError) {
        guard bytes > 0, let most = tally.capacity.payloadBytes else { return }
        guard tally.payloadBytes + batch.storeBytes + bytes <= most else {
            throw .storeFull(payloadBytes: most, needed: bytes)
        }
    }

    /// Notes that an unfinished job is about to finish or die.
    func shrinkStore(_ job: JobID, in batch: inout BatchScope) {
        guard let tally = storeTally else { return }
        batch.storeJobs -= 1
        batch.storeBytes -= batch.payloadSizes[job] ?? tally.sizes[job.rawValue] ?? 0
    }

    func decide(_ settings: StoreSettings) -> Decision {
        let isSame = settings.applied(to: storeCapacity) == storeCapacity
        return Decision(mutations: isSame ? .none : .one(.storeSettings(settings)), reply: .done)
    }

    // MARK: - Applying

    mutating func apply(_ settings: StoreSettings) {
        let capacity = settings.applied(to: storeCapacity)
        guard !capacity.isUnlimited else {
            storeTally = nil
            return
        }
        if storeTally == nil { storeTally = StoreTally(capacity: capacity, jobs: unfinishedCount) }
        storeTally?.capacity = capacity
        guard capacity.payloadBytes == nil else { return }
        storeTally?.sizes = [:]
        storeTally?.payloadBytes = 0
    }

    /// Jobs that have not finished and are not dead.
    ///
    /// - Complexity: O(queues).
    package var unfinishedCount: Int {
        table.queueSlots.values.reduce(0) {
            $0 + table.queues[$1].ready + table.queues[$1].scheduled + table.queues[$1].leased
        }
    }

    /// A job came, or a dead one may run again. Counts its payload, of a new one or of one whose size is known.
    mutating func countInStore(_ job: UInt64, bytes: Int? = nil) {
        guard storeTally != nil else { return }
        storeTally?.jobs += 1
        if let bytes, bytes > 0, storeTally?.capacity.payloadBytes != nil { storeTally?.sizes[job] = bytes }
        let size = storeTally?.sizes[job] ?? 0
        storeTally?.payloadBytes += size
    }

    /// An unfinished job finished or died.
    mutating func uncountInStore(_ job: UInt64) {
        guard storeTally != nil else { return }
        let size = storeTally?.sizes[job] ?? 0
        storeTally?.jobs -= 1
        storeTally?.payloadBytes -= size
    }

    /// A job is not in the state any more.
    mutating func forgetSize(of job: UInt64) { if storeTally != nil { storeTally?.sizes[job] = nil } }

    /// A waiting job's payload is another.
    mutating func resize(_ job: UInt64, bytes: Int) {
        guard storeTally?.capacity.payloadBytes != nil else { return }
        let before = storeTally?.sizes[job] ?? 0
        storeTally?.payloadBytes += bytes - before
        storeTally?.sizes[job] = bytes == 0 ? nil : bytes
    }

    // MARK: - In digest, image and checks

    /// Appends the capacity and what is known of payloads; one zero where nothing is limited, which a digest leaves
    /// out.
    func encodeCapacity(into writer: inout ByteWriter) {
        guard let tally = storeTally else { return writer.append(0) }
        let capacity = tally.capacity
        writer.append((capacity.jobs == nil ? 0 : 1) | (capacity.payloadBytes == nil ? 0 : 2))
        if let jobs = capacity.jobs { writer.append(varint: UInt64(jobs)) }
        guard let bytes = capacity.payloadBytes else { return }
        writer.append(varint: UInt64(bytes))
        writer.append(varint: UInt64(tally.sizes.count))
        var previous: UInt64 = 0
        for (job, size) in tally.sizes.sorted(by: { $0.key < $1.key }) {
            writer.append(varint: job - previous)
            writer.append(varint: UInt64(size))
            previous = job
        }
    }

    /// Reads what `encodeCapacity` wrote; the jobs are there.
    mutating func decodeCapacity(_ reader: inout ByteReader) throws {
        let flags = try reader.u8()
        guard flags < 4 else { throw Self.corruptImage("the store has unknown limits") }
        guard flags != 0 else { return }
        var capacity = StoreCapacity()
        if flags & 1 != 0 { capacity.jobs = Int(try reader.varint(atMost: UInt64(QueueTerms.limitMax))) }
        var tally = StoreTally(capacity: capacity, jobs: unfinishedCount)
        if flags & 2 != 0 {
            tally.capacity.payloadBytes = Int(try reader.varint(atMost: UInt64(QueueTerms.limitMax)))
            try decodeSizes(&reader, &tally)
        }
        guard tally.capacity.isValid else { throw Self.corruptImage("the store has impossible limits") }
        storeTally = tally
    }

    private func decodeSizes(_ reader: inout ByteReader, _ tally: inout StoreTally) throws {
        let others = try reader.varint(atMost: UInt64(reader.remaining))
        guard others > 0 else { return }
        let besideJobs = recordsBesideJobs
        var previous: UInt64 = 0
        for _ in 0..<others {
            let step = try reader.varint(atMost: lastSequence.rawValue)
            let job = previous + step
            previous = job
            guard step > 0, needed.contains(job), !besideJobs.contains(job) else {
                throw Self.corruptImage("a payload is of no job")
            }
            let size = Int(try reader.varint(atMost: UInt64(RecordLimits.payloadBytesMax)))
            guard size > 0 else { throw Self.corruptImage("the payload of job \(job) has no bytes") }
            tally.sizes[job] = size
            if entries[job]?.phase != .dead { tally.payloadBytes += size }
        }
    }

    func checkCapacity() {
        guard let tally = storeTally else { return }
        precondition(!tally.capacity.isUnlimited, "what is not limited is not counted")
        precondition(tally.jobs == unfinishedCount, "the store's jobs are those of its queues")
        precondition(tally.sizes.keys.allSatisfy { needed.contains($0) }, "a size is that of a job in the state")
        precondition(tally.sizes.isEmpty || tally.capacity.payloadBytes != nil, "sizes are known where they count")
        let bytes = tally.sizes.reduce(0) { $0 + (entries[$1.key]?.phase == .dead ? 0 : $1.value) }
        precondition(tally.payloadBytes == bytes, "the store's bytes are those of its unfinished jobs")
    }
}

extension EngineError {
    static func storeFull(jobs: Int) -> EngineError {
        EngineError(
            .queueFull,
            "the store holds the \(jobs) jobs that it takes; try again when some have ended, or raise its capacity")
    }

    static func storeFull(payloadBytes: Int, needed: Int) -> EngineError {
        EngineError(
            .queueFull,
            "the store has no room for \(needed) more bytes of payloads, of the \(payloadBytes) that it takes; try "
                + "again when some jobs have ended, or raise its capacity")
    }
}
