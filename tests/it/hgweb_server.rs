//! A scripted hgweb: serves a log of artificial commits as Mercurial 7 does, and logs all requests.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Response, Uri, header};
use tokio::sync::watch;

/// The date of revision 0; each revision is a minute later than the one before.
pub(crate) const FIRST: i64 = 1_782_864_000;

/// The answer to a request instead of the log.
#[derive(Clone, Debug)]
pub(crate) enum Instead {
    /// Status, content type, body.
    Reply(u16, &'static str, String),
    /// The page of another revision.
    Page(String),
}

/// Decides by the number of the arrival (from 0), the revision and the count.
type Decide = Box<dyn Fn(usize, &str, usize) -> Option<Instead> + Send + Sync>;

/// The repository, and how it is served.
pub(crate) struct Repository {
    /// Number of changesets.
    pub(crate) len: usize,
    /// Revision numbers of hidden changesets.
    pub(crate) hidden: BTreeSet<usize>,
    /// Maximum changesets per page, for any request.
    pub(crate) cap: usize,
    /// Goes into every hash: another repository has others.
    pub(crate) salt: usize,
    /// From this revision on, another salt.
    pub(crate) salted_from: usize,
}

impl Repository {
    pub(crate) fn of(len: usize) -> Self {
        Self { len, hidden: BTreeSet::new(), cap: usize::MAX, salt: 0, salted_from: usize::MAX }
    }

    pub(crate) fn node(&self, revision: usize) -> String {
        let salt = if revision >= self.salted_from { self.salt } else { 0 };
        format!("{:08x}{revision:032x}", salt + 0xabc)
    }

    fn visible(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        (0..self.len).filter(|revision| !self.hidden.contains(revision))
    }

    fn find(&self, revision: &str) -> Option<usize> {
        if revision == "tip" {
            return self.visible().next_back();
        }
        let number = revision.parse().ok().filter(|_| revision.len() < 40);
        self.visible().find(|at| number == Some(*at) || self.node(*at) == revision)
    }

    fn page(&self, revision: &str, count: usize) -> Response<Body> {
        let Some(top) = self.find(revision) else {
            let text = format!("{{\n\"error\": \"unknown revision '{revision}'\"\n}}");
            return reply(404, "application/json", text);
        };
        let mut text = format!(
            "{{\n  \"node\": \"{}\",\n  \"changeset_count\": {},\n  \"changesets\": [",
            self.node(top),
            self.len
        );
        let listed = self.visible().rev().skip_while(|at| *at > top).take(count.min(self.cap));
        for (n, at) in listed.enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            let parent = at.checked_sub(1).map_or_else(String::new, |parent| format!("\"{}\"", self.node(parent)));
            write!(
                text,
                "{comma}{{\n\"node\": \"{}\",\n\"date\": [{}.0, -7200],\n\"desc\": \"Bug {at} - caf\\u00e9 \
                 \\u001b[31mred\\nr=x\",\n\"user\": \"\\u001b]0;x\\u0007 Dev\",\n\"parents\": [{parent}]\n}}",
                self.node(at),
                date(at)
            )
            .unwrap();
        }
        text.push_str("]\n}\n");
        reply(200, "application/json", text)
    }

    /// The file that a window of these revisions makes.
    pub(crate) fn lines(&self, revisions: std::ops::Range<usize>) -> String {
        let lines = self.visible().filter(|at| revisions.contains(at)).map(|at| {
            let parent = at.checked_sub(1).map_or_else(|| "0".repeat(40), |parent| self.node(parent));
            format!(
                "{{\"node\": \"{}\", \"desc\": \"Bug {at} - caf\\u00e9 \\u001b[31mred\\nr=x\", \
                 \"date\": [{}, -7200], \"parents\": [\"{parent}\"]}}\n",
                self.node(at),
                date(at)
            )
        });
        lines.collect()
    }
}

fn date(revision: usize) -> i64 {
    FIRST + 60 * i64::try_from(revision).unwrap()
}

fn reply(status: u16, content_type: &str, text: String) -> Response<Body> {
    Response::builder().status(status).header(header::CONTENT_TYPE, content_type).body(Body::from(text)).unwrap()
}

struct Shared {
    repository: Mutex<Repository>,
    decide: Mutex<Decide>,
    asked: Mutex<Vec<(String, usize)>>,
    agents: Mutex<BTreeSet<String>>,
    in_flight: AtomicUsize,
    most_in_flight: watch::Sender<usize>,
    /// Replies with this revision or an older one are held until so many requests are under way.
    hold: Mutex<Option<(usize, usize)>>,
    /// Revisions that are not answered as long as they are in here.
    held_back: watch::Sender<BTreeSet<String>>,
}

/// A running server; it ends with the test.
pub(crate) struct HgwebServer {
    url: String,
    shared: Arc<Shared>,
}

impl HgwebServer {
    pub(crate) async fn start(repository: Repository) -> Self {
        let shared = Arc::new(Shared {
            repository: Mutex::new(repository),
            decide: Mutex::new(Box::new(|_, _, _| None)),
            asked: Mutex::default(),
            agents: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            most_in_flight: watch::Sender::new(0),
            hold: Mutex::new(None),
            held_back: watch::Sender::new(BTreeSet::new()),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/integration/autoland", listener.local_addr().unwrap());
        let serving = Arc::clone(&shared);
        let router =
            Router::new().fallback(move |uri: Uri, headers: HeaderMap| serve(Arc::clone(&serving), uri, headers));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn decide(&self, decide: impl Fn(usize, &str, usize) -> Option<Instead> + Send + Sync + 'static) {
        *self.shared.decide.lock().unwrap() = Box::new(decide);
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Repository)) {
        change(&mut self.shared.repository.lock().unwrap());
    }

    /// Holds the replies from a revision number downwards until `requests` are under way.
    pub(crate) fn hold(&self, revision: usize, requests: usize) {
        *self.shared.hold.lock().unwrap() = Some((revision, requests));
    }

    /// Answers no request for this revision until it is released.
    pub(crate) fn hold_back(&self, revision: &str) {
        self.shared.held_back.send_modify(|held| held.extend([revision.to_owned()]));
    }

    pub(crate) fn release(&self, revision: &str) {
        self.shared.held_back.send_modify(|held| held.retain(|other| other != revision));
    }

    /// True once the revision was asked for since the last [`Self::take_asked`].
    pub(crate) fn was_asked(&self, revision: &str) -> bool {
        self.shared.asked.lock().unwrap().iter().any(|(asked, _)| asked == revision)
    }

    pub(crate) fn lines(&self, revisions: std::ops::Range<usize>) -> String {
        self.shared.repository.lock().unwrap().lines(revisions)
    }

    /// Revision and count of every request since the last call.
    pub(crate) fn take_asked(&self) -> Vec<(String, usize)> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }

    pub(crate) fn most_in_flight(&self) -> usize {
        *self.shared.most_in_flight.borrow()
    }

    pub(crate) fn agents(&self) -> Vec<String> {
        self.shared.agents.lock().unwrap().iter().cloned().collect()
    }
}

async fn serve(shared: Arc<Shared>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let under_way = shared.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_in_flight.send_if_modified(|most| {
        let more = under_way > *most;
        *most = under_way.max(*most);
        more
    });
    let response = answer(&shared, &uri, &headers).await;
    shared.in_flight.fetch_sub(1, Ordering::SeqCst);
    response
}

async fn answer(shared: &Shared, uri: &Uri, headers: &HeaderMap) -> Response<Body> {
    shared.agents.lock().unwrap().insert(headers[header::USER_AGENT].to_str().unwrap().to_owned());
    let path = uri.path().strip_prefix("/integration/autoland/json-log/");
    let count = uri.query().and_then(|query| query.strip_prefix("revcount=")).and_then(|count| count.parse().ok());
    let (Some(revision), Some(count)) = (path, count) else {
        return reply(404, "text/html", "<html>\u{1b}[2J no such method</html>".to_owned());
    };
    let number = {
        let mut asked = shared.asked.lock().unwrap();
        asked.push((revision.to_owned(), count));
        asked.len() - 1
    };
    let hold = *shared.hold.lock().unwrap();
    if let Some((highest, requests)) = hold
        && revision.parse().is_ok_and(|revision: usize| revision <= highest)
    {
        let mut most = shared.most_in_flight.subscribe();
        drop(most.wait_for(|most| *most >= requests).await);
        for _ in 0..50 {
            tokio::task::yield_now().await; // room for one too many
        }
    }
    drop(shared.held_back.subscribe().wait_for(|held| !held.contains(revision)).await);
    let instead = shared.decide.lock().unwrap()(number, revision, count);
    match instead {
        Some(Instead::Reply(status, content_type, text)) => reply(status, content_type, text),
        Some(Instead::Page(revision)) => shared.repository.lock().unwrap().page(&revision, count),
        None => shared.repository.lock().unwrap().page(revision, count),
    }
}
