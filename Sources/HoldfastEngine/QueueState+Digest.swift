// The canonical encoding of the state, which is what the digest hashes and most of what an image holds. Two equal
// states have the same bytes, however they came about: everything is in an order of its own (names by their bytes,
// ids by number), tables hold what is used and nothing else, and what is only an index is left out.

internal import HoldfastBytes

/// 16 bytes that stand for a state.
package struct StateDigest: Hashable, Sendable, CustomStringConvertible {
    package let bytes: [UInt8]

    init(hashing bytes: Span<UInt8>) { self.bytes = Array(SHA256.hash(bytes).prefix(16)) }

    /// In hexadecimal.
    package var description: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in bytes { text += [digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
        return String(decoding: text, as: UTF8.self)
    }
}

/// Places of queues and lanes in the encoding.
private struct Ranks {
    var queues: [Slot<QueueRecord>: Int] = [:]
    var lanes: [Slot<LaneRecord>: Int] = [:]
}

extension QueueState {
    /// The first half of the SHA-256 of the canonical encoding. A function of jobs, keys, effects and settings only:
    /// who follows a store does not change what is in its queues. Where a whole state is compared, of cursors, too.
    package func digest(withCursors: Bool = false) -> StateDigest {
        var writer = ByteWriter(capacity: 1 << 16)
        encodeContent(into: &writer, isImage: false)
        if withCursors { encodeCursors(into: &writer) }
        if !edited.isEmpty { encodeEdited(into: &writer) }
        if !effectWindows.isEmpty { encodeEffectWindows(into: &writer) }
        if !results.isEmpty { encodeResults(into: &writer) }
        if hasOpenGroupBuckets { encodeGroupBuckets(into: &writer) }
        if !waits.jobs.isEmpty { encodeDependencies(into: &writer) }
        if !labels.isEmpty { encodeLabels(into: &writer) }
        if storeTally != nil { encodeCapacity(into: &writer) }
        return StateDigest(hashing: writer.bytes)
    }

    /// Appends everything but the position. An image has queues without jobs and settings, too, and the sets of ready
    /// jobs as they are in memory.
    func encodeContent(into writer: inout ByteWriter, isImage: Bool) {
        var ranks = Ranks()
        let lanes = populatedLanes()
        encodeQueues(into: &writer, lanes, includingIdle: isImage, &ranks)
        encodeLanes(into: &writer, lanes, isImage: isImage, &ranks)
        encodeTurns(into: &writer, ranks)
        encodeEntries(into: &writer, ranks)
        encodeWindows(into: &writer, ranks)
        encodeEffects(into: &writer)
    }

    private func populatedLanes() -> [Slot<LaneRecord>] {
        table.lanes.slots.filter { table.lanes[$0].population > 0 }
    }

    private func encodeQueues(
        into writer: inout ByteWriter, _ lanes: [Slot<LaneRecord>], includingIdle: Bool, _ ranks: inout Ranks
    ) {
        var used = Set(lanes.map { table.lanes[$0].queue })
        for key in windows.values { used.insert(key.queue) }
        let queues = table.queueSlots.filter {
            includingIdle || used.contains($0.value) || terms(of: $0.value) != QueueTerms()
        }
        writer.append(varint: UInt64(queues.count))
        for (rank, element) in queues.sorted(by: { $0.key < $1.key }).enumerated() {
            ranks.queues[element.value] = rank
            writer.append(counted: element.key.string)
            terms(of: element.value).encode(into: &writer)
            table.queues[element.value].bucket?.encode(into: &writer)
        }
    }

    private func terms(of queue: Slot<QueueRecord>) -> QueueTerms { table.queues[queue].terms }

    /// Lanes by queue, priority, group and attempts, each with the ready jobs that have no entry.
    private func encodeLanes(
        into writer: inout ByteWriter, _ lanes: [Slot<LaneRecord>], isImage: Bool, _ ranks: inout Ranks
    ) {
        var unusual: [Slot<LaneRecord>: [UInt64]] = [:]
        for (id, entry) in entries where entry.isInLane { unusual[entry.lane, default: []].append(id) }
        let ordered = lanes.map { (slot: $0, rank: ranks.queues[table.lanes[$0].queue] ?? 0) }.sorted { a, b in
            let (left, right) = (table.lanes[a.slot], table.lanes[b.slot])
            if a.rank != b.rank { return a.rank < b.rank }
            let (p, q) = (table.levels[left.level].priority, table.levels[right.level].priority)
            if p != q { return p < q }
            if left.group != right.group {
                return Name(table.groups[left.group].name) < Name(table.groups[right.group].name)
            }
            return left.terms < right.terms
        }
        writer.append(varint: UInt64(ordered.count))
        for (index, (slot, rank)) in ordered.enumerated() {
            ranks.lanes[slot] = index
            let lane = table.lanes[slot]
            writer.append(varint: UInt64(rank))
            writer.append(UInt8(bitPattern: table.levels[lane.level].priority))
            writer.append(counted: table.groups[lane.group].name)
            writer.append(varint: UInt64(lane.terms))
            var plain = lane.ready
            for id in unusual[slot] ?? [] { plain.remove(id) }
            if isImage { plain.encodeForms(into: &writer) } else { plain.encode(into: &writer) }
        }
    }

    /// The rounds under way: where groups share a level, when the round began and who was served in it.
    private func encodeTurns(into writer: inout ByteWriter, _ ranks: Ranks) {
        var turns: [(rank: Int, level: Slot<LevelRecord>)] = []
        for (queue, rank) in ranks.queues {
            for level in table.queues[queue].levels where (table.levels[level].rotation?.roundStart ?? 0) != 0 {
                turns.append((rank, level))
            }
        }
        turns.sort { a, b in
            let (p, q) = (table.levels[a.level].priority, table.levels[b.level].priority)
            return a.rank == b.rank ? p < q : a.rank < b.rank
        }
        writer.append(varint: UInt64(turns.count))
        for (rank, level) in turns {
            writer.append(varint: UInt64(rank))
            writer.append(UInt8(bitPattern: table.levels[level].priority))
            writer.append(varint: table.levels[level].rotation?.roundStart ?? 0)
            let served = table.levels[level].groups.filter { table.isServed($0.value) }.keys.sorted()
            writer.append(varint: UInt64(served.count))
            for name in served {
                guard let group = table.levels[level].groups[name],
                    let round = table.levels[level].rotation?.round
                else { continue }
                // A name's length is a byte; what is above it says how much sooner the group comes again than one of
                // weight 1 that was served now: nothing, where all weigh the same.
                let sooner = GroupRotation.turn - (table.groups[group].due - round)
                writer.append(varint: UInt64(name.string.utf8.count) | sooner << 8)
                writer.append(utf8: name.string)
            }
        }
    }

    private func encodeEntries(into writer: inout ByteWriter, _ ranks: Ranks) {
        writer.append(varint: UInt64(entries.count))
        var previous: UInt64 = 0
        entryIDs.forEachRange { range in
            for id in range {
                guard let entry = entries[id] else { continue }
                writer.append(varint: id - previous)
                previous = id
                encode(id, entry, into: &writer, laneRank: ranks.lanes[entry.lane] ?? 0)
            }
        }
    }

    private func encode(_ id: UInt64, _ entry: JobEntry, into writer: inout ByteWriter, laneRank: Int) {
        writer.append(varint: UInt64(laneRank))
        let flags = entry.flags.intersection(.semantic)
        writer.append(entry.phase.rawValue | flags.rawValue << 2)
        writer.append(varint: UInt64(entry.attempt))
        if flags.contains(.hasCrashed) { writer.append(varint: UInt64(entry.crashes)) }
        writer.append(varint: entry.lastError)
        writer.append(varint: entry.progress)
        switch entry.phase {
        case .waiting:
            writer.append(varint: UInt64(bitPattern: entry.runAt))
            if flags.contains(.hasStartBy) { writer.append(varint: UInt64(bitPattern: entry.deadline)) }
        case .leased:
            writer.append(varint: entry.token)
            writer.append(varint: UInt64(bitPattern: entry.deadline))
            writer.append(counted: workers[id] ?? "")
        case .dead:
            writer.append(entry.deadReason)
            writer.append(varint: UInt64(bitPattern: entry.deadline))
        }
        if flags.contains(.hasUniqueKey) { writer.append(counted: keysOfJobs[id]?.string ?? "") }
        guard let terms = ownTerms(of: id, entry) else { return }
        terms.encode(into: &writer)
        if let end = mustEndBy[id] { writer.append(varint: UInt64(bitPattern: end)) }
    }

    /// Keys held for a time. Those held for a job's life follow from the entries.
    private func encodeWindows(into writer: inout ByteWriter, _ ranks: Ranks) {
        var held: [(rank: Int, unique: UniqueKey, job: UInt64)] = []
        for (job, unique) in windows { held.append((ranks.queues[unique.queue] ?? 0, unique, job)) }
        held.sort { a, b in a.rank == b.rank ? a.unique.key < b.unique.key : a.rank < b.rank }
        writer.append(varint: UInt64(held.count))
        for window in held {
            writer.append(varint: UInt64(window.rank))
            writer.append(counted: window.unique.key.string)
            writer.append(varint: window.job)
            writer.append(varint: UInt64(bitPattern: uniqueKeys[window.unique]?.until ?? 0))
        }
    }

    private func encodeEffects(into writer: inout ByteWriter) {
        writer.append(varint: UInt64(effects.count))
        for (key, sequence) in effects.sorted(by: { $0.key < $1.key }) {
            writer.append(counted: key.scope.string)
            writer.append(counted: key.key.string)
            writer.append(varint: sequence)
        }
    }

    /// How long effects are kept. Not in a digest when none is for a time: other states have the digest they had.
    func encodeEffectWindows(into writer: inout ByteWriter) {
        writer.append(varint: UInt64(effectWindows.count))
        for (sequence, window) in effectWindows.sorted(by: { $0.key < $1.key }) {
            writer.append(varint: sequence)
            writer.append(varint: UInt64(bitPattern: window.until))
        }
    }
}
