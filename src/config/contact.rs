//! Mozilla's servers are asked only by clients that say whom their operators can write to.

use super::{CommitsFrom, Config, ConfigError, SourceConfig};

/// The domains of Mozilla's servers.
const DOMAINS: [&str; 4] = ["mozilla.org", "mozilla.com", "mozilla.net", "allizom.org"];

/// An address of this program, not of the person who runs it.
const OWN_ADDRESS: &str = env!("CARGO_PKG_REPOSITORY");

impl Config {
    /// Refuses to ask Mozilla's servers, Treeherder or that of `inputs.commits_from`, without a contact.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`], which shows how to set one.
    pub fn require_contact(&self) -> Result<(), ConfigError> {
        self.source.require_contact(&self.source.base_url)?;
        self.inputs.commits_from.as_ref().map_or(Ok(()), |from| self.source.require_contact_for(from))
    }
}

impl SourceConfig {
    /// As [`Config::require_contact`], for the source of the commits alone.
    ///
    /// # Errors
    /// As [`Config::require_contact`].
    pub fn require_contact_for(&self, from: &CommitsFrom) -> Result<(), ConfigError> {
        match from {
            CommitsFrom::Clone(_) => Ok(()),
            CommitsFrom::Hgweb(address) => self.require_contact(address),
            CommitsFrom::Pushes => self.require_contact(&self.base_url),
        }
    }

    fn require_contact(&self, address: &str) -> Result<(), ConfigError> {
        let host = url::Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_lowercase));
        let Some(host) = host.filter(|host| DOMAINS.iter().any(|domain| is_within(host, domain))) else {
            return Ok(());
        };
        if has_contact(&self.user_agent) {
            return Ok(());
        }
        let message = format!(
            "names nobody to whom the operators of {host} could write before they block you; add your e-mail address or \
             website, such as --set 'source.user_agent=perfharvest (Ada Lovelace, ada@example.org)', or set it in \
             config.toml (`perfharvest config init` creates one)"
        );
        Err(ConfigError::Invalid { key: "source.user_agent", message })
    }
}

fn is_within(host: &str, domain: &str) -> bool {
    host.trim_end_matches('.').strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// True with an e-mail address or the address of a website that is not this program's.
fn has_contact(user_agent: &str) -> bool {
    let rest = user_agent.replace(OWN_ADDRESS, "");
    rest.contains('@') || rest.contains("://") || rest.contains("www.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: &str, user_agent: &str) -> Option<String> {
        let source = SourceConfig { user_agent: user_agent.to_owned(), ..SourceConfig::default() };
        source.require_contact(address).err().map(|error| error.to_string())
    }

    #[test]
    fn mozilla_s_servers_are_not_asked_without_a_contact() {
        let default = SourceConfig::default().user_agent;
        for address in [
            "https://treeherder.mozilla.org",
            "https://Treeherder.Mozilla.org/",
            "https://treeherder.allizom.org",
            "https://hg.mozilla.org/integration/autoland",
        ] {
            for agent in [default.as_str(), "perfharvest", "curl/8"] {
                let said = refused(address, agent).unwrap();
                assert!(
                    said.starts_with("source.user_agent: ") && said.contains("--set 'source.user_agent="),
                    "{said}"
                );
                assert_eq!(said.lines().count(), 1);
            }
            for agent in ["me (me@example.org)", "thesis +https://example.org/me", &format!("{default} me@x.org")] {
                assert_eq!(refused(address, agent), None, "{agent}");
            }
        }
    }

    #[test]
    fn other_servers_are_asked_by_anybody() {
        let default = SourceConfig::default().user_agent;
        for address in
            ["http://127.0.0.1:8000", "https://notmozilla.org", "https://mozilla.org.example", "not an address"]
        {
            assert_eq!(refused(address, &default), None, "{address}");
        }
    }

    #[test]
    fn the_server_of_the_commits_counts_too() {
        let mut config = Config::default();
        config.source.base_url = "http://127.0.0.1:8000".to_owned();
        for from in ["pushes", "clone:autoland"] {
            config.inputs.commits_from = Some(from.parse().unwrap());
            config.require_contact().unwrap();
        }
        config.inputs.commits_from = Some("hgweb:https://hg.mozilla.org/integration/autoland".parse().unwrap());
        config.require_contact().unwrap_err();
    }
}
