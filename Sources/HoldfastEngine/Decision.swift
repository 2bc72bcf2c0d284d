// What deciding gives. Nearly every command becomes one record, so the single mutation needs no array.

package import HoldfastBytes

/// The mutations of a decision, in order.
package enum Mutations: Hashable, Sendable {
    case none
    case one(Mutation)
    case many([Mutation])

    /// How many records they become.
    package var count: Int {
        switch self {
        case .none: 0
        case .one: 1
        case .many(let mutations): mutations.count
        }
    }

    /// Calls `body` with each mutation in order.
    package func forEach<E: Error>(_ body: (Mutation) throws(E) -> Void) throws(E) {
        switch self {
        case .none: break
        case .one(let mutation): try body(mutation)
        case .many(let mutations): for mutation in mutations { try body(mutation) }
        }
    }

    init(_ mutations: [Mutation]) {
        switch mutations.count {
        case 0: self = .none
        case 1: self = .one(mutations[0])
        default: self = .many(mutations)
        }
    }
}

/// The records a command becomes, and its reply.
package struct Decision: Hashable, Sendable {
    /// The k-th becomes the record with sequence number `next + k`.
    package var mutations: Mutations
    package var reply: Reply

    package init(mutations: consuming Mutations, reply: consuming Reply) {
        self.mutations = mutations
        self.reply = reply
    }

    init(_ mutation: consuming Mutation, _ reply: consuming Reply) {
        self.init(mutations: .one(mutation), reply: reply)
    }

    /// Moves what it becomes behind `records`, whose sequence numbers go on from `next`, and returns the reply.
    package mutating func move(
        into records: inout [Record], at now: Timestamp, next: SequenceNumber
    ) -> Reply {
        // Out of here first: what is taken from a stored property is copied.
        var taken = Mutations.none
        swap(&taken, &mutations)
        switch consume taken {
        case .none: break
        case .one(let mutation): records.append(Record(sequence: next, time: now, mutation: mutation))
        case .many(let mutations):
            for (place, mutation) in mutations.enumerated() {
                let sequence = next.advanced(by: UInt64(place))
                records.append(Record(sequence: sequence, time: now, mutation: mutation))
            }
        }
        return reply
    }
}
