//! Names for containers that were given none: `adjective_surname`, as Docker has them.

/// Words that flatter anybody.
const ADJECTIVES: [&str; 64] = [
    "able", "adept", "agile", "amber", "apt", "avid", "blissful", "bold", "brave", "bright", "brisk", "calm",
    "candid", "charming", "cheerful", "clever", "cosy", "crisp", "curious", "daring", "dazzling", "deft",
    "dreamy", "eager", "earnest", "elated", "epic", "fair", "fearless", "festive", "focused", "frank",
    "friendly", "gallant", "gentle", "gifted", "graceful", "happy", "hardy", "honest", "hopeful", "humble",
    "jolly", "jovial", "keen", "kind", "lively", "loyal", "lucid", "merry", "mighty", "modest", "nimble",
    "noble", "patient", "polite", "quick", "quiet", "serene", "sharp", "steady", "sunny", "vivid", "witty",
];

/// People who knew about ships, systems and the sea.
const SURNAMES: [&str; 64] = [
    "amundsen",
    "baret",
    "beaufort",
    "bering",
    "blackwell",
    "bowditch",
    "brunel",
    "cabot",
    "carson",
    "ching",
    "cook",
    "corbett",
    "cousteau",
    "dampier",
    "dijkstra",
    "drake",
    "earle",
    "elcano",
    "erikson",
    "fitzroy",
    "flinders",
    "franklin",
    "gama",
    "gilman",
    "grace",
    "hamilton",
    "harrison",
    "heyerdahl",
    "hopper",
    "hudson",
    "humboldt",
    "ibn",
    "joyon",
    "kamp",
    "kernighan",
    "knox",
    "lamarr",
    "lamport",
    "liskov",
    "lovelace",
    "macarthur",
    "magellan",
    "maury",
    "mclean",
    "mercator",
    "moitessier",
    "nansen",
    "noether",
    "omalley",
    "piccard",
    "plimsoll",
    "polo",
    "ritchie",
    "ross",
    "shackleton",
    "slocum",
    "sobel",
    "tabarly",
    "tasman",
    "thompson",
    "torvalds",
    "turing",
    "wegener",
    "zheng",
];

/// The name that the digits of `id` give, and another one for each `attempt`.
///
/// The id is random already, so that no second draw is needed.
pub(crate) fn generated(id: &str, attempt: usize) -> String {
    let digits = |range: std::ops::Range<usize>| {
        let number = id.get(range).and_then(|digits| usize::from_str_radix(digits, 16).ok());
        number.unwrap_or(0) + attempt
    };
    let adjective = ADJECTIVES[digits(20..24) % ADJECTIVES.len()];
    let surname = SURNAMES[digits(24..28) % SURNAMES.len()];
    match attempt {
        0 => format!("{adjective}_{surname}"),
        number => format!("{adjective}_{surname}{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_id_and_differ_by_attempt() {
        let id = "00112233445566778899".to_owned() + "0001" + "003f" + &"0".repeat(36);
        assert_eq!(generated(&id, 0), "adept_zheng");
        assert_eq!(generated(&id, 1), "agile_amundsen1");
        assert_eq!(generated("", 0), "able_amundsen");
    }

    #[test]
    fn words_are_distinct_and_plain() {
        for words in [ADJECTIVES, SURNAMES] {
            let distinct: std::collections::BTreeSet<_> = words.iter().collect();
            assert_eq!(distinct.len(), words.len());
            assert!(words.iter().all(|word| word.bytes().all(|letter| letter.is_ascii_lowercase())));
        }
    }
}
