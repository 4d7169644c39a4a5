//! Scripted replies: a test decides how the next matching requests are answered, byte by byte if needed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::endpoint::Endpoint;

/// A reply to the next matching requests, instead of the server's own answer. It applies to one request of any endpoint,
/// unless [`times`](Self::times), [`at`](Self::at) or [`containing`](Self::containing) say otherwise.
///
/// ```
/// use std::time::Duration;
/// use treeherder_sim::{Endpoint, ScriptedReply};
/// let busy = ScriptedReply::status(429).at(Endpoint::Summary).header("retry-after", "2").times(3);
/// let torn = ScriptedReply::cut(1000, "[{\"signature_id\"").containing("signature=5400001");
/// let slow = ScriptedReply::answer().delayed(Duration::from_secs(5));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptedReply {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) fragments: Vec<String>,
    pub(crate) times: usize,
    pub(crate) delay: Duration,
    pub(crate) action: Action,
}

/// The reaction to a scripted request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The server's own answer.
    Answer,
    /// A reply; `declared` is a Content-Length greater than that of the body.
    Reply { status: u16, headers: Vec<(String, String)>, body: Vec<u8>, declared: Option<usize> },
    /// The connection closes before any byte.
    Close,
    /// The connection is reset before any byte.
    Reset,
    /// No reply; the connection stays open.
    Hang,
}

impl ScriptedReply {
    fn new(action: Action) -> Self {
        Self { endpoint: None, fragments: Vec::new(), times: 1, delay: Duration::ZERO, action }
    }

    /// Replies with this status and no body. The content type is JSON unless a header overrides it.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::new(Action::Reply { status, headers: Vec::new(), body: Vec::new(), declared: None })
    }

    /// Replies 200 with this body.
    #[must_use]
    pub fn body(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200).with_body(body)
    }

    /// Replies 200 with a Content-Length of `declared`, sends fewer bytes and closes the connection.
    #[must_use]
    pub fn cut(declared: usize, sent: impl Into<Vec<u8>>) -> Self {
        Self::new(Action::Reply { status: 200, headers: Vec::new(), body: sent.into(), declared: Some(declared) })
    }

    /// Closes the connection before any byte of a reply.
    #[must_use]
    pub fn close() -> Self {
        Self::new(Action::Close)
    }

    /// Resets the connection before any byte of a reply.
    #[must_use]
    pub fn reset() -> Self {
        Self::new(Action::Reset)
    }

    /// Never replies and keeps the connection open.
    #[must_use]
    pub fn hang() -> Self {
        Self::new(Action::Hang)
    }

    /// Gives the server's own answer: to delay it, or to let requests pass before a later script applies.
    #[must_use]
    pub fn answer() -> Self {
        Self::new(Action::Answer)
    }

    /// Sets the body of a reply; no effect on scripts without one.
    #[must_use]
    pub fn with_body(mut self, content: impl Into<Vec<u8>>) -> Self {
        if let Action::Reply { body, .. } = &mut self.action {
            *body = content.into();
        }
        self
    }

    /// Adds a header to a reply; no effect on scripts without one.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Action::Reply { headers, .. } = &mut self.action {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Matches only requests to this endpoint.
    #[must_use]
    pub fn at(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Matches only requests whose path and query, as sent, contain this text; of several texts, all of them.
    #[must_use]
    pub fn containing(mut self, fragment: &str) -> Self {
        self.fragments.push(fragment.to_owned());
        self
    }

    /// Applies to this many matching requests; 1 by default.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Waits this long before the reply or the end of the connection.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    fn matches(&self, endpoint: Endpoint, path_and_query: &str) -> bool {
        self.endpoint.is_none_or(|wanted| wanted == endpoint)
            && self.fragments.iter().all(|fragment| path_and_query.contains(fragment.as_str()))
    }
}

/// The scripts in force, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Script {
    rules: Mutex<Vec<ScriptedReply>>,
}

impl Script {
    pub(crate) fn add(&self, rule: ScriptedReply) {
        if rule.times > 0 {
            self.rules.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
        }
    }

    /// Takes the first matching rule, and counts it down.
    pub(crate) fn take(&self, endpoint: Endpoint, path_and_query: &str) -> Option<ScriptedReply> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let index = rules.iter().position(|rule| rule.matches(endpoint, path_and_query))?;
        let rule = rules.get_mut(index)?;
        if rule.times > 1 {
            rule.times -= 1;
            return Some(rule.clone());
        }
        Some(rules.remove(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_used_up_and_then_the_next_one_serves() {
        let script = Script::default();
        script.add(ScriptedReply::status(503).at(Endpoint::Jobs).times(2));
        script.add(ScriptedReply::close().containing("id=7"));
        assert!(script.take(Endpoint::Summary, "/x").is_none());
        assert!(script.take(Endpoint::Jobs, "/x?id=7").is_some());
        assert!(script.take(Endpoint::Jobs, "/x?id=7").is_some());
        assert_eq!(script.take(Endpoint::Jobs, "/x?id=7").map(|rule| rule.action), Some(Action::Close));
        assert!(script.take(Endpoint::Jobs, "/x?id=7").is_none());
    }
}
