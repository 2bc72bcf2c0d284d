// The audit chain: a hash over the records themselves, in order, whatever frames, segments and files hold them.
//
//     value(0) = SHA-256("holdfast audit chain 1" · identity of the store it began in · origin u64)
//     value(n) = SHA-256(value(n - 1) · varint(sequence numbers left out since the record before) · kind u8 · body)
//
// `value(n - 1)` is that after the record before, whose number the gap counts from. So sealing, compressing, merging,
// forking and restoring change no value. What dropped records left behind is the anchor: the value after the last of
// them, from which the rest of the chain is still computed. It is carried, not proved; everything behind it is.

package import HoldfastBytes

/// The chain's value after a record.
package struct AuditPoint: Hashable, Sendable {
    /// The last record that it covers.
    package private(set) var through: SequenceNumber
    /// 32 bytes.
    package private(set) var hash: [UInt8]

    package init(through: SequenceNumber, hash: [UInt8]) {
        precondition(hash.count == AuditHead.hashBytes, "a value of the chain has 32 bytes")
        self.through = through
        self.hash = hash
    }

    /// Goes on to `entry`; one that is covered already changes nothing.
    package mutating func append(_ entry: borrowing EntryView) {
        guard entry.sequence > through else { return }
        let gap = entry.sequence.rawValue - through.rawValue - 1
        SHA256.link(&hash, gap: gap, kind: entry.kind, body: entry.body)
        through = entry.sequence
    }
}

extension Manifest {
    /// Where the audit chain begins and from where on it can be computed.
    package struct Audit: Hashable, Sendable {
        /// The store in which the chain began: forks go on with it.
        package var store: StoreIdentity
        /// The last record that the chain leaves out: 0, but in a store that is older than its chain.
        package var origin: SequenceNumber
        /// Every record behind it is in the log.
        package var anchor: AuditPoint

        /// A chain that begins behind `origin`.
        package init(store: StoreIdentity, origin: SequenceNumber) {
            self.store = store
            self.origin = origin
            anchor = Self.start(of: store, behind: origin)
        }

        /// The value with which the chain of a store begins.
        package static func start(of store: StoreIdentity, behind origin: SequenceNumber) -> AuditPoint {
            var writer = ByteWriter()
            writer.append(Array("holdfast audit chain 1".utf8))
            writer.append(store.bytes)
            writer.append(littleEndian: origin.rawValue)
            return AuditPoint(through: origin, hash: SHA256.hash(writer.bytes))
        }

        /// Returns what is published of `point`.
        package func head(at point: AuditPoint, key: AuditKey?) -> AuditHead {
            guard let key else { return AuditHead(sequence: point.through, hash: point.hash) }
            var writer = ByteWriter()
            writer.append(Array("holdfast audit head 1".utf8))
            writer.append(store.bytes)
            writer.append(littleEndian: point.through.rawValue)
            writer.append(point.hash)
            return AuditHead(sequence: point.through, hash: HMAC.authenticate(writer.bytes, key: key.bytes.span))
        }

        func encode(into writer: inout ByteWriter) {
            writer.append(store.bytes)
            writer.append(varint: origin.rawValue)
            writer.append(varint: anchor.through.rawValue - origin.rawValue)
            if anchor.through > origin { writer.append(anchor.hash) }
        }

        init(from reader: inout ByteReader) throws(ByteReaderError) {
            store = StoreIdentity(bytes: try reader.array(StoreIdentity.byteCount))
            let sequenceMax = SequenceNumber.max.rawValue - 1
            origin = SequenceNumber(try reader.varint(atMost: sequenceMax))
            let through = origin.advanced(by: try reader.varint(atMost: sequenceMax - origin.rawValue))
            anchor = Self.start(of: store, behind: origin)
            if through > origin { anchor = AuditPoint(through: through, hash: try reader.array(AuditHead.hashBytes)) }
        }
    }

    /// The latest value of the chain that is known without reading records; `nil` where there is no chain.
    package var auditEnd: AuditPoint? { auditPoint(before: sealed.count) }

    /// The latest value known of what lies before the sealed segment at `index`.
    func auditPoint(before index: Int) -> AuditPoint? {
        guard let anchor = audit?.anchor else { return nil }
        guard index > 0, let end = sealed[index - 1].auditPoint, end.through > anchor.through else { return anchor }
        return end
    }
}

extension Manifest.Sealed {
    /// The chain's value at the end of what the segment stands for, where it is known.
    package var auditPoint: AuditPoint? { audit.map { AuditPoint(through: lineage.through, hash: $0) } }
}
