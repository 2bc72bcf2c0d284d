// The table against an expectation written down from the other side: not rows in order, but each finding's meaning.

import HoldfastLog
import Testing

@Suite struct RecoveryDecisionTests {
    static let findings: [RecoveryFinding] = RecoveryFinding.Stop.allCases.flatMap { stop in
        (0..<16).map { bits in
            RecoveryFinding(
                stop: stop, isBelowWatermark: bits & 1 != 0, hasLaterFrames: bits & 2 != 0,
                exceedsInFlightBound: bits & 4 != 0, isDirty: bits & 8 != 0)
        }
    }

    /// What must be done, by case.
    static func expectation(_ finding: RecoveryFinding) -> RecoveryVerdict {
        switch finding.stop {
        case .missing: return .refuse(.fileMissing)
        case .noFrame, .brokenGroup, .inconsistent: break
        }
        // Acknowledged bytes can't be torn, and a crash of ours can't write beyond its bound.
        if finding.isBelowWatermark { return .refuse(.belowWatermark) }
        if finding.exceedsInFlightBound { return .refuse(.beyondInFlightBound) }
        switch (finding.stop, finding.hasLaterFrames, finding.isDirty) {
        case (.inconsistent, _, _): return .refuse(.inconsistent)
        case (.noFrame, false, false): return .cleanEnd
        default: return .tornTail
        }
    }

    @Test func everyFindingHasTheVerdictThatItsMeaningDemands() {
        #expect(Self.findings.count == 64)
        for finding in Self.findings {
            #expect(RecoveryDecision.row(for: finding).verdict == Self.expectation(finding), "\(finding)")
        }
    }

    @Test func everyFindingHasOneFirstRowAndEveryRowIsReached() {
        var reached = Set<String>()
        for finding in Self.findings {
            let row = RecoveryDecision.row(for: finding)
            reached.insert(row.name)
            let matching = RecoveryDecision.rows.filter { $0.applies(finding) }
            #expect(matching.first?.name == row.name)
        }
        #expect(reached == Set(RecoveryDecision.rows.map(\.name)))
        #expect(reached.count == RecoveryDecision.rows.count, "names are unique")
    }

    @Test func aRefusalAlwaysGoesBeforeACut() {
        let refusals = RecoveryDecision.rows.map { if case .refuse = $0.verdict { true } else { false } }
        let first = refusals.firstIndex(of: false) ?? refusals.count
        #expect(refusals[first...].allSatisfy { !$0 })
        for refusal in RecoveryVerdict.Refusal.allCases {
            #expect(RecoveryDecision.rows.contains { $0.verdict == .refuse(refusal) })
        }
    }
}
