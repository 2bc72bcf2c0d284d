import Testing

@testable import HoldfastCommand

/// Each operation of the line protocol, against a store with a clock that stands still.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct ShellOperationTests {
    private let directory: TemporaryDirectory
    private let shell: ShellProcess
    /// Where a manual clock starts.
    private let start: Int64 = 1_700_000_000_000

    init() throws {
        directory = try TemporaryDirectory()
        shell = try ShellProcess(directory.store, "--clock", "manual")
    }

    @Test func aJobIsEnqueuedLeasedAndAcked() throws {
        try shell.expect(
            """
            {"op":"enqueue","queue":"q","payload":"p","headers":{"b":"1","a":"2"},"priority":3,"group":"g",\
            "req":[1.0]}
            """,
            #"{"ok":true,"id":1,"duplicate":false,"req":[1.0]}"#)
        let reply = try shell.expect(
            #"{"op":"lease","queue":"q","worker":"w","lease_ms":1000}"#,
            """
            {"ok":true,"leases":[{"id":1,"token":2,"attempt":1,"queue":"q","priority":3,"payload":"p",\
            "headers":{"a":"2","b":"1"},"group":"g","enqueued_at_ms":\(start),"deadline_ms":\(start + 1000),\
            "last_error":null}]}
            """)
        #expect(reply.text.contains(#""headers":{"b":"1","a":"2"}"#))
        try shell.expect(
            #"{"op":"job","id":1}"#,
            """
            {"job":{"id":1,"queue":"q","state":"leased","attempt":1,"max_attempts":5,"priority":3,"worker":"w",\
            "deadline_ms":\(start + 1000)}}
            """
        )
        try shell.expect(#"{"op":"lease","queue":"q"}"#, #"{"ok":true,"leases":[]}"#)
        try shell.expect(
            #"{"op":"ack","id":1,"token":2,"result":{"n":1.50,"big":123456789012345678901}}"#, #"{"ok":true}"#)
        try shell.expect(
            #"{"op":"job","id":1}"#,
            #"{"ok":true,"job":{"state":"completed","attempt":1,"result":{"n":1.50,"big":123456789012345678901}}}"#)
        try shell.refuse(#"{"op":"ack","id":1,"token":2}"#, "lease_lost")
        try shell.expect(#"{"op":"stats"}"#, #"{"seq":3,"completed":1,"queues":{}}"#)
    }

    @Test func theNextJobIsLeasedInTheCommitThatSettlesOne() throws {
        for number in 1...4 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":"\#(number)"}"#) }
        try shell.expect(#"{"op":"lease","queue":"q"}"#, #"{"leases":[{"id":1,"token":5}]}"#)
        try shell.expect(
            #"{"op":"ack","id":1,"token":5,"then_lease":{"queue":["x","q"],"lease_ms":1000,"worker":"w"},"req":1}"#,
            """
            {"ok":true,"leases":[{"id":2,"token":7,"attempt":1,"queue":"q","payload":"2",\
            "deadline_ms":\(start + 1000)}],"req":1}
            """)
        try shell.expect(
            #"{"op":"requeue","id":2,"token":7,"delay_ms":5,"then_lease":{"queue":"q","limit":1}}"#,
            #"{"ok":true,"state":"scheduled","run_at_ms":\#(start + 5),"leases":[{"id":3,"token":9}]}"#)
        try shell.expect(
            #"{"op":"bury","id":3,"token":9,"error":"bad","then_lease":{"queue":"q","limit":9}}"#,
            #"{"ok":true,"leases":[{"id":4,"token":11}]}"#)
        try shell.expect(
            #"{"op":"ack","id":4,"token":11,"then_lease":{"queue":"q"}}"#, #"{"ok":true,"leases":[]}"#)
        try shell.expect(#"{"op":"stats"}"#, #"{"queues":{"q":{"scheduled":1,"dead":1}},"completed":2}"#)
    }

    @Test func aStaleTokenIsToldWhereItsJobIsNow() throws {
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"p"}"#)
        try shell.ask(#"{"op":"lease","queue":"q","lease_ms":1000}"#)
        try shell.ask(#"{"op":"advance","ms":1000}"#)
        let expired = try shell.ask(#"{"op":"ack","id":1,"token":2}"#)["error"]
        #expect(expired?["code"]?.string == "lease_lost" && expired?["lease"]?["state"]?.string == "ready")
        let second = try shell.ask(#"{"op":"lease","queue":"q","worker":"w","lease_ms":1000}"#)
        let token = try #require(second["leases"]?.elements?.first?["token"]?.integer)
        let lease = try shell.ask(#"{"op":"heartbeat","id":1,"token":2}"#)["error"]?["lease"]
        #expect(lease?["state"]?.string == "leased" && lease?["worker"]?.string == "w")
        #expect(lease?["token"]?.integer == token && lease?["deadline_ms"]?.integer == start + 2000)
        #expect(lease?["attempt"]?.integer == 2 && lease?["since_ms"]?.integer == start + 1000)
        #expect(lease?["end"]?.string == "expired" && lease?["ended_at_ms"]?.integer == start + 1000)
        let ops = #"{"op":"batch","ops":[{"op":"bury","id":1,"token":2}]}"#
        let error = try shell.ask(ops)["error"]
        #expect(error?["id"]?.integer == 1 && error?["lease"]?["end"]?.string == "expired")
    }

    @Test func queuesShareByWeight() throws {
        for _ in 0..<6 {
            for queue in ["mail", "sms"] { try shell.ask(#"{"op":"enqueue","queue":"\#(queue)","payload":"p"}"#) }
        }
        try shell.expect(
            #"{"op":"lease","queue":{"mail":3,"sms":1},"limit":4}"#,
            #"{"leases":[{"queue":"mail"},{"queue":"sms"},{"queue":"mail"},{"queue":"mail"}]}"#)
        try shell.expect(
            #"{"op":"ack","id":1,"token":13,"then_lease":{"queue":{"mail":3,"sms":1},"limit":2}}"#,
            #"{"leases":[{"queue":"mail"},{"queue":"sms"}]}"#)
        for bad in [#"{}"#, #"{"q":0}"#, #"{"q":1001}"#, #"{"q":"1"}"#, #"{"q":1.5}"#, #"{"":1}"#, "7"] {
            try shell.refuse(#"{"op":"lease","queue":\#(bad)}"#, "bad_request")
        }
    }

    @Test func aQueueIsConfiguredFieldByField() throws {
        try shell.expect(
            #"{"op":"configure","queue":"q","capacity":2,"retry":{"fixed_ms":500,"jitter_percent":0}}"#,
            #"{"ok":true,"paused":false,"capacity":2,"running_max":null,"retry":{"fixed_ms":500}}"#)
        for number in 1...2 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":"\#(number)"}"#) }
        try shell.refuse(#"{"op":"enqueue","queue":"q","payload":""}"#, "queue_full")
        try shell.expect(
            #"{"op":"configure","queue":"q","running_max":1,"capacity":null}"#,
            #"{"ok":true,"capacity":null,"running_max":1,"retry":{"fixed_ms":500}}"#)
        try shell.expect(#"{"op":"lease","queue":"q","limit":5}"#, #"{"leases":[{"id":2,"token":5}]}"#)
        try shell.expect(#"{"op":"lease","queue":"q"}"#, #"{"leases":[]}"#)
        try shell.expect(
            #"{"op":"requeue","id":2,"token":5}"#, #"{"state":"scheduled","run_at_ms":\#(start + 500)}"#)
        let retries = [
            #"{"exponential":{"base_ms":10,"factor":1.25,"cap_ms":99},"jitter_percent":7}"#,
            #"{"custom_ms":[1,2,3]}"#, #""default""#,
        ]
        for retry in retries {
            try shell.expect(#"{"op":"configure","queue":"q","retry":\#(retry)}"#, #"{"retry":\#(retry)}"#)
            try shell.expect(#"{"op":"stats"}"#, #"{"queues":{"q":{"running_max":1,"retry":\#(retry)}}}"#)
        }
        try shell.expect(#"{"op":"configure","queue":"other"}"#, #"{"ok":true,"capacity":null,"retry":"default"}"#)
    }

    @Test func effectsSayWhatTheyAreAndAreListedAndForgotten() throws {
        let first = #"{"op":"effect","scope":"s","key":"k","value":{"a":1},"tag":"receipt","keep_ms":1000}"#
        try shell.expect(first, #"{"value":{"a":1},"replayed":false,"tag":"receipt"}"#)
        try shell.expect(first, #"{"value":{"a":1},"replayed":true,"tag":"receipt"}"#)
        try shell.expect(
            #"{"op":"effect","scope":"s","key":"f","value":"no","failed":true}"#, #"{"value":"no","failed":true}"#)
        try shell.expect(#"{"op":"effects"}"#, #"{"scopes":[{"scope":"s","count":2}]}"#)
        try shell.expect(
            #"{"op":"effects","scope":"s"}"#,
            #"{"effects":[{"key":"f","tag":null,"failed":true,"until_ms":null},"#
                + #"{"key":"k","seq":1,"at_ms":\#(start),"tag":"receipt","until_ms":\#(start + 1000),"#
                + #""value":{"a":1}}]}"#
        )
        try shell.expect(#"{"op":"effects","scope":"s","after":"f","limit":1}"#, #"{"effects":[{"key":"k"}]}"#)
        try shell.expect(#"{"op":"effect_remove","scope":"s","key":"f"}"#, #"{"removed":true}"#)
        try shell.expect(#"{"op":"effect_remove","scope":"s","key":"f"}"#, #"{"removed":false}"#)
        try shell.ask(#"{"op":"advance","ms":1000}"#)
        try shell.expect(#"{"op":"effects"}"#, #"{"scopes":[]}"#)
        for wrong in [#""tag":1"#, #""failed":"yes""#, #""keep_ms":0"#] {
            try shell.refuse(#"{"op":"effect","scope":"s","key":"k","value":1,\#(wrong)}"#, "bad_request")
        }
        for wrong in [#""failed":true"#, #""keep_ms":9"#] {
            let effect = #"{"op":"effect","scope":"s","key":"k","value":1,\#(wrong)}"#
            try shell.refuse(#"{"op":"batch","ops":[\#(effect)]}"#, "bad_request")
        }
    }

    @Test func aJobSaysHowItsAttemptsMayEnd() throws {
        try shell.expect(
            #"{"op":"configure","queue":"q","crash_max":2,"final_errors":["bad"]}"#,
            #"{"ok":true,"crash_max":2,"final_errors":["bad"]}"#)
        try shell.ask(
            #"{"op":"enqueue","queue":"q","payload":"p","time_limit_ms":900,"retry":{"fixed_ms":7},"crash_max":1}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"p","final_errors":["gone"]}"#)
        try shell.expect(
            #"{"op":"lease","queue":"q","limit":2,"lease_ms":500}"#,
            #"{"leases":[{"id":2,"token":4,"must_end_by_ms":\#(start + 900)},{"id":3,"token":5}]}"#)
        try shell.expect(
            #"{"op":"heartbeat","id":2,"token":4,"lease_ms":5000}"#, #"{"deadline_ms":\#(start + 900)}"#)
        try shell.expect(
            #"{"op":"requeue","id":3,"token":5,"error":"e","error_class":"gone"}"#, #"{"state":"dead"}"#)
        try shell.ask(#"{"op":"advance","ms":900}"#)
        try shell.expect(#"{"op":"job","id":2}"#, #"{"job":{"state":"ready","last_error":"time limit passed"}}"#)
        try shell.ask(#"{"op":"lease","queue":"q","lease_ms":100}"#)
        try shell.ask(#"{"op":"advance","ms":100}"#)
        try shell.expect(
            #"{"op":"job","id":2}"#, #"{"job":{"state":"dead","crashes":1,"dead_reason":"poison"}}"#)
        try shell.expect(#"{"op":"job","id":3}"#, #"{"job":{"dead_reason":"final_error"}}"#)
        for wrong in [#""time_limit_ms":0"#, #""crash_max":0"#, #""final_errors":"bad""#, #""final_errors":[1]"#] {
            try shell.refuse(#"{"op":"enqueue","queue":"q","payload":"",\#(wrong)}"#, "bad_request")
        }
    }

    @Test func ratesAndSharedSlotsHoldJobsBack() throws {
        try shell.expect(
            #"{"op":"configure","queue":"q","rate":{"count":1,"period_ms":1000}}"#,
            #"{"ok":true,"rate":{"count":1,"period_ms":1000,"burst":1}}"#)
        for _ in 1...3 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":""}"#) }
        try shell.expect(#"{"op":"lease","queue":"q","limit":5}"#, #"{"leases":[{"id":2}]}"#)
        try shell.expect(#"{"op":"explain","id":3}"#, #"{"reason":"rate_limited","until_ms":\#(start + 1000)}"#)
        try shell.ask(#"{"op":"advance","ms":1000}"#)
        try shell.expect(#"{"op":"lease","queue":"q","limit":5}"#, #"{"leases":[{"id":3}]}"#)
        try shell.ask(#"{"op":"configure","queue":"q","rate":null,"limiter":{"name":"l","size":2}}"#)
        try shell.expect(#"{"op":"lease","queue":"q"}"#, #"{"leases":[]}"#)
        try shell.expect(#"{"op":"explain","id":4}"#, #"{"reason":"slots_taken","limiter":"l","size":2}"#)
        for rate in [#"5"#, #"{"count":5}"#, #"{"count":0,"period_ms":1}"#] {
            try shell.refuse(#"{"op":"configure","queue":"q","rate":\#(rate)}"#, "bad_request")
        }
        try shell.refuse(#"{"op":"configure","queue":"q","limiter":{"name":"","size":1}}"#, "bad_request")
    }

    @Test func groupsHaveARateEach() throws {
        try shell.expect(
            #"{"op":"configure","queue":"q","group_rate":{"count":1,"period_ms":1000}}"#,
            #"{"ok":true,"group_rate":{"count":1,"period_ms":1000,"burst":1}}"#)
        for group in ["a", "a", "b"] {
            try shell.ask(#"{"op":"enqueue","queue":"q","payload":"","group":"\#(group)"}"#)
        }
        try shell.expect(#"{"op":"lease","queue":"q","limit":5}"#, #"{"leases":[{"id":2},{"id":4}]}"#)
        try shell.expect(
            #"{"op":"explain","id":3}"#, #"{"reason":"group_rate_limited","until_ms":\#(start + 1000)}"#)
        try shell.ask(#"{"op":"advance","ms":1000}"#)
        try shell.expect(#"{"op":"lease","queue":"q","limit":5}"#, #"{"leases":[{"id":3}]}"#)
        try shell.refuse(#"{"op":"configure","queue":"q","group_rate":5}"#, "bad_request")
        let reply = try shell.ask(#"{"op":"configure","queue":"q","group_rate":null}"#)
        #expect(reply["group_rate"] == nil)
    }

    @Test func prioritiesAge() throws {
        try shell.expect(
            #"{"op":"configure","queue":"q","ageing_ms":1000}"#, #"{"ok":true,"ageing_ms":1000}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"old"}"#)
        try shell.ask(#"{"op":"advance","ms":2000}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"new","priority":1}"#)
        try shell.expect(#"{"op":"lease","queue":"q"}"#, #"{"leases":[{"payload":"old"}]}"#)
        for wrong in ["0", "1.5", "31622400001"] {
            try shell.refuse(#"{"op":"configure","queue":"q","ageing_ms":\#(wrong)}"#, "bad_request")
        }
        let reply = try shell.ask(#"{"op":"configure","queue":"q","ageing_ms":null}"#)
        #expect(reply["ageing_ms"] == nil)
    }

    @Test func groupsHaveTurnsByWeight() throws {
        for number in 1...6 {
            let fields = number > 2 ? #""group":"a","weight":3"# : #""group":"b""#
            try shell.ask(#"{"op":"enqueue","queue":"q","payload":"",\#(fields)}"#)
        }
        let leases = try #require(try shell.ask(#"{"op":"lease","queue":"q","limit":5}"#)["leases"]?.elements)
        #expect(leases.compactMap { $0["group"]?.string } == ["b", "a", "a", "a", "b"])
        try shell.expect(#"{"op":"job","id":3}"#, #"{"job":{"group":"a","weight":3}}"#)
        try shell.refuse(#"{"op":"enqueue","queue":"q","payload":"","weight":2}"#, "bad_request")
        try shell.refuse(#"{"op":"enqueue","queue":"q","payload":"","group":"a","weight":1001}"#, "bad_request")
    }

    @Test func groupsAreLimitedAndKeptInOrder() throws {
        try shell.expect(
            #"{"op":"configure","queue":"q","group_running_max":1,"group_order":"parking"}"#,
            #"{"ok":true,"running_max":null,"group_running_max":1,"group_order":"parking"}"#)
        for _ in 1...2 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":"","group":"g"}"#) }
        try shell.expect(#"{"op":"lease","queue":"q","limit":5}"#, #"{"leases":[{"id":2,"token":4}]}"#)
        try shell.expect(#"{"op":"stats"}"#, #"{"queues":{"q":{"ready":1,"held":1,"group_running_max":1}}}"#)
        try shell.expect(#"{"op":"explain","id":3}"#, #"{"reason":"ordered","behind":2}"#)
        try shell.refuse(#"{"op":"configure","queue":"q","group_order":"fifo"}"#, "bad_request")
        try shell.refuse(#"{"op":"configure","queue":"q","group_running_max":0}"#, "bad_request")
    }

    @Test func payloadsThatAreNoTextTravelAsBase64() throws {
        try shell.ask(#"{"op":"enqueue","queue":"q","payload_b64":"/wA="}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload_b64":"w6k="}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"\u0000\ud83d\ude00"}"#)
        let leases = try #require(try shell.ask(#"{"op":"lease","queue":"q","limit":3}"#)["leases"]?.elements)
        #expect(leases.map { $0["payload_b64"]?.string } == ["/wA=", nil, nil])
        #expect(leases.map { $0["payload"]?.string } == [nil, "é", "\u{0}😀"])
    }

    @Test func higherPriorityThenLowerIdComesFirstAndEarlierQueuesBeforeLater() throws {
        for (queue, priority) in [("a", 0), ("a", 5), ("b", 9), ("a", 5), ("a", -128)] {
            try shell.ask(#"{"op":"enqueue","queue":"\#(queue)","payload":"","priority":\#(priority)}"#)
        }
        let leases = try shell.ask(#"{"op":"lease","queue":["a","b"],"limit":10}"#)["leases"]?.elements
        #expect(leases?.compactMap { $0["id"]?.integer } == [2, 4, 1, 5, 3])
    }

    @Test func groupsShareInTurn() throws {
        for group in ["x", "x", "x", "y"] {
            try shell.ask(#"{"op":"enqueue","queue":"q","payload":"","group":"\#(group)"}"#)
        }
        let leases = try shell.ask(#"{"op":"lease","queue":"q","limit":2}"#)["leases"]?.elements
        #expect(Set(leases?.compactMap { $0["group"]?.string } ?? []) == ["x", "y"])
    }

    @Test func aDelayedJobIsReadyWhenItIsDue() throws {
        try shell.expect(#"{"op":"enqueue","queue":"q","payload":"","delay_ms":500}"#, #"{"id":1}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"","run_at_ms":\#(start + 900)}"#)
        try shell.expect(#"{"op":"job","id":1}"#, #"{"job":{"state":"scheduled","run_at_ms":\#(start + 500)}}"#)
        try shell.expect(#"{"op":"lease","queue":"q"}"#, #"{"leases":[]}"#)
        try shell.expect(#"{"op":"advance","ms":500}"#, #"{"ok":true,"now_ms":\#(start + 500)}"#)
        try shell.expect(#"{"op":"now"}"#, #"{"ok":true,"now_ms":\#(start + 500)}"#)
        try shell.expect(#"{"op":"stats"}"#, #"{"queues":{"q":{"ready":1,"scheduled":1,"leased":0,"dead":0}}}"#)
        try shell.expect(#"{"op":"lease","queue":"q","limit":5}"#, #"{"leases":[{"id":1}]}"#)
    }

    @Test func aLeaseEndsAtItsDeadlineAndHeartbeatsMoveIt() throws {
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"","max_attempts":2}"#)
        try shell.ask(#"{"op":"lease","queue":"q","lease_ms":100}"#)
        try shell.ask(#"{"op":"advance","ms":60}"#)
        try shell.expect(
            #"{"op":"heartbeat","id":1,"token":2,"lease_ms":100,"progress":{"done":0.50}}"#,
            #"{"ok":true,"deadline_ms":\#(start + 160)}"#)
        try shell.expect(#"{"op":"job","id":1}"#, #"{"job":{"progress":{"done":0.50}}}"#)
        try shell.ask(#"{"op":"advance","ms":99}"#)
        try shell.expect(#"{"op":"job","id":1}"#, #"{"job":{"state":"leased"}}"#)
        try shell.ask(#"{"op":"advance","ms":1}"#)
        try shell.refuse(#"{"op":"ack","id":1,"token":2}"#, "lease_lost")
        let lease = try shell.ask(#"{"op":"lease","queue":"q","lease_ms":10}"#)["leases"]?.elements?.first
        #expect(lease?["attempt"]?.integer == 2)
        #expect(lease?["last_error"]?.string == "lease expired")
        try shell.ask(#"{"op":"advance","ms":10}"#)
        try shell.expect(#"{"op":"job","id":1}"#, #"{"job":{"state":"dead","last_error":"lease expired"}}"#)
    }

    @Test func aRequeuedJobWaitsAndDiesAfterItsLastAttempt() throws {
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"","max_attempts":2}"#)
        func token() throws -> Int64 {
            try #require(try shell.ask(#"{"op":"lease","queue":"q"}"#)["leases"]?.elements?.first?["token"]?.integer)
        }
        try shell.expect(
            #"{"op":"requeue","id":1,"token":\#(try token()),"delay_ms":700,"error":"e1"}"#,
            #"{"ok":true,"state":"scheduled","run_at_ms":\#(start + 700)}"#)
        try shell.ask(#"{"op":"advance","ms":700}"#)
        try shell.expect(
            #"{"op":"requeue","id":1,"token":\#(try token()),"delay_ms":0,"counts":false}"#, #"{"state":"ready"}"#)
        try shell.expect(#"{"op":"job","id":1}"#, #"{"job":{"attempt":1,"state":"ready"}}"#)
        try shell.expect(
            #"{"op":"requeue","id":1,"token":\#(try token()),"error":"e2"}"#, #"{"ok":true,"state":"dead"}"#)
        try shell.expect(#"{"op":"job","id":1}"#, #"{"job":{"state":"dead","attempt":2,"last_error":"e2"}}"#)
        try shell.expect(#"{"op":"redrive","id":1}"#, #"{"ok":true,"count":1}"#)
        try shell.expect(#"{"op":"job","id":1}"#, #"{"job":{"state":"ready","attempt":0}}"#)
    }

    @Test func theRetryPolicyWaitsAboutASecondAfterTheFirstAttempt() throws {
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":""}"#)
        try shell.ask(#"{"op":"lease","queue":"q"}"#)
        let reply = try shell.expect(#"{"op":"requeue","id":1,"token":2}"#, #"{"state":"scheduled"}"#)
        let delay = try #require(reply["run_at_ms"]?.integer) - start
        #expect((900...1100).contains(delay))
    }

    @Test func aBuriedJobIsDeadAndRedriveByQueueCounts() throws {
        for _ in 0..<3 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":"","unique_key":null}"#) }
        for _ in 0..<3 { try shell.ask(#"{"op":"enqueue","queue":"q","payload":""}"#) }
        let leases = try #require(try shell.ask(#"{"op":"lease","queue":"q","limit":9}"#)["leases"]?.elements)
        #expect(leases.count == 3)
        for lease in leases {
            let (id, token) = (lease["id"]?.integer ?? 0, lease["token"]?.integer ?? 0)
            try shell.expect(#"{"op":"bury","id":\#(id),"token":\#(token),"error":"bad"}"#, #"{"ok":true}"#)
        }
        try shell.expect(#"{"op":"redrive","queue":"q","limit":2}"#, #"{"ok":true,"count":2,"skipped":0}"#)
        try shell.expect(#"{"op":"jobs","queue":"q","state":"dead"}"#, #"{"jobs":[{"id":3,"last_error":"bad"}]}"#)
        try shell.refuse(#"{"op":"redrive","id":1}"#, "invalid_state")
    }

    @Test func uniqueKeysGiveTheLiveJob() throws {
        let enqueue = #"{"op":"enqueue","queue":"q","payload":"","unique_key":"k"}"#
        try shell.expect(enqueue, #"{"id":1,"duplicate":false}"#)
        try shell.expect(enqueue, #"{"id":1,"duplicate":true}"#)
        try shell.expect(
            #"{"op":"enqueue","queue":"other","payload":"","unique_key":"k"}"#, #"{"id":2,"duplicate":false}"#)
        try shell.expect(#"{"op":"cancel","id":1}"#, #"{"ok":true,"state":"cancelled"}"#)
        try shell.expect(enqueue, #"{"id":4,"duplicate":false}"#)
        let windowed = #"{"op":"enqueue","queue":"w","payload":"","unique_key":"k","unique_for_ms":100}"#
        let first = try shell.ask(windowed)["id"]?.integer
        try shell.ask(#"{"op":"cancel","id":\#(first ?? 0)}"#)
        try shell.expect(windowed, #"{"duplicate":true}"#)
        try shell.ask(#"{"op":"advance","ms":100}"#)
        try shell.expect(windowed, #"{"duplicate":false}"#)
    }

    @Test func aJobNotLeasedInTimeIsDead() throws {
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"","ttl_ms":50}"#)
        try shell.ask(#"{"op":"advance","ms":50}"#)
        try shell.expect(#"{"op":"job","id":1}"#, #"{"job":{"state":"dead","last_error":"ttl expired"}}"#)
    }

    @Test func cancellingVoidsALease() throws {
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":""}"#)
        try shell.ask(#"{"op":"lease","queue":"q"}"#)
        try shell.expect(#"{"op":"cancel","id":1}"#, #"{"ok":true,"state":"cancelled"}"#)
        try shell.refuse(#"{"op":"heartbeat","id":1,"token":2}"#, "lease_lost")
        try shell.refuse(#"{"op":"cancel","id":1}"#, "invalid_state")
        try shell.expect(#"{"op":"jobs","state":"cancelled"}"#, #"{"jobs":[{"id":1,"state":"cancelled"}]}"#)
    }

    @Test func effectsKeepTheirFirstValue() throws {
        let record = #"{"op":"effect","scope":"s","key":"k","value":{"v":1.0}}"#
        try shell.expect(record, #"{"ok":true,"value":{"v":1.0},"replayed":false}"#)
        try shell.expect(
            #"{"op":"effect","scope":"s","key":"k","value":2}"#, #"{"ok":true,"value":{"v":1.0},"replayed":true}"#)
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":""}"#)
        try shell.ask(#"{"op":"lease","queue":"q"}"#)
        try shell.expect(
            #"{"op":"effect","scope":"s","key":"l","value":null,"id":2,"token":3}"#, #"{"value":null,"replayed":false}"#
        )
        try shell.refuse(#"{"op":"effect","scope":"s","key":"m","value":1,"id":2,"token":1}"#, "lease_lost")
        try shell.refuse(#"{"op":"effect","scope":"s","key":"m","value":1,"id":2}"#, "bad_request")
    }

    @Test func aBatchHappensWholeOrNotAtAll() throws {
        try shell.expect(
            """
            {"op":"batch","ops":[{"op":"enqueue","queue":"q","payload":"a","req":7},\
            {"op":"enqueue","queue":"q","payload":"b","unique_key":"u"},\
            {"op":"enqueue","queue":"q","payload":"c","unique_key":"u"},\
            {"op":"effect","scope":"s","key":"k","value":[1]}]}
            """,
            """
            {"ok":true,"results":[{"ok":true,"id":1,"duplicate":false,"req":7},{"ok":true,"id":2,"duplicate":false},\
            {"ok":true,"id":2,"duplicate":true},{"ok":true,"value":[1],"replayed":false}]}
            """)
        let before = try shell.ask(#"{"op":"digest"}"#).text
        try shell.expect(
            #"{"op":"batch","ops":[{"op":"cancel","id":1},{"op":"ack","id":2,"token":1}]}"#,
            #"{"ok":false,"error":{"code":"lease_lost","index":1}}"#)
        try shell.expect(
            #"{"op":"batch","ops":[{"op":"cancel","id":1},{"op":"enqueue","queue":"q"}]}"#,
            #"{"ok":false,"error":{"code":"bad_request","index":1}}"#)
        try shell.expect(
            #"{"op":"batch","ops":[{"op":"stats"}]}"#, #"{"ok":false,"error":{"code":"bad_request","index":0}}"#)
        #expect(try shell.ask(#"{"op":"digest"}"#).text == before)
        try shell.ask(#"{"op":"lease","queue":"q","limit":2}"#)
        let tokens = try shell.ask(#"{"op":"jobs","state":"leased"}"#)["jobs"]?.elements?.compactMap {
            $0["token"]?.integer
        }
        let held = try #require(tokens)
        try shell.expect(
            """
            {"op":"batch","ops":[{"op":"ack","id":1,"token":\(held[0]),"result":"r"},\
            {"op":"requeue","id":2,"token":\(held[1]),"delay_ms":5},{"op":"cancel","id":2}]}
            """,
            #"{"ok":true,"results":[{"ok":true},{"ok":true,"state":"scheduled"},{"ok":true,"state":"cancelled"}]}"#)
    }

    @Test func aPausedQueueLeasesNothing() throws {
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":""}"#)
        try shell.expect(#"{"op":"pause","queue":"q"}"#, #"{"ok":true}"#)
        try shell.expect(#"{"op":"lease","queue":"q"}"#, #"{"leases":[]}"#)
        try shell.expect(#"{"op":"enqueue","queue":"q","payload":""}"#, #"{"ok":true}"#)
        try shell.expect(#"{"op":"stats"}"#, #"{"queues":{"q":{"ready":2,"paused":true}}}"#)
        try shell.expect(#"{"op":"resume","queue":"q"}"#, #"{"ok":true}"#)
        try shell.expect(#"{"op":"lease","queue":"q"}"#, #"{"leases":[{"id":1}]}"#)
        try shell.expect(#"{"op":"drain","queue":"q"}"#, #"{"ok":true,"pending":1,"leased":1}"#)
        try shell.expect(#"{"op":"lease","queue":"q"}"#, #"{"leases":[]}"#)
        try shell.expect(#"{"op":"bury","id":1,"token":5}"#, #"{"ok":true}"#)
        try shell.expect(#"{"op":"purge","queue":"q"}"#, #"{"ok":true,"count":1}"#)
    }

    @Test func historyTellsAJobsLife() throws {
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":"x"}"#)
        try shell.ask(#"{"op":"lease","queue":"q","worker":"w"}"#)
        try shell.ask(#"{"op":"advance","ms":5}"#)
        try shell.ask(#"{"op":"requeue","id":1,"token":2,"error":"e","delay_ms":0}"#)
        try shell.expect(
            #"{"op":"history","id":1}"#,
            """
            {"ok":true,"records":[{"seq":1,"at_ms":\(start),"kind":"enqueue"},\
            {"seq":2,"at_ms":\(start),"kind":"lease","worker":"w"},\
            {"seq":4,"at_ms":\(start + 5),"kind":"requeue","error":"e"}]}
            """)
        try shell.expect(#"{"op":"history","id":4}"#, #"{"ok":true,"records":[]}"#)
        try shell.refuse(#"{"op":"history","id":5}"#, "not_found")
    }

    @Test func listsOfJobsGoByIdAndPage() throws {
        for index in 0..<5 { try shell.ask(#"{"op":"enqueue","queue":"q\#(index % 2)","payload":"p"}"#) }
        func ids(_ fields: String) throws -> [Int64] {
            try shell.ask(#"{"op":"jobs"\#(fields)}"#)["jobs"]?.elements?.compactMap { $0["id"]?.integer } ?? []
        }
        #expect(try ids("") == [1, 2, 3, 4, 5])
        #expect(try ids(#","queue":"q0""#) == [1, 3, 5])
        #expect(try ids(#","limit":2,"after":2"#) == [3, 4])
        #expect(try ids(#","state":"leased""#) == [])
        #expect(try !shell.ask(#"{"op":"jobs"}"#).text.contains("payload"))
    }

    @Test func checkpointsAndCompactionLeaveTheDigestAlone() throws {
        try shell.sendAll(Array(repeating: #"{"op":"enqueue","queue":"q","payload":"p"}"#, count: 50))
        for id in 1...50 { #expect(try shell.receive()["id"]?.integer == Int64(id)) }
        let before = try shell.ask(#"{"op":"digest"}"#)
        try shell.expect(#"{"op":"checkpoint"}"#, #"{"ok":true,"seq":50}"#)
        let reply = try shell.expect(#"{"op":"compact"}"#, #"{"ok":true}"#)
        for name in ["bytes_before", "bytes_after", "segments_before", "segments_after"] {
            #expect(reply.fields?.contains { $0.name.string == name && $0.value.integer != nil } == true)
        }
        #expect(try shell.ask(#"{"op":"digest"}"#).text == before.text)
        try shell.expect(#"{"op":"stats"}"#, #"{"seq":50,"queues":{"q":{"ready":50}}}"#)
    }
}
