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
    static let unprovedCode: Int32 = 5
    static let usageCode: Int32 = 64

    init(_ message: String, exitCode: Int32 = Self.refusedCode) {
        self.message = message
        self.exitCode = exitCode
    }

    /// A refusal or a failure of an open store.
    init(_ error: JobStoreError) {
        self.init(error.message, exitCode: Self.exitCode(forCode: error.code.name))
    }

    /// A store that can't be opened.
    init(opening directory: String, _ error: JobStoreError) {
        self.init(
            "could not open the store \(directory): \(LogMessage.plain(error.message, store: directory))",
            exitCode: Self.notOpenedCode)
    }

    /// Files that can't be read: damaged, of a newer version, or no store at all.
    init(reading path: String, _ error: LogError) {
        let isDamaged = error.code == .corrupt
        self.init(
            "could not read \(path): \(LogMessage.plain(error.message, store: path))",
            exitCode: isDamaged ? Self.damagedCode : Self.notOpenedCode)
    }

    /// Returns the exit code for a refusal with `code`, as the line protocol names it.
    static func exitCode(forCode code: String?) -> Int32 {
        switch code {
        case "io_error": storeFailedCode
        case "bad_request": usageCode
        default: refusedCode
        }
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

/// Messages of the log for people.
enum LogMessage {
    /// Leaves out the labels by which the documentation of the format refers to the rows of the recovery table, and
    /// says which store a command line is about.
    static func plain(_ message: String, store: String? = nil) -> String {
        var result = message
        if let store {
            result.replace("holdfast salvage STORE NEW", with: "holdfast salvage \(store) NEW")
            result.replace("holdfast verify STORE", with: "holdfast verify \(store)")
        }
        for row in RecoveryDecision.rows {
            let words = row.name.drop { $0 != " " }.dropFirst()
            result.replace("(\(row.name))", with: "(\(words))")
        }
        return result
    }
}
