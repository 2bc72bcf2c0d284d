// The states of a purge by their names in the shell and the command.

import Holdfast

extension PurgeStates {
    /// The states that can be named, in the order in which counts are told.
    static let named: [JobInfo.State] = [.scheduled, .ready, .dead]

    /// Collects states, each one of `named`.
    init(_ states: [JobInfo.State]) {
        self = []
        if states.contains(.scheduled) { insert(.scheduled) }
        if states.contains(.ready) { insert(.ready) }
        if states.contains(.dead) { insert(.dead) }
    }
}

extension PurgeResult {
    /// How many jobs were in `state`, one of `PurgeStates.named`.
    func count(of state: JobInfo.State) -> Int {
        switch state {
        case .scheduled: scheduled
        case .ready: ready
        default: dead
        }
    }
}
