// A store that this process owns for as long as a command runs, with the door for other commands.

import Holdfast

/// An open store and its socket.
struct OwnedStore {
    let store: JobStore
    private let socket: StoreSocket?

    /// Opens the store, reports what recovery found, and serves it to other commands.
    init(directory: String, options: JobStoreOptions) throws(JobStoreError) {
        store = try JobStore.openBlocking(at: directory, options: options)
        Self.printFindings(of: store)
        do {
            socket = try StoreSocket(store: store, directory: directory)
        } catch {
            // The store works without; only other commands can't reach it.
            Descriptor.standardError.writeText("holdfast: other commands can't reach this store: \(error)\n")
            socket = nil
        }
    }

    /// Says what opening found, such as an unfinished commit that was cut off.
    static func printFindings(of store: JobStore) {
        for finding in store.recovery.findings {
            Descriptor.standardError.writeText("holdfast: \(LogMessage.plain(finding))\n")
        }
    }

    /// Removes the socket and closes the store.
    ///
    /// - Returns: Why the store could not be closed cleanly, if so. Everything answered is durable all the same.
    func close() -> JobStoreError? {
        socket?.close()
        do throws(JobStoreError) {
            try store.blocking.close()
            return nil
        } catch {
            return error.code == .closed ? nil : error
        }
    }
}
