//! Generated commits, as a clone of the repository would list them.

use std::io::{self, Write};

use crate::draw::Draw;
use crate::json_text::{write_as_python, write_int};

use super::config::{GeneratorConfig, domain, hex_text};
use super::push::Pushes;
use super::signature::quoted;
use super::vocabulary::DESCRIPTIONS;

/// Writes `all_commits.jsonl` of a generated repository: the commits of every push, oldest first. Returns their number.
///
/// # Errors
/// The writer fails.
pub(super) fn commits_jsonl(config: &GeneratorConfig, out: &mut impl Write) -> io::Result<u64> {
    let pushes = Pushes::new(config);
    let mut parent = "0".repeat(40);
    let mut num_commits = 0;
    let mut line = Vec::new();
    for push in 0..pushes.count {
        let count = pushes.num_commits(push);
        for index in (0..count).rev() {
            let node = pushes.commit(push, index);
            let node = hex_text(&node);
            let mut draw = Draw::of(config.seed, domain::COMMIT, push, 1000 + index);
            let zone = draw.pick(&[0, 0, 14_400, 18_000, -7200, -3600]);
            let description = format!("Bug {} - {}", 1_700_000 + push % 300_000, draw.pick(&DESCRIPTIONS));
            // Commits are older than their push; the head is the newest.
            let written = pushes.time(push) - 60 * (index as i64 + 1) - draw.below(50) as i64;
            let mut compact = Vec::from(*b"{\"node\":\"");
            compact.extend_from_slice(node.as_bytes());
            compact.extend_from_slice(b"\",\"desc\":");
            compact.extend_from_slice(quoted(&description).as_bytes());
            compact.extend_from_slice(b",\"date\":[");
            write_int(&mut compact, written);
            compact.push(b',');
            write_int(&mut compact, zone);
            compact.extend_from_slice(b"],\"parents\":[\"");
            compact.extend_from_slice(parent.as_bytes());
            compact.extend_from_slice(b"\"]}");
            line.clear();
            write_as_python(&mut line, &String::from_utf8_lossy(&compact));
            line.push(b'\n');
            out.write_all(&line)?;
            node.clone_into(&mut parent);
            num_commits += 1;
        }
    }
    Ok(num_commits)
}
