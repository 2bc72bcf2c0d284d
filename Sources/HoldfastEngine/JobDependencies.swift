// What a new job waits for: other jobs, and a word to go. Rare, so a record says nothing of it unless there is
// something to say.
//
//     dependencies  u8(policy | 4: held | 8 | 16) · [8: ref(before)] · [16: varint(done) · varint(dead)
//                   · varint(cancelled)] · varint(jobs) · the jobs, ascending: ref, then varint(job - last) ...
//     policy        0 wait, 1 run, 2 cancel, 3 die

package import HoldfastBytes

/// What becomes of a job when one that it waits for fails.
package enum DependencyPolicy: UInt8, Hashable, Sendable, CaseIterable {
    /// It waits on for a dead one, which may be redriven; it dies when one was cancelled, which never completes.
    case wait = 0
    /// It runs once all have ended, however they did.
    case run = 1
    /// It is cancelled.
    case cancel = 2
    /// It dies.
    case die = 3
}

/// How a job ended for those that wait for it.
enum DependencyEnd: Sendable { case done, dead, cancelled }

/// What an enqueue says of other jobs.
package struct EnqueueDependencies: Hashable, Sendable {
    package var policy = DependencyPolicy.wait
    /// It waits until it is released, too.
    package var isHeld = false
    /// The job that waits for the new one from here on.
    package var before: JobID?
    /// Those that it waits for, ascending.
    package var after: [JobID]
    /// How many more had ended before it was enqueued.
    package var done = 0
    package var dead = 0
    package var cancelled = 0

    package init(
        after: [JobID] = [], policy: DependencyPolicy = .wait, isHeld: Bool = false, before: JobID? = nil
    ) {
        self.after = after
        self.policy = policy
        self.isHeld = isHeld
        self.before = before
    }

    /// Whether the job waits, or would have waited, for anything itself.
    var concernsItself: Bool { isHeld || !after.isEmpty || endedCount > 0 }

    private var endedCount: Int { done + dead + cancelled }

    /// Whether every part is within its bounds.
    package var isValid: Bool {
        let all = [done, dead, cancelled, after.count]
        let isAscending = zip(after, after.dropFirst()).allSatisfy { $0 < $1 }
        return all.allSatisfy { (0...RecordLimits.dependenciesMax).contains($0) }
            && all.reduce(0, +) <= RecordLimits.dependenciesMax && isAscending
            && (concernsItself || before != nil && policy == .wait)
            && (policy == .run || dead == 0 && cancelled == 0)
    }
}

/// A job that was held back goes on: it waits for jobs only, if for anything.
package struct Release: Hashable, Sendable {
    package var job: JobID

    package init(job: JobID) { self.job = job }
}

// MARK: - In records

extension EnqueueDependencies {
    private static let heldFlag: UInt8 = 4
    private static let beforeFlag: UInt8 = 8
    private static let endedFlag: UInt8 = 16

    func encode(into writer: inout ByteWriter, from sequence: SequenceNumber) {
        var flags = policy.rawValue
        if isHeld { flags |= Self.heldFlag }
        if before != nil { flags |= Self.beforeFlag }
        if endedCount > 0 { flags |= Self.endedFlag }
        writer.append(flags)
        if let before { writer.append(varint: sequence.rawValue &- before.rawValue) }
        if endedCount > 0 { for count in [done, dead, cancelled] { writer.append(varint: UInt64(count)) } }
        writer.append(varint: UInt64(after.count))
        var previous: UInt64?
        for job in after {
            writer.append(varint: previous.map { job.rawValue &- $0 } ?? sequence.rawValue &- job.rawValue)
            previous = job.rawValue
        }
    }

    /// Reads what `encode` wrote.
    ///
    /// - Throws: `.unsupported` for flags of a later version, `.notCanonical` or `.tooLong` for what is out of bounds.
    init(from reader: inout ByteReader, at sequence: SequenceNumber) throws(ByteReaderError) {
        let start = reader.offset
        let flags = try reader.u8()
        guard flags < Self.endedFlag << 1, let policy = DependencyPolicy(rawValue: flags & 3) else {
            throw ByteReaderError(.unsupported, at: start)
        }
        self.init(policy: policy, isHeld: flags & Self.heldFlag != 0)
        if flags & Self.beforeFlag != 0 { before = try Self.earlier(&reader, sequence) }
        let most = UInt64(RecordLimits.dependenciesMax)
        if flags & Self.endedFlag != 0 {
            (done, dead) = (Int(try reader.varint(atMost: most)), Int(try reader.varint(atMost: most)))
            cancelled = Int(try reader.varint(atMost: most))
            guard endedCount > 0 else { throw ByteReaderError(.notCanonical, at: start) }
        }
        for index in 0..<(try reader.varint(atMost: most)) {
            guard index > 0, let last = after.last?.rawValue else {
                after.append(try Self.earlier(&reader, sequence))
                continue
            }
            let place = reader.offset
            let step = try reader.varint(atMost: sequence.rawValue - last)
            guard step > 0, last + step < sequence.rawValue else { throw ByteReaderError(.notCanonical, at: place) }
            after.append(JobID(last + step))
        }
        guard isValid else { throw ByteReaderError(.notCanonical, at: start) }
    }

    private static func earlier(
        _ reader: inout ByteReader, _ sequence: SequenceNumber
    ) throws(ByteReaderError) -> JobID {
        let start = reader.offset
        let distance = try reader.varint()
        guard distance > 0, distance < sequence.rawValue else { throw ByteReaderError(.tooLong, at: start) }
        return JobID(sequence.rawValue - distance)
    }
}
