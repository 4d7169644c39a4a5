//! 1. SOURCE: a [`Batch`](crate::model::Batch) goes in, model records come out.
//!
//! `Treeherder` makes one HTTP request for a batch (`http` checks status, content type and size before anything is
//! parsed) and returns a `Reply` of strict records; `wire` reads the server's JSON tolerantly; `page` judges a pass
//! over a moving list, and `split` divides a request that was too much. `Hgweb` and `PushList` return the commits of
//! the repository in the same way. Nothing here retries or waits.

mod body;
mod clock;
mod error;
mod held_body;
mod hgweb;
mod http;
mod page;
mod push_list;
mod reply;
mod repositories;
mod split;
mod treeherder;
mod wire;

pub(crate) use clock::ServerClock;
pub use error::SourceError;
pub(crate) use hgweb::{Hgweb, HgwebPage};
pub(crate) use http::GAVE_UP_AFTER;
#[cfg(test)]
pub(crate) use http::broken_connection;
pub(crate) use page::{AlertPageOutline, PassVerdict, closing_looks, judge_pass, pages_of};
pub(crate) use push_list::{MOST_PUSHES, Push, PushList};
pub(crate) use reply::{Reply, SignatureSink};
pub(crate) use split::batches_of;
pub use split::{Split, split};
pub(crate) use treeherder::{Answer, Treeherder};
pub(crate) use wire::summary as read_summary;
