//! Maps the simulator's log of arrivals to requests.

use std::collections::BTreeSet;

use perfharvest::model::{LAST_ROWS, Request};
use perfharvest::store::Store;
use treeherder_sim::{Arrival, Endpoint};

/// Names a request by what its URL shows of it. A closing look at the alert list is a request for page 1 again.
fn name_of(request: &Request) -> Option<String> {
    match request {
        Request::AlertPage { page: 0 | LAST_ROWS.., .. } => None,
        Request::AlertPage { page, .. } => Some(format!("page={page}")),
        Request::Frameworks => Some("frameworks".to_owned()),
        Request::Signatures { .. } => Some("signatures".to_owned()),
        Request::UpdatedSignatures { .. } | Request::MovedSignatures { .. } => Some("updated".to_owned()),
        Request::Summary { signature, replicates: false, .. } => Some(format!("summary {signature}")),
        Request::Summary { signature, replicates: true, .. } => Some(format!("replicates {signature}")),
        Request::Job { id } => Some(format!("job {id}")),
    }
}

/// The requests that one HTTP request asks.
pub(crate) fn asked_by(arrival: &Arrival) -> Vec<String> {
    let url = url::Url::parse("http://host").unwrap().join(&arrival.path_and_query).unwrap();
    let value = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    match arrival.endpoint {
        Endpoint::AlertSummary if value("limit").as_deref() == Some("1") => Vec::new(), // a closing look, too
        Endpoint::AlertSummary => vec![format!("page={}", value("page").unwrap_or_else(|| "1".to_owned()))],
        Endpoint::Signatures if value("start_date").is_some() || value("interval").is_some() => {
            vec!["updated".to_owned()]
        }
        Endpoint::Signatures => vec!["signatures".to_owned()],
        Endpoint::Summary => {
            let rows = if value("replicates").as_deref() == Some("True") { "replicates" } else { "summary" };
            vec![format!("{rows} {}", value("signature").unwrap())]
        }
        Endpoint::Jobs => {
            let ids = value("id__in").or_else(|| value("id")).unwrap();
            ids.split(',').map(|id| format!("job {id}")).collect()
        }
        _ => vec!["frameworks".to_owned()],
    }
}

/// The requests that a store knows to be settled by an answer.
pub(crate) fn settled_in(store: &Store) -> BTreeSet<String> {
    store.all_settled().filter_map(|settled| name_of(&settled.unwrap().0)).collect()
}

/// The requests that are settled including all parts: a split request has the same name as its parts.
pub(crate) fn acknowledged_in(store: &Store) -> BTreeSet<String> {
    let pending = store.pending().map(|pending| pending.unwrap().request);
    let failed = store.failures().map(|failure| failure.unwrap().0);
    let unsettled: BTreeSet<String> = pending.chain(failed).filter_map(|request| name_of(&request)).collect();
    settled_in(store).difference(&unsettled).cloned().collect()
}
