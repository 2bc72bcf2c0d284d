// What a broken place in the journal means. The question is always the same: were the bytes from here on ever
// acknowledged? If the log itself vouches for them (the watermark lies behind the place), they were, and losing them
// silently would be the worst thing a store can do: it refuses. If nothing vouches for them and a crash of ours can
// explain what is there, they are the tail of a write that no caller was told of: it is cut, kept aside, reported.
//
// A file that the system can't read says nothing about its bytes: that is an error of its own, before the table is
// asked. What a payload holds is seen when it is read, and replay reads all of it before anything is changed.
//
// The rows are tried in order and the last matches everything, so every finding has exactly one verdict; a refusal
// always goes before a cut.

internal import HoldfastBytes

/// What was found where the chain of groups ends.
package struct RecoveryFinding: Hashable, Sendable {
    /// What kept the chain from going on.
    package enum Stop: Hashable, Sendable, CaseIterable {
        /// No frame of this segment's use starts there.
        case noFrame
        /// A frame starts there but is not intact, or its group is incomplete.
        case brokenGroup
        /// An intact frame whose link, sequence or epoch does not follow from the one before it.
        case inconsistent
        /// The segment that the chain goes on in is not named, or its file is missing or short.
        case missing
    }
    package var stop: Stop
    /// The place lies below what is known to have been durable.
    package var isBelowWatermark: Bool
    /// Intact frames of this use lie further on, within the bytes that may have been in flight.
    package var hasLaterFrames: Bool
    /// Bytes that this use wrote lie beyond all that may have been in flight.
    package var exceedsInFlightBound: Bool
    /// Something that this use may have written lies behind the place.
    package var isDirty: Bool

    package init(
        stop: Stop, isBelowWatermark: Bool, hasLaterFrames: Bool, exceedsInFlightBound: Bool, isDirty: Bool
    ) {
        self.stop = stop
        self.isBelowWatermark = isBelowWatermark
        self.hasLaterFrames = hasLaterFrames
        self.exceedsInFlightBound = exceedsInFlightBound
        self.isDirty = isDirty
    }
}

package enum RecoveryVerdict: Hashable, Sendable {
    /// Everything written is there.
    case cleanEnd
    /// Cut what is behind the place, keep a copy, report it.
    case tornTail
    case refuse(Refusal)

    package enum Refusal: Hashable, Sendable, CaseIterable {
        case fileMissing, belowWatermark, beyondInFlightBound, inconsistent
    }
}

package enum RecoveryDecision {
    /// One row: its name in the documentation, when it applies, and what follows.
    package struct Row: Sendable {
        package let name: String
        package let verdict: RecoveryVerdict
        package let applies: @Sendable (RecoveryFinding) -> Bool
    }

    package static let rows: [Row] = [
        Row(name: "R1 file missing or short", verdict: .refuse(.fileMissing)) { $0.stop == .missing },
        Row(name: "R2 damage below the watermark", verdict: .refuse(.belowWatermark)) {
            $0.isBelowWatermark && Safeguard.refusalBelowWatermark.isOn
        },
        Row(name: "R3 beyond what can have been in flight", verdict: .refuse(.beyondInFlightBound)) {
            $0.exceedsInFlightBound && Safeguard.refusalBeyondBound.isOn
        },
        Row(name: "R4 frame that does not follow", verdict: .refuse(.inconsistent)) {
            $0.stop == .inconsistent && Safeguard.refusalOfInconsistency.isOn
        },
        Row(name: "T1 torn tail, later frames persisted first", verdict: .tornTail) { $0.hasLaterFrames },
        Row(name: "T2 torn tail", verdict: .tornTail) { $0.stop == .brokenGroup || $0.isDirty },
        Row(name: "C1 clean end", verdict: .cleanEnd) { _ in true },
    ]

    package static func row(for finding: RecoveryFinding) -> Row {
        guard let row = rows.first(where: { $0.applies(finding) }) else {
            preconditionFailure("the last row applies to everything")
        }
        return row
    }
}
