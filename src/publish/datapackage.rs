//! `datapackage.json`: the dataset as a Frictionless Data Package, with a resource for each file.

use serde_json::{Value, json};

use super::dictionary::meanings;
use super::facts::{Facts, FileFact};
use crate::config::License;
use crate::dataset::tables::Table;
use crate::dataset::write::parquet::{Column, ColumnType};

pub(super) fn document(facts: &Facts<'_>) -> Value {
    let mut document = json!({
        "profile": "data-package",
        "name": facts.slug(),
        "id": facts.doi_url().unwrap_or_else(|| facts.url()),
        "title": facts.title(),
        "description": facts.description(),
        "homepage": facts.url(),
        "version": facts.version(),
        // The newest data, so that the same dataset has the same bytes.
        "created": facts.crawl.data_end.to_string(),
        "contributors": facts.authors().iter().map(contributor).collect::<Vec<_>>(),
        "sources": [{ "title": "Treeherder", "path": facts.crawl.base_url }],
        "resources": facts.files.iter().map(resource).collect::<Vec<_>>(),
    });
    if let (Some(object), Some(license)) = (document.as_object_mut(), &facts.settings.license) {
        let mut described = json!({ "path": license.url() });
        if let License::Spdx(name) = license {
            described["name"] = name.as_str().into();
        }
        object.insert("licenses".to_owned(), json!([described]));
    }
    document
}

fn contributor(author: &crate::config::Author) -> Value {
    let mut contributor = json!({ "title": author.full_name(), "role": "author" });
    if let (Some(object), Some(url)) = (contributor.as_object_mut(), author.orcid_url()) {
        object.insert("path".to_owned(), url.into());
    }
    contributor
}

fn resource(file: &FileFact) -> Value {
    let mut resource = json!({
        "name": resource_name(&file.path),
        "path": file.path,
        // Frictionless reads Parquet by way of pandas, which has no null among integers and no list: it checks bytes and
        // digest, and the schema is for other readers.
        "type": "file",
        "mediatype": file.media_type(),
        "bytes": file.bytes,
        "hash": format!("sha256:{}", file.sha256),
    });
    if let (Some(object), Some(table)) = (resource.as_object_mut(), file.table) {
        object.insert("format".to_owned(), "parquet".into());
        object.insert("schema".to_owned(), schema(table));
    }
    resource
}

/// Lower-case letters, digits, dots, hyphens: what a resource's name may have.
fn resource_name(path: &str) -> String {
    let name = path.trim_end_matches("/part-0.parquet").replace("/month=", "-");
    let name = name.to_ascii_lowercase().replace('_', "-");
    name.replace('/', "-")
}

fn schema(table: Table) -> Value {
    let schema = table.published_schema();
    let meanings = meanings(table);
    let field = |column: &Column| {
        json!({
            "name": column.name,
            "type": match column.holds {
                ColumnType::Integer => "integer",
                ColumnType::Float => "number",
                ColumnType::Flag => "boolean",
                ColumnType::Text => "string",
                ColumnType::Time => "datetime",
                ColumnType::Texts => "array",
            },
            "description": meanings.get(column.name).cloned().unwrap_or_default(),
            "constraints": { "required": !column.nullable },
        })
    };
    json!({ "fields": schema.columns.iter().map(field).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_resources_have_no_slash_and_no_capital() {
        assert_eq!(resource_name("data/month=2026-07/part-0.parquet"), "data-2026-07");
        assert_eq!(resource_name("sig_groups/part-0.parquet"), "sig-groups");
        assert_eq!(resource_name("artifacts/changes/0001.jsonl.gz"), "artifacts-changes-0001.jsonl.gz");
    }
}
