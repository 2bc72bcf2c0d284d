import Testing

@testable import HoldfastCommand

/// Each request that the line protocol refuses.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct ShellRefusalTests {
    private let directory: TemporaryDirectory
    private let shell: ShellProcess

    init() throws {
        directory = try TemporaryDirectory()
        shell = try ShellProcess(directory.store, "--clock", "manual")
    }

    private static let badEnqueues: [String] = [
        #""queue":"""#, #""queue":1"#, #""queue":null"#, #""priority":128"#, #""priority":-129"#, #""priority":1.0"#,
        #""priority":"1""#, #""max_attempts":0"#, #""max_attempts":1e1"#, #""delay_ms":-1"#,
        #""delay_ms":1,"run_at_ms":1"#, #""delay_ms":9223372036854775807"#, #""run_at_ms":253402300800000"#,
        #""run_at_ms":-1"#, #""unique_key":"""#, #""unique_key":7"#, #""unique_for_ms":5"#, #""group":"""#,
        #""headers":[]"#, #""headers":{"a":1}"#, #""ttl_ms":-5"#, #""payload_b64":"AA==""#, #""payload":1"#,
        #""payload":"twice""#,
    ]

    @Test func badEnqueuesAreRefusedAndChangeNothing() throws {
        for fields in Self.badEnqueues {
            let queue = fields.contains(#""queue":"#) ? "" : #""queue":"q","#
            let payload = fields.contains(#""payload":1"#) ? "" : #""payload":"p","#
            try shell.refuse(#"{"op":"enqueue",\#(queue)\#(payload)\#(fields)}"#, "bad_request")
        }
        let long = String(repeating: "n", count: 256)
        for name in ["queue", "unique_key", "group"] {
            let queue = name == "queue" ? "" : #""queue":"q","#
            try shell.refuse(#"{"op":"enqueue",\#(queue)"payload":"p","\#(name)":"\#(long)"}"#, "bad_request")
        }
        let value = String(repeating: "v", count: 65_536)
        try shell.refuse(#"{"op":"enqueue","queue":"q","payload":"","headers":{"h":"\#(value)"}}"#, "bad_request")
        try shell.refuse(#"{"op":"enqueue","queue":"q"}"#, "bad_request")
        try shell.refuse(#"{"op":"enqueue","queue":"q","payload_b64":"!"}"#, "bad_request")
        try shell.expect(#"{"op":"stats"}"#, #"{"seq":0}"#)
    }

    private static let badRequests: [String] = [
        "", " ", "null", "[]", "\"op\"", "{", "{}", #"{"op":1}"#, #"{"op":"fly"}"#, #"{"op":"now","op":"now"}"#,
        #"{"op":"now"} x"#, #"{"op":"lease"}"#, #"{"op":"lease","queue":[]}"#, #"{"op":"lease","queue":["a",1]}"#,
        #"{"op":"lease","queue":""}"#, #"{"op":"lease","queue":"q","limit":0}"#,
        #"{"op":"lease","queue":"q","limit":10001}"#, #"{"op":"lease","queue":"q","limit":1.5}"#,
        #"{"op":"lease","queue":"q","lease_ms":0}"#, #"{"op":"lease","queue":"q","lease_ms":604800001}"#,
        #"{"op":"lease","queue":"q","worker":1}"#, #"{"op":"ack","id":1}"#, #"{"op":"ack","token":1}"#,
        #"{"op":"ack","id":-1,"token":1}"#, #"{"op":"ack","id":9223372036854775808,"token":1}"#,
        #"{"op":"heartbeat","id":1,"token":1,"lease_ms":0}"#, #"{"op":"requeue","id":1,"token":1,"counts":1}"#,
        #"{"op":"requeue","id":1,"token":1,"error":1}"#, #"{"op":"requeue","id":1,"token":1,"delay_ms":-1}"#,
        #"{"op":"configure"}"#, #"{"op":"configure","queue":""}"#, #"{"op":"configure","queue":"q","capacity":0}"#,
        #"{"op":"configure","queue":"q","capacity":"9"}"#, #"{"op":"configure","queue":"q","running_max":1.5}"#,
        #"{"op":"configure","queue":"q","retry":"never"}"#, #"{"op":"configure","queue":"q","retry":{}}"#,
        #"{"op":"configure","queue":"q","retry":{"fixed_ms":1,"custom_ms":[1]}}"#,
        #"{"op":"configure","queue":"q","retry":{"exponential":{"base_ms":9,"cap_ms":1}}}"#,
        #"{"op":"configure","queue":"q","retry":{"fixed_ms":1,"jitter_percent":101}}"#,
        #"{"op":"ack","id":1,"token":1,"then_lease":"q"}"#, #"{"op":"ack","id":1,"token":1,"then_lease":{}}"#,
        #"{"op":"bury","id":1,"token":1,"then_lease":{"queue":"q","limit":0}}"#,
        #"{"op":"batch","ops":[{"op":"ack","id":1,"token":1,"then_lease":{"queue":"q"}}]}"#,
        #"{"op":"redrive"}"#, #"{"op":"redrive","id":1,"queue":"q"}"#, #"{"op":"redrive","queue":"q","limit":0}"#,
        #"{"op":"effect","scope":"s","key":"k"}"#, #"{"op":"effect","scope":"","key":"k","value":1}"#,
        #"{"op":"effect","scope":"s","key":"","value":1}"#, #"{"op":"batch"}"#, #"{"op":"batch","ops":{}}"#,
        #"{"op":"job"}"#, #"{"op":"jobs","state":"gone"}"#, #"{"op":"jobs","limit":0}"#, #"{"op":"pause"}"#,
        #"{"op":"advance"}"#, #"{"op":"advance","ms":-1}"#, #"{"op":"enqueue","queue":"q","payload":"\ud800"}"#,
    ]

    @Test func badRequestsAreRefusedAndChangeNothing() throws {
        for line in Self.badRequests { #expect(try !shell.refuse(line, "bad_request").isEmpty) }
        try shell.expect(#"{"op":"digest"}"#, #"{"ok":true,"seq":0}"#)
    }

    @Test func textThatIsNoUTF8IsRefused() throws {
        let line: [UInt8] = [UInt8](#"{"op":"enqueue","queue":"q","payload":""#.utf8) + [0xFF] + [UInt8]("\"}\n".utf8)
        try shell.child.input?.writeAll(line)
        #expect(try shell.receive()["error"]?["code"]?.string == "bad_request")
    }

    @Test func deepNestingIsRefused() throws {
        func ack(_ depth: Int) -> String {
            let value = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
            return #"{"op":"effect","scope":"s","key":"k","value":\#(value)}"#
        }
        try shell.refuse(ack(256), "bad_request")
        try shell.expect(ack(255), #"{"ok":true,"replayed":false}"#)
    }

    @Test func unknownFieldsAreIgnored() throws {
        try shell.expect(#"{"op":"now","colour":"blue","req":{"a":[]}}"#, #"{"ok":true,"req":{"a":[]}}"#)
    }

    @Test func refusalsRepeatTheRequestsMark() throws {
        try shell.expect(#"{"op":"fly","req":"r1"}"#, #"{"ok":false,"req":"r1"}"#)
        try shell.expect(#"{"op":"ack","id":9,"token":9,"req":null}"#, #"{"ok":false,"req":null}"#)
    }

    @Test func whatIsTooLongIsRefused() throws {
        try shell.ask(#"{"op":"enqueue","queue":"q","payload":""}"#)
        try shell.ask(#"{"op":"lease","queue":"q"}"#)
        let long = String(repeating: "x", count: (1 << 20) + 1)
        try shell.refuse(#"{"op":"ack","id":1,"token":2,"result":"\#(long)"}"#, "too_large")
        try shell.refuse(#"{"op":"heartbeat","id":1,"token":2,"progress":"\#(long)"}"#, "too_large")
        try shell.refuse(#"{"op":"requeue","id":1,"token":2,"error":"\#(long)"}"#, "too_large")
        try shell.refuse(#"{"op":"bury","id":1,"token":2,"error":"\#(long)"}"#, "too_large")
        try shell.refuse(#"{"op":"effect","scope":"s","key":"k","value":"\#(long)"}"#, "too_large")
        let payload = String(repeating: "p", count: (16 << 20) + 1)
        try shell.refuse(#"{"op":"enqueue","queue":"q","payload":"\#(payload)"}"#, "too_large")
        try shell.expect(#"{"op":"ack","id":1,"token":2}"#, #"{"ok":true}"#)
    }

    @Test func aLineOverTheLimitIsRefusedAndTheNextOneServed() throws {
        let line = #"{"op":"now","x":""# + String(repeating: "x", count: 64 << 20) + #""}"#
        try shell.refuse(line, "too_large")
        try shell.expect(#"{"op":"now"}"#, #"{"ok":true}"#)
    }

    @Test func jobsThatDoNotExistAreNotFound() throws {
        for line in [
            #"{"op":"job","id":5}"#, #"{"op":"cancel","id":5}"#, #"{"op":"redrive","id":5}"#,
            #"{"op":"ack","id":5,"token":5}"#, #"{"op":"heartbeat","id":5,"token":5}"#,
            #"{"op":"requeue","id":5,"token":5}"#, #"{"op":"bury","id":5,"token":5}"#,
        ] { try shell.refuse(line, "not_found") }
    }

    @Test func advancingNeedsAManualClock() throws {
        let other = try TemporaryDirectory()
        let shell = try ShellProcess(other.store)
        #expect(try shell.ask(#"{"op":"advance","ms":1}"#)["ok"]?.bool == false)
        _ = try shell.finish()
    }

    @Test func whatNarrowsNothingIsRefused() throws {
        try shell.ask(#"{"op":"enqueue","queue":"narrow","payload":"x"}"#)
        let leases = try #require(try shell.ask(#"{"op":"lease","queue":"narrow"}"#)["leases"]?.elements)
        let (id, token) = (leases[0]["id"]?.integer ?? 0, leases[0]["token"]?.integer ?? 0)
        try shell.ask(#"{"op":"bury","id":\#(id),"token":\#(token)}"#)
        for stray in [#""dry_run":true"#, #""where":{"all":true}"#, #""per_second":1"#, #""limit":1"#] {
            try shell.refuse(#"{"op":"redrive","id":\#(id),\#(stray)}"#, "bad_request")
        }
        try shell.refuse(#"{"op":"purge","queue":"narrow","limit":1}"#, "bad_request")
        try shell.expect(#"{"op":"job","id":\#(id)}"#, #"{"job":{"state":"dead"}}"#)
    }
}
