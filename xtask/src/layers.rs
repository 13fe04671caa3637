//! Dependencies point down only, and rooms in one row do not see each other (`docs/architecture.md`).

use std::process::Command;

use serde_json::Value;

use crate::Findings;

/// The rows of the design, top to bottom.
const ROWS: &[&[&str]] = &[
    &["skiff-cli", "skiff-api", "skiff-cri"],
    &["skiff-engine"],
    &["skiff-monitor"],
    &["skiff-runtime", "skiff-image", "skiff-net"],
    &["skiff-cgroup", "skiff-store"],
    &["skiff-oci", "skiff-sys"],
];

/// Packages beside the product. The tests see a binary only, so they must not depend on any room.
const BESIDE: &[&str] = &["skiff-e2e", "xtask", "skiff-bench", "skiff-fuzz"];

/// Checks every dependency between packages of the workspace, dev-dependencies included.
pub fn check() -> Findings {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .map_err(|error| vec![format!("run cargo metadata: {error}")])?;
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| {
        vec![format!("cargo metadata: {error}: {}", String::from_utf8_lossy(&output.stderr))]
    })?;
    let mut edges = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let from = package["name"].as_str().unwrap_or_default();
        edges.push((from.to_owned(), None));
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            if dependency["path"].is_string() {
                edges.push((from.to_owned(), Some(to.to_owned())));
            }
        }
    }
    let problems: Vec<String> = edges.iter().filter_map(|(from, to)| problem(from, to.as_deref())).collect();
    if problems.is_empty() {
        let count = edges.iter().filter(|(_, to)| to.is_some()).count();
        Ok(format!("layers: {count} dependencies between crates, all point down"))
    } else {
        Err(problems)
    }
}

/// What is wrong with a package, or with its dependency on another one of the workspace.
fn problem(from: &str, to: Option<&str>) -> Option<String> {
    let row = |name: &str| ROWS.iter().position(|row| row.contains(&name));
    let Some(to) = to else {
        let known = row(from).is_some() || BESIDE.contains(&from);
        return (!known).then(|| format!("layers: the package `{from}` stands in no row of the design"));
    };
    if from == "skiff-e2e" {
        return Some(format!("layers: `skiff-e2e` depends on `{to}`: end-to-end tests see the binary only"));
    }
    match (row(from), row(to)) {
        (None, _) => None,
        (Some(_), None) => {
            Some(format!("layers: `{from}` depends on `{to}`, which is no room of the product"))
        }
        (Some(above), Some(below)) if above < below => None,
        (Some(above), Some(below)) => {
            let how = if above == below { "in the same row" } else { "in a row above it" };
            Some(format!("layers: `{from}` depends on `{to}`, {how}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::problem;

    #[test]
    fn a_dependency_may_point_down_only() {
        assert_eq!(problem("skiff-cli", Some("skiff-sys")), None);
        assert!(problem("skiff-sys", Some("skiff-oci")).is_some_and(|text| text.contains("same row")));
        assert!(problem("skiff-store", Some("skiff-engine")).is_some_and(|text| text.contains("row above")));
        assert!(problem("skiff-e2e", Some("skiff-sys")).is_some());
        assert!(problem("skiff-cli", Some("xtask")).is_some());
    }

    #[test]
    fn an_unknown_package_has_no_place() {
        assert!(problem("skiff-utils", None).is_some());
        assert_eq!(problem("xtask", None), None);
    }
}
