// What a job says of itself so that it can be found: labels with values, and an owner. Fixed at enqueue, and kept
// through retries, redrives and moves. The owner is the label without a name, so that one index serves both.
//
//     labels     varint(count) · (name(label) · name(value)) ..., in the order of the labels' bytes, each label once;
//                the owner first, under the name ""; no value is empty

internal import HoldfastBytes

/// One label of a job with its value. Compared by bytes.
package struct JobLabel: Hashable, Comparable, Sendable {
    /// `""` for the owner.
    package let name: String
    package let value: String

    package init(name: String, value: String) { (self.name, self.value) = (name, value) }

    package static func == (a: Self, b: Self) -> Bool {
        a.name.isSameName(as: b.name) && a.value.isSameName(as: b.value)
    }

    package static func < (a: Self, b: Self) -> Bool {
        a.name.isSameName(as: b.name) ? Name(a.value) < Name(b.value) : Name(a.name) < Name(b.name)
    }

    /// Strings that `String` takes for equal have one hash; that is allowed, and such names are rare.
    package func hash(into hasher: inout Hasher) {
        hasher.combine(name)
        hasher.combine(value)
    }
}

/// The labels and the owner of one job.
package struct JobLabels: Hashable, Sendable {
    /// In order, each name once.
    package let list: [JobLabel]

    /// The most labels that a job has besides its owner.
    package static let countMax = 16

    /// Takes labels in any order.
    package init(_ labels: some Sequence<(name: String, value: String)>, owner: String? = nil) {
        var list = labels.map { JobLabel(name: $0.name, value: $0.value) }
        if let owner { list.append(JobLabel(name: "", value: owner)) }
        self.list = list.sorted()
    }

    /// None.
    package init() { list = [] }

    package var isEmpty: Bool { list.isEmpty }

    /// Who it belongs to, if that was said.
    package var owner: String? { list.first.flatMap { $0.name.isEmpty ? $0.value : nil } }

    /// Without the owner.
    package var named: ArraySlice<JobLabel> { owner == nil ? list[...] : list.dropFirst() }

    /// Whether all of `other` is among them.
    package func contains(_ other: JobLabels) -> Bool { other.list.allSatisfy(list.contains) }

    /// Whether they are in their bounds and each name is there once.
    package var isValid: Bool {
        let range = 1...RecordLimits.nameBytesMax
        return named.count <= Self.countMax && list.allSatisfy { range.contains($0.value.utf8.count) }
            && named.allSatisfy { range.contains($0.name.utf8.count) }
            && zip(list, list.dropFirst()).allSatisfy { !$0.name.isSameName(as: $1.name) }
    }

    func encode(into writer: inout ByteWriter) {
        writer.append(varint: UInt64(list.count))
        for label in list {
            writer.append(counted: label.name)
            writer.append(counted: label.value)
        }
    }

    /// Reads what `encode` wrote.
    ///
    /// - Throws: `.notCanonical` for labels out of order, twice, empty or none; `.tooLong` for more than there may be.
    init(from reader: inout ByteReader) throws(ByteReaderError) {
        let start = reader.offset
        var list: [JobLabel] = []
        for _ in 0..<(try reader.varint(atMost: UInt64(Self.countMax + 1))) {
            let place = reader.offset
            let name = try reader.countedString(atMost: RecordLimits.nameBytesMax)
            let isNext = list.last.map { Name($0.name) < Name(name) } ?? true
            guard isNext else { throw ByteReaderError(.notCanonical, at: place) }
            list.append(JobLabel(name: name, value: try reader.countedString(atMost: RecordLimits.nameBytesMax)))
        }
        self.list = list
        guard !isEmpty, isValid else { throw ByteReaderError(.notCanonical, at: start) }
    }
}
