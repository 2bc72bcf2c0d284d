// A store in a temporary directory on a manual clock.

import Holdfast
import HoldfastBytes
import HoldfastLog
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A directory that is removed with the fixture, and the clock of the stores opened in it.
final class StoreFixture: Sendable {
    let directory: String
    let clock = ManualClock()

    static let start: Int64 = 1_700_000_000_000

    init() throws {
        let template = "\(getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp")/holdfast-test-XXXXXX"
        var bytes = Array(template.utf8CString)
        guard mkdtemp(&bytes) != nil else { throw FixtureError(reason: "no temporary directory could be made") }
        directory = String(decoding: bytes.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        Self.remove(directory)
    }

    private static func remove(_ path: String) {
        let files = POSIXFileSystem()
        for name in (try? files.list(path)) ?? [] {
            let child = path + "/" + name
            if (try? files.status(of: child))?.kind == .directory { remove(child) } else { try? files.unlink(child) }
        }
        rmdir(path)
    }

    var path: String { directory + "/store" }

    var options: JobStoreOptions {
        var options = JobStoreOptions()
        options.clock = clock
        options.provesCompaction = true
        options.journalSegmentBytes = JobStoreOptions.journalSegmentBytesMin
        return options
    }

    func open(_ change: (inout JobStoreOptions) -> Void = { _ in }) async throws -> JobStore {
        var options = options
        change(&options)
        return try await JobStore.open(at: path, options: options)
    }
}

struct FixtureError: Error { let reason: String }

/// Opens a store, runs `body` and closes the store.
func withStore(
    _ change: (inout JobStoreOptions) -> Void = { _ in },
    _ body: (JobStore, StoreFixture) async throws -> Void
) async throws {
    let fixture = try StoreFixture()
    let store = try await fixture.open(change)
    do { try await body(store, fixture) } catch {
        try? await store.close()
        throw error
    }
    try await store.close()
}

/// Expects a refusal with `code`.
func expectRefusal(
    _ code: JobStoreError.Code, index: Int? = nil, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () async throws -> Void
) async {
    do {
        try await body()
        Issue.record("expected \(code), but nothing was refused", sourceLocation: sourceLocation)
    } catch let error as JobStoreError {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
        #expect(error.index == index, "\(error)", sourceLocation: sourceLocation)
        #expect(!error.message.isEmpty, sourceLocation: sourceLocation)
    } catch {
        Issue.record("expected \(code), got \(error)", sourceLocation: sourceLocation)
    }
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
