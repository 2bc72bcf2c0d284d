// The transition table. Everything that may happen to a job is here and nowhere else; deciding consults the same
// facts, and replay refuses any record that the table does not allow.

/// Where a job is in its life.
package enum JobState: UInt8, Hashable, Sendable, CaseIterable {
    case scheduled, ready, leased, completed, cancelled, dead

    /// Whether the job has ended for good: nothing may happen to it any more, and no state is kept of it.
    package var isFinished: Bool { self == .completed || self == .cancelled }

    /// Returns the states that `event` may lead to from this one; none when it is illegal.
    package func states(after event: JobEvent) -> [JobState] {
        switch (self, event) {
        case (.ready, .lease): [.leased]
        case (.leased, .heartbeat): [.leased]
        case (.leased, .ack): [.completed]
        case (.leased, .requeue): [.ready, .scheduled, .dead]
        case (.leased, .expireLease): [.ready, .dead]
        case (.leased, .bury): [.dead]
        case (.ready, .expireStart), (.scheduled, .expireStart): [.dead]
        case (.dead, .redrive): [.ready, .scheduled]
        case (.scheduled, .expireDependency): [.dead]
        case (.scheduled, .release): [.scheduled, .ready]
        case (.scheduled, .edit), (.ready, .edit): [.scheduled, .ready]
        case (.scheduled, .cancel), (.ready, .cancel), (.leased, .cancel), (.dead, .cancel): [.cancelled]
        default: []
        }
    }

    /// Whether `event` may happen to a job in this state.
    package func allows(_ event: JobEvent) -> Bool {
        switch event {
        case .lease: self == .ready
        case .heartbeat, .ack, .requeue, .expireLease, .bury: self == .leased
        case .expireStart, .edit: self == .ready || self == .scheduled
        case .redrive: self == .dead
        case .cancel: !isFinished
        case .expireDependency, .release: self == .scheduled
        }
    }
}

/// What can happen to a job after its enqueue. A scheduled job that falls due is ready without an event.
package enum JobEvent: Hashable, Sendable, CaseIterable {
    case lease, heartbeat, ack, requeue, expireLease, expireStart, bury, redrive, cancel, edit
    case expireDependency, release
}

/// Why a job is among the dead letters.
package enum DeadReason: UInt8, Hashable, Sendable, CaseIterable {
    /// Its last attempt failed or its last lease expired.
    case attemptsUsedUp = 1
    /// It was not leased in time.
    case startByPassed = 2
    /// Its holder said so.
    case buried = 3
    /// Its enqueue record fails its checksum.
    case unreadable = 4
    /// Too many of its attempts ended without a report.
    case poison = 5
    /// Its last attempt failed with an error after which it is not tried again.
    case finalError = 6
    /// A job that it waited for has failed.
    case dependency = 7
}
