// Plain jobs: new ones that may be leased at once and of which nothing is said but their lane and payload. Nearly all
// jobs are plain, and those of a batch are mostly of one lane. Nothing is to be decided about them while no capacity is
// set, so they skip commands and decisions: their records begin with the same bytes, and the state takes their ids as a
// range. It is the same state that their records give one by one.

package import HoldfastBytes

/// New plain jobs of one lane, in records next to each other.
package struct PlainJobs: Sendable {
    package let lane: Lane
    package let first: SequenceNumber
    package let count: Int
    package let time: Timestamp

    /// - Precondition: At least one.
    package init(lane: Lane, first: SequenceNumber, count: Int, time: Timestamp) {
        precondition(count > 0, "there is at least one job")
        (self.lane, self.first, self.count, self.time) = (lane, first, count, time)
    }

    package var last: SequenceNumber { first.advanced(by: UInt64(count - 1)) }

    /// Appends what the body of each of their records has before its payload.
    package func encodeHead(into writer: inout ByteWriter) {
        writer.append(varint: UInt64(bitPattern: time.milliseconds))
        writer.append(varint: lane.recordFlags)
        lane.encode(into: &writer)
    }

    /// Returns one of their records.
    package func record(_ index: Int, payload: [UInt8]) -> Record {
        Record(
            sequence: first.advanced(by: UInt64(index)), time: time,
            mutation: .enqueue(Enqueue(lane: lane, payload: payload)))
    }
}

extension QueueState {
    /// Whether plain jobs are taken, however many: nothing has a capacity.
    package var takesPlainJobs: Bool { table.cappedQueues == 0 && storeTally == nil }

    /// Applies the records of plain jobs.
    ///
    /// - Precondition: `takesPlainJobs`, and they follow the last record.
    /// - Complexity: O(1) amortised where ids come in long runs; else at most O(n), and what 2^16 ids take in a set.
    package mutating func apply(_ jobs: PlainJobs) {
        assert(takesPlainJobs, "what counts towards a capacity is decided one by one")
        assert(jobs.first > lastSequence, "records are applied in order")
        let lane = table.intern(jobs.lane)
        add(jobs.first.rawValue...jobs.last.rawValue, to: lane, at: jobs.time)
        table.insertReady(jobs.first.rawValue...jobs.last.rawValue, in: lane)
        lastShown = jobs.last
        lastSequence = jobs.last
        latestTime = max(latestTime, jobs.time)
        #if INTERNAL_CHECKS
            checkInvariants()
        #endif
    }

    /// Counts new jobs in.
    mutating func add(_ jobs: ClosedRange<UInt64>, to lane: Slot<LaneRecord>, at time: Timestamp) {
        table.addJobs(jobs.count, to: lane)
        // Of those of one instant, the first says enough.
        table.noteTime(jobs.lowerBound, in: table.lanes[lane].queue, at: time)
        needed.insertRange(jobs)
    }
}
