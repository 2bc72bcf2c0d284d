// Checkpoints by volume: the log writes one with every sealing; a caller may ask for more.

internal import HoldfastLog

/// Says when the next checkpoint is due, by the bytes recorded since the last.
struct CheckpointTrigger: Sendable {
    var everyBytes: Int?
    private var bytes = 0
    /// A checkpoint is being written; the next waits for it.
    var isRunning = false
    /// Notified when one was written.
    let finished = Signal()

    mutating func note(bytes count: Int) { bytes += count }

    /// Returns true, once, when a checkpoint shall be started now.
    mutating func take() -> Bool {
        guard let everyBytes, bytes >= everyBytes, !isRunning else { return false }
        bytes = 0
        isRunning = true
        return true
    }
}
