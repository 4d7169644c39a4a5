//! Reference data, as far as the data set shows them: option collections, performance tags and machine platforms.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::json_text::write_string;
use crate::reply::Reply;
use crate::view::View;

use super::separate;

/// Option collections of Treeherder by their hash, which is that of the sorted names of the options.
const OPTIONS: [(&str, &str); 4] = [
    ("102210fe594ee9b33d82058545b1ed14f4c8206e", "opt"),
    ("32faaecac742100f7753f0c1d0aa0add01b4046b", "debug"),
    ("45407e5a28923703d477907828816108e1604996", "pgo"),
    ("f69e1b00908837bf0550250abb1645014317e8ec", "shippable"),
];

/// `GET /api/optioncollectionhash/`
pub(super) fn option_collections(view: &View<'_>) -> Reply {
    #[derive(Deserialize)]
    struct Signature {
        option_collection_hash: String,
    }
    let mut hashes = BTreeSet::new();
    let mut text = Vec::new();
    for (repository, rank) in signatures(view) {
        text.clear();
        view.write_signature(repository, rank, &mut text);
        hashes.extend(serde_json::from_slice::<Signature>(&text).map(|signature| signature.option_collection_hash));
    }
    list(hashes.iter().map(|hash| {
        let name = OPTIONS.iter().find(|(known, _)| known == hash).map_or("opt", |(_, name)| name);
        format!("{{\"option_collection_hash\":\"{hash}\",\"options\":[{{\"name\":\"{name}\"}}]}}")
    }))
}

/// `GET /api/performance/tag/`: the tags of the alert summaries.
pub(super) fn performance_tags(view: &View<'_>) -> Reply {
    #[derive(Deserialize)]
    struct Summary {
        #[serde(default)]
        performance_tags: Vec<String>,
    }
    let mut tags = BTreeSet::new();
    let mut text = Vec::new();
    for rank in (0..view.num_alerts()).filter(|rank| view.alert_head(*rank).is_some()) {
        text.clear();
        view.write_alert(rank, &mut text);
        tags.extend(serde_json::from_slice::<Summary>(&text).map(|of| of.performance_tags).unwrap_or_default());
    }
    named("name", tags)
}

/// `GET /api/machineplatforms/`: the platforms of the signatures.
pub(super) fn machine_platforms(view: &View<'_>) -> Reply {
    let platform = |(repository, rank)| view.signature_head(repository, rank).map(|head| head.platform.into_owned());
    named("platform", signatures(view).filter_map(platform).collect())
}

fn signatures(view: &View<'_>) -> impl Iterator<Item = (u64, usize)> {
    let of = |id| (0..view.num_signatures(id)).map(move |rank| (id, rank));
    let all = view.repositories().iter().flat_map(move |repository| of(repository.id));
    all.filter(|(repository, rank)| view.signature_head(*repository, *rank).is_some())
}

/// Records of an id and a name.
fn named(field: &str, names: BTreeSet<String>) -> Reply {
    list(names.into_iter().zip(1..).map(|(name, id)| {
        let mut text = Vec::new();
        write_string(&mut text, &name);
        format!("{{\"id\":{id},\"{field}\":{}}}", String::from_utf8_lossy(&text))
    }))
}

fn list(records: impl Iterator<Item = String>) -> Reply {
    let mut out = vec![b'['];
    for record in records {
        separate(&mut out, 1);
        out.extend_from_slice(record.as_bytes());
    }
    out.push(b']');
    Reply::json(200, out)
}
