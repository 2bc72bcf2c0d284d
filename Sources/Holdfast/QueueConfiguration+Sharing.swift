// What a queue says of its groups.

package import HoldfastEngine

extension QueueConfiguration {
    /// In which order the jobs of one group run. Jobs without a group are not concerned.
    public enum GroupOrder: String, Hashable, Sendable, CaseIterable {
        /// As workers ask for them: several at once, and by priority.
        case free
        /// One at a time, in the order of their ids, whatever their priority. One that waits, for its retry or for its
        /// delay, keeps those after it waiting; one that is dead or cancelled does not.
        case strict
        /// One at a time, in the order of their ids, but those that wait for a time are passed over meanwhile.
        case parking
    }

    /// The part of a change of settings that is about groups.
    package var sharing: SharingSettings {
        SharingSettings(groupRunningMax: groupRunningMax ?? 0, order: groupOrder.engineOrder)
    }
}

extension QueueConfiguration.GroupOrder {
    /// That of the state.
    package init(_ order: HoldfastEngine.GroupOrder) {
        switch order {
        case .free: self = .free
        case .strict: self = .strict
        case .parking: self = .parking
        }
    }

    /// That of the state.
    package var engineOrder: HoldfastEngine.GroupOrder {
        switch self {
        case .free: .free
        case .strict: .strict
        case .parking: .parking
        }
    }
}

extension HoldfastEngine.GroupOrder {
    /// What people and protocols call it.
    package var name: String { QueueConfiguration.GroupOrder(self).rawValue }
}
