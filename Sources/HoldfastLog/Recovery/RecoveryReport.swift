// What opening a store found and did: always given, also when nothing was wrong.

package struct RecoveryReport: Hashable, Sendable {
    package var wasCreated = false
    package var wasClosedCleanly = true
    /// The row of the recovery table that the end of the journal met; empty for a store without a journal.
    package var row = ""
    /// Bytes of an unacknowledged write that were cut off and saved below `lost/`.
    package var tornBytes = 0
    /// Records found in the journal, whether or not a checkpoint covers them.
    package var journalRecords: UInt64 = 0
    /// Sequence numbers left out because they may have been answered and then lost with the power (weaker durability
    /// modes) or were reserved and never used.
    package var skippedSequences: UInt64 = 0
    /// Sentences for an operator: what was found and where it was saved.
    package var findings: [String] = []
    package init() {}
}
