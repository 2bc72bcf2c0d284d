// What a program publishes, so that others can prove later what the store held.

public import HoldfastBytes
internal import HoldfastLog

extension JobStore {
    /// Returns the head of the audit chain after the newest record that survives power loss: all that was answered
    /// before the call is in it. Publish it where whoever can change the store's files can't change it; `holdfast
    /// verify --expect` proves later that the log up to there is what it was.
    ///
    /// With `JobStoreOptions.auditKey` it is authenticated: nobody without the key can make one up.
    ///
    /// - Throws: `.corrupt`, `.ioError`, `.closed` or the store's failure.
    /// - Complexity: Reads what the journal holds, on a thread of its own; the next call only what came since.
    public func auditHead() async throws(JobStoreError) -> AuditHead {
        let core = core
        return try await StoreCore.onThread("holdfast-audit") { () throws(JobStoreError) -> AuditHead in
            try core.auditHead()
        }
    }
}

extension BlockingJobStore {
    /// Returns the head of the audit chain, like `JobStore.auditHead()`.
    ///
    /// - Throws: The same.
    public func auditHead() throws(JobStoreError) -> AuditHead { try store.core.auditHead() }
}

extension StoreCore {
    fileprivate func auditHead() throws(JobStoreError) -> AuditHead {
        try lock.withLock { () throws(JobStoreError) in try checkOpen() }
        do { return try log.auditHead(key: options.auditKey) } catch { throw failure(from: error) }
    }
}
