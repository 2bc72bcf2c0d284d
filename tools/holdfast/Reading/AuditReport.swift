// What `verify --expect` says of each published head, for people and for programs.

import Holdfast
import HoldfastBytes
import HoldfastLog

extension AuditFinding {
    /// Whether the log is the published one, as far as the chain reaches.
    private var isProved: Bool { if case .proved = verdict { true } else { false } }

    /// Whether every record that is left up to the head is what was published.
    var isWhollyProved: Bool { isProved && unproved == 0 }

    /// Whether the log is another one than was published.
    var isContradicted: Bool {
        switch verdict {
        case .differs, .noRecord, .beyondEnd: true
        case .proved, .beyondDurable, .carried, .dropped, .noChain, .damaged, .replaced: false
        }
    }

    /// One word for programs.
    var name: String {
        switch verdict {
        case .proved: "proved"
        case .differs: "differs"
        case .noRecord: "no_record"
        case .beyondEnd: "beyond_end"
        case .beyondDurable: "beyond_durable"
        case .carried: "carried"
        case .dropped: "dropped"
        case .noChain: "no_chain"
        case .damaged: "damaged"
        case .replaced: "replaced"
        }
    }

    /// The first record that was proved to be what was published.
    var provedFrom: SequenceNumber? { if case .proved(let from) = verdict { from } else { nil } }

    /// One line.
    var line: String {
        let word =
            isWhollyProved ? "PROVED  " : isProved ? "PARTLY  " : isContradicted ? "DIFFERS " : "UNPROVED"
        return "\(word) \(head.sequence):\(head.hexadecimal.prefix(12))…  \(sentence)"
    }

    /// What that means.
    var sentence: String {
        let last = head.sequence
        switch verdict {
        case .proved(let first):
            if first > last { return "the chain begins here: it covers no record before" }
            let proved = "the records \(first) to \(last) are what was published"
            if unproved > 0 {
                return "\(proved); what is left from before can't be proved: \(Terminal.count(unproved, "record"))"
            }
            return first.rawValue == 1
                ? proved : "\(proved); what came before was dropped, or is older than the chain"
        case .differs(let sound, let files):
            let range = "records \(sound.next) to \(last)"
            if files.isEmpty { return "the value that the store carries is another than was published" }
            let place = files.count == 1 ? files[0] : "\(files[0]) to \(files[files.count - 1])"
            return "the \(range), in \(place), are not what was published (or the key is another)"
        case .noRecord: return "there is no record \(last), but there are later ones"
        case .beyondEnd(let end): return "the log ends at record \(end)"
        case .beyondDurable(let end):
            return "the store is in use, and known to be durable up to record \(end) so far: ask again in a moment"
        case .carried:
            return "the store carries this value, but what led to it is older than the chain or was dropped"
        case .dropped(let bound):
            return "nothing can be proved up to record \(bound): records were dropped, or are older than the chain"
        case .noChain: return "the store was last written by a version without an audit chain: nothing can be proved"
        case .damaged: return "damage hides what would prove it"
        case .replaced: return "the owner replaced files while they were read: make a backup, and verify that"
        }
    }

    /// Writes the fields of a JSON object.
    func writeFields(to writer: inout JSONWriter) {
        writer.field("seq", head.sequence.rawValue)
        writer.field("hash", head.hexadecimal)
        writer.field("verdict", name)
        writer.key("proved_from")
        if let provedFrom { writer.value(provedFrom.rawValue) } else { writer.null() }
        writer.field("unproved_records", unproved)
        writer.field("message", sentence)
    }
}
