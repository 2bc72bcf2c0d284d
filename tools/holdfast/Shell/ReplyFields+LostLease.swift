// A lost lease in a reply.

import Holdfast
import HoldfastBytes

extension JSONWriter {
    /// What became of a lease, where its job is, and who has it now.
    mutating func field(_ name: StaticString, _ lost: LostLease) {
        key(name)
        beginObject()
        field("state", optional: lost.state?.rawValue)
        field("worker", optional: lost.worker)
        field("deadline_ms", optional: lost.deadline)
        field("finished_at_ms", optional: lost.finishedAt)
        if let end = lost.end { field("end", end.rawValue) }
        if let time = lost.endedAt { field("ended_at_ms", time.milliseconds) }
        if let holder = lost.holder {
            field("token", holder.token.rawValue)
            field("attempt", holder.attempt)
            if let since = holder.since { field("since_ms", since.milliseconds) }
        }
        if let time = lost.runAt { field("run_at_ms", time.milliseconds) }
        if let reason = lost.deadReason { field("dead_reason", reason.rawValue) }
        endObject()
    }
}
