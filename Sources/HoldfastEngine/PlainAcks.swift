// Plain acks: of one call, and without results. A worker that takes many jobs at once settles them like that. What one
// of them changes bears on none of the others, as long as each is of another job: so each is looked at by itself, and
// they skip commands, decisions and records. They become the state that their records, which the log holds as any
// others, give one by one.

package import HoldfastBytes

/// Leases to be acked in one call, without results, in records next to each other.
package struct PlainAcks: Sendable {
    /// One for each record.
    package private(set) var jobs: [JobID] = []
    package private(set) var tokens: [LeaseToken] = []

    /// Creates a list of none.
    ///
    /// - Parameter capacity: For how many there is to be room.
    package init(capacity: Int) {
        jobs.reserveCapacity(capacity)
        tokens.reserveCapacity(capacity)
    }

    package var count: Int { jobs.count }

    /// Adds the lease with `token`; returns false when `job` is not above those before it, so that it may be one of
    /// them.
    package mutating func add(_ job: JobID, _ token: LeaseToken) -> Bool {
        if let last = jobs.last, last >= job { return false }
        jobs.append(job)
        tokens.append(token)
        return true
    }

    /// Returns one of their records, of which `first` is the first's number.
    package func record(_ index: Int, from first: SequenceNumber, at time: Timestamp) -> Record {
        Record(
            sequence: first.advanced(by: UInt64(index)), time: time,
            mutation: .ack(Ack(job: jobs[index], token: tokens[index])))
    }

    /// Appends the body of one of their records.
    package func encodeBody(
        _ index: Int, from first: SequenceNumber, at time: Timestamp, into writer: inout ByteWriter
    ) {
        let place = Record.Context(sequence: first.advanced(by: UInt64(index)), time: time)
        writer.append(varint: UInt64(bitPattern: time.milliseconds))
        writer.append(varint: 0)
        place.append(jobs[index], tokens[index], to: &writer)
    }
}

extension QueueState {
    /// Whether each of these leases is held, so that all can be acked.
    package func holds(_ leases: PlainAcks) -> Bool {
        for index in 0..<leases.count where leasedEntry(leases.jobs[index], leases.tokens[index]) == nil {
            return false
        }
        return true
    }

    /// Applies their records, of which `first` is the first's number.
    ///
    /// - Precondition: `holds` them, and the records follow the last one.
    package mutating func apply(_ acks: PlainAcks, from first: SequenceNumber, at time: Timestamp) {
        guard acks.count > 0 else { return }
        assert(first > lastSequence, "records are applied in order")
        for job in acks.jobs {
            guard let entry = entries.removeValue(forKey: job.rawValue) else { continue }
            completedCount += 1
            forget(job.rawValue, entry, as: .done, at: time)
            dropLease(of: job)
        }
        lastSequence = first.advanced(by: UInt64(acks.count - 1))
        lastShown = lastSequence
        latestTime = max(latestTime, time)
        pruneDeadlines()
        #if INTERNAL_CHECKS
            checkInvariants()
        #endif
    }
}
