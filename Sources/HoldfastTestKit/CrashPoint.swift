// The points of a run at which power may be lost, kept while the run goes on, so that every state a crash may leave can
// be made from one run: making one costs as much as is pending, not as much as the run.

/// A disk at one moment of a run.
public struct CrashPoint: Sendable {
    private let state: SimulatedFileSystem.State
    /// The number of the operation that power is lost during or after.
    public let operation: Int
    /// What the note given to `recordCrashPoints` said at that moment.
    public let note: Int

    init(_ state: SimulatedFileSystem.State, note: Int) {
        self.state = state
        operation = state.operationCount
        self.note = note
    }

    /// How many sectors, sizes and names a crash decides about here.
    public var itemCount: Int { state.afterCrash(.nothingPending).itemCount }

    /// Returns the disk as it is found when power is lost here.
    public func image(_ policy: CrashPolicy) -> SimulatedFileSystem {
        SimulatedFileSystem(state.afterCrash(policy).state)
    }
}

extension SimulatedFileSystem {
    /// Returns a hash of all names and contents, as programs see them.
    ///
    /// - Parameter ignored: Leaves out what lies below these directories.
    /// - Complexity: O(bytes).
    public func contentHash(ignoring ignored: Set<String> = []) -> UInt64 {
        access { state in
            var hash = ContentHash()
            state.tree.forEachNode { path, node in
                if ignored.contains(where: { path.hasPrefix($0 + "/") }) { return }
                hash.add(Array(path.utf8).span)
                if let content = state.contents[node] { hash.add(content.contentHash) }
            }
            return hash.value
        }
    }
}
