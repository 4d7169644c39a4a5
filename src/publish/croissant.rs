//! `croissant.json`: the dataset in the vocabulary of Croissant 1.1, with the fields on responsible use (RAI 1.0).
//!
//! Record sets and fields follow the schema that the Parquet files are written with, so that a new column appears by itself.

use serde_json::{Value, json};

use super::dictionary::{meanings, summary_of};
use super::facts::{Facts, FileFact, day};
use crate::dataset::tables::Table;
use crate::dataset::write::parquet::{Column, ColumnType};

pub(super) fn document(facts: &Facts<'_>) -> Value {
    let mut document = json!({
        "@context": context(),
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": facts.slug(),
        "alternateName": facts.title(),
        "description": facts.description(),
        "url": facts.url(),
        "version": facts.version(),
        "datePublished": facts.date(),
        "creator": facts.authors().iter().map(creator).collect::<Vec<_>>(),
        "citeAs": cite_as(facts),
        "keywords": ["performance", "regression", "Mozilla", "Firefox", "Treeherder", "Perfherder", "software engineering"],
        "isLiveDataset": false,
        "distribution": facts.files.iter().map(file_object).chain(file_sets(facts)).collect::<Vec<_>>(),
        "recordSet": facts.tables().into_iter().map(|(table, files)| record_set(table, &files)).collect::<Vec<_>>(),
    });
    let fields = responsible_use(facts).into_iter();
    if let Some(object) = document.as_object_mut() {
        object.extend(fields.map(|(name, value)| (format!("rai:{name}"), value)));
        object.extend(facts.settings.license.as_ref().map(|license| ("license".to_owned(), license.url().into())));
        object.extend(facts.doi_url().map(|url| ("identifier".to_owned(), url.into())));
    }
    document
}

fn creator(author: &crate::config::Author) -> Value {
    let kind = if author.given.is_some() { "sc:Person" } else { "sc:Organization" };
    let mut creator = json!({ "@type": kind, "name": author.full_name() });
    if let (Some(object), Some(url)) = (creator.as_object_mut(), author.orcid_url()) {
        object.insert("url".to_owned(), url.into());
    }
    creator
}

/// A BibTeX entry.
fn cite_as(facts: &Facts<'_>) -> String {
    let authors = facts.authors().into_iter().map(|author| match &author.given {
        Some(given) => format!("{}, {given}", author.name),
        None => format!("{{{}}}", author.name),
    });
    let date = facts.date();
    let year = date.split('-').next().unwrap_or_default();
    let doi = facts.settings.doi.as_ref().map(|doi| format!(", doi = {{{doi}}}")).unwrap_or_default();
    format!(
        "@misc{{{slug}-{year}, title = {{{title}}}, author = {{{authors}}}, year = {{{year}}}, version = {{{version}}}{doi}, \
         url = {{{url}}}}}",
        slug = facts.slug(),
        title = facts.title(),
        authors = authors.collect::<Vec<_>>().join(" and "),
        version = facts.version(),
        url = facts.url(),
    )
}

fn file_object(file: &FileFact) -> Value {
    json!({
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        "contentUrl": file.path,
        "contentSize": format!("{} B", file.bytes),
        "encodingFormat": file.media_type(),
        "sha256": file.sha256,
    })
}

/// The `@id` of the set of files of a table that has several folders.
fn set_id(table: Table) -> String {
    format!("{table}-files")
}

fn is_partitioned(files: &[&FileFact]) -> bool {
    files.iter().any(|file| file.path.contains("/month="))
}

fn file_sets(facts: &Facts<'_>) -> impl Iterator<Item = Value> {
    let partitioned = facts.tables().into_iter().filter(|(_, files)| is_partitioned(files));
    partitioned.map(|(table, _)| {
        json!({
            "@type": "cr:FileSet",
            "@id": set_id(table),
            "name": set_id(table),
            "description": format!("The files of the table {table}, one for each month of the push"),
            "encodingFormat": "application/x-parquet",
            "includes": format!("{table}/month=*/*.parquet"),
        })
    })
}

fn record_set(table: Table, files: &[&FileFact]) -> Value {
    let source = if is_partitioned(files) {
        json!({ "fileSet": { "@id": set_id(table) } })
    } else {
        json!({ "fileObject": { "@id": files.first().map(|file| file.path.clone()) } })
    };
    let meanings = meanings(table);
    let field = |column: &Column| {
        let mut source = source.clone();
        source["extract"] = json!({ "column": column.name });
        let mut field = json!({
            "@type": "cr:Field",
            "@id": format!("{table}/{}", column.name),
            "name": format!("{table}/{}", column.name),
            "description": meanings.get(column.name).filter(|meaning| !meaning.is_empty()),
            "dataType": data_type(column.holds),
            "source": source,
        });
        if let Some(object) = field.as_object_mut() {
            object.retain(|_, value| !value.is_null());
            if column.holds == ColumnType::Texts {
                object.insert("isArray".to_owned(), true.into());
                object.insert("arrayShape".to_owned(), "-1".into());
            }
        }
        field
    };
    json!({
        "@type": "cr:RecordSet",
        "@id": table.name(),
        "name": table.name(),
        "description": summary_of(table),
        "field": table.published_schema().columns.iter().map(field).collect::<Vec<_>>(),
    })
}

fn data_type(holds: ColumnType) -> &'static str {
    match holds {
        ColumnType::Integer => "sc:Integer",
        ColumnType::Float => "sc:Float",
        ColumnType::Flag => "sc:Boolean",
        ColumnType::Text | ColumnType::Texts => "sc:Text",
        ColumnType::Time => "sc:DateTime",
    }
}

fn limitations(facts: &Facts<'_>) -> Vec<String> {
    let mut limitations = vec![
        "The server deletes a job about 120 days after it ran: data of older pushes that no harvest saw before have no job, \
         no submission time and no machine."
            .to_owned(),
        "Which revisions are measured depends on Mozilla's schedules and backfills, so the data are not a random sample of \
         commits."
            .to_owned(),
    ];
    if !facts.whole {
        limitations.push(
            "This dataset is incomplete: some requests failed or were not made, or records cannot be read.".into(),
        );
    }
    for change in facts.meaning_changes() {
        limitations.push(format!("{}: {}; {}", change.date, change.change, change.consequence));
    }
    limitations
}

fn responsible_use(facts: &Facts<'_>) -> Vec<(&'static str, Value)> {
    let crawl = facts.crawl;
    vec![
        (
            "dataCollection",
            format!(
                "Crawled from the public API of Treeherder ({}) in {} harvests, within a limit of requests per second.",
                crawl.base_url,
                facts.harvests.len()
            )
            .into(),
        ),
        ("dataCollectionType", json!(["Secondary data analysis", "Software collection"])),
        (
            "dataCollectionRawData",
            "Measurements that Mozilla's continuous integration sent to Treeherder, and the notes of its sheriffs.".into(),
        ),
        ("dataCollectionTimeframe", json!([day(crawl.data_window().start), day(crawl.data_end)])),
        (
            "dataCollectionMissingData",
            if facts.whole {
                "Nothing that the server listed is missing. Null means that the server sent no value.".into()
            } else {
                "Incomplete: manifest.json counts the requests that failed and the records that cannot be read.".into()
            },
        ),
        (
            "dataPreprocessingProtocol",
            json!(["The tables hold the server's values: nothing is rounded, sampled or imputed. A job's time of 0 is null."]),
        ),
        ("dataImputationProtocol", "None.".into()),
        (
            "dataManipulationProtocol",
            "The tables of a later harvest keep what the server has deleted since, and the last known state of each record.".into(),
        ),
        (
            "dataAnnotationProtocol",
            json!(["Sheriffs of Mozilla triage the alerts: status, bug, notes and classification are theirs."]),
        ),
        ("dataLimitations", limitations(facts).into()),
        (
            "dataBiases",
            json!(["Alerts that nobody triaged have no verdict, and alert thresholds differ between tests and over time."]),
        ),
        (
            "dataUseCases",
            json!([
                "Research on detecting, bisecting and predicting performance regressions.",
                "Not for judging developers or sheriffs."
            ]),
        ),
        (
            "dataSocialImpact",
            "The data come from a public system of an open-source project. They name people by their user names.".into(),
        ),
        ("personalSensitiveInformation", json!([facts.on_personal_data()])),
        (
            "dataReleaseMaintenancePlan",
            "A later harvest adds months and changes; files of months without changes keep their digests.".into(),
        ),
    ]
}

/// The context of the standard.
fn context() -> Value {
    json!({
        "@language": "en",
        "@vocab": "https://schema.org/",
        "arrayShape": "cr:arrayShape",
        "citeAs": "cr:citeAs",
        "column": "cr:column",
        "conformsTo": "dct:conformsTo",
        "containedIn": "cr:containedIn",
        "cr": "http://mlcommons.org/croissant/",
        "data": { "@id": "cr:data", "@type": "@json" },
        "dataType": { "@id": "cr:dataType", "@type": "@vocab" },
        "dct": "http://purl.org/dc/terms/",
        "description": { "@container": "@language" },
        "equivalentProperty": "cr:equivalentProperty",
        "examples": { "@id": "cr:examples", "@type": "@json" },
        "extract": "cr:extract",
        "field": "cr:field",
        "fileObject": "cr:fileObject",
        "fileProperty": "cr:fileProperty",
        "fileSet": "cr:fileSet",
        "format": "cr:format",
        "includes": "cr:includes",
        "isArray": "cr:isArray",
        "isLiveDataset": "cr:isLiveDataset",
        "jsonPath": "cr:jsonPath",
        "key": "cr:key",
        "md5": "cr:md5",
        "name": { "@container": "@language" },
        "parentField": "cr:parentField",
        "path": "cr:path",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "recordSet": "cr:recordSet",
        "references": "cr:references",
        "regex": "cr:regex",
        "repeated": "cr:repeated",
        "replace": "cr:replace",
        "samplingRate": "cr:samplingRate",
        "sc": "https://schema.org/",
        "separator": "cr:separator",
        "source": "cr:source",
        "subField": "cr:subField",
        "transform": "cr:transform",
    })
}
