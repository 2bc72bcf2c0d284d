// How a command fails: one sentence and an exit code.

import Holdfast
import HoldfastLog

/// What is printed and returned when a command can't do its work.
struct CommandFailure: Error {
    let message: String
    let exitCode: Int32

    static let refusedCode: Int32 = 1
    static let notOpenedCode: Int32 = 2
    static let storeFailedCode: Int32 = 3
    static let damagedCode: Int32 = 4

    init(_ message: String, exitCode: Int32 = Self.refusedCode) {
        self.message = message
        self.exitCode = exitCode
    }

    /// A refusal or a failure of an open store.
    init(_ error: JobStoreError) {
        self.init(error.message, exitCode: error.code == .ioError ? Self.storeFailedCode : Self.refusedCode)
    }

    /// A store that can't be opened.
    init(opening directory: String, _ error: JobStoreError) {
        self.init("could not open the store \(directory): \(error.message)", exitCode: Self.notOpenedCode)
    }

    /// Files that can't be read: damaged, of a newer version, or no store at all.
    init(reading path: String, _ error: LogError) {
        let isDamaged = error.code == .corrupt
        self.init(
            "could not read \(path): \(error.message)", exitCode: isDamaged ? Self.damagedCode : Self.notOpenedCode)
    }

    init(_ error: SystemError) { self.init(error.description) }
    init(_ failure: IOFailure) { self.init(failure.description) }
}

/// Runs `body` and turns the errors of the layers below into one that a command can end with.
@discardableResult
func failing<Value>(_ body: () throws -> Value) throws -> Value {
    do {
        return try body()
    } catch let error as JobStoreError {
        throw CommandFailure(error)
    } catch let error as SystemError {
        throw CommandFailure(error)
    } catch let error as IOFailure {
        throw CommandFailure(error)
    }
}
