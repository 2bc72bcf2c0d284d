// Every safeguard whose absence no ordinary run would show: each sync, each checksum test, each bound, each look at a
// link, a position, an epoch or a token. By its name `tools/mutants` removes one at a time and demands that a test
// fails.
//
// In every build without the trait SafeguardSwitches `isOn` is the constant true and costs nothing.

#if SAFEGUARD_SWITCHES
    #if canImport(Glibc)
        internal import Glibc
    #elseif canImport(Musl)
        internal import Musl
    #else
        internal import Darwin
    #endif
#endif

/// Something that the code does only because of crashes, damage, or calls that come too late.
package enum Safeguard: String, CaseIterable, Sendable {
    // MARK: Syncs

    /// A commit group is durable before its callers are answered.
    case commitSync
    /// A new journal file's name is durable before the manifest lists it.
    case journalNameSync
    /// A journal file's new header, and its zeros, are durable before the manifest lists that use of it.
    case journalHeaderSync
    /// In the weaker modes: the end of a segment is durable before the next is written to.
    case endedSegmentSync
    /// In the weaker modes: no more is unsynced than recovery takes for possible.
    case unsyncedBytesBound
    /// In interval mode: a busy log is synced when the interval has passed.
    case intervalSync
    /// In the weaker modes: a log that has become idle is synced.
    case idleSync
    /// In the weaker modes: everything is durable before a close frame vouches for it.
    case closingSync
    /// In the weaker modes: the close frame is durable before the store is released.
    case closeFrameSync
    /// A sealed segment is durable before the manifest lists it in place of the journal.
    case sealedSegmentSync
    /// A sealed segment's name is durable before the manifest lists it.
    case sealedNameSync
    /// The new manifest is durable before it takes the old one's name.
    case manifestSync
    /// The new manifest is in force before what the old one named is recycled.
    case manifestNameSync
    /// An image is durable before the manifest lists it.
    case checkpointSync
    /// An image's name is durable before the manifest lists it.
    case checkpointNameSync
    /// What an image shows is committed before the image is installed.
    case checkpointCommitWait
    /// In the weaker modes: what an image shows is synced before the image is installed.
    case checkpointSyncWait
    /// The names of a new store's directories are durable before it is used.
    case storeDirectoriesSync
    /// The name of a new store's own directory is durable before it is used.
    case storeNameSync
    /// A copy of torn bytes is durable before they are zeroed.
    case lostBytesSync
    /// The note on torn bytes is durable before they are zeroed.
    case lostNoteSync
    /// The names of copy and note are durable before the torn bytes are zeroed.
    case lostNameSync
    /// Torn bytes are zeroed before anything is written in their place.
    case tornTailZeroing
    /// The zeros are durable before anything is written in their place.
    case tornTailSync
    /// What recovery kept and nothing vouches for is written again, as the page cache may lie.
    case keptTailRewrite
    /// What was written again is durable before it is answered for.
    case keptTailSync
    /// The name of the reserve is gone for good before its space is counted on.
    case reserveNameSync
    /// The space of the reserve is there before new work rests on it, also where space is allocated late.
    case reserveSync
    /// The name of a reserve that did not fit is gone for good before sealing counts on its space.
    case failedReserveNameSync
    /// Salvage: the names of the new store's directories are durable before its manifest is there.
    case salvagedDirectoriesSync
    /// Salvage: the names of sealed segments are durable before the manifest lists them.
    case salvagedSegmentsSync
    /// Salvage: the names of checkpoints are durable before the manifest lists them.
    case salvagedCheckpointsSync
    /// Salvage: the name of the new store's own directory is durable when the salvage ends.
    case salvagedNameSync
    /// Forks: a copied segment is durable before the manifest lists it.
    case copiedSegmentSync

    // MARK: Checksums

    /// A frame header is believed only with its checksum.
    case frameHeaderChecksum
    /// A frame's stored bytes are believed by recovery only with their checksum.
    case scannedPayloadChecksum
    /// A frame's stored bytes are handed to readers only with their checksum.
    case readPayloadChecksum
    /// Decompressed bytes are believed only with the checksum of what was compressed.
    case contentChecksum
    /// A segment's header is believed only with its checksum.
    case segmentHeaderChecksum
    /// The manifest is believed only with its checksum.
    case manifestChecksum
    /// The head of a checkpoint is believed only with its checksum.
    case checkpointHeadChecksum
    /// The image in a checkpoint is believed only with its checksum.
    case checkpointImageChecksum
    /// Each use of a journal file salts its checksums anew, so that old frames fail them.
    case segmentSalt

    // MARK: Bounds and versions

    /// A file of a later format is refused.
    case formatVersion
    /// A file with features that only readers may ignore is not written.
    case writerFeatures
    /// A varint has its shortest form.
    case varintForm
    /// A number that is read has the limit that its reader names.
    case numberLimits
    /// A frame header's numbers are within the format's bounds.
    case frameHeaderBounds
    /// A frame ends where its file does, at the latest.
    case frameExtent
    /// A block decompresses to exactly as many bytes as its frame says.
    case decompressedSize
    /// An entry has a kind, and its sequence number a successor.
    case entryBounds
    /// A segment header's numbers are within the format's bounds, and what is reserved is zero.
    case segmentHeaderBounds
    /// A sealed segment's footer names a seal that lies right before it.
    case sealFooterBounds
    /// The manifest's sealed segments end where they begin, at the earliest.
    case sealedRange
    /// The numbers that the store goes on with are far from their end.
    case numbersLeft
    /// A record of an unknown kind is skipped only if that says it may be.
    case recordKind
    /// A record with a flag of a later version is refused.
    case recordFlags
    /// A record ends with its last field.
    case recordEnd
    /// A record refers to records before it.
    case recordReferences
    /// A record's times are within the range of times.
    case recordInstants

    // MARK: Links, positions, epochs, identities

    /// Recovery takes a frame only where the frame says it lies.
    case scannedPosition
    /// A reader takes a frame only where the frame says it lies.
    case readPosition
    /// A frame follows only the one whose checksums it names.
    case frameLink
    /// Epochs do not go back along the journal nor beyond the manifest's.
    case frameEpoch
    /// Sequence numbers do not go back along the journal.
    case frameSequence
    /// A record of the journal has one of the numbers that its frame counts.
    case entrySequence
    /// A journal that ends in a roll frame lacks its next segment.
    case rollSuccessor
    /// A journal segment belongs to the manifest's store.
    case journalStore
    /// A journal file is in the use that the manifest names.
    case journalSegment
    /// A journal file has the size that the manifest names.
    case journalSizes
    /// A checkpoint is of this store and of the sequence number that the manifest names.
    case checkpointIdentity
    /// Opening looks whether every sealed segment is there and has its size.
    case sealedSizes
    /// A sealed file is the very segment that the manifest names.
    case sealedIdentity
    /// So it is for a reader without the lock.
    case readSealedIdentity
    /// Of another store, a sealed file is an ancestor's, from before the fork.
    case ancestorBound
    /// One process, and one store in it, owns a directory.
    case ownerLock
    /// Segments or checkpoints without a manifest are a damaged store, not an empty place for a new one.
    case lostManifest
    /// A directory that holds anything else is left alone.
    case foreignDirectory
    /// Every opening is an epoch of its own.
    case nextEpoch
    /// After a crash numbering goes on behind everything reserved, as it may have been answered.
    case reservedNumbers

    // MARK: The evidence of recovery

    /// The manifest vouches for what was durable when it was written.
    case watermarkOfManifest
    /// Each frame vouches for what was durable when it was built.
    case watermarkOfFrames
    /// Frames behind a broken place vouch for what lies before them.
    case watermarkBehindTail
    /// Frames in a later segment prove that the end of the one before was durable.
    case laterSegments
    /// Frames further on than can have been in flight prove damage.
    case framesBeyondBound
    /// Bytes other than zero behind the end of a segment's first use are a torn write.
    case bytesBehindTail
    /// Such bytes further on than can have been in flight prove damage.
    case bytesBeyondBound
    /// A damaged header that still names its place or its predecessor is a torn write.
    case claimedSuccessor
    /// Only a close frame of the latest epoch says that the store was closed.
    case latestClose
    /// Damage below the watermark is refused.
    case refusalBelowWatermark
    /// Damage with traces beyond what can have been in flight is refused.
    case refusalBeyondBound
    /// An intact frame that does not follow is refused.
    case refusalOfInconsistency
    /// A reader beside a living owner stops where the log vouches for itself.
    case readerWatermark
    /// A reader says so where damage keeps it from the end of the journal.
    case readerDamage
    /// No manifest is installed after a failure.
    case poisonedManifest
    /// No close frame is written after a failure.
    case poisonedClose
    /// Nothing is dropped before an image covers it.
    case compactionImage
    /// In the background nothing is dropped before two images cover it.
    case compactionCover
    /// In the background nothing is dropped before that is durable by which it is not needed.
    case compactionCommitWait
    /// A rewrite keeps every record that the state refers to.
    case compactionNeed
    /// What a live consumer has not seen is not dropped.
    case cursorPin
    /// A rewrite drops nothing from where a consumer was sent since it was decided what to keep.
    case cursorPlacement
    /// The manifest says below which records no image suffices.
    case compactionBound
    /// A checkpoint from before a compaction is not replayed from.
    case agedCheckpoint
    /// An image holds the state at the sequence number that its checkpoint names.
    case checkpointContent
    /// Without a checkpoint only a whole log is replayed.
    case completeLog

    // MARK: Verification of sealed segments

    /// Each frame follows the one before.
    case verifiedLink
    /// Each frame holds as many records as it says.
    case verifiedCounts
    /// The seal's index and counts match the frames.
    case verifiedSeal
    /// The bytes match the chain value.
    case verifiedChain
    /// Each segment's chain begins with its predecessor's.
    case verifiedPredecessor

    // MARK: Audit

    /// What is dropped leaves the chain's value behind, from which the rest is computed.
    case auditAnchor
    /// The records give the chain values that the manifest kept of them when they were first sealed.
    case verifiedAudit
    /// A published head has the value that the records give.
    case expectedHash
    /// A published head names a record that is there.
    case expectedRecord
    /// A published head is not behind the log's end.
    case expectedEnd
    /// What is only carried is not called proved.
    case provedFromRecords
    /// Behind damage nothing is called proved.
    case auditedDamage
    /// A head is of records that are durable.
    case auditedDurability

    // MARK: Fences and transitions

    /// Only the token of the active lease settles or extends it.
    case leaseToken
    /// Nothing is decided before the records that say which deadlines have passed.
    case passedDeadlines
    /// An atomic batch settles a job once.
    case batchSettlement
    /// A fenced effect is recorded only under its lease.
    case effectFence
    /// A fenced effect is computed, or shown, only under its lease.
    case computedFence
    /// A unique key has one holder.
    case uniqueKey
    /// A cursor does not go back but by a reset.
    case cursorOrder
    /// A job whose unique key has another holder is not redriven.
    case redrivenUniqueKey
    /// A job does not take its unique key along into a queue where another job holds it.
    case movedUniqueKey
    /// A record is checked against the state before replay applies it.
    case replayValidation
    /// Records ascend.
    case replayedSequence
    /// Time does not go back from record to record.
    case replayedTime
    /// An enqueue record names a queue and allows an attempt.
    case replayedEnqueue
    /// An enqueue record does not claim a key that is held.
    case replayedUniqueKey
    /// A first lease is of a ready job.
    case replayedFirstLease
    /// A further lease is of a job that may be leased.
    case replayedLease
    /// A lease, cancel or edit record names the lane that its job is in.
    case replayedLane
    /// Attempts are counted one by one, up to the lane's bound.
    case replayedAttempt
    /// A requeue record ends where its attempt leads.
    case replayedRequeue
    /// An expire record ends where its attempt leads.
    case replayedExpiry
    /// No record lets an attempt take longer than its job's time limit, or ends it by a limit that it has not reached.
    case replayedTimeLimit
    /// A recorded effect of another kind is not decoded, and its step does not run.
    case effectTag
    /// Only a job that has to start by a time is too late.
    case replayedStartBy
    /// Only a key held for a time, by that job, is freed by a record.
    case replayedKeyRelease
    /// A redrive record does not take a key from its holder.
    case replayedRedrive
    /// A cancel record names a job that is in the state.
    case replayedCancel
    /// An edit record names a job that waits, and puts it where it can be.
    case replayedEdit
    /// An effect record is the first of its key.
    case replayedEffect
    /// A fenced effect record is under an active lease.
    case replayedFence
    /// A record of settings names a queue.
    case replayedSettings
    /// A record about a cursor puts it where a consumer can have come, or removes one that there is.
    case replayedCursor
    /// Every other record is a transition that the table allows.
    case replayedTransition
    /// A dead letter is dropped only when it is the next to go, and its time has come.
    case replayedDeadLetter
    /// A result is kept for some time, and forgotten when that has passed.
    case replayedResult

    // MARK: Replies

    /// An asynchronous call answers once what its answer rests on is durable.
    case durableReply
    /// A blocking call answers once what its answer rests on is durable.
    case durableBlockingReply
    /// After a failure every call gets that failure.
    case poisonedStore
    /// The store's time does not go back.
    case steadyClock

    #if SAFEGUARD_SWITCHES
        /// The one that the environment takes away, if any.
        package static let removed: Safeguard? = {
            // SAFETY: the string that the call returns is copied at once; nothing here changes the environment.
            guard let name = unsafe getenv("HOLDFAST_REMOVED_SAFEGUARD").map({ unsafe String(cString: $0) }) else {
                return nil
            }
            guard let safeguard = Safeguard(rawValue: name) else {
                preconditionFailure("there is no safeguard \(name): see the cases of Safeguard")
            }
            return safeguard
        }()

        /// Whether it is in force.
        package var isOn: Bool { Self.removed != self }
    #else
        /// Whether it is in force: always.
        @inlinable package var isOn: Bool { @inline(__always) get { true } }
    #endif

    /// Whether it was taken away.
    @inlinable package var isOff: Bool { @inline(__always) get { !isOn } }
}
