# Makes one report of the lines that the runs printed: for each workload the median of every peer over the rounds, and
# how many times that Holdfast does, as the median of the ratios within a round, whose runs were neighbours in time.
#   awk -v json=0 -f report.awk LINES

function field(name,   text) {
    if (!match($0, "\"" name "\":(\"[^\"]*\"|[^,}]*)")) return ""
    text = substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3)
    gsub(/"/, "", text)
    return text == "null" ? "" : text
}

# The median of the numbers in a list; `low` and `high` are its ends.
function median(list,   numbers, count, i, k, number) {
    count = split(list, numbers, " ")
    for (i = 2; i <= count; i++) {
        number = numbers[i] + 0
        for (k = i - 1; k > 0 && numbers[k] + 0 > number; k--) numbers[k + 1] = numbers[k]
        numbers[k + 1] = number
    }
    low = numbers[1] + 0
    high = numbers[count] + 0
    return count % 2 ? numbers[(count + 1) / 2] + 0 : (numbers[count / 2] + numbers[count / 2 + 1]) / 2
}

function shown(value) { return value >= 100 ? sprintf("%.0f", value) : sprintf("%.2f", value) }

{
    peer = field("peer")
    workload = field("workload")
    # Ways of calling are rows of the same table, as they are for the peers.
    if (sub(/-threads$/, "", workload)) {}
    if (sub(/-next$/, "", workload)) peer = peer "-next"
    group = workload
    if (field("backlog") != "") group = group " with " field("backlog") " waiting"
    if (field("mode") != "") group = group " after " (field("mode") == "crash" ? "a kill" : "a close")
    if (!((group, field("payload")) in place)) {
        place[group, field("payload")] = ++groups
        title[groups] = group
        bytes[groups] = field("payload")
    }
    number = place[group, field("payload")]
    row = number SUBSEP peer
    if (!(row in rounds)) peers[number] = peers[number] " " peer
    rounds[row] = rounds[row] " " field("round")
    # A restart is better when it is shorter.
    isRestart[number] = field("start_ms") != ""
    value[row, field("round")] = isRestart[number] ? field("start_ms") : field("jobs_per_s")
    values[row] = values[row] " " value[row, field("round")]
    p50[row] = p50[row] " " field("p50_us")
    p99[row] = p99[row] " " field("p99_us")
    cpu[row] = cpu[row] " " field("cpu_us_per_job")
    rss[row] = rss[row] " " field("rss_mb")
    disk[row] = disk[row] " " field("disk_bytes_per_job")
    conc[row] = field("conc")
    others[row] = others[row] " " field("other_cpu_pct")
    if (field("durable") == "false") lax[row] = 1
    if (field("note") != "") note[row] = field("note")
    if (field("ok") != "true") wrong[row] = 1
}

# How many times as fast Holdfast's best way is than the peer, and which way that is.
function ratio(number, peer,   row, list, count, i, k, names, mine, best, all) {
    row = number SUBSEP peer
    count = split(rounds[row], list, " ")
    all = ""
    for (i = 1; i <= count; i++) {
        best = 0
        split(peers[number], names, " ")
        for (k in names) {
            # One commit for two steps is compared with its like only: most have no call for it.
            if (names[k] !~ /^holdfast/ || (names[k] ~ /-next$/) != (peer ~ /-next$/)) continue
            mine = value[number, names[k], list[i]] + 0
            if (mine > 0 && (best == 0 || (isRestart[number] ? mine < best : mine > best))) best = mine
        }
        if (best == 0 || value[row, list[i]] + 0 == 0) continue
        all = all " " (isRestart[number] ? value[row, list[i]] / best : best / value[row, list[i]])
    }
    return all == "" ? 0 : median(all)
}

END {
    for (number = 1; number <= groups; number++) {
        if (!json) {
            printf "\n%s, %s bytes\n", title[number], bytes[number]
            if (isRestart[number])
                printf "  %-22s %12s %22s %10s %10s   %s\n", "", "ms", "(least to most)", "MiB", "disk B/job", \
                    "Holdfast is"
            else
                printf "  %-22s %7s %10s %22s %10s %10s %9s   %s\n", "", "callers", "jobs/s", "(least to most)", \
                    "p50 us", "p99 us", "cpu us", "Holdfast does"
        }
        count = split(peers[number], names, " ")
        # The best first.
        for (i = 1; i <= count; i++) key[i] = median(values[number, names[i]]) * (isRestart[number] ? -1 : 1)
        for (i = 2; i <= count; i++)
            for (k = i; k > 1 && key[k] > key[k - 1]; k--) {
                swap = key[k]; key[k] = key[k - 1]; key[k - 1] = swap
                swap = names[k]; names[k] = names[k - 1]; names[k - 1] = swap
            }
        for (i = 1; i <= count; i++) {
            row = number SUBSEP names[i]
            middle = median(values[row])
            span = sprintf("(%s to %s)", shown(low), shown(high))
            times = names[i] ~ /^holdfast/ ? 0 : ratio(number, names[i])
            remark = note[row] == "" ? "" : " (" note[row] ")"
            if (lax[row]) { times = 0; remark = " NOT EQUALLY DURABLE, no ratio" remark }
            busy = int(median(others[row]))
            if (busy > 10) remark = remark " (" busy " % of the processors elsewhere)"
            if (row in wrong) remark = remark " CHECK FAILED"
            if (json) {
                middle = median(values[row])
                printf "{\"summary\":\"%s\",\"payload\":%s,\"peer\":\"%s\"", title[number], bytes[number], names[i]
                printf ",\"rounds\":%d", split(rounds[row], list, " ")
                printf ",\"%s\":%s,\"least\":%s,\"most\":%s", (isRestart[number] ? "start_ms" : "jobs_per_s"), middle, \
                    low, high
                if (times > 0) printf ",\"holdfast_ratio\":%.3f", times
                printf ",\"durable\":%s,\"ok\":%s}\n", (lax[row] ? "false" : "true"), \
                    (row in wrong ? "false" : "true")
            } else if (isRestart[number]) {
                printf "  %-22s %12s %22s %10s %10s   %s%s\n", names[i], shown(middle), span, shown(median(rss[row])), \
                    shown(median(disk[row])), (times > 0 ? sprintf("%.2fx as fast", times) : ""), remark
            } else {
                printf "  %-22s %7s %10s %22s %10s %10s %9s   %s%s\n", names[i], conc[row], shown(middle), span, \
                    shown(median(p50[row])), shown(median(p99[row])), shown(median(cpu[row])), \
                    (times > 0 ? sprintf("%.2fx as much", times) : ""), remark
            }
        }
    }
    for (row in wrong) exit 1
}
