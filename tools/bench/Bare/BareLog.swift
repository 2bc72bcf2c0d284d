// The least that a durable job store has to do, as the limit that it is measured against: records with a checksum in a
// buffer, one write and one sync for all that wait, jobs in order in memory. There is no recovery, no queue but one,
// no lease that ends, and the file is written round and round. One sync at a time.

import ArgumentParser
import HoldfastBytes
import HoldfastLog

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A job in memory.
struct BareJob: HeldJob {
    let number: UInt64
    let payload: [UInt8]
}

// SENDABLE: whoever uses it takes turns: under the lock of the face that owns it, or on one thread.
/// The records and the jobs; who writes when is up to the faces.
final class BareLog: @unchecked Sendable {
    private enum Kind: UInt8 { case enqueue, lease, settle }

    private static let fileBytes = 64 << 20
    private static let bufferBytes = 16 << 20
    private static let headerBytes = 17

    /// What was appended and is not written.
    private var filling: UnsafeMutableRawBufferPointer
    private var fillingBytes = 0
    /// What is being written: whoever writes has it, and `file` and `offset`, to itself.
    private var flying: UnsafeMutableRawBufferPointer
    private var flyingBytes = 0
    private let file: Int32
    private let path: String
    private var offset = 0
    private var jobs: [BareJob] = []
    private var firstJob = 0
    private var lastNumber: UInt64 = 0

    init(directory: String) throws {
        path = directory + "/bench-bare"
        file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw ValidationError("\(path) can't be created: is \(directory) a directory?") }
        filling = .allocate(byteCount: Self.bufferBytes, alignment: 4096)
        flying = .allocate(byteCount: Self.bufferBytes, alignment: 4096)
        filling.initializeMemory(as: UInt8.self, repeating: 0)
        flying.initializeMemory(as: UInt8.self, repeating: 0)
        for at in stride(from: 0, to: Self.fileBytes, by: Self.bufferBytes) {
            guard pwrite(file, filling.baseAddress, Self.bufferBytes, off_t(at)) == Self.bufferBytes else {
                throw ValidationError("\(path) can't be written: is the disk full?")
            }
        }
        guard fsync(file) == 0 else { throw ValidationError("\(path) can't be synced") }
    }

    deinit {
        close(file)
        unlink(path)
        filling.deallocate()
        flying.deallocate()
    }

    /// Jobs that are not settled or leased.
    var waitingCount: Int { jobs.count - firstJob }
    var isEmpty: Bool { fillingBytes == 0 }

    /// Appends what the call needs, and does it in memory.
    func perform(_ call: Call<BareJob>) -> Outcome<BareJob> {
        switch call {
        case .enqueue(let payload): return .enqueued(add(payload))
        case .enqueueAll(let payloads): return .enqueuedAll(payloads.map(add))
        case .lease(let limit): return .leased(take(limit))
        case .settle(let held):
            for job in held { append(.settle, job.number, []) }
            return .settled
        case .settleThenLease(let held, let limit):
            for job in held { append(.settle, job.number, []) }
            return .leased(take(limit))
        }
    }

    /// Makes what was appended what is written next.
    func swapBuffers() {
        swap(&filling, &flying)
        (flyingBytes, fillingBytes) = (fillingBytes, 0)
    }

    /// Writes and syncs what the last swap took.
    func write() throws {
        if offset + flyingBytes > Self.fileBytes { offset = 0 }
        guard pwrite(file, flying.baseAddress, flyingBytes, off_t(offset)) == flyingBytes,
            sync() == 0
        else { throw ValidationError("writing \(path) failed") }
        offset += flyingBytes
    }

    private func sync() -> Int32 {
        #if canImport(Darwin)
            fcntl(file, F_FULLFSYNC)
        #else
            fdatasync(file)
        #endif
    }

    private func add(_ payload: [UInt8]) -> UInt64 {
        lastNumber += 1
        jobs.append(BareJob(number: lastNumber, payload: payload))
        append(.enqueue, lastNumber, payload)
        return lastNumber
    }

    private func take(_ limit: Int) -> [BareJob] {
        let taken = jobs[firstJob..<min(firstJob + limit, jobs.count)]
        firstJob += taken.count
        for job in taken { append(.lease, job.number, []) }
        defer {
            if firstJob > 65_536, firstJob * 2 > jobs.count {
                jobs.removeFirst(firstJob)
                firstJob = 0
            }
        }
        return Array(taken)
    }

    /// The checksum covers length, number, kind and payload.
    private func append(_ kind: Kind, _ number: UInt64, _ payload: [UInt8]) {
        let start = fillingBytes
        let end = start + Self.headerBytes + payload.count
        precondition(end <= Self.bufferBytes, "more is waiting than fits the buffer")
        filling.storeBytes(of: UInt32(payload.count), toByteOffset: start + 4, as: UInt32.self)
        filling.storeBytes(of: number, toByteOffset: start + 8, as: UInt64.self)
        filling.storeBytes(of: kind.rawValue, toByteOffset: start + 16, as: UInt8.self)
        payload.withUnsafeBytes { bytes in
            UnsafeMutableRawBufferPointer(rebasing: filling[(start + Self.headerBytes)..<end]).copyMemory(from: bytes)
        }
        let covered = UnsafeRawBufferPointer(rebasing: filling[(start + 4)..<end]).bindMemory(to: UInt8.self)
        filling.storeBytes(of: CRC32C.checksum(covered.span), toByteOffset: start, as: UInt32.self)
        fillingBytes = end
    }
}
