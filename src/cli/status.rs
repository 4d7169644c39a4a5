//! `status`: how far a crawl is, read from the ledger beside the store, which a running crawl has locked.

use super::{Common, StatusArgs, print};
use crate::model::Kind;
use crate::store::{Ledger, StoreError};
use crate::{EXIT_INCOMPLETE, Error};

pub(super) fn run(common: &Common<StatusArgs>) -> Result<u8, Error> {
    let config = common.flags.start()?;
    let path = &config.store.path;
    let ledger = Ledger::read(path)?.ok_or_else(|| StoreError::Missing { path: path.clone() })?;
    if common.own.json {
        let text = serde_json::to_string_pretty(&ledger).map_err(|source| StoreError::Encode { source })?;
        print(&(text + "\n"))?;
    } else {
        print(&table(&ledger))?;
    }
    let counts = &ledger.counts;
    Ok(if counts.pending() + counts.failed() > 0 { EXIT_INCOMPLETE } else { 0 })
}

fn table(ledger: &Ledger) -> String {
    let mut text = String::new();
    if let Some(crawl) = &ledger.identity {
        text.push_str(&format!(
            "{} of {}, commits {} to {}, data until {}\n\n",
            crawl.repository, crawl.base_url, crawl.window_start, crawl.window_end, crawl.data_end
        ));
    }
    text.push_str("                 done    total  pending   failed\n");
    for kind in Kind::ALL {
        let counts = ledger.counts.of(kind);
        text.push_str(&format!(
            "{:>12} {:>8} {:>8} {:>8} {:>8}\n",
            kind.name().replace('_', " "),
            counts.settled(),
            counts.total(),
            counts.pending,
            counts.failed
        ));
    }
    text.push_str(&format!("\nas of {}\n", ledger.written_at));
    text
}
