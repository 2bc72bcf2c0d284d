// Names compare by their bytes. Swift's `String` takes "é" in one code point and in two for equal, which would let two
// keys that a client sent as different bytes share one unique key or one effect.

internal import HoldfastBytes

/// A queue, group or key as a key of a table.
package struct Name: Hashable, Comparable, Sendable {
    package let string: String

    package init(_ string: String) { self.string = string }

    package static func == (a: Name, b: Name) -> Bool { a.string.hasSameBytes(as: b.string) }

    package static func < (a: Name, b: Name) -> Bool { a.string.utf8.lexicographicallyPrecedes(b.string.utf8) }

    /// Strings that `String` takes for equal have one hash; that is allowed, and such names are rare.
    package func hash(into hasher: inout Hasher) { hasher.combine(string) }
}

/// A unique key within its queue.
struct UniqueKey: Hashable, Sendable {
    let queue: Slot<QueueRecord>
    let key: Name
}

/// What an effect is recorded under.
struct EffectKey: Hashable, Comparable, Sendable {
    let scope: Name
    let key: Name

    init(_ scope: String, _ key: String) { (self.scope, self.key) = (Name(scope), Name(key)) }

    static func < (a: Self, b: Self) -> Bool { a.scope == b.scope ? a.key < b.key : a.scope < b.scope }
}
