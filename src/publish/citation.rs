//! `CITATION.cff`: how to cite the dataset, in version 1.2.0 of the Citation File Format.

use super::facts::Facts;
use super::yaml::quoted;
use crate::config::{Author, License};

pub(super) fn document(facts: &Facts<'_>) -> String {
    let mut text = format!(
        "cff-version: 1.2.0\nmessage: {}\ntype: dataset\ntitle: {}\nabstract: {}\nversion: {}\ndate-released: {}\nauthors:\n",
        quoted("If you use this dataset, please cite it as below."),
        quoted(&facts.title()),
        quoted(&facts.description()),
        quoted(&facts.version()),
        quoted(&facts.date()),
    );
    facts.authors().iter().for_each(|author| text.push_str(&entry(author)));
    match &facts.settings.license {
        Some(License::Spdx(name)) => text.push_str(&format!("license: {name}\n")),
        Some(License::Other(url)) => text.push_str(&format!("license-url: {}\n", quoted(&url.to_string()))),
        None => {}
    }
    text.extend(facts.settings.doi.as_ref().map(|doi| format!("doi: {}\n", quoted(&doi.to_string()))));
    text.push_str(&format!("url: {}\n", quoted(&facts.url())));
    text
}

fn entry(author: &Author) -> String {
    let mut entry = match &author.given {
        Some(given) => format!("  - family-names: {}\n    given-names: {}\n", quoted(&author.name), quoted(given)),
        None => format!("  - name: {}\n", quoted(&author.name)),
    };
    entry.extend(author.orcid_url().map(|url| format!("    orcid: {}\n", quoted(&url))));
    entry
}
