// Where the system's error codes are told apart. Layers above see only `IOFailure.Kind`.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

extension IOFailure.Kind {
    /// The class of an error code of the system.
    init(errorNumber: Int32) {
        switch errorNumber {
        case ENOENT: self = .notFound
        case EEXIST, ENOTEMPTY: self = .exists
        case EACCES, EPERM, EROFS: self = .permission
        // A limit on the size of files (`ulimit -f`) is to a store what a full disk is, and may be raised as space may
        // come back.
        case ENOSPC, EDQUOT, EFBIG: self = .noSpace
        case ENOTDIR: self = .notDirectory
        case EMFILE, ENFILE: self = .tooManyOpenFiles
        default: self = .io
        }
    }
}

extension IOFailure {
    /// Describes a failed call by the error code it left.
    init(errorNumber: Int32, operation: String, path: String) {
        // SAFETY: strerror returns a terminated string for any number, in memory of this thread.
        let reason = unsafe String(cString: strerror(errorNumber))
        self.init(Kind(errorNumber: errorNumber), operation: operation, path: path, reason: reason)
    }
}
