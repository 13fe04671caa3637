//! The table of security rules against the tests that exist.
//!
//! `tests/rules.txt` has a line per rule: `R5 covered`, or `R5 later: why there is nothing to attack yet`. A covered rule has
//! at least one test whose name starts with `r05_`; a rule that has such a test can't be called `later`.

use std::path::Path;

use super::File;

/// R1 to R41 of the security rules.
const RULES: usize = 41;

/// Rules without a line, lines without a reason, rules without the test that they claim.
pub(super) fn problems(table: &Path, files: &[File]) -> Vec<String> {
    match std::fs::read_to_string(table) {
        Ok(text) => compare(&text, &attacked(files)),
        Err(error) => vec![format!("{}: {error}", table.display())],
    }
}

/// The numbers of the rules that some test attacks.
fn attacked(files: &[File]) -> Vec<usize> {
    let lines = files.iter().flat_map(|file| file.text.lines());
    lines.filter_map(|line| line.trim_start().strip_prefix("fn r")?.get(..2)?.parse().ok()).collect()
}

fn compare(table: &str, attacked: &[usize]) -> Vec<String> {
    let mut found = Vec::new();
    let mut listed = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (rule, word) = line.split_once(' ').unwrap_or((line, ""));
        let Some(number) = rule.strip_prefix('R').and_then(|number| number.parse::<usize>().ok()) else {
            found.push(format!("tests/rules.txt: not a rule: {line}"));
            continue;
        };
        listed.push(number);
        let has_test = attacked.contains(&number);
        if word == "covered" && !has_test {
            found.push(format!("{rule} is called covered, but no test's name starts with `r{number:02}_`"));
        } else if word.starts_with("later: ") && has_test {
            found.push(format!("{rule} has a test: call it covered in tests/rules.txt"));
        } else if word != "covered" && !word.starts_with("later: ") {
            found.push(format!("{rule}: `covered`, or `later:` and the reason"));
        }
    }
    let missing = (1..=RULES).filter(|number| !listed.contains(number));
    found.extend(missing.map(|number| format!("R{number} has no line in tests/rules.txt")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_covered_by_a_test_of_its_name_alone() {
        let all: String = (1..=RULES).map(|number| format!("R{number} later: nothing there\n")).collect();
        assert_eq!(compare(&all, &[]), Vec::<String>::new());
        assert_eq!(compare(&all, &[5]), ["R5 has a test: call it covered in tests/rules.txt"]);
        let claimed = all.replace("R5 later: nothing there", "R5 covered");
        assert_eq!(compare(&claimed, &[5]), Vec::<String>::new());
        assert_eq!(compare(&claimed, &[]).len(), 1);
        assert_eq!(compare("R1 covered\n", &[1]).len(), RULES - 1);
    }

    #[test]
    fn tests_are_found_by_their_names() {
        let text = "    fn r05_a_link_over_proc_is_refused() {\nfn r5_no() {\nfn run() {\n".to_owned();
        assert_eq!(attacked(&[File { path: "a.rs".to_owned(), text }]), [5]);
    }
}
