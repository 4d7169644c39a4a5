//! Temporary files that take the place of others.

use tempfile::Builder;

/// Makes temporary files with the permissions of any new file, which the umask decides; tempfile's own are private.
pub(crate) fn temporary_file<'a>(prefix: &'a str, suffix: &'a str) -> Builder<'a, 'a> {
    let mut builder = Builder::new();
    builder.prefix(prefix).suffix(suffix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}
