// What requests and replies say of jobs that wait for others.

import Holdfast

extension RequestFields {
    /// Reads which jobs a new one waits for, and which one waits for it.
    func dependencies(into options: inout EnqueueOptions) throws(JobStoreError) {
        if let ids = try counts("after", "a list of ids") { options.after = ids.map { JobID(UInt64($0)) } }
        if let places = try counts("after_index", "a list of places in the batch") {
            options.afterIndex = places.map { Int($0) }
        }
        if let choice: DependencyFailure = try choice("if_one_fails") { options.ifOneFails = choice }
        if let id = try count("before") { options.before = JobID(UInt64(id)) }
        if let hold = try flag("hold") { options.hold = hold }
    }

    private func counts(_ name: StaticString, _ wanted: String) throws(JobStoreError) -> [Int64]? {
        guard let value = object[name] else { return nil }
        guard let elements = value.elements else { throw wrongType(name, value, wanted) }
        var counts: [Int64] = []
        counts.reserveCapacity(elements.count)
        for element in elements {
            guard let count = element.integer, count >= 0 else { throw wrongType(name, element, wanted) }
            counts.append(count)
        }
        return counts
    }
}

extension JSONWriter {
    /// What a job waits for, or waited for.
    mutating func fields(of dependencies: JobInfo.Dependencies) {
        if dependencies.pending > 0 {
            key("waiting_for")
            beginObject()
            field("count", dependencies.pending)
            key("ids")
            beginArray()
            for id in dependencies.waitingFor { value(id.rawValue) }
            endArray()
            endObject()
        }
        key("dependencies")
        beginObject()
        field("done", dependencies.done)
        field("dead", dependencies.dead)
        field("cancelled", dependencies.cancelled)
        field("pending", dependencies.pending)
        field("if_one_fails", dependencies.ifOneFails.rawValue)
        field("held", dependencies.isHeld)
        endObject()
    }
}
