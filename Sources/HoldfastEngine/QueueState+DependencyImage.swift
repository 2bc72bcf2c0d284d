// What jobs wait for, in digests and images, and what must hold of it.
//
//     dependencies   varint(jobs) · one for each, ascending
//     one            varint(job - the one before) · u8(policy | 4: held) · varint(failed job, 0 for none)
//                    · varint(done) · varint(dead) · varint(cancelled) · set of those it waits for, as in digests
//
// Who waits for a job is an index. A digest has this where it holds anything: other states have the digest they had.

internal import HoldfastBytes

extension QueueState {
    private static let heldFlag: UInt8 = 4

    /// Appends what jobs wait for.
    func encodeDependencies(into writer: inout ByteWriter) {
        writer.append(varint: UInt64(waits.jobs.count))
        var previous: UInt64 = 0
        for (job, own) in waits.jobs.sorted(by: { $0.key < $1.key }) {
            writer.append(varint: job - previous)
            previous = job
            writer.append(own.policy.rawValue | (own.isHeld ? Self.heldFlag : 0))
            writer.append(varint: own.failed)
            for count in [own.done, own.dead, own.cancelled] { writer.append(varint: count) }
            own.pending.encode(into: &writer)
        }
    }

    /// Reads what `encodeDependencies` wrote; the jobs are there, as though they waited for nothing but a time.
    mutating func decodeDependencies(_ reader: inout ByteReader) throws {
        var previous: UInt64 = 0
        var place: Slot<LaneRecord>?
        for _ in 0..<(try reader.varint(atMost: UInt64(reader.remaining))) {
            let step = try reader.varint(atMost: lastSequence.rawValue)
            let job = previous + step
            previous = job
            guard step > 0, let entry = entries[job] else { throw Self.corruptImage("no such job waits for others") }
            let own = try decodeOne(&reader, of: job)
            let isLegal =
                switch entry.phase {
                case .waiting: true
                case .leased: !own.blocks
                case .dead: own.failed == 0
                }
            guard isLegal else { throw Self.corruptImage("job \(job) waits for others in a state that can't be") }
            try own.pending.forEachRange { range in
                for other in range {
                    guard other != job, holds(other, near: &place) else {
                        throw Self.corruptImage("job \(job) waits for one that there is not")
                    }
                    waits.dependents[other, default: []].insert(job)
                }
            }
            waits.jobs[job] = own
            if own.failed != 0 { waits.doomed.insert(job) }
            if own.blocks, entry.phase == .waiting { block(job, entry) }
        }
        for queue in Array(deadLetters.keys) { deadLettersChanged(in: queue) }
    }

    private func decodeOne(_ reader: inout ByteReader, of job: UInt64) throws -> JobDependencies {
        let flags = try reader.u8()
        guard flags < Self.heldFlag << 1, let policy = DependencyPolicy(rawValue: flags & 3) else {
            throw Self.corruptImage("job \(job) waits in an unknown way")
        }
        var own = JobDependencies(EnqueueDependencies(policy: policy, isHeld: flags & Self.heldFlag != 0))
        own.failed = try reader.varint(atMost: lastSequence.rawValue)
        own.done = try reader.varint(atMost: lastSequence.rawValue)
        own.dead = try reader.varint(atMost: lastSequence.rawValue)
        own.cancelled = try reader.varint(atMost: lastSequence.rawValue)
        own.pending = try SequenceBitmap(from: &reader)
        guard own.pending.count <= RecordLimits.pendingMax, own.failed == 0 || policy != .run else {
            throw Self.corruptImage("job \(job) waits for more than it may")
        }
        return own
    }

    /// Puts a restored job that seemed to wait for a time, or nothing, where it waits.
    private mutating func block(_ job: UInt64, _ entry: JobEntry) {
        var entry = entry
        unwait(job, entry)
        entry.flags.insert(.isBlocked)
        entries[job] = entry
        wait(job, entry)
        deadlinesChanged(of: job)
    }

    // MARK: - Invariants

    func checkDependencies() {
        var links = 0
        for (job, own) in waits.jobs {
            precondition(entries[job] != nil, "what a job waits for goes with its entry")
            precondition((own.failed != 0) == waits.doomed.contains(job), "who is to end is listed")
            precondition(own.failed == 0 || entries[job]?.phase == .waiting, "only who waits is to end")
            precondition(entries[job]?.phase != .leased || !own.blocks, "who waits for others is not leased")
            precondition(own.pending.count <= RecordLimits.pendingMax, "a job waits for so many at most")
            own.pending.forEachRange { range in
                for other in range {
                    precondition(waits.dependents[other]?.contains(job) ?? false, "a job knows who waits for it")
                    precondition(needed.contains(other), "who is waited for is in the state")
                    links += 1
                }
            }
        }
        precondition(waits.doomed.count == waits.jobs.values.count { $0.failed != 0 }, "only who waits is to end")
        precondition(waits.dependents.values.reduce(0) { $0 + $1.count } == links, "nobody else waits for it")
        for (job, entry) in entries {
            let isBlocked = entry.phase == .waiting && waits.jobs[job]?.blocks ?? false
            precondition(entry.isBlocked == isBlocked, "who waits for others is blocked")
        }
    }
}
