// An array whose places are reused. A slot is four bytes where a name would be sixteen, and typed by what it leads to,
// so that a lane's place can't be taken for a queue's.

/// A place in a `SlotTable` of `Value`.
struct Slot<Value>: Hashable, Sendable {
    let index: UInt32

    init(_ index: Int) { self.index = UInt32(index) }

    /// Leads nowhere; takes no more room than any other, as an optional would.
    static var none: Slot { Slot(Int(UInt32.max)) }
}

/// Values in places that stay put.
struct SlotTable<Value: Sendable>: Sendable {
    private var values: [Value] = []
    private var free: [UInt32] = []

    /// How many places there are, free ones included.
    var slotCount: Int { values.count }

    /// Stores `value` in a free place.
    mutating func insert(_ value: Value) -> Slot<Value> {
        if let index = free.popLast() {
            values[Int(index)] = value
            return Slot(Int(index))
        }
        values.append(value)
        return Slot(values.count - 1)
    }

    /// Gives a place back; `blank` stays in it so that what the value owned is freed.
    mutating func remove(_ slot: Slot<Value>, leaving blank: Value) {
        values[Int(slot.index)] = blank
        free.append(slot.index)
    }

    subscript(slot: Slot<Value>) -> Value {
        _read { yield values[Int(slot.index)] }
        _modify { yield &values[Int(slot.index)] }
    }

    /// Every place in order, free ones included.
    var slots: LazyMapSequence<Range<Int>, Slot<Value>> { values.indices.lazy.map { Slot($0) } }
}
