// What the system's reading and writing calls may do short of failing, as scripts: the real ones do it when they
// please.

import Testing

@testable import HoldfastLog

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

@Suite struct WholeTransferTests {
    private enum Answer { case took(Int), failed(Int32) }

    /// Runs a transfer of ten bytes whose calls give these answers, and says where each call began.
    private func run(_ answers: [Answer]) -> (outcome: WholeTransfer.Outcome, starts: [Int]) {
        var left = answers[...]
        var starts: [Int] = []
        let outcome = WholeTransfer.run(10) { done in
            starts.append(done)
            switch left.popFirst() {
            case .took(let count): return (count, EIO)
            case .failed(let number): return (-1, number)
            case nil:
                Issue.record("a call too many")
                return (0, 0)
            }
        }
        #expect(left.isEmpty)
        return (outcome, starts)
    }

    @Test func aCallThatTakesAPartIsRepeatedForTheRest() {
        let (outcome, starts) = run([.took(3), .took(1), .took(6)])
        #expect(outcome == WholeTransfer.Outcome(done: 10))
        #expect(starts == [0, 3, 4])
    }

    @Test func anInterruptedCallIsRepeatedFromWhereItWas() {
        let (outcome, starts) = run([.failed(EINTR), .took(4), .failed(EINTR), .failed(EINTR), .took(6)])
        #expect(outcome == WholeTransfer.Outcome(done: 10))
        #expect(starts == [0, 0, 4, 4, 4])
    }

    @Test func aFailureAfterAPartSaysHowFarItCame() {
        #expect(run([.took(4), .failed(ENOSPC)]).outcome == WholeTransfer.Outcome(done: 4, errorNumber: ENOSPC))
        #expect(run([.failed(EIO)]).outcome == WholeTransfer.Outcome(done: 0, errorNumber: EIO))
    }

    @Test func aCallThatTakesNothingEndsIt() {
        #expect(run([.took(4), .took(0)]).outcome == WholeTransfer.Outcome(done: 4))
    }

    @Test func nothingToDoTakesNoCall() {
        #expect(WholeTransfer.run(0) { _ in (-1, EIO) } == WholeTransfer.Outcome(done: 0))
    }

    @Test func everyWayOfBeingFullIsOneKind() {
        for number in [ENOSPC, EDQUOT, EFBIG] { #expect(IOFailure.Kind(errorNumber: number) == .noSpace) }
        #expect(IOFailure.Kind(errorNumber: EIO) == .io)
    }
}
