// What goes wrong in a SimulatedFileSystem. Faults are placed by the running number of
// a mutating operation, which a first run without faults counts, so a test can visit every point of a run.

/// The faults that a simulated file system has in store.
public struct FaultPlan: Hashable, Sendable {
    /// How an operation fails.
    public enum Kind: Hashable, Sendable {
        /// The device reports an error.
        case ioError
        /// The disk is full.
        case noSpace
        /// The owner's quota is used up, which is to a store what a full disk is.
        case quotaExceeded
    }

    /// How much of the operation happens although it fails.
    public enum Effect: Hashable, Sendable {
        /// Nothing.
        case none
        /// A write leaves the first half of its bytes, cut at any byte; other operations leave nothing.
        case shortWrite
        /// A write leaves some of its 512-byte sectors; other operations leave nothing.
        case tornWrite
        /// A sync drops what it covered but keeps it readable, so that a later sync succeeds and proves nothing; other
        /// operations leave nothing.
        case pagesMarkedClean
    }

    /// One fault.
    public struct Fault: Hashable, Sendable {
        /// The number of the operation, counted from 1.
        public var operation: Int
        /// Whether all later operations fail too.
        public var isLasting: Bool
        /// What it reports.
        public var kind: Kind
        /// What it leaves behind.
        public var effect: Effect

        /// Describes the failure of operation number `operation`.
        public init(operation: Int, isLasting: Bool = false, kind: Kind = .ioError, effect: Effect = .none) {
            self.operation = operation
            self.isLasting = isLasting
            self.kind = kind
            self.effect = effect
        }
    }

    /// How a write that reports success does something else.
    public enum Lie: Hashable, Sendable {
        /// Nothing is written.
        case lost
        /// The bytes are written this far from where they belong, if that is inside the file.
        case shifted(by: Int)
        /// The bytes are written to another file, at the same offset.
        case elsewhere(path: String)
    }

    /// The operation during which power is lost: it may have happened in part, it does not return, and all later
    /// operations fail.
    public var crashOperation: Int?
    /// The operations that fail; the first fault that fits an operation counts.
    public var faults: [Fault] = []
    /// The writes that report success and lie, by the number of the operation.
    public var lies: [Int: Lie] = [:]
    /// The reads that fail. `operation` counts reads, from 1; `effect` has no meaning.
    public var readFaults: [Fault] = []
    /// The looks that fail: opening a file that exists, listing a directory, asking for a status or a size. `operation`
    /// counts them, from 1; `effect` has no meaning.
    public var lookFaults: [Fault] = []
    /// How many bytes the disk holds, in whole blocks of 4,096. A write that needs more leaves what fits and fails.
    public var capacityBytes: Int?
    /// What such a write reports.
    public var capacityFailure = Kind.noSpace
    /// Whether no file gets a second name, as on a file system without links or between two of them.
    public var refusesLinks = false
    /// Files that cannot be read, by path.
    public var unreadablePaths: Set<String> = []

    /// Plans no fault.
    public init() {}

    /// Plans a loss of power during operation number `operation`.
    public static func crash(at operation: Int) -> FaultPlan {
        var plan = FaultPlan()
        plan.crashOperation = operation
        return plan
    }

    /// Plans one fault.
    public static func fault(_ fault: Fault) -> FaultPlan {
        var plan = FaultPlan()
        plan.faults = [fault]
        return plan
    }

    /// Whether a file cannot be read, however its path is spelt.
    func makesUnreadable(_ path: String) -> Bool {
        if unreadablePaths.isEmpty { return false }
        let own = SimulatedFileSystemTree.components(path)
        return unreadablePaths.contains { SimulatedFileSystemTree.components($0) == own }
    }

    /// The first of `faults` that number `number` meets, if any.
    static func fault(at number: Int, of faults: [Fault]) -> Fault? {
        faults.first { $0.operation == number || ($0.isLasting && number > $0.operation) }
    }
}
