//! Digests in the format of `manifest.json`: `sha256:` and 64 hex digits.

use std::fs::File;
use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// The digest of a file.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn file_digest(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(digest_text(&hash.finalize()))
}

pub(super) fn digest_text(sha256: &[u8]) -> String {
    format!("sha256:{}", sha256.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
