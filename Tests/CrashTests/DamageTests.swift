// Bytes that were acknowledged rot: the store refuses and says where. Bytes nobody was told of are torn: cut, saved,
// reported. The names say which defect of other formats a test is for.

import HoldfastBytes
import HoldfastLog
import HoldfastTestKit
import Testing

@Suite(.timeLimit(.minutes(10))) struct DamageTests {
    /// A disk as found after a loss of power behind `count` commits, and where its groups lie.
    struct Found {
        let disk: SimulatedFileSystem
        let path: String
        let scan: JournalScan
        var frames: [(first: SequenceNumber, offset: Int)] { scan.segments[0].frames }

        init(commits count: Int, bytes: Int = 3000, closes: Bool = false, idleMarkMilliseconds: Int = 0) throws {
            let before = SimulatedFileSystem()
            let store = try CrashStore(
                before, options: CrashStore.options(idleMarkMilliseconds: idleMarkMilliseconds))
            for number in 0..<count { try store.commit([body(number, bytes: bytes)]) }
            if closes { try store.log.close() }
            var found = try Self.look(before)
            // Once the log is idle, a mark frame raises the watermark over the last commit.
            while idleMarkMilliseconds > 0, found.scan.watermark <= found.last { found = try Self.look(before) }
            try? store.log.close()
            (disk, scan, path) = (found.disk, found.scan, found.path)
        }

        private static func look(
            _ before: SimulatedFileSystem
        ) throws -> (disk: SimulatedFileSystem, scan: JournalScan, path: String, last: LogPosition) {
            let disk = before.crashImage(.nothingPending)
            let layout = StoreLayout(root: CrashStore.path)
            let manifest = try #require(try ManifestStore(layout: layout, fileSystem: disk).read())
            let scan = try JournalScan(manifest, layout: layout, fileSystem: disk)
            let segment = scan.segments[0]
            let last = segment.header.base.advanced(by: segment.frames.last?.offset ?? 0)
            return (disk, scan, layout.path(manifest.journals[0]), last)
        }

        /// Opens a copy after `damage` and returns the error, or `nil` when it opens.
        func refusal(_ damage: (SimulatedFileSystem) -> Void) throws -> LogError? {
            let copy = disk.crashImage(.nothingPending)
            damage(copy)
            do {
                let store = try CrashStore(copy)
                try store.log.close()
                return nil
            } catch let error as LogError { return error }
        }
    }

    @Test func aFlippedBitInAnAcknowledgedFrameIsRefusedWhereverItIs() async throws {
        let (refused, places) = try await onThread {
            let found = try Found(commits: 6)
            var refused = 0
            var places = 0
            // Below the last group every byte of header and payload counts; the last is vouched for by nobody yet.
            for (number, frame) in found.frames.dropLast().enumerated() {
                let headerAndPayload = Array(0..<64) + [64, 65, 100, 2000, 3066]
                for byte in headerAndPayload {
                    let error = try found.refusal {
                        $0.corrupt(found.path, offset: frame.offset + byte, xor: 1 << UInt8((byte + number) % 8))
                    }
                    places += 1
                    guard let error, error.code == .corrupt else { continue }
                    #expect(error.offset == frame.offset && error.file?.hasPrefix("journal/") == true)
                    #expect(error.sequences?.lowerBound == frame.first)
                    refused += 1
                }
            }
            return (refused, places)
        }
        print("damage below the watermark: \(refused) of \(places) refused")
        #expect(refused == places)
    }

    @Test func aFlippedBitInTheLastFrameIsATornTailAndIsSaved() async throws {
        try await onThread {
            let found = try Found(commits: 6)
            let last = try #require(found.frames.last)
            for byte in [0, 4, 9, 40, 63, 64, 2000] {
                let disk = found.disk.crashImage(.nothingPending)
                disk.corrupt(found.path, offset: last.offset + byte)
                let damaged = try #require(disk.snapshotFiles()[found.path])
                let store = try CrashStore(disk)
                #expect(store.replayed.count == 5)
                #expect(store.log.recovery.tornBytes > 0 && store.log.recovery.findings.count == 1)
                let saved = try #require(disk.snapshotFiles().first { $0.key.hasSuffix(".bin") })
                #expect(saved.key.hasPrefix("/store/lost/"))
                #expect(saved.value == Array(damaged[last.offset..<(last.offset + saved.value.count)]))
                try store.commit([body(9)])
                try store.log.close()
            }
        }
    }

    @Test(arguments: [true, false])
    func theLastFrameIsVouchedForByAMarkOrAClose(closes: Bool) async throws {
        try await onThread {
            let found = try Found(commits: 4, closes: closes, idleMarkMilliseconds: closes ? 0 : 1)
            for frame in found.frames {
                let error = try found.refusal { $0.corrupt(found.path, offset: frame.offset + 70) }
                #expect(error?.code == .corrupt)
            }
        }
    }

    /// A payload of zeros that rots looks like blocks that were never written.
    @Test func zerosBelowTheWatermarkAreNotAnEnd() async throws {
        try await onThread {
            let found = try Found(commits: 5)
            for frame in found.frames.dropLast() {
                let error = try found.refusal { disk in
                    guard var bytes = disk.snapshotFiles()[found.path] else { return }
                    for index in frame.offset..<(frame.offset + 4096) { bytes[index] = 0 }
                    disk.replace(found.path, with: bytes)
                }
                #expect(error?.code == .corrupt)
            }
        }
    }

    /// Cut at an exact boundary there is no bad frame to see; the manifest of the clean close knows better.
    @Test func aLogCutAtAFrameBoundaryIsRefused() async throws {
        try await onThread {
            let found = try Found(commits: 5, closes: true)
            for frame in found.frames {
                let error = try found.refusal { disk in
                    guard var bytes = disk.snapshotFiles()[found.path] else { return }
                    for index in frame.offset..<bytes.count { bytes[index] = 0 }
                    disk.replace(found.path, with: bytes)
                }
                #expect(error?.code == .corrupt)
            }
        }
    }

    /// Cut the tail, refill it with frames of equal length, lose power again: the old frames behind must stay dead.
    @Test func framesBehindACutDoNotComeBackToLife() async throws {
        try await onThread {
            for groups in 1...4 {
                var options = CrashStore.options(.none)
                options.durability = .none
                let disk = SimulatedFileSystem()
                let store = try CrashStore(disk, options: options)
                for number in 0..<5 { try store.commit([body(number, bytes: 3000)]) }
                // Everything is in the page cache; the second group's block never reached the disk.
                let image = disk.crashImage(.everythingPending)
                try store.log.close()
                let layout = StoreLayout(root: CrashStore.path)
                let manifest = try #require(try ManifestStore(layout: layout, fileSystem: image).read())
                let path = layout.path(manifest.journals[0])
                let scan = try JournalScan(manifest, layout: layout, fileSystem: image)
                let second = scan.segments[0].frames[1].offset
                var bytes = try #require(image.snapshotFiles()[path])
                for index in second..<(second + 4096) { bytes[index] = 0 }
                image.replace(path, with: bytes)

                let cut = try CrashStore(image, options: options)
                #expect(cut.replayed.count == 1)
                for number in 0..<groups { try cut.commit([body(100 + number, bytes: 3000)]) }
                let again = image.crashImage(.everythingPending)
                try cut.log.close()
                let refilled = try CrashStore(again, options: options)
                #expect(
                    refilled.replayed.map(\.body) == [body(0, bytes: 3000)]
                        + (0..<groups).map {
                            body(100 + $0, bytes: 3000)
                        })
                try refilled.log.close()
            }
        }
    }

    @Test func filesThatAreMissingShortOrForeignAreRefused() async throws {
        try await onThread {
            let found = try Found(commits: 4, closes: true)
            let other = try Found(commits: 4, closes: true)
            let foreign = try #require(other.disk.snapshotFiles()[other.path])
            let manifest = "/store/MANIFEST"
            let size = try #require(found.disk.snapshotFiles()[manifest]?.count)
            #expect(try found.refusal { $0.remove(found.path) }?.code == .corrupt)
            #expect(try found.refusal { $0.truncate(found.path, to: 8192) }?.code == .corrupt)
            // Nothing was written there yet.
            let whole = LogOptions.journalSegmentBytesMin
            for bytes in [whole - 4096, whole + 4096] {
                #expect(try found.refusal { $0.truncate(found.path, to: bytes) }?.code == .corrupt)
            }
            #expect(try found.refusal { $0.replace(found.path, with: foreign) }?.code == .corrupt)
            #expect(try found.refusal { $0.remove(manifest) }?.code == .corrupt)
            for offset in [0, 8, 30, 45, size - 1] {
                #expect(try found.refusal { $0.corrupt(manifest, offset: offset) }?.code == .corrupt)
            }
            for offset in [0, 33, 50, 60, 70, 2000, 4095] {
                #expect(try found.refusal { $0.corrupt(found.path, offset: offset) }?.code == .corrupt)
            }
        }
    }

    @Test func aDamagedSealedFrameCostsItsRecordsOnly() async throws {
        try await onThread {
            let disk = SimulatedFileSystem()
            let store = try CrashStore(disk)
            var random = SeedableBytes(1)
            var bodies: [[UInt8]] = []
            for _ in 0..<80 {
                bodies.append(random.bytes(9000))
                try store.commit([bodies[bodies.count - 1]])
            }
            _ = try store.log.compact()
            try store.log.close()
            let sealed = try #require(disk.snapshotFiles().first { $0.key.hasSuffix(".seg") })
            disk.corrupt(sealed.key, offset: 4096 + 64 + 500)
            #expect(throws: LogError.self, "a replay over the damage is refused") { try CrashStore(disk).log.close() }
            // Without a replay from the beginning, as with a checkpoint, only what is damaged is lost.
            let log = try WriteAheadLog.open(
                directory: CrashStore.path, fileSystem: disk, options: CrashStore.options(), createIfMissing: false,
                now: .zero)
            try log.start(delegate: CrashDelegate(log))
            let error = #expect(throws: LogError.self) { _ = try log.entry(SequenceNumber(1)) }
            #expect(error?.code == .corrupt && error?.offset == 4096)
            #expect(try log.entry(SequenceNumber(80))?.body == bodies[79][...])
            let refused = #expect(throws: LogError.self) { _ = try log.compact() }
            #expect(refused?.code == .corrupt)
            #expect(throws: Never.self) { _ = try log.checkpoint() }
            try log.close()
        }
    }

    @Test func aSealedSegmentOfAnotherStoreIsNotRead() async throws {
        try await onThread {
            func sealed(_ seed: UInt64) throws -> (SimulatedFileSystem, String, [UInt8]) {
                let disk = SimulatedFileSystem()
                let store = try CrashStore(disk)
                var random = SeedableBytes(seed)
                try store.commit([random.bytes(2000)])
                _ = try store.log.compact()
                try store.log.close()
                let file = try #require(disk.snapshotFiles().first { $0.key.hasSuffix(".seg") })
                return (disk, file.key, file.value)
            }
            let (disk, path, bytes) = try sealed(1)
            let (_, _, foreign) = try sealed(2)
            #expect(bytes.count == foreign.count)
            disk.replace(path, with: foreign)
            let error = #expect(throws: LogError.self) { _ = try CrashStore(disk) }
            #expect(error?.code == .corrupt)
        }
    }
}
