// Checking a whole store without changing it: every header, checksum, link, index, filter, seal, chain value and
// checkpoint, and that they agree with the manifest and with each other. What the records mean is for the layer above.

package import HoldfastBytes

/// What a verification counted and found.
package struct LogVerification: Sendable {
    package var segments = 0
    package var frames = 0
    package var records: UInt64 = 0
    package var checkpoints = 0
    package var bytes = 0
    /// What is wrong, in order of discovery; empty for a sound store.
    package var problems: [LogError] = []
    /// What is found of each head that was expected, in their order.
    package var audits: [AuditFinding] = []

    package init() {}
}

extension LogReader {
    private static let remedy = "restore the file from a backup, or run: holdfast salvage STORE NEW"

    /// Checks everything the manifest names. `progress` gets bytes checked and bytes in all; `body` gets every record.
    ///
    /// - Parameters:
    ///   - heads: Published heads that the log must prove.
    ///   - key: That with which they were made, if any.
    package mutating func verify(
        expecting heads: [AuditHead] = [], key: AuditKey? = nil, progress: (Int, Int) -> Void,
        _ body: (borrowing EntryView, Timestamp) throws(LogError) -> Void
    ) -> LogVerification {
        var result = LogVerification()
        let total =
            manifest.sealed.reduce(0) { $0 + $1.bytes } + journalSources.reduce(0) { $0 + $1.end }
            + manifest.checkpoints.reduce(0) { $0 + $1.bytes * $1.copies }
        var chain: [UInt8]?
        var proof = AuditProof(manifest, heads: heads, key: key, isInUse: holder != nil)
        for segment in manifest.sealed {
            do throws(LogError) {
                let (source, seal) = try sealedSource(segment)
                if let chain, chain != source.header.predecessorChain, Safeguard.verifiedPredecessor.isOn {
                    throw LogError(
                        .corrupt,
                        "\(source.name) does not follow the segment before it: its chain value differs; \(Self.remedy)",
                        file: source.name, offset: 0)
                }
                try verify(source, seal: seal, into: &result, proof: &proof, body)
                if proof.isFirstToDiffer(segment), Safeguard.verifiedAudit.isOn {
                    result.problems.append(Self.differsFromSealed(segment, source))
                }
            } catch {
                result.problems.append(error)
                proof.skipDamage()
            }
            chain = segment.lineage.chain
            result.segments += 1
            result.bytes += segment.bytes
            progress(result.bytes, total)
        }
        for source in journalSources {
            do { try verify(source, seal: nil, into: &result, proof: &proof, body) } catch {
                result.problems.append(error)
                proof.skipDamage()
            }
            result.segments += 1
            result.bytes += source.end
            progress(result.bytes, total)
        }
        if let damage = journalDamage {
            result.problems.append(damage)
            proof.skipDamage()
        }
        result.audits = proof.finish()
        for checkpoint in manifest.checkpoints {
            for copy in 0..<checkpoint.copies {
                let path = layout.path(checkpoint, copy: copy)
                do {
                    _ = try CheckpointFile(
                        fileSystem, path: path, name: layout.relative(path), store: manifest.store,
                        sequence: checkpoint.sequence)
                } catch {
                    result.problems.append(error)
                }
                result.checkpoints += 1
                result.bytes += checkpoint.bytes
                progress(result.bytes, total)
            }
        }
        return result
    }

    private func verify(
        _ source: SegmentSource, seal: SealFrame?, into result: inout LogVerification, proof: inout AuditProof,
        _ body: (borrowing EntryView, Timestamp) throws(LogError) -> Void
    ) throws(LogError) {
        var frames = 0
        var records: UInt64 = 0
        var counts = [UInt64](repeating: 0, count: 256)
        var index: [FrameIndexEntry] = []
        var link: UInt32?
        try source.forEachFrame(fileSystem) { (frame) throws(LogError) in
            if let link, frame.header.previousLink != link, Safeguard.verifiedLink.isOn {
                throw LogError(
                    .corrupt,
                    "\(source.name) holds a frame at offset \(frame.offset) that does not follow the one before; "
                        + Self.remedy,
                    file: source.name, offset: frame.offset)
            }
            link = frame.header.link
            frames += 1
            var inFrame: UInt32 = 0
            _ = try frame.forEachEntry(file: source.name) { (entry, time) throws(LogError) in
                counts[Int(entry.kind)] += 1
                inFrame += 1
                proof.take(entry, file: source.name)
                try body(entry, time)
                return true
            }
            guard inFrame == frame.header.recordCount || Safeguard.verifiedCounts.isOff else {
                throw LogError(
                    .corrupt,
                    "\(source.name) holds a frame at offset \(frame.offset) with a wrong record count; \(Self.remedy)",
                    file: source.name, offset: frame.offset)
            }
            records += UInt64(inFrame)
            index.append(
                FrameIndexEntry(
                    firstSequence: frame.header.firstSequence, time: frame.header.time, offset: frame.offset))
            return true
        }
        result.frames += frames
        result.records += records
        guard let seal else { return }
        let expected = counts.indices.filter { counts[$0] > 0 }.map {
            SealFrame.KindCount(kind: UInt8($0), count: counts[$0])
        }
        guard seal.kindCounts == expected && seal.index == index || Safeguard.verifiedSeal.isOff else {
            throw LogError(
                .corrupt,
                "\(source.name) ends in a seal whose index or counts do not match its frames; \(Self.remedy)",
                file: source.name, offset: source.end)
        }
        try verifyChain(source, seal: seal)
    }

    private static func differsFromSealed(_ segment: Manifest.Sealed, _ source: SegmentSource) -> LogError {
        LogError(
            .corrupt,
            "\(source.name) does not hold the records that it was sealed with: the audit chain gives another value "
                + "than the manifest kept; \(remedy)",
            file: source.name, offset: 0, sequences: segment.firstSequence...segment.lastSequence)
    }

    private func verifyChain(_ source: SegmentSource, seal: SealFrame) throws(LogError) {
        var hash = SHA256()
        hash.update(source.header.predecessorChain.span)
        do {
            let file = try fileSystem.open(source.path, .read)
            defer { file.close() }
            var buffer = [UInt8](repeating: 0, count: 1 << 20)
            var offset = 0
            while offset < source.end {
                let wanted = min(buffer.count, source.end - offset)
                if wanted < buffer.count { buffer.removeLast(buffer.count - wanted) }
                guard try file.read(into: &buffer, at: offset) == wanted else { break }
                hash.update(buffer.span)
                offset += wanted
            }
        } catch {
            throw LogError(error, doing: "reading \(source.name)")
        }
        guard hash.finalize() == seal.chain || Safeguard.verifiedChain.isOff else {
            throw LogError(
                .corrupt,
                "\(source.name) does not match its chain value: it was changed after it was sealed; \(Self.remedy)",
                file: source.name, offset: 0)
        }
    }
}
