// The machine of the group commit alone.

import HoldfastLog
import Testing

@Suite struct CommitPipelineStateTests {
    let failure = LogError(.poisoned, "first")

    @Test func nothingAppendedIsDurableAtOnce() {
        var state = CommitPipelineState()
        #expect(state.isIdle)
        #expect(state.isDurable(state.ticket))
        #expect(state.take() == nil)
    }

    @Test func aGroupIsDurableOnceItCompletes() {
        var state = CommitPipelineState()
        state.appended()
        let ticket = state.ticket
        #expect(state.outcome(of: ticket) == nil)
        let number = state.take()
        #expect(number == ticket.group)
        #expect(state.inFlight == number && !state.isIdle)
        #expect(state.outcome(of: ticket) == nil)
        if let number { state.completed(number) }
        #expect((try? state.outcome(of: ticket)?.get()) != nil)
        #expect(state.isIdle)
    }

    @Test func whatIsAppendedWhileOneIsInFlightIsTheNextGroup() {
        var state = CommitPipelineState()
        state.appended()
        let first = state.ticket
        let flying = state.take()
        #expect(state.ticket.group == first.group, "without a new record the group in flight covers all")
        state.appended()
        state.appended()
        let second = state.ticket
        #expect(second.group == first.group + 1)
        #expect(state.take() == nil, "one is in flight at a time")
        if let flying { state.completed(flying) }
        #expect(state.isDurable(first) && !state.isDurable(second))
        #expect(state.take() == second.group)
    }

    @Test func theFirstFailureStaysAndWhatWasDurableStaysDurable() throws {
        var state = CommitPipelineState()
        state.appended()
        let durable = state.ticket
        if let number = state.take() { state.completed(number) }
        state.appended()
        _ = state.take()
        let lost = state.ticket
        state.fail(failure)
        state.fail(LogError(.ioFailed, "second"))
        #expect(state.take() == nil)
        #expect(throws: Never.self) { try state.outcome(of: durable)?.get() }
        #expect(throws: failure) { try state.outcome(of: lost)?.get() }
        state.beginClose()
        state.closed()
        #expect(throws: failure) { try state.outcome(of: lost)?.get() }
    }

    @Test func closingCommitsWhatWasAppended() {
        var state = CommitPipelineState()
        state.appended()
        state.closed()
        guard case .open = state.phase else {
            Issue.record("only what is closing can close")
            return
        }
        state.beginClose()
        guard case .closing = state.phase else {
            Issue.record("another phase was due")
            return
        }
        let number = state.take()
        #expect(number == 1)
        if let number { state.completed(number) }
        state.closed()
        guard case .closed = state.phase else {
            Issue.record("another phase was due")
            return
        }
        #expect(state.isDurable(CommitTicket(group: 1)))
    }

    @Test func appendingToAClosedLogIsAProgrammerError() async {
        await #expect(processExitsWith: .failure) {
            var state = CommitPipelineState()
            state.beginClose()
            state.appended()
        }
    }
}
