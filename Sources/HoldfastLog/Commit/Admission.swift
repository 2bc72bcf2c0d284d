// Who may append now, and who waits until there is room: in the group that fills, in the journal, on the disk, or for
// sealing to go on.

internal import HoldfastBytes

package enum Admission: Sendable {
    case ready
    /// The batch in memory is full, or the journal is: call `waitForRoom` and ask again.
    case wait
}

extension WriteAheadLog {
    // MARK: - Admission: the caller holds `lock`

    /// Says whether records may be appended now. What is appended in one hold of the lock is atomic.
    ///
    /// - Parameter isSettling: True for records that end a job's stay and so can free space.
    /// - Parameter bytes: About how much is to be appended, where that can be much: what fits in no segment of the ring
    ///   needs one of its own, and the disk must have room for it before anything is applied.
    /// - Throws: `.noSpace` when the disk is full, `.poisoned` after a failure, `.closed`; nothing has changed.
    package func admission(isSettling: Bool, bytes: Int = 0) throws(LogError) -> Admission {
        switch state.phase {
        case .open: break
        case .failed(let error): throw error
        case .closing, .closed:
            throw LogError(.closed, "the store is closed: open it again")
        }
        // One spare is left to what frees space. What is accepted has a place in the journal already: on a full disk it
        // would wait for one as long as the disk stays so.
        let hasSpare = spares.count > (isSettling ? 0 : 1)
        let isOversized = bytes > ringUnitBytesMax && bytes > roomBytes(isSettling: isSettling)
        let isTight = !hasSpare && !isOversized && pendingBytes + bytes > activeRoom
        // A file of its own can only be switched to with a new manifest, for which there is room as long as the reserve
        // is there.
        if isReserveSpent && (!isSettling || isOversized)
            || isDiskFull && (isTight || isOversized || !isSettling && !hasSpare)
        {
            if isOversized { isOversizedRefused = false }
            throw LogError(
                .noSpace,
                "the disk that holds the store is full: free space, or settle jobs and compact; nothing was changed")
        }
        if isTight {
            self.isTight = true
            counters.stalls += 1
            return .wait
        }
        if filling.byteCount >= groupBytesTarget || next.rawValue + Self.batchRecordsMax > reserved.rawValue {
            counters.stalls += 1
            return .wait
        }
        // The file that is there is about to be replaced by a larger one.
        if isOversized, oversizedWantedBytes > 0 {
            counters.stalls += 1
            return .wait
        }
        // Or it may be taken by a group that comes first.
        let isFileKept = isFileKeptForFlying || isFileKeptForFilling && !filling.isEmpty
        if isOversized, isFileKept || flyingBytes > ringUnitBytesMax {
            self.isTight = true
            counters.stalls += 1
            return .wait
        }
        if isOversized, oversizedReadyBytes < oversizedBytes(for: bytes) {
            if isOversizedRefused {
                isOversizedRefused = false
                throw LogError(
                    .noSpace,
                    "the disk that holds the store has no room for \(bytes) bytes in one piece: free space; "
                        + "nothing was changed")
            }
            oversizedWantedBytes = oversizedBytes(for: bytes)
            maintenanceSignal.notifyOne()
            counters.stalls += 1
            return .wait
        }
        if !isOversized, isAheadOfSealing(isSettling) {
            counters.stalls += 1
            return .wait
        }
        if isOversized { isFileKeptForFilling = true }
        return .ready
    }

    /// How many bytes of records have a place in the journal as it is, behind those that are in memory: an operation
    /// goes by it that was admitted and finds that it has more to append than it said.
    package func roomBytes(isSettling: Bool) -> Int {
        let inSegment = groupBytesMax - filling.byteCount - Self.headerBytesMax
        let hasSpare = spares.count > (isSettling ? 0 : 1)
        return max(hasSpare ? inSegment : min(inSegment, activeRoom - pendingBytes), 0)
    }

    /// What is not yet in the active segment, and a little more.
    private var pendingBytes: Int { flyingBytes + filling.byteCount + Self.unitSlackBytes }

    /// Whether callers have to wait until more is sealed. What they want to append does not matter: those with much
    /// would never find room for it among those with little.
    func isAheadOfSealing(_ isSettling: Bool) -> Bool {
        guard withheldShare > 0 else { return false }
        let (size, usable) = (options.journalSegmentBytes, max(spares.count - (isSettling ? 0 : 1), 0))
        return pendingBytes > activeRoom + usable * size - Int(withheldShare * Double(size))
    }

    /// What surely fits in a segment of the ring, behind what may already wait in the same group.
    private var ringUnitBytesMax: Int {
        groupBytesMax - groupBytesTarget - Self.headerBytesMax
    }

    /// More than the headers of a group and its padding take.
    private static let headerBytesMax = 8 << 10

    /// For the headers of a group, its padding, and a mark behind it.
    static let unitSlackBytes = 12 << 10

    /// The file that holds a group with `bytes` of records: with what was in the group before, frame headers, padding.
    private func oversizedBytes(for bytes: Int) -> Int { bytes + bytes / 128 + groupBytesTarget + (64 << 10) }

    // MARK: - Waiting: the caller does not hold `lock`

    /// Returns after the next commit, when more is sealed or when spares arrive; whoever waited asks `admission` again.
    ///
    /// - Parameter isSettling: As for `admission`.
    package func waitForRoom(isSettling: Bool = false) async {
        await Waiter.suspend { enlistForRoom($0, isSettling) }
    }

    /// As `waitForRoom`, blocking the calling thread.
    package func waitForRoomBlocking(isSettling: Bool = false) {
        Waiter.block { enlistForRoom($0, isSettling) }
    }

    private func enlistForRoom(_ waiter: Waiter, _ isSettling: Bool) {
        let mustWait = lock.withLock {
            guard case .open = state.phase else { return false }
            if hasNoRoom {
                roomWaiters.append(waiter)
            } else if isAheadOfSealing(isSettling) {
                pacedWaiters.append(waiter)
            } else {
                return false
            }
            return true
        }
        if !mustWait { waiter.resume() }
    }

    private var hasNoRoom: Bool {
        if oversizedWantedBytes > 0 || isTight { return true }
        return filling.byteCount >= groupBytesTarget || next.rawValue + Self.batchRecordsMax > reserved.rawValue
    }

    // MARK: - Waking: the caller holds `lock`, and resumes what it gets after releasing it

    /// All of them.
    func takeRoomWaiters() -> [Waiter] { takeCommitWaiters() + takePacedWaiters() }

    /// Those to whom a commit may have made room.
    func takeCommitWaiters() -> [Waiter] {
        isTight = false
        return Self.takeAll(&roomWaiters)
    }

    func takePacedWaiters() -> [Waiter] { Self.takeAll(&pacedWaiters) }

    private static func takeAll(_ waiters: inout [Waiter]) -> [Waiter] {
        if waiters.isEmpty { return [] }
        let taken = waiters
        waiters.removeAll(keepingCapacity: true)
        return taken
    }
}
