// One command from start to end: feeds it, keeps the tails of what it says, renews the lease, and ends it when the
// lease is lost or the grace time is over. Everything waits in one poll, woken by a pipe.

import Holdfast

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Runs one command for one lease, on the calling thread.
struct CommandRun {
    /// How it went.
    enum Ending {
        case exited(ChildExit)
        /// It was ended because the grace time was over.
        case stopped
        /// It was ended because the lease is not ours any more.
        case leaseLost
    }

    /// What it said and how it went.
    struct Report {
        let ending: Ending
        let output: String
        let errors: String
    }

    static let outputBytesMax = 64 << 10
    static let errorBytesMax = 4 << 10
    /// How long a command may take to end after `SIGTERM` before it is killed.
    private static let killAfter = Duration.seconds(2)
    /// So often a stream is read before anything else is looked at: it may never end.
    private static let readsMax = 64

    private let child: ChildProcess
    private let signals: SignalWatch
    private let wake: (read: Descriptor, write: Descriptor)
    private let renewal: Duration
    private let renew: () -> Bool
    private let stopDeadline: () -> ContinuousClock.Instant?

    private var input: ArraySlice<UInt8>
    private var openInput: Descriptor?
    private var openOutput: Descriptor?
    private var openErrors: Descriptor?
    private var output = TailBuffer(bytesMax: CommandRun.outputBytesMax)
    private var errors = TailBuffer(bytesMax: CommandRun.errorBytesMax)
    private var ending: Ending?
    private var killAt: ContinuousClock.Instant?
    private var renewAt: ContinuousClock.Instant

    /// Takes over a started command.
    ///
    /// - Parameters:
    ///   - wake: A pipe whose writing end `signals` and the stopping of the worker write to.
    ///   - renewal: How often `renew` is called; it returns false when the lease is lost.
    ///   - stopDeadline: When the command must have ended, if the worker is stopping.
    init(
        _ child: ChildProcess, input: [UInt8]?, signals: SignalWatch, wake: (read: Descriptor, write: Descriptor),
        renewal: Duration, renew: @escaping () -> Bool, stopDeadline: @escaping () -> ContinuousClock.Instant?
    ) {
        self.child = child
        self.signals = signals
        self.wake = wake
        self.renewal = renewal
        self.renew = renew
        self.stopDeadline = stopDeadline
        self.input = (input ?? [])[...]
        openInput = child.input
        openOutput = child.output
        openErrors = child.errors
        renewAt = .now + renewal
        signals.expect(child.id, waking: wake.write)
    }

    /// Waits until the command has ended.
    mutating func finish() throws(SystemError) -> Report {
        while true {
            if let exit = signals.takeExit(of: child.id) {
                drain()
                closeAll()
                return Report(ending: ending ?? .exited(exit), output: output.text, errors: errors.text)
            }
            step()
            var sources: [(descriptor: Descriptor, interest: Poll.Interest)] = [(wake.read, .read)]
            if let openInput { sources.append((openInput, .write)) }
            if let openOutput { sources.append((openOutput, .read)) }
            if let openErrors { sources.append((openErrors, .read)) }
            let ready = try Poll.wait(for: sources, milliseconds: millisecondsToNextStep())
            if ready[0] { clearWake() }
            drain()
            feed()
        }
    }

    // MARK: - Time

    /// Does what is due: renewing the lease, ending the command, killing it.
    private mutating func step() {
        let now = ContinuousClock.now
        if ending == nil, now >= renewAt {
            renewAt = now + renewal
            if !renew() { end(.leaseLost, at: now) }
        }
        if ending == nil, let deadline = stopDeadline(), now >= deadline { end(.stopped, at: now) }
        if let killAt, now >= killAt {
            child.send(SIGKILL)
            self.killAt = now + Self.killAfter
        }
    }

    private mutating func end(_ ending: Ending, at now: ContinuousClock.Instant) {
        self.ending = ending
        child.send(SIGTERM)
        killAt = now + Self.killAfter
    }

    private func millisecondsToNextStep() -> Int {
        var next = ending == nil ? renewAt : .now + .seconds(60)
        if ending == nil, let deadline = stopDeadline() { next = min(next, deadline) }
        if let killAt { next = min(next, killAt) }
        return Int(clamping: (next - .now).milliseconds + 1)
    }

    // MARK: - Streams

    private func clearWake() {
        withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) { buffer in
            _ = try? wake.read.read(into: buffer)
        }
    }

    /// Writes as much of the payload as the command takes now; closes its input at the end.
    private mutating func feed() {
        guard let descriptor = openInput else { return }
        while !input.isEmpty {
            do throws(SystemError) {
                guard let written = try descriptor.writeSome(input) else { return }
                input = input.dropFirst(written)
            } catch {
                // The command does not read (any more), which is its own affair.
                break
            }
        }
        descriptor.close()
        openInput = nil
    }

    private mutating func drain() {
        if let descriptor = openOutput, Self.drain(descriptor, into: &output) { openOutput = nil }
        if let descriptor = openErrors, Self.drain(descriptor, into: &errors) { openErrors = nil }
    }

    /// Reads what there is; true, with the descriptor closed, at the end.
    private static func drain(_ descriptor: Descriptor, into tail: inout TailBuffer) -> Bool {
        withUnsafeTemporaryAllocation(byteCount: 16 << 10, alignment: 1) { buffer in
            for _ in 0..<readsMax {
                let count: Int
                do throws(SystemError) {
                    count = try descriptor.read(into: buffer)
                } catch {
                    if error.number == EAGAIN { return false }
                    count = 0
                }
                if count == 0 {
                    descriptor.close()
                    return true
                }
                tail.append(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
            return false
        }
    }

    private mutating func closeAll() {
        for descriptor in [openInput, openOutput, openErrors] { descriptor?.close() }
        (openInput, openOutput, openErrors) = (nil, nil, nil)
    }
}
