//! The values of a configuration as they were written, in a file, a variable or a flag.

use super::{Config, WindowConfig};
use crate::model::{GivenTime, Timestamp};

/// All layers, merged: only the keys that somebody has set.
#[derive(Clone, Debug, Default)]
pub struct Written(pub(super) toml::Table);

impl Written {
    fn text(&self, table: &str, key: &str) -> Option<&str> {
        self.0.get(table)?.get(key)?.as_str()
    }

    /// All keys of `config`, which these values have made. Durations are as they were written: `90s` stays `90s`.
    ///
    /// # Errors
    /// Those of the encoder, which has none for a configuration.
    pub fn shown(&self, config: &Config) -> Result<toml::Table, toml::ser::Error> {
        let mut shown = toml::Table::try_from(config)?;
        for (name, keys) in &mut shown {
            for (key, value) in keys.as_table_mut().into_iter().flatten() {
                let Some((written, text)) = self.text(name, key).zip(value.as_str()) else { continue };
                let read = |text| humantime::parse_duration(text).ok();
                if read(text).is_some() && read(text) == read(written) {
                    *value = written.into();
                }
            }
        }
        Ok(shown)
    }

    /// Leaves open the times of `window` that were given relative to now: they say how a store begins, and a store that has
    /// begun has its own. With `keeps_data_end`, that one stays: it is the end of the next harvest.
    pub fn leave_open_relative_times(&self, window: &mut WindowConfig, keeps_data_end: bool) {
        let is_relative = |key| {
            let given = self.text("window", key).map(|text| GivenTime::parse(text, Timestamp::now()));
            given.is_some_and(|given| given.is_ok_and(|given| given.is_relative))
        };
        if is_relative("start") {
            window.start = None;
        }
        if is_relative("end") {
            window.end = None;
        }
        if is_relative("data_end") && !keeps_data_end {
            window.data_end = None;
        }
    }
}
