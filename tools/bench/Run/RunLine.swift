// What one measurement says: as a line of JSON and as a row of the table. The fields have the same names whatever was
// measured, so that lines of several programs go into one report.

/// The result of one measurement.
struct RunLine: Sendable {
    var peer: String
    var workload: String
    var payload: Int
    var callers = 1
    var batch = 1
    var backlog: Int?
    var jobsPerSecond = 0.0
    /// Microseconds; of the enqueue, the cycle or the pair.
    var p50 = 0.0
    var p90 = 0.0
    var p99 = 0.0
    var p999 = 0.0
    /// Medians of the parts of a cycle.
    var parts: [(name: String, p50: Double)] = []
    var cpuMicrosecondsPerJob = 0.0
    var othersPercent = 0
    var residentBytes = 0
    var diskBytes = 0
    /// Jobs in the store when `diskBytes` was taken.
    var jobsOnDisk = 0
    var enqueued = 0
    var settled = 0
    /// What the check found wrong; empty when all is as it must be.
    var faults: [String] = []
    /// For restarts.
    var mode: String?
    var startMilliseconds: Double?

    /// As JSON, in one line.
    var json: String {
        var fields = [
            "\"peer\":\"\(peer)\"", "\"workload\":\"\(workload)\"", "\"payload\":\(payload)", "\"durable\":true",
        ]
        if let mode { fields.append("\"mode\":\"\(mode)\"") }
        if let backlog { fields.append("\"backlog\":\(backlog)") }
        if let startMilliseconds {
            fields += ["\"pending\":\(jobsOnDisk)", "\"start_ms\":\(Self.rounded(startMilliseconds, 1))"]
        } else {
            fields += [
                "\"conc\":\(callers)", "\"batch\":\(batch)", "\"jobs_per_s\":\(Int(jobsPerSecond.rounded()))",
                "\"p50_us\":\(Self.rounded(p50, 1))", "\"p90_us\":\(Self.rounded(p90, 1))",
                "\"p99_us\":\(Self.rounded(p99, 1))", "\"p999_us\":\(Self.rounded(p999, 1))",
            ]
            fields += parts.map { "\"\($0.name)_p50_us\":\(Self.rounded($0.p50, 1))" }
            fields += [
                "\"cpu_us_per_job\":\(Self.rounded(cpuMicrosecondsPerJob, 2))", "\"other_cpu_pct\":\(othersPercent)",
                "\"enqueued\":\(enqueued)", "\"acked\":\(settled)",
            ]
        }
        fields += ["\"rss_mb\":\(Self.rounded(Double(residentBytes) / 1_048_576, 1))"]
        if diskBytes > 0 {
            fields += ["\"disk_mb\":\(Self.rounded(Double(diskBytes) / 1e6, 1))"]
            fields += ["\"disk_bytes_per_job\":\(jobsOnDisk > 0 ? "\(diskBytes / jobsOnDisk)" : "null")"]
        }
        fields += ["\"load1\":\(ProcFile.load)", "\"ok\":\(faults.isEmpty)"]
        if !faults.isEmpty { fields.append("\"note\":\"\(faults.joined(separator: "; "))\"") }
        return "{" + fields.joined(separator: ",") + "}"
    }

    /// The head of the table.
    static let tableHead = row(
        "workload", "what", "callers", "jobs/s", "p50 us", "p99 us", "cpu us/job", "to bare", "")

    /// As a row; `ratio` is that to the bare log in the same round.
    func tableRow(ratio: Double?) -> String {
        var name = workload
        if let backlog { name += " \(backlog)" }
        if let startMilliseconds {
            return Self.row(
                name, peer + " " + (mode ?? ""), "", "", "", "", "", "",
                "\(Self.rounded(startMilliseconds, 1)) ms, \(residentBytes >> 20) MiB in memory, "
                    + "\(diskBytes / max(jobsOnDisk, 1)) bytes a job on disk" + remark)
        }
        return Self.row(
            name, peer, "\(callers)", "\(Int(jobsPerSecond.rounded()))", "\(Self.rounded(p50, 1))",
            "\(Self.rounded(p99, 1))", "\(Self.rounded(cpuMicrosecondsPerJob, 2))",
            ratio.map { "\(Self.rounded($0, 2))" } ?? "", remark)
    }

    private var remark: String {
        (othersPercent > 10 ? " (\(othersPercent) % of the processors elsewhere)" : "")
            + (faults.isEmpty ? "" : " CHECK FAILED: " + faults.joined(separator: "; "))
    }

    private static func row(_ cells: String...) -> String {
        let widths = [15, 16, 8, 10, 10, 10, 11, 8, 0]
        return zip(cells, widths).enumerated().map { index, cell in
            let space = String(repeating: " ", count: max(cell.1 - cell.0.count, 0))
            return index < 2 || index == cells.count - 1 ? cell.0 + space : space + cell.0
        }.joined(separator: " ")
    }

    /// Returns a value with so many decimals.
    static func rounded(_ value: Double, _ decimals: Int) -> String {
        let scale = decimals == 2 ? 100.0 : decimals == 1 ? 10 : 1
        let whole = (value * scale).rounded()
        guard abs(whole) < 1e15 else { return "0" }
        let digits = String(Int(abs(whole)))
        let padded = String(repeating: "0", count: max(decimals + 1 - digits.count, 0)) + digits
        let sign = whole < 0 ? "-" : ""
        return decimals == 0 ? sign + padded : "\(sign)\(padded.dropLast(decimals)).\(padded.suffix(decimals))"
    }
}
