// The door through which other commands reach a store that this process owns: a socket in the store's directory that
// speaks the line protocol. It is made after the store is locked and removed before the lock is released, so whoever
// holds the lock may replace what it finds there.

import Holdfast
import HoldfastLog

/// Serves an open store on a socket in its directory.
final class StoreSocket: @unchecked Sendable {
    static let name = "socket"
    /// More clients than this at once are turned away.
    private static let connectionsMax = 256
    /// How long clients may take to read their last replies when the store closes.
    private static let closingMilliseconds = 2000

    // SENDABLE: `connections` and `thread` are guarded by `lock`; the rest never changes.
    private let store: JobStore
    private let directory: String
    private let listener: Descriptor
    private let stop: (read: Descriptor, write: Descriptor)
    private let lock = CallerLock()
    private let changed = Signal()
    private var connections: Set<Descriptor> = []
    private var thread: DedicatedThread?

    /// Starts serving `store`, which is open at `directory`.
    init(store: JobStore, directory: String) throws {
        self.store = store
        self.directory = directory
        stop = try Descriptor.pipe()
        listener = try UnixSocket.listen(directory: directory, name: Self.name)
        thread = try DedicatedThread(name: "socket") { [self] in acceptConnections() }
    }

    /// Removes the socket, answers what has been read, and returns when no client is served any more.
    func close() {
        UnixSocket.remove(directory: directory, name: Self.name)
        store.endRoomWaits()
        stop.write.close()
        lock.withLock { thread.take() }?.join()
        listener.close()
        lock.withLock {
            if !waitForConnections() {
                for connection in connections { UnixSocket.shutDown(connection, writingToo: true) }
                while !connections.isEmpty { changed.wait(lock) }
            }
        }
        stop.read.close()
    }

    private func waitForConnections() -> Bool {
        while !connections.isEmpty {
            if !changed.wait(lock, milliseconds: Self.closingMilliseconds) { return connections.isEmpty }
        }
        return true
    }

    private func acceptConnections() {
        while true {
            guard let ready = try? Poll.wait(for: [(stop.read, .read), (listener, .read)], milliseconds: nil) else {
                return
            }
            if ready[0] { return }
            if ready[1], let connection = UnixSocket.accept(listener) { serve(connection) }
        }
    }

    private func serve(_ connection: Descriptor) {
        let isAccepted = lock.withLock {
            guard connections.count < Self.connectionsMax else { return false }
            connections.insert(connection)
            return true
        }
        guard isAccepted else { return refuse(connection) }
        do {
            _ = try DedicatedThread(name: "client") { [self] in
                _ = try? ShellSession(store: store).serve(input: connection, output: connection, stop: stop.read)
                release(connection)
            }
        } catch {
            release(connection)
        }
    }

    private func release(_ connection: Descriptor) {
        lock.withLock {
            connections.remove(connection)
            connection.close()
            changed.notifyAll()
        }
    }

    private func refuse(_ connection: Descriptor) {
        let error = JobStoreError(
            .queueFull, "\(Self.connectionsMax) clients are connected to this store; try again when one has gone")
        var writer = JSONWriter()
        _ = PendingReply(refusal: error).write(into: &writer)
        writer.endLine()
        try? connection.writeAll(writer.bytes)
        connection.close()
    }
}
