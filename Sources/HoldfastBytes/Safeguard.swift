// Every safeguard whose absence no ordinary run would show: each sync, each checksum test, each look at a link,
// a position or a token. By its name `tools/mutants` removes one at a time and demands that a test fails.
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
    /// A frame header's numbers are within the format's bounds.
    case frameHeaderBounds

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
    /// A journal that ends in a roll frame lacks its next segment.
    case rollSuccessor
    /// A journal segment belongs to the manifest's store.
    case journalStore
    /// A journal file is in the use that the manifest names.
    case journalSegment
    /// A checkpoint is of this store and of the sequence number that the manifest names.
    case checkpointIdentity
    /// Opening looks whether every sealed segment is there and has its size.
    case sealedSizes
    /// A sealed file is the very segment that the manifest names.
    case sealedIdentity
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
    /// Damage below the watermark is refused.
    case refusalBelowWatermark
    /// Damage with traces beyond what can have been in flight is refused.
    case refusalBeyondBound
    /// An intact frame that does not follow is refused.
    case refusalOfInconsistency
    /// A reader beside a living owner stops where the log vouches for itself.
    case readerWatermark
    /// No manifest is installed after a failure.
    case poisonedManifest
    /// Nothing is dropped before an image covers it.
    case compactionImage
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
    /// The seal's index and counts match the frames.
    case verifiedSeal
    /// The bytes match the chain value.
    case verifiedChain
    /// Each segment's chain begins with its predecessor's.
    case verifiedPredecessor

    // MARK: Fences and transitions

    /// Only the token of the active lease settles or extends it.
    case leaseToken
    /// A lease is void from its deadline on.
    case leaseDeadline
    /// An atomic batch settles a job once.
    case batchSettlement
    /// A fenced effect is recorded only under its lease.
    case effectFence
    /// A unique key has one holder.
    case uniqueKey
    /// A job whose unique key has another holder is not redriven.
    case redrivenUniqueKey
    /// A record is checked against the state before replay applies it.
    case replayValidation
    /// Records ascend.
    case replayedSequence
    /// Time does not go back from record to record.
    case replayedTime
    /// An enqueue record does not claim a key that is held.
    case replayedUniqueKey
    /// A first lease is of a ready job.
    case replayedFirstLease
    /// A further lease is of a job that may be leased.
    case replayedLease
    /// Attempts are counted one by one, up to the lane's bound.
    case replayedAttempt
    /// A requeue record ends where its attempt leads.
    case replayedRequeue
    /// An expire record ends where its attempt leads.
    case replayedExpiry
    /// A redrive record does not take a key from its holder.
    case replayedRedrive
    /// A cancel record names a job that is in the state.
    case replayedCancel
    /// An effect record is the first of its key.
    case replayedEffect
    /// A fenced effect record is under an active lease.
    case replayedFence
    /// Every other record is a transition that the table allows.
    case replayedTransition

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
