// The operations on effects: recording a value, looking one up, listing what is recorded, and forgetting it.

import Holdfast
import HoldfastBytes

extension ShellDispatcher {
    /// Submits an operation on effects; `nil` when `name` is none.
    func effectOperation(_ name: String, _ fields: RequestFields) throws(JobStoreError) -> PendingReply.Body? {
        switch name {
        case "effect":
            let effect = store.submitEffect(
                scope: try fields.requiredText("scope"), key: try fields.requiredText("key"),
                fencedBy: try fields.fence(), tag: try fields.text("tag") ?? "",
                isFailure: try fields.flag("failed") ?? false, keepFor: try fields.milliseconds("keep_ms"),
                value: try fields.requiredRaw("value"))
            return PendingReply.body(effect) { $1.fields(of: $0) }
        case "effect_get":
            let effect = store.submitRecordedEffect(
                scope: try fields.requiredText("scope"), key: try fields.requiredText("key"),
                fencedBy: try fields.fence())
            return PendingReply.body(effect) { effect, writer in
                writer.field("found", effect != nil)
                if let effect { writer.fields(of: effect) }
            }
        case "effects":
            guard let scope = try fields.text("scope") else {
                return PendingReply.body(store.submitEffectScopes()) { scopes, writer in
                    writer.field("scopes", objects: scopes) { scope, writer in
                        writer.field("scope", scope.scope)
                        writer.field("count", scope.count)
                    }
                }
            }
            let effects = store.submitEffects(
                scope: scope, after: try fields.text("after"), limit: Int(try fields.integer("limit") ?? 100))
            return PendingReply.body(effects) { $1.field("effects", $0) }
        case "effect_remove":
            let removed = store.submitRemoveEffect(
                scope: try fields.requiredText("scope"), key: try fields.requiredText("key"))
            return PendingReply.body(removed) { $1.field("removed", $0) }
        default: return nil
        }
    }
}

extension RequestFields {
    /// Reads the lease under which an effect is recorded: `id` and `token`, or neither.
    func fence() throws(JobStoreError) -> LeaseIdentity? {
        has("id") || has("token") ? try identity() : nil
    }
}

extension JSONWriter {
    mutating func fields(of effect: EffectResult) {
        field("value", given: effect.value)
        field("replayed", effect.isReplayed)
        if let tag = effect.tag { field("tag", tag) }
        if effect.isFailure { field("failed", true) }
    }

    mutating func field(_ name: StaticString, _ effects: [RecordedEffect]) {
        field(name, objects: effects) { effect, writer in
            writer.field("key", effect.key)
            writer.field("seq", effect.sequence.rawValue)
            writer.field("at_ms", effect.recordedAt.milliseconds)
            writer.field("job", optional: effect.job.map { Int(clamping: $0.rawValue) })
            writer.field("tag", optional: effect.tag)
            writer.field("failed", effect.isFailure)
            writer.field("until_ms", optional: effect.keptUntil)
            writer.field("value", given: effect.value)
        }
    }
}
