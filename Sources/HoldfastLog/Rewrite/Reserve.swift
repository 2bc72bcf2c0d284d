// Space kept for a full disk. What frees space needs some first: a sealed segment, a checkpoint, a manifest. A file of
// zeros holds it, and is unlinked when the disk has no more; until it could be written again, only what ends a job's
// stay is accepted.
//
// Its name is not synced when it is made, and its content means nothing: a crash may take it, and the next opening
// writes it again.

internal import HoldfastBytes

extension WriteAheadLog {
    /// Runs `body` again with the reserve given up, when the disk was too full for it.
    func spendingReserve<R>(_ body: () throws(LogError) -> R) throws(LogError) -> R {
        do { return try body() } catch {
            guard error.code == .noSpace, try spendReserve() else { throw error }
        }
        return try body()
    }

    /// Gives the reserve up; false when that was done before.
    func spendReserve() throws(LogError) -> Bool {
        let isHeld = lock.withLock {
            defer { isReserveSpent = true }
            return !isReserveSpent
        }
        guard isHeld else { return false }
        do {
            try fileSystem.unlinkIfPresent(layout.reserve)
            // File systems give blocks back when the name is gone for good.
            if Safeguard.reserveNameSync.isOn { try fileSystem.syncDirectory(layout.root) }
        } catch {
            throw Self.poison(error, doing: "giving up the reserve")
        }
        return true
    }

    /// Writes the reserve where it is not there whole.
    ///
    /// - Throws: `.noSpace` when the disk is too full; new work is refused until it is tried again with success.
    func holdReserve() throws(LogError) {
        do {
            if try fileSystem.status(of: layout.reserve)?.bytes != options.reserveBytes { try writeReserve() }
        } catch {
            // What was written of it is room that sealing needs.
            try? fileSystem.unlinkIfPresent(layout.reserve)
            if Safeguard.failedReserveNameSync.isOn { try? fileSystem.syncDirectory(layout.root) }
            throw Self.writeFailure(error, doing: "keeping a reserve for a full disk")
        }
        let waiters = lock.withLock {
            isReserveSpent = false
            isCompactionDue = true
            // A mark may be due.
            workSignal.notifyOne()
            return takeRoomWaiters()
        }
        resume(waiters)
    }

    /// As `holdReserve`; where the disk is still too full for it, what frees space goes on.
    func holdReserveAgain() throws(LogError) {
        lock.withLock { isReserveDue = false }
        do { try holdReserve() } catch { if error.code != .noSpace { throw error } }
    }

    private func writeReserve() throws(IOFailure) {
        try fileSystem.unlinkIfPresent(layout.reserve)
        let file = try fileSystem.open(layout.reserve, .create)
        defer { file.close() }
        if options.reserveBytes > 0 {
            try file.write([UInt8](repeating: 0, count: options.reserveBytes).span, at: 0)
            // File systems that allocate late say only now whether there was room.
            if Safeguard.reserveSync.isOn { try file.sync() }
        }
    }
}
