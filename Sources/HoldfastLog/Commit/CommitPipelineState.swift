// The group commit's state, without threads, files or bytes. Groups are numbered from 1; one fills while another is in
// flight; a number is durable once every group up to it is.
//
//     open ──appended──▶ (group in filling) ──take──▶ in flight ──completed──▶ durable
//       │                                                  └──failed──▶ failed: every later call gets the first failure
//       └──beginClose──▶ closing (no more appends) ──▶ closed

package struct CommitPipelineState: Sendable {
    package enum Phase: Sendable {
        case open
        /// What was appended is still committed; nothing more is accepted.
        case closing
        case closed
        case failed(LogError)
    }

    package private(set) var phase = Phase.open
    /// The number of the group being filled.
    package private(set) var filling: UInt64 = 1
    /// True once something was appended to it.
    package private(set) var hasRecords = false
    /// The group being written.
    package private(set) var inFlight: UInt64?
    /// Every group up to it is durable.
    package private(set) var durable: UInt64 = 0

    package init() {}

    /// The group that covers everything appended so far.
    package var ticket: CommitTicket { CommitTicket(group: hasRecords ? filling : filling - 1) }

    package var isIdle: Bool { !hasRecords && inFlight == nil }

    package func isDurable(_ ticket: CommitTicket) -> Bool { ticket.group <= durable }

    package mutating func appended() {
        guard case .open = phase else { preconditionFailure("nothing is appended to a closed or failed log") }
        hasRecords = true
    }

    /// Takes the filled group for writing, or returns `nil` when there is none or one is being written.
    package mutating func take() -> UInt64? {
        if case .failed = phase { return nil }
        guard hasRecords, inFlight == nil else { return nil }
        let number = filling
        inFlight = number
        filling += 1
        hasRecords = false
        assert(durable == number - 1, "groups become durable in order")
        return number
    }

    package mutating func completed(_ number: UInt64) {
        precondition(inFlight == number, "only the group in flight completes")
        inFlight = nil
        durable = number
    }

    /// The first failure stays.
    package mutating func fail(_ error: LogError) {
        if case .failed = phase { return }
        phase = .failed(error)
        inFlight = nil
    }

    package mutating func beginClose() {
        if case .open = phase { phase = .closing }
    }

    package mutating func closed() {
        if case .closing = phase { phase = .closed }
    }

    /// What a caller that holds `ticket` gets now: `nil` to wait on.
    package func outcome(of ticket: CommitTicket) -> Result<Void, LogError>? {
        if isDurable(ticket) { return .success(()) }
        if case .failed(let error) = phase { return .failure(error) }
        return nil
    }
}
