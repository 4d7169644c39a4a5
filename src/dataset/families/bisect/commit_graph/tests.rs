use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn put(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    file
}

fn read(text: &str, semantics: Semantics) -> Result<CommitGraph, GraphError> {
    CommitGraph::read(put(text).path(), semantics)
}

/// The graph of commits named by their number, with the parents of each.
fn graph(parents: &[&[u32]]) -> CommitGraph {
    let line = |(number, parents): (usize, &&[u32])| {
        let parents: Vec<String> = parents.iter().map(|parent| format!("\"c{parent}\"")).collect();
        format!("{{\"node\":\"c{number}\",\"date\":[{number},0],\"parents\":[{}]}}\n", parents.join(","))
    };
    read(&parents.iter().enumerate().map(line).collect::<String>(), Semantics::Reference).unwrap()
}

#[test]
fn ancestors_are_found_through_both_parents_of_a_merge() {
    // 0 - 1 ----- 4 - 5, and 2 - 3 beside it, merged by 4; 6 is a branch that nothing merges.
    let graph = graph(&[&[], &[0], &[0], &[2], &[1, 3], &[4], &[1]]);
    for (ancestor, of, expected) in [
        (0, 5, true),
        (2, 5, true),
        (3, 4, true),
        (1, 3, false),
        (6, 5, false),
        (1, 6, true),
        (2, 6, false),
        (4, 4, false),
        (5, 4, false),
    ] {
        assert_eq!(graph.is_ancestor(ancestor, of), expected, "{ancestor} {of}");
    }
    assert_eq!(graph.num_between(0, 5), 4);
    assert_eq!(graph.num_between(1, 5), 1, "the side branch began before the good commit");
    assert_eq!(graph.num_between(1, 6), 0);
    assert_eq!(graph.num_between(2, 6), 0);
}

#[test]
fn a_graph_that_the_scripts_refuse_is_refused_with_its_line() {
    use Semantics::{Corrected, Reference};
    let zeros = "0".repeat(40);
    let root = format!("{{\"node\":\"a\",\"date\":[1,0],\"parents\":[\"{zeros}\"]}}\n");
    let with = |line: &str| format!("{root}{line}\n");
    let child = r#"{"node":"b","parents":["a"]}"#;
    for semantics in [Reference, Corrected] {
        let refused = |text: &str| read(text, semantics).unwrap_err();
        assert!(read(&with(child), semantics).is_ok());
        assert!(matches!(refused(&with(r#"{"node":"a","parents":["a"]}"#)), GraphError::Repeated { line: 2, .. }));
        assert!(matches!(refused(&with(r#"{"node":"b","parents":null}"#)), GraphError::NoList { line: 2, .. }));
        let later = with("{\"node\":\"c\",\"parents\":[\"b\"]}\n{\"node\":\"b\",\"parents\":[\"a\"]}");
        assert!(matches!(refused(&later), GraphError::ParentLater { line: 2, .. }));
        assert!(matches!(refused("\n[]\n"), GraphError::Empty(_)));
        let of_pushes = "{\"node\":\"a\",\"parents\":[]}\n{\"node\":\"b\",\"parents\":[]}\n";
        let error = refused(of_pushes);
        assert!(matches!(error, GraphError::NoParents(_)) && error.to_string().contains("--from clone"), "{error}");
    }
    let unknown = with(r#"{"node":"b","parents":["x"]}"#);
    let error = read(&unknown, Reference).unwrap_err();
    assert!(error.to_string().contains("perfharvest commits --from clone"), "{error}");
    assert_eq!(read(&unknown, Corrected).unwrap().num_unknown_parents, 1);
    let skipped = read(&with("torn {\n\n7\n{\"node\":null}\n{\"node\":\"b\",\"parents\":[\"a\"]}"), Reference).unwrap();
    assert_eq!((skipped.malformed_line, skipped.num_skipped, skipped.dates.len()), (Some(2), 3, 2));
    assert_eq!(skipped.position("b"), Some(1));
}

#[test]
fn capitals_fold_in_the_corrected_semantics_alone() {
    let hash = "AB".repeat(20);
    let text = format!("{{\"node\":\"{hash}\",\"parents\":[]}}\n");
    assert_eq!(read(&text, Semantics::Corrected).unwrap().position(&hash.to_lowercase()), Some(0));
    assert_eq!(read(&text, Semantics::Reference).unwrap().position(&hash.to_lowercase()), None);
}

/// All ancestors of a commit, and itself.
fn naive_ancestors(parents: &[Vec<u32>], of: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([of]);
    for parent in &parents[of as usize] {
        found.extend(naive_ancestors(parents, *parent));
    }
    found
}

proptest! {
    #[test]
    fn ancestors_and_commits_between_are_those_of_a_search(
        links in proptest::collection::vec(proptest::collection::vec(any::<u32>(), 0..3), 1..12),
    ) {
        let parents: Vec<Vec<u32>> = (0..).zip(links).map(|(at, links)| match at {
            0 => Vec::new(),
            _ => links.into_iter().map(|link| link % at).collect::<BTreeSet<_>>().into_iter().collect(),
        }).collect();
        prop_assume!(parents.len() == 1 || parents.iter().any(|parents| !parents.is_empty()));
        let graph = graph(&parents.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let num = u32::try_from(parents.len()).unwrap();
        let ancestors: Vec<BTreeSet<u32>> = (0..num).map(|at| naive_ancestors(&parents, at)).collect();
        for bad in 0..num {
            for good in 0..num {
                let is_ancestor = good != bad && ancestors[bad as usize].contains(&good);
                prop_assert_eq!(graph.is_ancestor(good, bad), is_ancestor);
                if good < bad {
                    let between = (good + 1..bad).filter(|at| {
                        ancestors[bad as usize].contains(at) && ancestors[*at as usize].contains(&good)
                    });
                    prop_assert_eq!(graph.num_between(good, bad) as usize, between.count());
                }
            }
        }
    }
}
