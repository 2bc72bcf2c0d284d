// The image a checkpoint holds: a version, the position, and the state as a digest encodes it, but with every queue
// ever used, and with the sets of ready jobs as they are in memory, so that reading ten million of them is little more
// than copying. What is only an index is built anew. Bytes that are no image give an error and never trap; memory stays
// in proportion to the bytes given, because nothing is reserved for a count that was only claimed.

package import HoldfastBytes

extension QueueState {
    static let imageVersion: UInt8 = 4
    /// Earlier ones that are read as well: without results that are kept, rates of groups, times, what jobs wait for
    /// besides a time, labels, and the store's capacity; without changes of jobs and without how long effects are kept;
    /// and with the sets of ready jobs as a digest has them, and without cursors.
    private static let resultlessVersion: UInt8 = 3
    private static let editlessVersion: UInt8 = 2
    private static let digestSetsVersion: UInt8 = 1

    /// Appends the state in a form that `init(image:)` reads.
    package func encodeImage(into writer: inout ByteWriter) {
        writer.append(Self.imageVersion)
        writer.append(varint: lastSequence.rawValue)
        writer.append(varint: UInt64(bitPattern: latestTime.milliseconds))
        writer.append(varint: completedCount)
        encodeContent(into: &writer, isImage: true)
        encodeCursors(into: &writer)
        encodeEdited(into: &writer)
        encodeEffectWindows(into: &writer)
        encodeResults(into: &writer)
        encodeGroupBuckets(into: &writer)
        encodeEnqueueTimes(into: &writer)
        encodeDependencies(into: &writer)
        encodeLabels(into: &writer)
        encodeCapacity(into: &writer)
    }

    /// Restores a state from its image.
    ///
    /// - Throws: `.unsupportedFormat` for an image of another version, `.corrupt` for any other bytes that
    ///   `encodeImage` does not write.
    package init(image: Span<UInt8>) throws(EngineError) {
        self.init()
        var reader = ByteReader(image)
        do {
            try decode(&reader)
        } catch let error as EngineError {
            throw error
        } catch {
            throw Self.corruptImage("\(error)")
        }
    }

    private mutating func decode(_ reader: inout ByteReader) throws {
        let version = try reader.u8()
        guard (Self.digestSetsVersion...Self.imageVersion).contains(version) else {
            throw EngineError(
                .unsupportedFormat,
                "the checkpoint has version \(version); this program reads up to \(Self.imageVersion)")
        }
        lastSequence = SequenceNumber(try reader.varint(atMost: SequenceNumber.max.rawValue - 1))
        latestTime = Timestamp(milliseconds: try Self.time(&reader))
        completedCount = try reader.varint()
        let queues = try decodeQueues(&reader)
        let lanes = try decodeLanes(&reader, queues, version)
        let turns = try decodeTurns(&reader, queues)
        try decodeEntries(&reader, lanes)
        for queue in queues { retentionChanged(of: queue) }
        try decodeWindows(&reader, queues)
        try decodeEffects(&reader)
        if version > Self.digestSetsVersion { try decodeCursors(&reader) }
        if version > Self.editlessVersion {
            try decodeEdited(&reader)
            try decodeEffectWindows(&reader)
        }
        if version > Self.resultlessVersion {
            try decodeResults(&reader)
            try decodeGroupBuckets(&reader)
            try decodeEnqueueTimes(&reader)
            try decodeDependencies(&reader)
            try decodeLabels(&reader)
            try decodeCapacity(&reader)
        }
        guard reader.isAtEnd else { throw Self.corruptImage("bytes follow its end") }
        for lane in lanes where table.lanes[lane].population == 0 { throw Self.corruptImage("a lane holds no job") }
        for turn in turns { try restore(turn) }
    }

    private func decodeName(_ reader: inout ByteReader) throws -> String {
        try reader.countedString(atMost: RecordLimits.nameBytesMax)
    }

    private mutating func decodeQueues(_ reader: inout ByteReader) throws -> [Slot<QueueRecord>] {
        var queues: [Slot<QueueRecord>] = []
        var previous: Name?
        for _ in 0..<(try Self.count(&reader)) {
            let name = try decodeName(&reader)
            if let previous, !(previous < Name(name)) { throw Self.corruptImage("queues are out of order") }
            previous = Name(name)
            let slot = table.internQueue(name)
            table.setTerms(try QueueTerms(from: &reader), of: slot)
            if let limit = table.queues[slot].terms.sharing.rate {
                table.queues[slot].bucket = try RateBucket(of: limit, from: &reader)
            }
            queues.append(slot)
        }
        return queues
    }

    private mutating func decodeLanes(
        _ reader: inout ByteReader, _ queues: [Slot<QueueRecord>], _ version: UInt8
    ) throws -> [Slot<LaneRecord>] {
        var lanes: [Slot<LaneRecord>] = []
        var previous: (rank: Int, priority: Int8, group: Name, terms: UInt32)?
        for _ in 0..<(try Self.count(&reader)) {
            let rank = try Self.rank(&reader, below: queues.count)
            let priority = Int8(bitPattern: try reader.u8())
            let group = Name(try decodeName(&reader))
            let terms = UInt32(try reader.varint(atMost: UInt64(Lane.termsMax)))
            let (attempts, weight) = (Lane.maxAttempts(ofTerms: terms), Lane.weight(ofTerms: terms))
            guard (1...RecordLimits.maxAttemptsMax).contains(attempts) else {
                throw Self.corruptImage("a lane allows no attempts")
            }
            guard weight == 1 || weight <= RecordLimits.weightMax && !group.string.isEmpty else {
                throw Self.corruptImage("a lane weighs too much")
            }
            if let last = previous {
                let isLater =
                    if last.rank != rank { last.rank < rank } else if last.priority != priority {
                        last.priority < priority
                    } else if last.group != group { last.group < group } else { last.terms < terms }
                guard isLater else { throw Self.corruptImage("lanes are out of order") }
            }
            previous = (rank, priority, group, terms)
            let name = table.queues[queues[rank]].name
            let lane = Lane(
                queue: name, priority: priority, maxAttempts: attempts, group: group.string, weight: weight)
            let slot = table.intern(lane)
            let isOfDigest = version == Self.digestSetsVersion
            try add(isOfDigest ? SequenceBitmap(from: &reader) : SequenceBitmap(formsFrom: &reader), to: slot)
            lanes.append(slot)
        }
        needed.settle()
        return lanes
    }

    private mutating func add(_ ready: SequenceBitmap, to lane: Slot<LaneRecord>) throws {
        guard let first = ready.first, let last = ready.last else { return }
        guard first > 0 else { throw Self.corruptImage("a job has no id") }
        guard last <= lastSequence.rawValue else { throw Self.corruptImage("a job is of the future") }
        guard needed.formDisjointUnion(with: ready) else { throw Self.corruptImage("two jobs have one id") }
        table.addJobs(ready.count, to: lane)
        table.restoreReady(ready, in: lane)
    }

    private struct Turn {
        let queue: Slot<QueueRecord>
        let priority: Int8
        let start: UInt64
        let served: [(name: Name, stride: UInt64)]
    }

    private func decodeTurns(_ reader: inout ByteReader, _ queues: [Slot<QueueRecord>]) throws -> [Turn] {
        var turns: [Turn] = []
        var previous: (rank: Int, priority: Int8)?
        for _ in 0..<(try Self.count(&reader)) {
            let rank = try Self.rank(&reader, below: queues.count)
            let priority = Int8(bitPattern: try reader.u8())
            if let previous, (previous.rank, previous.priority) >= (rank, priority) {
                throw Self.corruptImage("rounds are out of order")
            }
            previous = (rank, priority)
            let start = try sequence(&reader)
            guard start > 0 else { throw Self.corruptImage("a round has no beginning") }
            var served: [(name: Name, stride: UInt64)] = []
            for _ in 0..<(try Self.count(&reader)) {
                let group = try decodeServed(&reader)
                if let last = served.last, !(last.name < group.name) {
                    throw Self.corruptImage("groups are out of order")
                }
                served.append(group)
            }
            turns.append(Turn(queue: queues[rank], priority: priority, start: start, served: served))
        }
        return turns
    }

    private func decodeServed(_ reader: inout ByteReader) throws -> (name: Name, stride: UInt64) {
        let start = reader.offset
        let number = try reader.varint(atMost: GroupRotation.turn << 8 - 1)
        guard let name = String(validating: try reader.span(Int(number & 255))) else {
            throw ByteReaderError(.notUTF8, at: start)
        }
        return (Name(name), GroupRotation.turn - number >> 8)
    }

    /// Restores a round when every job is in its lane.
    private mutating func restore(_ turn: Turn) throws {
        guard let level = table.queues[turn.queue].levels.first(where: { table.levels[$0].priority == turn.priority }),
            table.levels[level].rotation != nil
        else { throw Self.corruptImage("a round has no groups to share it") }
        table.restoreRound(of: level, start: turn.start)
        for (name, stride) in turn.served {
            guard let group = table.levels[level].groups[name], table.groups[group].populatedLanes > 0
            else {
                throw Self.corruptImage("a round served a group that has no jobs")
            }
            table.markServed(group, until: stride)
        }
    }

    private mutating func decodeEntries(_ reader: inout ByteReader, _ lanes: [Slot<LaneRecord>]) throws {
        var previous: UInt64 = 0
        for _ in 0..<(try Self.count(&reader)) {
            let step = try reader.varint(atMost: lastSequence.rawValue)
            let id = previous + step
            guard step > 0, id <= lastSequence.rawValue else { throw Self.corruptImage("entries are out of order") }
            previous = id
            var entry = JobEntry(lane: lanes[try Self.rank(&reader, below: lanes.count)])
            let bits = try reader.u8()
            let flags = JobEntry.Flags(rawValue: bits >> 2)
            guard let phase = JobEntry.Phase(rawValue: bits & 3), JobEntry.Flags.semantic.isSuperset(of: flags),
                !flags.contains(.hasStartBy) || phase == .waiting,
                !flags.contains(.keyIsWindowed) || flags.contains(.hasUniqueKey),
                !flags.contains(.keyIsFreedByLease) || flags.contains(.hasUniqueKey) && phase != .leased,
                !flags.contains([.keyIsFreedByLease, .keyIsWindowed])
            else { throw Self.corruptImage("job \(id) is in an unknown state") }
            (entry.phase, entry.flags) = (phase, flags)
            entry.attempt = UInt32(try reader.varint(atMost: UInt64(table.lanes[entry.lane].maxAttempts)))
            if flags.contains(.hasCrashed) {
                entry.crashes = UInt32(try reader.varint(atMost: UInt64(entry.attempt)))
                guard entry.crashes > 0 else { throw Self.corruptImage("job \(id) crashed no times") }
            }
            entry.lastError = try sequence(&reader)
            entry.progress = try sequence(&reader)
            for needs in [id, entry.lastError, entry.progress] where needs != 0 {
                guard needed.insert(needs) else { throw Self.corruptImage("two things are in record \(needs)") }
            }
            try decodePhase(&reader, id, &entry)
            if flags.contains(.hasUniqueKey) { try decodeKey(&reader, id, entry) }
            if flags.contains(.hasTerms) { try decodeTerms(&reader, id, entry) }
            table.addJobs(1, to: entry.lane)
            entries[id] = entry
            entryIDs.insert(id)
            index(id, entry)
        }
    }

    private mutating func decodePhase(_ reader: inout ByteReader, _ id: UInt64, _ entry: inout JobEntry) throws {
        switch entry.phase {
        case .waiting:
            guard entry.attempt < table.lanes[entry.lane].maxAttempts else {
                throw Self.corruptImage("job \(id) waits without an attempt left")
            }
            entry.runAt = try Self.time(&reader)
            if entry.flags.contains(.hasStartBy) { entry.deadline = try Self.time(&reader) }
        case .leased:
            entry.token = try sequence(&reader)
            guard entry.token > 0, entry.attempt > 0 else { throw Self.corruptImage("job \(id) has no lease") }
            entry.deadline = try Self.time(&reader)
            let worker = try decodeName(&reader)
            if !worker.isEmpty { workers[id] = worker }
        case .dead:
            entry.deadReason = try reader.u8()
            guard DeadReason(rawValue: entry.deadReason) != nil else {
                throw Self.corruptImage("job \(id) died of an unknown cause")
            }
            entry.deadline = try Self.time(&reader)
        }
    }

    private mutating func decodeTerms(_ reader: inout ByteReader, _ id: UInt64, _ entry: JobEntry) throws {
        let terms = try JobTerms(from: &reader)
        termsOfJobs[id] = terms
        guard entry.phase == .leased, terms.timeLimit != nil else { return }
        let end = try Self.time(&reader)
        guard entry.deadline <= end else { throw Self.corruptImage("job \(id) is leased for longer than it may run") }
        mustEndBy[id] = end
    }

    private mutating func decodeKey(_ reader: inout ByteReader, _ id: UInt64, _ entry: JobEntry) throws {
        let key = Name(try decodeName(&reader))
        keysOfJobs[id] = key
        guard entry.phase != .dead, !entry.flags.contains(.keyIsWindowed) else { return }
        let unique = UniqueKey(queue: table.lanes[entry.lane].queue, key: key)
        guard uniqueKeys.updateValue(UniqueHolder(job: id, until: nil), forKey: unique) == nil else {
            throw Self.corruptImage("two jobs hold one unique key")
        }
    }

    /// Puts a restored job into the figures and indexes of its phase.
    private mutating func index(_ id: UInt64, _ entry: JobEntry) {
        switch entry.phase {
        case .waiting:
            if entry.isInLane {
                table.insertReady(id, in: entry.lane)
            } else {
                table.addScheduled(id, in: entry.lane)
                pushRun(entry.runAt, id)
            }
            if entry.flags.contains(.hasStartBy) { pushExpiry(entry.deadline, id, .startBy) }
        case .leased:
            table.beginLease(in: entry.lane)
            pushExpiry(entry.deadline, id, .lease)
        case .dead: table.queues[table.lanes[entry.lane].queue].dead.insert(id)
        }
    }

    private mutating func decodeWindows(_ reader: inout ByteReader, _ queues: [Slot<QueueRecord>]) throws {
        var previous: (rank: Int, key: Name)?
        for _ in 0..<(try Self.count(&reader)) {
            let rank = try Self.rank(&reader, below: queues.count)
            let key = Name(try decodeName(&reader))
            if let last = previous, !(last.rank == rank ? last.key < key : last.rank < rank) {
                throw Self.corruptImage("unique keys are out of order")
            }
            previous = (rank, key)
            let unique = UniqueKey(queue: queues[rank], key: key)
            let job = try sequence(&reader)
            let until = try Self.time(&reader)
            let holder = UniqueHolder(job: job, until: until)
            guard job > 0, windows.updateValue(unique, forKey: job) == nil,
                uniqueKeys.updateValue(holder, forKey: unique) == nil
            else { throw Self.corruptImage("two jobs hold one unique key") }
            pushExpiry(until, job, .uniqueKey)
        }
    }

    private mutating func decodeEffects(_ reader: inout ByteReader) throws {
        var previous: EffectKey?
        for _ in 0..<(try Self.count(&reader)) {
            let key = EffectKey(try decodeName(&reader), try decodeName(&reader))
            if let previous, !(previous < key) { throw Self.corruptImage("effects are out of order") }
            previous = key
            let sequence = try sequence(&reader)
            guard sequence > 0, needed.insert(sequence) else {
                throw Self.corruptImage("two things are in record \(sequence)")
            }
            effects[key] = sequence
        }
    }

    private mutating func decodeEffectWindows(_ reader: inout ByteReader) throws {
        let keys = Dictionary(uniqueKeysWithValues: effects.map { ($0.value, $0.key) })
        var previous: UInt64 = 0
        for _ in 0..<(try Self.count(&reader)) {
            let sequence = try sequence(&reader)
            guard sequence > previous, let key = keys[sequence] else {
                throw Self.corruptImage("record \(sequence) holds no effect that is kept for a time")
            }
            previous = sequence
            let until = try Self.time(&reader)
            effectWindows[sequence] = EffectWindow(key: key, until: until)
            pushExpiry(until, sequence, .effect)
        }
    }

    // MARK: - Numbers

    private func sequence(_ reader: inout ByteReader) throws -> UInt64 {
        try reader.varint(atMost: lastSequence.rawValue)
    }

    private static func time(_ reader: inout ByteReader) throws -> Int64 {
        Int64(try reader.varint(atMost: UInt64(Timestamp.max.milliseconds)))
    }

    /// Every element takes a byte at least, so that a count can't exceed what is left.
    private static func count(_ reader: inout ByteReader) throws -> Int {
        let limit = UInt64(reader.remaining)
        return Int(try reader.varint(atMost: limit))
    }

    private static func rank(_ reader: inout ByteReader, below count: Int) throws -> Int {
        guard count > 0 else { throw corruptImage("a place is in an empty table") }
        return Int(try reader.varint(atMost: UInt64(count - 1)))
    }

    static func corruptImage(_ what: String) -> EngineError {
        EngineError(.corrupt, "the checkpoint is damaged (\(what)); open the store from an earlier one")
    }
}
