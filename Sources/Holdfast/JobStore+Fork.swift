// Forks, backups and restores as programs ask for them.

public import HoldfastBytes
internal import HoldfastEngine
internal import HoldfastLog

/// What a fork made.
public struct ForkSummary: Hashable, Sendable {
    /// The last record that the new store holds; 0 for none.
    public internal(set) var sequence = SequenceNumber.zero
    /// The time of that record.
    public internal(set) var time = Timestamp.zero
    /// How many records it holds.
    public internal(set) var records: UInt64 = 0
    /// How many segments share their file with the source, and their bytes.
    public internal(set) var linkedSegments = 0
    /// The bytes that it shares with the source.
    public internal(set) var linkedBytes = 0
    /// The bytes that were written for it.
    public internal(set) var writtenBytes = 0
}

extension JobStore {
    /// Makes a new store at `target` that is what the one at `path` was at `moment`, and verifies it. The source may be
    /// open here or elsewhere; it is not changed. Sealed segments share their files with the source where the file
    /// system can do that.
    ///
    /// The new store has an identity of its own. Its new ids and tokens begin beyond all that the source had given out
    /// when it was forked; later the two give out the same ones, each for itself.
    ///
    /// - Parameter moment: After the newest durable record when `nil`.
    /// - Throws: `.beyondHistory` for a moment that can't be reached, with the oldest or newest one that can;
    ///   `.notAStore` when `path` is no store or `target` is taken; `.corrupt` when the source is damaged; `.noSpace`,
    ///   `.permissionDenied`, `.ioError`. No new store is there then; or, where the last sync failed, one that may not
    ///   survive power loss.
    /// - Postcondition: The new store survives power loss; its name does where the directory above may be read.
    @discardableResult
    public static func fork(
        _ path: String, to target: String, at moment: StoreMoment? = nil
    ) async throws(JobStoreError) -> ForkSummary {
        try await StoreCore.onThread("holdfast-fork") { () throws(JobStoreError) -> ForkSummary in
            try forkBlocking(path, to: target, at: moment)
        }
    }

    /// Makes a new store like `fork(_:to:at:)`, blocking this thread.
    ///
    /// - Throws: The same as `fork(_:to:at:)`.
    @discardableResult
    public static func forkBlocking(
        _ path: String, to target: String, at moment: StoreMoment? = nil
    ) throws(JobStoreError) -> ForkSummary {
        do { return try StoreFork.run(path, to: target, at: moment, fileSystem: POSIXFileSystem()) } catch {
            throw JobStoreError(error)
        }
    }

    /// Makes a verified copy of this store at `directory`, while work goes on. It holds all that was answered before
    /// the call and is a store itself: `fork(_:to:at:)` restores it as of any moment of the kept history.
    ///
    /// - Throws: `.notAStore` when there is something at `directory`; `.corrupt`, `.noSpace`, `.permissionDenied`,
    ///   `.ioError`, `.closed` or the store's failure. No backup is there then, or, where the last sync failed, one
    ///   that may not survive power loss; the store is as it was.
    /// - Postcondition: The backup survives power loss; its name does where the directory above may be read.
    @discardableResult
    public func backup(to directory: String) async throws(JobStoreError) -> ForkSummary {
        let core = core
        return try await StoreCore.onThread("holdfast-backup") { () throws(JobStoreError) -> ForkSummary in
            try core.backup(to: directory)
        }
    }
}

extension StoreCore {
    /// Forks this store at its newest durable record.
    func backup(to directory: String) throws(JobStoreError) -> ForkSummary {
        let ticket = try lock.withLock { () throws(JobStoreError) in
            try checkOpen()
            return log.ticket
        }
        do { try log.waitBlocking(for: ticket) } catch { throw failure(from: error) }
        do {
            return try StoreFork.run(
                log.layout.root, to: directory, at: nil, fileSystem: log.fileSystem,
                durable: lock.withLock { log.answeredPosition })
        } catch {
            throw JobStoreError(error)
        }
    }
}
