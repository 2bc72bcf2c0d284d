// Changes the records of a store's sealed segments and makes everything else fit: checksums, links, seals, chain
// values, lineages and the manifest with its audit values. It has no key and can't change what was published.

import HoldfastBytes
import HoldfastTestKit
import Testing

@testable import HoldfastLog

/// A record as a forger sees it.
struct ForgedRecord {
    var sequence: SequenceNumber
    var kind: UInt8
    var body: [UInt8]
    var time: Timestamp
}

/// Rewrites a store on a simulated disk.
struct AuditForger {
    private let disk: SimulatedFileSystem
    private let layout: StoreLayout
    private(set) var manifest: Manifest
    private var headers: [SegmentHeader] = []
    /// By sealed segment.
    var records: [[ForgedRecord]] = []
    /// Whether the manifest's audit values are made to fit, too.
    var fitsAudit = true

    init(_ disk: SimulatedFileSystem, _ path: String) throws {
        self.disk = disk
        layout = StoreLayout(root: path)
        let reader = try LogReader.open(directory: path, fileSystem: disk)
        manifest = reader.manifest
        for segment in manifest.sealed {
            let source = try reader.sealedSource(segment).source
            var found: [ForgedRecord] = []
            try source.forEachFrame(disk) { (frame) throws(LogError) in
                try frame.forEachEntry(file: source.name) { (entry, time) throws(LogError) in
                    found.append(
                        ForgedRecord(
                            sequence: entry.sequence, kind: entry.kind, body: [UInt8](copying: entry.body), time: time))
                    return true
                }
            }
            headers.append(source.header)
            records.append(found)
        }
    }

    /// Puts the changed store in the place of the one that was there.
    mutating func write() throws {
        var chain = [UInt8](repeating: 0, count: 32)
        var point = manifest.audit?.anchor
        for index in records.indices {
            let old = manifest.sealed[index]
            var header = headers[index]
            header.predecessorChain = chain
            try? disk.unlink(layout.path(old))
            header.firstSequence = try #require(records[index].first).sequence
            manifest.sealed[index].firstSequence = header.firstSequence
            let file = try disk.open(layout.path(manifest.sealed[index]), .create)
            var writer = SealedSegmentWriter(file: file, header: header, usesHighCompression: false)
            for record in records[index] {
                let entry = EntryView(sequence: record.sequence, kind: record.kind, body: record.body.span)
                try writer.append(entry, time: record.time, key: nil)
                point?.append(entry)
            }
            var made = try writer.finish()
            made.audit = fitsAudit ? point?.hash : old.audit
            file.close()
            chain = made.chain
            manifest.sealed[index] = made
        }
        var writer = ByteWriter()
        manifest.encode(into: &writer)
        disk.replace(layout.manifest, with: [UInt8](copying: writer.bytes))
    }

    /// Changes what the manifest says.
    mutating func change(_ body: (inout Manifest) -> Void) { body(&manifest) }
}
